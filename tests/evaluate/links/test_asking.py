"""Probes that ask queries in the harness of links: who is asked about, what is judged then, and when nothing counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import registry
from auditor.document.facts import LinkFacts
from auditor.errors import SkippedError
from auditor.evaluate.links.asking import MANY_NODES, asked_nodes
from auditor.evaluate.links.harness import evaluate
from auditor.evaluate.links.pairs import Truth, intra_class_pairs, prior_pairs, uniform_near
from auditor.probe import Cell, CellResult, Registered
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from benchmarks.trust.models import NeighbourHash
from tests.evaluate.links.cells import Twins, row
from tests.toys import sbm_graph, toy_target

FAST = {"negatives": "600", "replicates": "60", "counterfactuals": "0"}
GRAPH = sbm_graph(60, degree=3.0)


def cell_of(
    target: Target,
    probe: str = "influence",
    *,
    side: SideKnowledge | None = None,
    profile: registry.Profile = "quick",
    **params: Any,
) -> Cell:
    entry = registry.find("attacks", probe)
    given = {**FAST, **{key: str(value) for key, value in params.items()}}
    attack, own = Registered(entry, entry.load()()), side or SideKnowledge()
    return Cell(target, registry.find_probe(probe), (attack,), given, profile, 0, own, Twins())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target("gcn", graph=GRAPH)


def checks(result: CellResult) -> dict[str, str]:
    return {each.id: each.status for each in result.validity}


def test_every_query_is_counted_on_the_rows_and_the_check_says_how_they_were_answered(target: Target) -> None:
    result = evaluate(cell_of(target, counterfactuals=1))
    assert row(result, "auc").estimate.value > 0.97
    for number in result.measured:
        assert isinstance(number.facts, LinkFacts)
        assert number.facts.queries == 60
    assert result.params["notes"]["queries"] == 60
    assert result.params["notes"]["engine"] == "push"
    assert checks(result)["query-consistent"] == "pass"
    twin = [each for each in row(result).controls if each.twin]
    assert len(twin) == 1  # attacked in the same way
    assert result.access == ("features", "queries")
    assert "untrained" not in result.params["controls"]  # served on the private graph: propagation alone tells edges
    assert "architecture (untrained, served)" in {curve.name for curve in result.series[0].curves}


def test_of_some_nodes_asked_about_only_their_pairs_are_judged_by_everybody(target: Target) -> None:
    result = evaluate(cell_of(target, max_queries=20, counterfactuals=1))
    truth = Truth.of(GRAPH)
    asked = asked_nodes(cell_of(target), cell_of(target).attacks[0], 20)
    assert asked is not None
    near = truth.near(asked.numpy())
    facts = row(result).facts
    assert isinstance(facts, LinkFacts)
    assert facts.links is not None
    assert (facts.queries, facts.links.n_links) == (20, near.keys.size)
    assert facts.positives == near.keys.size < truth.keys.size
    assert facts.negatives <= near.num_pairs - near.keys.size
    assert row(result, "auc").estimate.value > 0.95


def test_a_large_graph_and_the_quick_profile_ask_about_a_sample(target: Target) -> None:
    class Large:
        num_nodes = MANY_NODES + 1

    large = dataclasses.replace(cell_of(target))
    attack = large.attacks[0]
    assert asked_nodes(cell_of(target, profile="full"), attack, None) is None
    object.__setattr__(large, "target", dataclasses.replace(target))
    object.__setattr__(large.target, "graph", Large())
    for profile, most in (("quick", 500), ("standard", 2_000), ("full", 2_000)):
        object.__setattr__(large, "profile", profile)
        found = asked_nodes(large, attack, None)
        assert found is not None
        assert torch.unique(found).numel() == most
        assert torch.equal(found, found.sort().values)


def test_a_probe_that_asks_nothing_has_no_number_of_queries(target: Target) -> None:
    assert row(evaluate(cell_of(target, "posterior-similarity"))).facts.queries is None


def test_made_up_graphs_are_counted_and_the_attack_without_a_query_is_a_control(target: Target) -> None:
    probe, entry = registry.find_probe("blackbox-graphmi"), registry.find("attacks", "blackbox-graphmi")
    attack = Registered(entry, entry.load()(queries=100))
    cell = Cell(target, probe, (attack,), {**FAST, "counterfactuals": "1"}, "standard", 0, SideKnowledge(), Twins())  # type: ignore[arg-type]
    result = evaluate(cell)
    assert {each.facts.queries for each in result.measured if isinstance(each.facts, LinkFacts)} == {81}
    names = {each.name for each in row(result).controls}
    assert {"no-queries", "untrained", "counterfactual/degree", "features+labels"} <= names
    own, (bare,) = row(result, "auc"), [c for c in row(result, "auc").controls if c.name == "no-queries"]
    assert own.estimate.value != bare.estimate.value
    with pytest.raises(SkippedError, match="queries is served"):
        evaluate(dataclasses.replace(cell, side=SideKnowledge(queries="served")))


@pytest.mark.parametrize(
    ("side", "words"),
    [(SideKnowledge(queries="own"), "queries is own"), (SideKnowledge(features=False), "features is false")],
)
def test_without_what_it_asks_with_it_is_skipped(side: SideKnowledge, words: str, target: Target) -> None:
    with pytest.raises(SkippedError, match=words):
        evaluate(cell_of(target, side=side))


class AtRandom(nn.Module):
    """Answers at random."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(24, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(x) + torch.rand(x.shape[0], 3)


