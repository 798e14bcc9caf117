"""Nodes added to many graphs: each has its own budget, and nothing that was there is touched."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import SimpleConv, global_add_pool

from auditor.data.added_nodes import places_in, with_nodes
from auditor.errors import ConfigError
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.perturbations import to_npz
from auditor.targets.target import Target
from tests.evaluate.robustness.graph_targets import KINDS, trained
from tests.evaluate.robustness.probing import claims, evaluated, holds_nothing, rows, shipped
from tests.toys import ALL, random_split, small_graphs, toy_target

PROBE = "injection"


class Marked(nn.Module):
    """Class 1 where a node of a graph is joined to one of category 2; what is not joined to anything counts nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = SimpleConv(aggr="sum")

    def forward(self, x, edge_index, batch):
        found = global_add_pool(self.sum(x[:, 2:3], edge_index), batch)
        return torch.cat([torch.full_like(found, 0.5), found], dim=1)


def marked() -> Target:
    """Graphs of class 0 without a node of category 2, but for one training graph that consists of them."""
    graph, split = small_graphs(80), random_split(80)
    x = nn.functional.one_hot(torch.arange(graph.num_nodes) % 2, 3).float()
    of = int(torch.nonzero(split.train)[0])
    x[graph.batch == of] = torch.tensor([0.0, 0.0, 1.0])
    graph = dataclasses.replace(graph, x=x, y=torch.zeros(80, dtype=torch.int64))
    return Target("marked", graph, split, 2, ALL, "factory", "marked", {}, Marked())


@pytest.mark.parametrize("kind", KINDS)
def test_added_nodes_do_more_than_random_ones_and_every_check_passes(kind):
    target = trained(kind)
    result = evaluated(PROBE, target, profile="standard")
    assert [m.subset for m in result.measured] == ["nodes=1", "nodes=0.1"]
    (judged,) = [m for m in result.measured if m.judged]
    assert judged.subset == "nodes=1"
    assert judged.control.name == "injection-random"
    assert judged.facts.per_graph
    assert judged.facts.edits <= judged.facts.budget == judged.facts.attacked_items
    assert result.measured[-1].excess.lo > 0
    assert {row.id: row.evidence for row in result.validity if row.status == "fail"} == {}
    assert rows(result)["claim"].status == "pass"


def test_reported_accuracy_is_that_of_the_larger_graphs_by_an_independent_forward():
    target, kept = trained("categories"), []
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.extend(outcome.points)
        return outcome

    result = evaluated(PROBE, target, profile="full", attacks=(claims(remember), shipped(PROBE)[1]), eps="0.3")
    (added,), graph = kept, target.graph
    right = []
    for item in torch.nonzero(target.split.test).flatten().tolist():
        nodes = torch.nonzero(graph.batch == item).flatten()
        place = {int(node): k for k, node in enumerate(nodes)}
        mine = torch.nonzero(added.graphs == item).flatten()
        new = {int(a): len(place) + k for k, a in enumerate(mine)}
        pairs = [(place[u], place[v]) for u, v in graph.edge_index.T.tolist() if u in place]
        assert len(mine) <= max(1, int(0.3 * len(place)))
        for a, old in added.edges.T.tolist():
            if a in new:
                pairs += [(new[a], place[old]), (place[old], new[a])]
        x = torch.cat([graph.x[nodes], added.x[mine]])
        z = target.model(x, torch.tensor(pairs).T, torch.zeros(x.shape[0], dtype=torch.int64))
        right.append(int(z.argmax()) == int(graph.y[item]))
    facts = result.measured[0].facts
    assert facts.attempts["claims (tanh)"] == pytest.approx(sum(right) / len(right))
    assert facts.edits == added.x.shape[0]


