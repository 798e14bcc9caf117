"""A parameter that can change nothing about the target at hand is refused before anything runs."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import replace
from typing import Literal

import pytest
import torch

from auditor import registry
from auditor.data.graph import Graph
from auditor.errors import ConfigError
from auditor.parameters import where_it_counts
from auditor.runner.plan import choose_probes, plan
from auditor.side_knowledge import SideKnowledge
from auditor.targets.target import Target
from tests.toys import sbm_graph, small_graphs, toy_target

Kind = Literal["bits", "values", "categories", "graphs", "few", "directed", "two", "untrainable"]


def target_of(kind: Kind) -> Target:
    """A trained toy on data of that kind."""
    graph: Graph = small_graphs(40) if kind == "graphs" else sbm_graph(40 if kind == "few" else 120)
    if kind == "values":
        graph = replace(graph, x=graph.x + torch.rand(graph.x.shape, generator=torch.Generator().manual_seed(0)))
    elif kind == "categories":
        graph = replace(graph, x=torch.nn.functional.one_hot(torch.arange(120) % 7, 7).float())
    elif kind == "directed":
        graph = graph.keeping(graph.edge_index[0] < graph.edge_index[1])
    elif kind == "two":
        graph = replace(graph, y=graph.y.clamp_max(1))
    target = toy_target("graph-gin" if kind == "graphs" else "gcn", graph=graph, epochs=1)
    return replace(target, recipe=None) if kind == "untrainable" else target


def asked(target: Target, spec: str, profile: str = "standard") -> None:
    plan(target, choose_probes(only=spec), seeds=(0,), profile=profile, side=SideKnowledge())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("bits", "feature-evasion:graphs=3", "classify graphs"),
        ("categories", "feature-evasion:bits-per-node=2", "those here are categories"),
        ("values", "feature-evasion:eps=0.1", "those here are values"),
        ("bits", "feature-evasion:radius=0.1", "those here are bits"),
        ("bits", "feature-evasion:within=l2", "those here are bits"),
        ("values", "feature-evasion:rounds=3", "those here are values"),
        ("categories", "feature-evasion:steps=3", "those here are categories"),
        ("bits", "structure-evasion:graphs=3", "classify graphs"),
        ("directed", "structure-evasion:graphs=3", "classify graphs"),
        ("graphs", "structure-evasion:budget-of=targets", "classify nodes"),
        ("graphs", "structure-evasion:local-cap=0.5", "classify nodes"),
        ("graphs", "structure-evasion:cycles=2", "classify nodes"),
        ("graphs", "structure-evasion:scan=2", "classify nodes"),
        ("graphs", "structure-evasion:additions=0.1", "classify nodes"),
        ("bits", "black-box:graphs=3", "classify graphs"),
        ("bits", "injection:graphs=3", "classify graphs"),
        ("graphs", "injection:homophily=0.5", "classify nodes"),
        ("graphs", "injection:single=3", "classify nodes"),
        ("bits", "certificate:parts=5", "classify graphs"),
        ("graphs", "certificate:samples=200", "classify nodes"),
        ("graphs", "ood-detection:isolated=decay", "classify nodes"),
        ("graphs", "left-out-class:isolated=decay", "classify nodes"),
        ("bits", "local-evasion:protocols=margin40,targets=5", "protocols is margin40"),
        ("bits", "corruption:renormalise=false", "never were"),
        ("bits", "corruption:kinds=edge-drop,gate-noise=true", "kinds is edge-drop"),
        ("values", "corruption:gate-noise=true", "those here are not"),
        ("bits", "poisoning:graph=deeprobust/cora:metattack=0.25,eps=0.1", "graph=deeprobust/cora:metattack=0.25"),
        ("bits", "poisoning:graph=deeprobust/cora:metattack=0.25,losses=tanh", "takes its place"),
        ("bits", "poisoning:graph=deeprobust/cora:metattack=0.25,rounds=2", "takes its place"),
        ("bits", "posterior-similarity:max-queries=5", "granted queries"),
        ("bits", "influence:protocol=paper,max-queries=5", "protocol is paper"),
        ("bits", "posterior-similarity:draws=5", "protocol is full-graph"),
        ("bits", "posterior-similarity:protocol=paper,negatives=500", "protocol is paper"),
        ("few", "posterior-similarity:replicates=100", "takes? 50 nodes"),
        ("bits", "membership-lira:a=0.5", "form is lira"),
        ("bits", "membership-threshold:references=4", "granted references"),
        ("bits", "graphmi:form=dense,k=5", "form=dense keeps every pair"),
        ("bits", "graphmi:protocol=paper,k=5", "protocol=paper keeps every pair"),
        ("bits", "graphmi:protocol=paper,form=knn", "protocol is paper"),
        ("bits", "membership-lira:form=rmia,mode=online,a=0.5", "mode is online"),
        ("bits", "membership-lira:form=rmia,a=0.5", "mode=auto is the online form"),
        ("bits", "membership-lira:form=rmia,references=12,a=0.5", "with 12 reference models"),
        ("bits", "structure-evasion:rounds=0,package=3", "rounds=0 spends nothing again"),
        ("bits", "poisoning:rounds=0,package=3", "rounds=0 spends nothing again"),
        ("bits", "poisoning:draws=4", "each of 3 trainings takes a draw, and 1 would be left"),
        ("bits", "poisoning:draws=8,trainings=6", "each of 6 trainings takes a draw, and 2 would be left"),
        ("bits", "injection:steps=1,momentum=0.9", "steps=1 has no step before"),
        ("graphs", "injection:steps=1,momentum=0.9", "steps=1 has no step before"),
        ("two", "local-evasion:rivals=1", "tells two classes"),
        ("bits", "blackbox-graphmi:queries=0,eta=2", "queries=0 are too few for a step of 2 · 20 graphs"),
        ("bits", "blackbox-graphmi:queries=40,alpha=0.1", "queries=40 are too few"),
        ("bits", "blackbox-graphmi:queries=0,pairs=5", "queries=0 are too few for a step of 2 · 5 graphs"),
        ("untrainable", "posterior-similarity:counterfactuals=3", "cannot be retrained"),
        ("bits", "extraction:neighbours=3", "structure is own"),
        ("bits", "extraction:answers=labels,loss=kl", "answers is labels"),
    ],
)
def test_a_parameter_that_changes_nothing_is_refused(kind: Kind, spec: str, why: str) -> None:
    probe, name = spec.partition(":")[0], spec.rpartition(",")[2].rpartition(":")[2].partition("=")[0]
    with pytest.raises(ConfigError, match=why) as caught:
        asked(target_of(kind), spec)
    said = str(caught.value)
    assert said.startswith(f"{probe}: ")
    assert "would change nothing" in said
    assert "Leave" in said
    assert name in said or "eps" in said


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("graphs", "feature-evasion:graphs=3,within=l2,radius=0.1"),
        ("bits", "feature-evasion:bits-per-node=2,eps=0.1,rounds=2"),
        ("categories", "feature-evasion:eps=0.1,rounds=2"),
        ("graphs", "structure-evasion:graphs=3,losses=tanh"),
        ("directed", "structure-evasion:undirected=true,local-cap=0.5,budget-of=targets,cycles=1,additions=0.2"),
        ("bits", "injection:homophily=0.5,single=3"),
        ("bits", "poisoning:graph=deeprobust/cora:metattack=0.25,draws=2,trainings=2"),
        ("bits", "poisoning:draws=8,trainings=8"),
        ("bits", "structure-evasion:draws=8"),
        ("bits", "poisoning:losses=tanh,cycles=2,scan=50,rounds=1,package=2,draws=3,eps=0.1"),
        ("graphs", "certificate:parts=5,graphs=3"),
        ("bits", "local-evasion:targets=5,oracle=1"),
        ("bits", "local-evasion:protocols=margin40/uniform,targets=5"),
        ("bits", "corruption:gate-noise=true"),
        ("bits", "posterior-similarity:protocol=paper,draws=5"),
        ("bits", "influence:max-queries=5"),
        ("bits", "membership-lira:references=4"),
        ("graphs", "graph-membership:references=4"),
        ("bits", "graphmi:form=knn,k=5"),
        ("bits", "membership-lira:form=rmia,gamma=2"),
        ("bits", "extraction:structure=knn,neighbours=3,loss=kl"),
        ("graphs", "local-evasion:targets=5"),  # the row says that it is for nodes
        ("bits", "membership-lira:form=rmia,mode=offline,references=9,a=0.5"),
        ("bits", "membership-lira:form=rmia,references=7,a=0.5"),  # of seven models three or four have an item
        ("bits", "structure-evasion:rounds=1,package=3"),
        ("bits", "structure-evasion:package=3"),
        ("bits", "injection:steps=2,momentum=0.9"),
        ("bits", "local-evasion:rivals=1"),
        ("bits", "blackbox-graphmi:queries=41,eta=2,alpha=0.1,pairs=20"),
        ("bits", "blackbox-graphmi:queries=0,k=5"),
        ("bits", "posterior-similarity:counterfactuals=3"),
        ("untrainable", "posterior-similarity:counterfactuals=0"),  # leaves the row out that says so
    ],
)
def test_a_parameter_that_counts_is_taken(kind: Kind, spec: str) -> None:
    asked(target_of(kind), spec)


@pytest.mark.parametrize(
    ("spec", "profile"),
    [("graphmi:form=dense,k=5", "standard"), ("graphmi:protocol=paper,k=5", "standard"), ("graphmi:k=5", "full")],
)
def test_candidates_count_where_the_dense_form_does_not_hold_the_graph(spec: str, profile: str) -> None:
    """Of 512 nodes every pair is kept; of up to 4,096 by layers with a dense form, and of others candidates are."""
    refused = [toy_target("gat", graph=sbm_graph(512), epochs=1), toy_target("gcn", graph=sbm_graph(520), epochs=1)]
    for target in refused:
        with pytest.raises(ConfigError, match=r"k=5 would change nothing: .* keeps every pair"):
            asked(target, spec, profile)
    asked(toy_target("gat", graph=sbm_graph(520), epochs=1), spec, profile)
    asked(toy_target("gcn", graph=sbm_graph(4100), epochs=1), spec, profile)


def test_candidates_count_by_default_unless_no_feature_tells_nodes_apart() -> None:
    graph = sbm_graph(120)
    asked(toy_target("gcn", graph=graph, epochs=1), "graphmi:k=5")
    flat = toy_target("gcn", graph=replace(graph, x=torch.ones_like(graph.x)), epochs=1)
    with pytest.raises(ConfigError, match=r"k=5 would change nothing: .* keeps every pair"):
        asked(flat, "graphmi:k=5")
    asked(flat, "graphmi:form=knn,k=5")


@pytest.mark.parametrize("word", ["references=4", "form=rmia", "mode=offline"])
def test_what_a_quick_audit_leaves_out_has_no_parameters(word: str) -> None:
    """Of graphs it compares with no reference models, since these are to be trained."""
    with pytest.raises(ConfigError, match=r"would change nothing: .*profile quick"):
        asked(target_of("graphs"), f"graph-membership:{word}", "quick")
    asked(target_of("graphs"), f"graph-membership:{word}", "standard")
    asked(target_of("bits"), f"membership-lira:{word}", "quick")  # asked for by name it has nothing else to run


def test_one_flip_in_each_graph_is_no_budget_of_one_graph() -> None:
    with pytest.raises(ConfigError, match="one flip in each of many graphs"):
        asked(target_of("bits"), "structure-evasion:eps=one/0.05")
    asked(target_of("graphs"), "structure-evasion:eps=one/0.05")


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("few", "structure-evasion:eps=781,budget-of=absolute", r"eps=781 .* expected at most 780\."),
        ("few", "structure-evasion:eps=1/99999999,budget-of=absolute", r"eps=99999999 .* expected at most 780\."),
        ("directed", "structure-evasion:eps=14281,budget-of=absolute", r"expected at most 14,280\."),
        ("few", "certificate:flips=1/781", r"flips=781 are more than the 780 pairs of nodes"),
        ("few", "certificate:deletions=781", r"deletions=781 are more than the \d+ edges"),
        ("graphs", "certificate:flips=99999999", r"flips=99999999 are more than the \d+ pairs of nodes of the largest"),
    ],
)
def test_more_edits_than_the_graph_has_pairs_are_refused_by_name(kind: Kind, spec: str, why: str) -> None:
    """The graph is known: nothing need run to see it."""
    with pytest.raises(ConfigError, match=f"{spec.partition(':')[0]}: .*{why}"):
        asked(target_of(kind), spec)


def test_as_many_edits_as_the_graph_has_pairs_are_taken() -> None:
    asked(target_of("few"), "structure-evasion:eps=780,budget-of=absolute")
    asked(target_of("directed"), "structure-evasion:eps=14280,budget-of=absolute")
    asked(target_of("few"), "certificate:flips=780,deletions=1")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("structure-evasion:budget-of=absolute", "none were named"),
        ("structure-evasion:eps=0", "edits nothing"),
        ("structure-evasion:eps=0/0.0,budget-of=edges", "names a budget twice"),
        ("structure-evasion:eps=0,budget-of=absolute", "edits nothing"),
        ("feature-evasion:eps=0", "names no budget above 0"),
    ],
)
def test_no_budget_at_all_is_refused_by_name(spec: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        asked(target_of("bits"), spec)


def test_a_profile_may_need_what_another_ignores() -> None:
    asked(target_of("bits"), "posterior-similarity:draws=5", "full")


def test_strata_have_no_parameters_of_corruption() -> None:
    with pytest.raises(ConfigError, match='no parameter "gate-noise"'):
        asked(target_of("bits"), "strata:gate-noise=true")


def test_every_condition_names_what_is_there() -> None:
    """A parameter that a condition looks at is one of the probe's, and a level one that the probe has."""
    seen = 0
    for probe in registry.probes().values():
        harness = importlib.import_module(probe.evaluation.partition(":")[0]).Settings
        kinds = (harness, *(entry.load() for entry in registry.attacks_of(probe.id)))
        names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
        for kind in kinds:
            for field in dataclasses.fields(kind):
                for only in where_it_counts(kind, field.name):
                    seen += 1
                    assert not only.beside or only.beside in names
                    assert not only.level or only.level in probe.tasks
    assert seen > 30
