"""Added nodes end to end: what is untouched, what is verified, what is found and what is not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from attacks.robustness.alike import Alike
from auditor.data import added_nodes
from auditor.data.added_nodes import likeness, usual_edges, usual_likeness, with_nodes
from auditor.data.feature_space import FeatureSpace
from auditor.data.graph import Graph
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.robustness import single_nodes
from auditor.evaluate.robustness.injection import InjectionVerifier
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.targets.surroundings import Surroundings
from auditor.targets.target import Capability, Target
from tests.evaluate.robustness.probing import claims, evaluated, marked_target, number, rows, shipped
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


def test_likeness_is_the_mean_cosine_to_neighbours_by_hand():
    old = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    added = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    found = likeness(added, old, torch.tensor([[0, 0, 1], [0, 2, 1]]))
    assert found[:2].tolist() == pytest.approx([(1 + 0.6) / 2, 0.5**0.5])
    assert bool(found[2].isnan())  # joined to nobody
    arcs = torch.tensor([[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]])  # the loop does not count
    graph = Graph(old, arcs, torch.zeros(3, dtype=torch.int64), name="hand")
    assert usual_likeness(graph, old, 1.0) == pytest.approx((0.6 + 0.8) / 2)
    assert usual_likeness(graph, old, 0.5) == 0


def test_likeness_is_of_blocks_of_edges_that_bound_its_memory(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    old, added = torch.randn(9, 4, generator=rng), torch.randn(3, 4, generator=rng)
    edges = torch.stack([torch.arange(3).repeat_interleave(9), torch.arange(9).repeat(3)])
    whole, most = likeness(added, old, edges), []
    monkeypatch.setattr(added_nodes, "BLOCK", 20)
    split = torch.split
    monkeypatch.setattr(torch, "split", lambda *a, **k: most.extend(split(*a, **k)) or split(*a, **k))
    assert torch.allclose(likeness(added, old, edges), whole)
    assert max(part.shape[1] for part in most) == 5


def test_likeness_is_asked_of_no_graph_without_edges():
    graph = sbm_graph().with_edges(torch.empty(2, 0, dtype=torch.int64))
    with pytest.raises(SkippedError, match="has no edges"):
        usual_likeness(graph, graph.x, 0.5)


@pytest.mark.parametrize("make", [lambda: toy_target("gcn"), normalised, noisy])
def test_added_nodes_are_as_like_their_neighbours_as_was_asked_and_still_break_more_than_twins(make):
    target, kept = make(), []
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.extend(outcome.points)
        return outcome

    result = evaluated(PROBE, target, attacks=(claims(remember), shipped(PROBE)[1]), eps="0.3", homophily="0.5")
    assert rows(result)["budget"].status == "pass"
    assert result.measured[0].excess.lo > 0
    bound, raw = result.params["likeness"], FeatureSpace.of(target.graph.x).raw
    own = target.graph.edge_index[:, target.graph.edge_index[0] != target.graph.edge_index[1]]
    assert bound == pytest.approx(float(likeness(raw, raw, own).nan_to_num().quantile(0.5)), abs=1e-6)
    (added,) = kept
    cosine = torch.nn.functional.cosine_similarity(added.x[added.edges[0]], raw[added.edges[1]])
    for node in added.edges[0].unique().tolist():
        assert float(cosine[added.edges[0] == node].mean()) >= bound - 1e-5
    free = evaluated(PROBE, target, eps="0.3")
    assert free.measured[0].estimate.value <= result.measured[0].estimate.value


@pytest.mark.parametrize("columns", [1, 4])
def test_a_bound_of_full_likeness_can_be_met(columns):
    """Of one positive column every cosine is 1; of categories that of a node among its like."""
    graph = sbm_graph()
    x = 1 + graph.x[:, :1] if columns == 1 else torch.eye(columns)[graph.y % columns]
    target = toy_target("gcn", graph=dataclasses.replace(graph, x=x))
    kept = []

    def remember(view, attempt):
        outcome = shipped(PROBE)[0].run(view, attempt)
        kept.extend(outcome.points)
        return outcome

    result = evaluated(PROBE, target, attacks=(claims(remember), shipped(PROBE)[1]), eps="0.05", homophily="1")
    assert result.params["likeness"] == pytest.approx(1)
    assert kept[0].edges.shape[1] > 0
    assert result.measured[0].control is not None
    assert rows(result)["budget"].status == "pass"


def test_added_nodes_that_are_unlike_their_neighbours_are_refused(gcn):
    graph = gcn.graph
    raw = FeatureSpace.of(graph.x).raw
    node = int(raw.sum(dim=1).argmax())
    unlike = (raw[node : node + 1] == 0).float()
    unlike[:, unlike.cumsum(dim=1)[0] > 3] = 0
    check = dataclasses.replace(verifier(gcn), likeness=0.2)
    edges = torch.tensor([[0], [node]])
    check.check(AddedNodes(1, raw[node : node + 1], edges))
    with pytest.raises(EvaluationError, match=r"like its neighbours by 0\.000, bound 0\.200"):
        check.check(AddedNodes(1, unlike, edges))


def test_neighbours_that_nothing_is_like_enough_to_are_left_out():
    space = FeatureSpace.of(torch.eye(4).repeat(2, 1)[:, :4].contiguous() + torch.eye(4).repeat(2, 1).roll(1, dims=1))
    edges = torch.tensor([[0, 0, 1], [0, 2, 1]])
    alike = Alike.of(space, edges, 2, 2, 0.9)
    assert alike.edges.tolist() == [[0, 1], [0, 1]]
    assert torch.equal(alike.bits_of(torch.zeros(2, 4)), space.raw[:2])


def test_one_added_node_against_each_of_some_nodes_is_counted_beside_random_ones():
    """The mark of a neighbour decides: one node that carries it breaks whom it is joined to."""
    result = evaluated(PROBE, marked_target(), eps="0.05", edges="4", single="15")
    found = number(result, "one_node_rate", "single")
    assert (found.estimate.value, found.estimate.n, found.judged) == (1.0, 15, False)
    assert (found.facts.tries, found.facts.mode, found.facts.attacked) == (5, "added-node", 15)
    assert found.control.estimate.value < 0.9
    assert found.contrast.value == pytest.approx(1 - found.control.estimate.value)
    assert rows(result)["budget"].status == "pass"


class Centred(nn.Module):
    """A GCN whose answers are less their mean over all nodes: it reads the whole graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x, edge_index):
        answers = self.model(x, edge_index)
        return answers - answers.mean(dim=0)


