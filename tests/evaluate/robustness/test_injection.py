"""Added nodes end to end: what is untouched, what is verified, what is found and what is not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from auditor.data.added_nodes import usual_edges, with_nodes
from auditor.data.feature_space import FeatureSpace
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.robustness.injection import InjectionVerifier
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.targets.target import Capability
from tests.evaluate.robustness.probing import claims, evaluated, marked_target, rows, shipped
from tests.toys import sbm_graph, toy_target

PROBE = "injection"


def noisy():
    """A target whose features are values."""
    graph = sbm_graph()
    noise = 0.1 * torch.randn(graph.x.shape, generator=torch.Generator().manual_seed(0))
    return toy_target("gcn", graph=dataclasses.replace(graph, x=graph.x + noise))


def normalised():
    """A target whose bits were divided by the sum of their row."""
    graph = sbm_graph()
    return toy_target(
        "gcn", graph=dataclasses.replace(graph, x=graph.x / graph.x.sum(dim=1, keepdim=True).clamp_min(1))
    )


@pytest.fixture(scope="module")
def gcn():
    return toy_target("gcn")


def verifier(target) -> InjectionVerifier:
    items = torch.nonzero(target.split.test).flatten()
    return InjectionVerifier(target, items, FeatureSpace.of(target.graph.x), usual_edges(target.graph))


@pytest.mark.parametrize("make", [lambda: toy_target("gcn"), normalised, noisy, lambda: toy_target("sage")])
def test_added_nodes_do_more_than_random_ones_and_every_check_passes(make):
    target = make()
    result = evaluated(PROBE, target, eps="0.05/0.3")
    (judged,) = [m for m in result.measured if m.judged]
    assert judged.subset == "nodes=0.05"
    assert judged.control.name == "injection-random"
    assert result.measured[-1].excess.lo > 0
    assert {row.id: row.evidence for row in result.validity if row.status == "fail"} == {}
    assert rows(result)["claim"].status == "pass"


def test_reported_accuracy_is_that_of_the_larger_graph_by_an_independent_forward():
    target, kept = normalised(), []
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.extend(outcome.points)
        return outcome

    result = evaluated(PROBE, target, attacks=(claims(remember), shipped(PROBE)[1]), eps="0.2")
    (added,) = kept
    n, graph = target.graph.num_nodes, target.graph
    dense = torch.zeros(n + added.x.shape[0], n + added.x.shape[0])
    dense[graph.edge_index[0], graph.edge_index[1]] = 1
    for new, old in added.edges.T.tolist():
        dense[n + new, old] = dense[old, n + new] = 1
    x = torch.cat([graph.x, added.x / added.x.sum(dim=1, keepdim=True)])
    right = target.model(x, torch.stack(dense.nonzero(as_tuple=True)))[:n].argmax(dim=1) == graph.y
    expected = float(right[target.split.test].double().mean())
    assert result.measured[0].facts.attempts["claims (tanh)"] == pytest.approx(expected)


def test_old_nodes_and_edges_stay_as_they_are(gcn):
    graph = gcn.graph
    more = with_nodes(graph, graph.x[:3], torch.tensor([[0, 0, 1, 2], [5, 6, 7, 5]]))
    assert torch.equal(more.x[:120], graph.x)
    assert torch.equal(more.edge_index[:, : graph.num_edges], graph.edge_index)
    added = more.edge_index[:, graph.num_edges :]
    assert bool(((added >= 120).sum(dim=0) == 1).all())
    assert more.is_undirected
    assert bool((more.y[120:] == -1).all())
    arcs = torch.stack([torch.arange(5), torch.arange(1, 6)])
    directed = with_nodes(dataclasses.replace(graph, edge_index=arcs), graph.x[:1], torch.tensor([[0], [3]]))
    assert directed.edge_index[:, -1].tolist() == [120, 3]
    weighted = dataclasses.replace(graph, edge_weight=torch.full((graph.num_edges,), 2.5))
    assert with_nodes(weighted, graph.x[:1], torch.tensor([[0], [3]])).edge_weight[-2:].tolist() == [2.5, 2.5]


def test_a_planted_feature_breaks_every_joined_node():
    target = marked_target()
    result = evaluated(PROBE, target, eps="0.05", edges="4")
    broken = round(target.split.sizes[2] * (1 - result.measured[0].estimate.value))
    assert broken == 3 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": lambda x: x.expand(40, -1)}, "nodes added, budget"),
        ({"x": lambda x: 0.5 * x}, "is no bit"),
        ({"x": lambda x: torch.ones_like(x)}, "more than any node has"),
        ({"x": lambda x: x * float("nan")}, "no finite number"),
        ({"x": lambda x: x[:, :3]}, "expected"),
        ({"edges": [[0] * 30, list(range(30))]}, "bound"),
        ({"edges": [[0, 0], [3, 3]]}, "listed twice"),
        ({"edges": [[1], [3]]}, "does not join"),
        ({"edges": [[0], [120]]}, "does not join"),  # an added node
        ({"edges": [[0], [-1]]}, "does not join"),
        ({"edges": [[0.0], [1.0]]}, "expected"),
    ],
)
def test_claims_that_break_a_rule_are_dropped_and_said(gcn, change, message):
    def planted(view, attempt):
        x = (view.x[:1] > 0).float()
        x = change["x"](x) if "x" in change else x
        edges = torch.tensor(change.get("edges", [[0], [3]]))
        return InjectionOutcome((AddedNodes(attempt.budgets[0], x, edges),), ("planted",))

    row = rows(evaluated(PROBE, gcn, attacks=(claims(planted), shipped(PROBE)[1])))["budget"]
    assert row.status == "fail"
    assert message in row.evidence


def test_values_outside_their_range_are_refused():
    target = noisy()
    check = verifier(target)
    edges = torch.tensor([[0], [3]])
    check.check(AddedNodes(1, target.graph.x[:1], edges))
    with pytest.raises(EvaluationError, match="outside the range"):
        check.check(AddedNodes(1, target.graph.x.max(dim=0).values[None] + 1, edges))


def test_no_added_node_changes_nothing(gcn):
    clean = verifier(gcn).clean()
    assert clean.accuracy == pytest.approx(gcn.accuracy())


def test_equal_cells_give_equal_results(gcn):
    first, second = (evaluated(PROBE, gcn) for _ in range(2))
    assert first == second


def test_what_cannot_be_attacked_is_skipped_with_a_reason(gcn):
    for lacking in (Capability.GRAD_X, Capability.BARE, Capability.ANY_NODES):
        without = dataclasses.replace(gcn, capabilities=gcn.capabilities - {lacking})
        with pytest.raises(SkippedError, match=str(lacking)):
            evaluated(PROBE, without)
    identities = toy_target("gcn", graph=dataclasses.replace(sbm_graph(), x=torch.eye(120)), epochs=2)
    with pytest.raises(SkippedError, match="identities"):
        evaluated(PROBE, identities)


@pytest.mark.parametrize("params", [{"eps": "2"}, {"eps": "0"}, {"edges": "-1"}, {"steps": "0"}, {"momentum": "1"}])
def test_bad_parameters_are_refused(gcn, params):
    with pytest.raises(ConfigError):
        evaluated(PROBE, gcn, **params)


def test_a_graph_that_lacks_an_arc_is_no_graph_with_directions():
    graph = sbm_graph()
    lacking = graph.keeping(torch.arange(1, graph.num_edges))
    added = with_nodes(lacking, graph.x[:1], torch.tensor([[0, 0], [3, 4]]))
    assert added.num_edges == lacking.num_edges + 4
    assert added.num_one_way == 1