def test_answers_at_random_fail_the_check_that_makes_them_count() -> None:
    served = dataclasses.replace(toy_target("mlp", graph=GRAPH, epochs=0), model=AtRandom())
    result = evaluate(cell_of(served))
    (found,) = [each for each in result.validity if each.id == "query-consistent"]
    assert (found.status, found.kind) == ("fail", "integrity")
    assert "answers changed when 3 nodes kept their features" in found.evidence


def test_a_model_without_edges_leaks_nothing_and_a_hash_of_neighbours_nearly_everything() -> None:
    nothing = row(evaluate(cell_of(toy_target("mlp", graph=GRAPH))))
    assert nothing.estimate.lo is not None
    assert nothing.estimate.lo <= 0
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 8))).float()
    torch.manual_seed(0)
    blank = toy_target("mlp", graph=GRAPH, epochs=0)
    graph = dataclasses.replace(GRAPH, x=x)
    hashed = dataclasses.replace(blank, graph=graph, model=NeighbourHash(8, 3), build=None)
    found = row(evaluate(cell_of(hashed)))
    assert found.estimate.lo is not None
    assert found.estimate.lo > 0.5


@pytest.mark.parametrize("count", [200, 10**6])
def test_pairs_near_some_nodes_are_uniform_among_those_with_one_of_them(count: int) -> None:
    graph = sbm_graph(300)
    ends, y = np.arange(0, 300, 7), graph.y.numpy()
    whole = Truth.of(graph)
    truth = whole.near(ends)
    for pairs in (
        prior_pairs(truth, count, np.random.default_rng(0)),
        intra_class_pairs(truth, y, count, np.random.default_rng(0)),
    ):
        assert pairs is not None
        keys = pairs.pairs[0] * 300 + pairs.pairs[1]
        assert np.unique(keys).size == keys.size
        assert (pairs.pairs[0] < pairs.pairs[1]).all()
        assert np.isin(pairs.pairs, ends).any(axis=0).all()
        assert (whole.holds(pairs.pairs) == pairs.is_edge).all()
        assert pairs.inclusion.sum() == pytest.approx(
            truth.num_pairs if pairs.subset == "prior" else _pairs_inside(truth, y)
        )
    drawn = uniform_near(truth, 40_000, np.random.default_rng(0))
    both = np.isin(drawn, ends).all(axis=0).mean()  # a pair of two of them is drawn as often as any other
    assert both == pytest.approx(43 * 42 / 2 / truth.num_pairs, abs=0.01)


def _pairs_inside(truth: Truth, y: np.ndarray) -> int:
    u, v = np.triu_indices(truth.num_nodes, 1)
    pairs = np.stack([u, v])
    return int((truth.covers(pairs) & (y[u] == y[v])).sum())