def sparse_target(n: int = 900) -> Target:
    """A trained GCN on a graph in which a few steps reach few nodes."""
    return toy_target("gcn", graph=sbm_graph(n, degree=2.5), epochs=30)


@pytest.mark.parametrize("params", [{}, {"homophily": "0.5"}])
def test_nodes_one_by_one_are_asked_about_on_their_surroundings_and_nothing_else_changes(monkeypatch, params):
    target, sizes = sparse_target(), list[int]()
    target.model.register_forward_pre_hook(lambda _module, given: sizes.append(given[0].shape[0]))
    asked = {"eps": "0.01", "single": "8", "edges": "2", **params}
    near = evaluated(PROBE, target, **asked)
    small = [size for size in sizes if size < target.graph.num_nodes / 2]
    assert len(small) > 100
    sizes.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Surroundings, "of", classmethod(lambda *_: None))
        whole = evaluated(PROBE, target, **asked)
    assert min(sizes) >= target.graph.num_nodes
    assert near.measured == whole.measured
    assert "single-nodes" not in rows(near)


def test_a_model_that_reads_the_whole_graph_is_asked_about_the_whole_graph(monkeypatch):
    target = sparse_target(300)
    target = dataclasses.replace(target, model=Centred(target.model))
    near = evaluated(PROBE, target, eps="0.01", single="4")
    monkeypatch.setattr(Surroundings, "of", classmethod(lambda *_: None))
    assert near.measured == evaluated(PROBE, target, eps="0.01", single="4").measured