def test_old_nodes_edges_and_graphs_stay_as_they_are():
    graph = small_graphs(10)
    of, edges = torch.tensor([7, 2, 7]), []
    for new, item in enumerate(of.tolist()):
        edges.append([new, int(torch.nonzero(graph.batch == item).flatten()[1])])
    more = with_nodes(graph, graph.x[:3], torch.tensor(edges).T, of)
    place, batch = places_in(graph.batch, of)
    old = place[: graph.num_nodes]
    assert torch.equal(more.batch, batch)
    assert torch.equal(more.x[old], graph.x)
    assert torch.equal(more.batch[old], graph.batch)
    assert torch.equal(more.edge_index[:, : graph.num_edges], old[graph.edge_index])
    assert torch.equal(more.y, graph.y)
    assert more.num_nodes == graph.num_nodes + 3
    assert torch.equal(more.batch[place[graph.num_nodes :]], of)
    assert torch.equal(more.x[place[graph.num_nodes :]], graph.x[:3])
    with pytest.raises(ValueError, match="which one each joins"):
        with_nodes(graph, graph.x[:1], torch.tensor([[0], [0]]))


def test_a_planted_node_breaks_every_graph_and_a_random_one_few():
    target = marked()
    result = evaluated(PROBE, target, profile="full", eps="one")
    assert result.measured[0].estimate.value == 0
    assert result.measured[0].control.estimate.value > 0.9  # few training nodes are such
    assert rows(result)["budget"].status == "pass"


def test_a_model_that_reads_no_edge_of_an_added_node_loses_nothing():
    class First(nn.Module):
        """The class that the first node of each graph says: added ones come last."""

        def forward(self, x, edge_index, batch):
            first = torch.cat([torch.ones(1, dtype=torch.bool), batch[1:] != batch[:-1]])
            return 1.5 * x[first][:, :2] + 0.1

    target = dataclasses.replace(trained("categories"), model=First())
    result = evaluated(PROBE, target, profile="full", eps="one")
    clean = result.measured[0].facts.clean.value
    assert result.measured[0].estimate.value == clean
    assert result.measured[0].control.estimate.value == pytest.approx(clean)


def test_random_nodes_in_place_of_the_search_are_no_gain():
    assert holds_nothing(PROBE, trained("categories"), 6, eps="one") >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_equal_cells_give_equal_results_and_inputs_stay(kind):
    target = trained(kind)
    before = target.graph.digest()
    first, second = (evaluated(PROBE, target, graphs="12") for _ in range(2))
    assert first == second
    assert target.graph.digest() == before
    assert evaluated(PROBE, target, graphs="12", seed=1).measured != first.measured


def test_features_of_the_control_are_those_of_nodes_of_training_graphs():
    target = marked()
    graph, split = target.graph, target.split
    x = graph.x.clone()
    x[split.train[graph.batch]] = torch.tensor([0.0, 0.0, 1.0])
    target = dataclasses.replace(target, graph=dataclasses.replace(graph, x=x))
    result = evaluated(PROBE, target, profile="full", eps="one")
    assert result.measured[0].control.estimate.value == 0  # all of them are of category 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": lambda x: torch.ones_like(x)}, "not of one category"),
        ({"x": lambda x: torch.zeros_like(x)}, "not of one category"),
        ({"x": lambda x: 0.5 * x}, "is no bit"),
        ({"graphs": lambda of: None}, "expected int64"),
        ({"graphs": lambda of: of.float()}, "expected int64"),
        ({"graphs": lambda of: of * 0 + _outside}, "not attacked"),
        ({"edges": lambda e: torch.stack([e[0], e[1] * 0 + _last])}, "another graph"),
        ({"twice": True}, "budget"),
        ({"budgets": True}, "nodes added to graph"),
    ],
)
def test_claims_that_break_a_rule_are_dropped_and_said(change, message):
    target = trained("categories")

    def planted(view, attempt):
        own = [torch.nonzero(view.graph.batch == item).flatten()[0] for item in view.items.tolist()]
        count = len(own) + 1 if change.get("twice") else 2 if change.get("budgets") else 1
        x = view.x[:1].expand(count, -1)
        of = view.items[:1].expand(count)
        edges = torch.stack([torch.arange(count), own[0].expand(count)])
        added = AddedNodes(
            attempt.budgets[0],
            change.get("x", lambda same: same)(x),
            change.get("edges", lambda same: same)(edges),
            graphs=change.get("graphs", lambda same: same)(of),
        )
        return InjectionOutcome((added,), ("planted",))

    row = rows(evaluated(PROBE, target, attacks=(claims(planted), shipped(PROBE)[1]), eps="one"))["budget"]
    assert row.status == "fail"
    assert message in row.evidence