def test_where_it_costs_too_much_fewer_nodes_are_attacked_and_a_row_says_so(monkeypatch):
    target = sparse_target(300)
    target = dataclasses.replace(target, model=Centred(target.model))
    monkeypatch.setattr(single_nodes, "MOST_ARCS", 5 * target.graph.num_edges + 1)
    result = evaluated(PROBE, target, eps="0.01", single="10")
    found = number(result, "one_node_rate")
    assert found.estimate.n == found.facts.attacked == 5
    assert rows(result)["single-nodes"].status == "not_checked"
    assert "5 of 10 nodes were attacked" in rows(result)["single-nodes"].evidence


@pytest.mark.parametrize(
    ("most", "arcs", "said"),
    [
        (1, [4, 7, 9], "1 of 3 nodes was attacked: what the model reads to answer about all of them has 20 arcs"),
        (2, [9, 9, 2], "2 of 3 nodes were attacked: what the model reads to answer about all of them has 20 arcs"),
        (1, [4, 7, 9], "(1 takes the whole graph, of 9 arcs)"),
        (2, [9, 9, 2], "(2 take the whole graph, of 9 arcs)"),
    ],
)
def test_what_is_said_of_nodes_that_were_left_out_agrees_with_their_number(most, arcs, said):
    (row,) = single_nodes.limited(most, arcs, 9, 10)
    assert said in row.evidence


def test_nodes_one_by_one_are_tried_from_standard_on_and_where_asked(gcn):
    assert all(m.metric != "one_node_rate" for m in evaluated(PROBE, gcn, eps="0.05").measured)
    found = number(evaluated(PROBE, gcn, eps="0.05", profile="standard"), "one_node_rate")
    assert found.estimate.n == 20
    like = evaluated(PROBE, gcn, eps="0.05", single="4", homophily="0.5")
    assert number(like, "one_node_rate").estimate.n == 4
    assert rows(like)["budget"].status == "pass"


def test_a_node_that_the_control_cannot_be_tried_against_is_left_out(gcn):
    search, control = shipped(PROBE)

    def evens(view, attempt):
        if attempt.joins_items and int(view.items[0]) % 2:
            raise SkippedError("an odd node")
        return control.run(view, attempt)

    half = dataclasses.replace(control, attack=claims(evens).attack)
    found = number(evaluated(PROBE, gcn, attacks=(search, half), eps="0.05", single="20"), "one_node_rate")
    whole = number(evaluated(PROBE, gcn, eps="0.05", single="20"), "one_node_rate")
    assert whole.estimate.n == 20
    assert 0 < found.estimate.n == found.control.estimate.n == found.facts.attacked < 20


def test_an_added_node_that_is_joined_to_another_node_counts_against_nobody(gcn):
    def elsewhere(view, attempt):
        stray = int(view.items[0]) if not attempt.joins_items else (int(view.items[0]) + 1) % 120
        edges = torch.tensor([[0], [stray]])
        return InjectionOutcome((AddedNodes(attempt.budgets[0], FeatureSpace.of(view.x).raw[:1], edges),), ("planted",))

    result = evaluated(PROBE, gcn, attacks=(claims(elsewhere), shipped(PROBE)[1]), eps="0.05", single="3")
    assert rows(result)["budget"].status == "fail"
    assert "joins others than node" in rows(result)["budget"].evidence
    assert number(result, "one_node_rate").estimate.value == 0


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


@pytest.mark.parametrize(
    "params",
    [
        {"eps": "2"},
        {"eps": "0"},
        {"edges": "-1"},
        {"homophily": "1.1"},
        {"single": "-2"},
        {"steps": "0"},
        {"momentum": "1"},
    ],
)
def test_bad_parameters_are_refused(gcn, params):
    with pytest.raises(ConfigError):
        evaluated(PROBE, gcn, **params)


def test_a_graph_that_lacks_an_arc_is_no_graph_with_directions():
    graph = sbm_graph()
    lacking = graph.keeping(torch.arange(1, graph.num_edges))
    added = with_nodes(lacking, graph.x[:1], torch.tensor([[0, 0], [3, 4]]))
    assert added.num_edges == lacking.num_edges + 4
    assert added.num_one_way == 1