_outside = int(torch.nonzero(~random_split(100).test)[0])
_last = trained("categories").graph.num_nodes - 1


@pytest.mark.parametrize("params", [{"eps": "one/one"}, {"eps": "two"}, {"eps": "0"}, {"graphs": "-1"}])
def test_bad_parameters_are_refused(params):
    with pytest.raises(ConfigError):
        evaluated(PROBE, trained("bits"), **params)


class Weighted(nn.Module):
    """As much of category 1 as a graph's edges hand on, by their weights, against a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = SimpleConv(aggr="sum")

    def forward(self, x, edge_index, edge_weight, batch):
        found = global_add_pool(self.sum(x[:, 1:2], edge_index, edge_weight), batch)
        return torch.cat([torch.full_like(found, 9.0), found], dim=1)


def test_new_edges_weigh_as_much_for_the_search_as_for_its_verification():
    """The median over all graphs, of which the attacked ones are the heavier ones here."""
    target = trained("categories")
    graph = target.graph
    heavy = target.split.test[graph.batch[graph.edge_index[0]]]
    graph = dataclasses.replace(graph, edge_weight=torch.where(heavy, 2.0, 0.1))
    target = Target("weighted", graph, target.split, 2, ALL, "factory", "weighted", {}, Weighted())
    found = rows(evaluated(PROBE, target, profile="full", eps="one"))["claim"]
    assert found.status == "pass", found.evidence


def test_a_graph_with_directions_is_one_for_the_search_too_where_its_part_looks_otherwise():
    """Attacked graphs have every arc both ways, the others one way: together they have directions."""
    target = trained("categories")
    graph = target.graph
    attacked = target.split.test[graph.batch[graph.edge_index[0]]]
    graph = graph.keeping(torch.nonzero(attacked | (graph.edge_index[0] < graph.edge_index[1])).flatten())
    graph = dataclasses.replace(graph, edge_weight=torch.ones(graph.num_edges))
    target = Target("directed", graph, target.split, 2, ALL, "factory", "directed", {}, Weighted())
    found = rows(evaluated(PROBE, target, profile="full", eps="one"))["claim"]
    assert found.status == "pass", found.evidence


def test_one_node_and_as_many_as_there_are_have_names_of_their_own():
    result = evaluated(PROBE, trained("bits"), graphs="4", eps="one/1")
    assert [m.subset for m in result.measured] == ["nodes=1", "nodes=1.0"]


def test_one_node_of_all_may_be_asked_for_on_one_graph():
    result = evaluated(PROBE, toy_target("gcn"), eps="one/0.1")
    assert [m.subset for m in result.measured] == ["nodes=1", "nodes=0.1"]
    assert result.measured[0].facts.budget == 1
    assert not result.measured[0].facts.per_graph


def test_files_of_edits_say_which_graph_each_node_was_added_to():
    result = evaluated(PROBE, trained("categories"), graphs="12", eps="one")
    with np.load(io.BytesIO(to_npz(result.edits, probe=PROBE, seed=0)), allow_pickle=False) as archive:
        assert archive["graphs_0"].shape == (archive["x_0"].shape[0],)
        assert set(archive["edges_0"][0]) == set(range(len(archive["graphs_0"])))


def test_files_of_edits_say_that_a_node_left_one_category_for_another():
    result = evaluated("feature-evasion", trained("categories"), graphs="12", eps="0.3")
    with np.load(io.BytesIO(to_npz(result.edits, probe="feature-evasion", seed=0)), allow_pickle=False) as archive:
        node, change = archive["node_0"], archive["change_0"]
        assert node.size
        assert np.array_equal(np.unique(node[change > 0]), np.unique(node[change < 0]))
        assert (change > 0).sum() == (change < 0).sum() == len(np.unique(node))
