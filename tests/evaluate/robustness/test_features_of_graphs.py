"""Edited features of many graphs: each has its own budget; a category is changed for another one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch_geometric.nn import global_add_pool

from auditor.data.edits import select_graphs
from auditor.data.feature_space import FeatureSpace
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.targets.target import Target
from tests.evaluate.robustness.graph_targets import KINDS, trained
from tests.evaluate.robustness.probing import claims, evaluated, holds_nothing, rows, shipped
from tests.toys import ALL, random_split, sbm_graph, small_graphs, toy_target

PROBE = "feature-evasion"
NONE = torch.empty(0, dtype=torch.int64)


class Counts(nn.Module):
    """Class 1 where a graph has a node of category 2; edges are not read."""

    def forward(self, x, edge_index, batch):
        found = global_add_pool(x[:, 2:3], batch)
        return torch.cat([torch.full_like(found, 0.5), found], dim=1)


def counting() -> Target:
    """Graphs of class 0, none of whose nodes is of category 2."""
    graph = small_graphs(80)
    x = nn.functional.one_hot(torch.arange(graph.num_nodes) % 2, 3).float()
    graph = dataclasses.replace(graph, x=x, y=torch.zeros(80, dtype=torch.int64))
    return Target("counts", graph, random_split(80), 2, ALL, "factory", "counts", {}, Counts())


@pytest.mark.parametrize("kind", KINDS)
def test_edits_on_purpose_do_more_than_random_ones_and_every_check_passes(kind):
    target = trained(kind)
    result = evaluated(PROBE, target, profile="standard", radius="0.25/1", eps="0.01/0.3")
    assert result.params["kind"] == kind
    (judged,) = [m for m in result.measured if m.judged]
    assert judged.subset in ("ones=0.01", "radius=0.25")
    assert judged.control.name == "feature-random"
    assert judged.facts.per_graph
    assert result.measured[-1].excess.lo > 0
    assert result.measured[-1].estimate.value <= judged.estimate.value <= target.accuracy()
    assert {row.id: row.evidence for row in result.validity if row.status == "fail"} == {}
    assert rows(result)["claim"].status == "pass"


@pytest.mark.parametrize("kind", ["bits", "categories"])
def test_each_graph_keeps_to_its_own_budget_and_nothing_else_is_touched(kind):
    target, seen = trained(kind), []
    search = shipped(PROBE)[0]
    before = target.graph.digest()

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        for point in outcome.points:
            seen.append((point, view.items, attempt.item_budgets[attempt.budgets.index(point.budget)]))
        return outcome

    result = evaluated(PROBE, target, attacks=(claims(remember), shipped(PROBE)[1]), eps="0.01/0.3", graphs="20")
    assert result.params["targets"] == 20
    assert seen
    ones = target.graph.x.sum(dim=1)
    for point, items, own in seen:
        x = target.graph.x.clone().view(-1)
        x[point.bits] = 1 - x[point.bits]
        changed = (x.view_as(target.graph.x) != target.graph.x).any(dim=1)
        if kind == "categories":
            assert torch.equal(x.view_as(target.graph.x).sum(dim=1), ones)  # one moved, neither two set nor none
        per_graph = torch.bincount(target.graph.batch[point.bits // target.graph.num_features], minlength=100)
        per_graph //= 2 if kind == "categories" else 1
        assert bool((per_graph[items] <= own).all())
        assert int(per_graph[items].sum()) == int(per_graph.sum())  # no other graph is edited
        assert 0 < int(per_graph.sum()) <= int(own.sum()) == point.budget
        assert bool(torch.isin(target.graph.batch[changed], items).all())
    assert target.graph.digest() == before


def test_reported_accuracy_is_that_of_the_edited_graphs_by_an_independent_forward():
    target, kept = trained("categories"), {}
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.update(zip(outcome.variant, outcome.points, strict=True))
        return outcome

    result = evaluated(PROBE, target, profile="standard", attacks=(claims(remember), shipped(PROBE)[1]), eps="0.1")
    graph, attempts = target.graph, result.measured[0].facts.attempts
    survive = torch.ones(graph.num_items, dtype=torch.bool)
    for variant, point in kept.items():
        kind = graph.x.argmax(dim=1)
        for key in point.bits.tolist():
            node, column = divmod(key, graph.num_features)
            if graph.x[node, column] == 0:
                kind[node] = column
        x = nn.functional.one_hot(kind, graph.num_features).float()
        right = target.model(x, graph.edge_index, graph.batch).argmax(dim=1) == graph.y
        assert attempts[f"claims ({variant})"] == pytest.approx(float(right[target.split.test].double().mean()))
        survive &= right
    assert result.measured[0].estimate.value == pytest.approx(float(survive[target.split.test].double().mean()))


def test_one_edit_breaks_what_any_one_edit_breaks():
    """Against every single edit tried: 95 % of the graphs that one of them breaks are found."""
    target = trained("categories")
    graph, found, breakable = target.graph, [], []
    result = evaluated(PROBE, target, profile="full", attacks=(claims(_recorded(found)), shipped(PROBE)[1]), eps="0.01")
    assert set(result.params["budgets"].values()) == {int(target.split.test.sum())}
    for item in torch.nonzero(target.split.test).flatten().tolist():
        part, _ = select_graphs(graph, torch.tensor([item]))
        label, clean = int(graph.y[item]), part.batch
        if int(target.model(part.x, part.edge_index, clean).argmax()) != label:
            continue
        for key in range(part.x.numel()):
            x = part.x.clone()
            node, column = divmod(key, part.num_features)
            x[node] = nn.functional.one_hot(torch.tensor(column), part.num_features).float()
            if int(target.model(x, part.edge_index, clean).argmax()) != label:
                breakable.append(item)
                break
    broken = set()
    for point in found:
        x = graph.x.clone().view(-1)
        x[point.bits] = 1 - x[point.bits]
        right = target.model(x.view_as(graph.x), graph.edge_index, graph.batch).argmax(dim=1) == graph.y
        broken |= set(torch.nonzero(~right).flatten().tolist())
    assert len(breakable) >= 10
    assert len(broken & set(breakable)) >= 0.95 * len(breakable)


def _recorded(found):
    search = shipped(PROBE)[0]

    def run(view, attempt):
        outcome = search.run(view, attempt)
        found.extend(outcome.points)
        return outcome

    return run


def test_a_planted_category_breaks_every_graph_with_one_edit_and_a_random_one_few():
    target = counting()
    result = evaluated(PROBE, target, eps="0.01")
    assert result.measured[0].estimate.value == 0
    facts = result.measured[0].facts
    assert facts.edits == facts.attacked_items
    assert result.measured[0].control.estimate.value == pytest.approx(0.5, abs=0.15)  # of two others one is the third


def test_a_model_that_reads_no_feature_loses_nothing():
    target = counting()
    target = dataclasses.replace(target, model=Deaf())
    result = evaluated(PROBE, target, eps="0.1")
    assert result.measured[0].estimate.value == 1
    assert result.measured[0].facts.edits == 0
    assert result.measured[0].excess.value == 0


class Deaf(nn.Module):
    """Class 0, whatever it reads."""

    def forward(self, x, edge_index, batch):
        nothing = 0 * global_add_pool(x[:, :1], batch)
        return torch.cat([nothing + 1, nothing], dim=1)


def test_random_edits_in_place_of_the_search_are_no_gain():
    assert holds_nothing(PROBE, trained("categories"), 6, eps="0.05") >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_equal_cells_give_equal_results_and_other_seeds_draw_others(kind):
    target = trained(kind)
    first, second = (evaluated(PROBE, target, graphs="12", eps="0.1", radius="0.5") for _ in range(2))
    assert first == second
    other = evaluated(PROBE, target, graphs="12", eps="0.1", radius="0.5", seed=1)
    assert other.measured != first.measured


def test_bits_per_node_are_bounded_in_graphs_too():
    target = trained("bits")
    result = evaluated(PROBE, target, eps="0.5", bits_per_node="1")
    assert rows(result)["budget"].status == "pass"


def planted(bits):
    def attack(view, attempt):
        return FeatureOutcome((FeatureEdit(attempt.budgets[0], torch.tensor(bits(view))),), ("planted",))

    return claims(attack)


def _first_node(view, item):
    return int(torch.nonzero(view.graph.batch == item).flatten()[0])


def _keys(view, node, *columns):
    return [node * view.graph.num_features + column for column in columns]


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (lambda v: _keys(v, _first_node(v, int(v.items[0])), 0), "categories; expected one"),
        (lambda v: _keys(v, _first_node(v, int(v.items[0])), 0, 1, 2, 3), "categories; expected one"),
        (lambda v: _moves(v, 0, 1), "budget"),
        (lambda v: _moves_of(v, int(torch.nonzero(~torch.isin(torch.arange(100), v.items))[0]), 1), "not attacked"),
    ],
)
def test_edits_that_break_a_rule_are_dropped_and_said(bits, message):
    row = rows(evaluated(PROBE, trained("categories"), attacks=(planted(bits), shipped(PROBE)[1]), eps="0.01"))
    assert row["budget"].status == "fail"
    assert message in row["budget"].evidence


def _moves(view, place, extra):
    """One node more than a graph may have, each of the next category."""
    return _moves_of(view, int(view.items[place]), 1 + extra)


def _moves_of(view, item, count):
    width = view.graph.num_features
    nodes = torch.nonzero(view.graph.batch == item).flatten()[:count]
    own = view.x[nodes].argmax(dim=1)
    return torch.cat([nodes * width + own, nodes * width + (own + 1) % width]).tolist()


def test_values_of_graphs_that_are_not_attacked_stay():
    target = trained("values")

    def elsewhere(view, attempt):
        change = torch.zeros_like(view.x)
        change[~torch.isin(view.graph.batch, view.items)] = 0.001
        return FeatureOutcome((FeatureEdit(attempt.radii[0], NONE, change),), ("planted",))

    row = rows(evaluated(PROBE, target, attacks=(claims(elsewhere), shipped(PROBE)[1])))["budget"]
    assert "not attacked" in row.evidence


def test_rows_of_exactly_one_are_categories_and_others_are_bits():
    one_hot = nn.functional.one_hot(torch.arange(12) % 3, 3).float()
    space = FeatureSpace.of(one_hot)
    assert space.kind == "categories"
    bits = space.bits_of(torch.tensor([1, 5]))  # node 0 becomes 1, node 1 becomes 2
    assert bits.tolist() == [0, 1, 4, 5]
    assert space.toggled(bits)[:2].argmax(dim=1).tolist() == [1, 2]
    assert space.count(bits) == 2
    two = one_hot.clone()
    two[0, 1] = 1
    assert FeatureSpace.of(two).kind == "bits"
    none = one_hot.clone()
    none[0] = 0
    assert FeatureSpace.of(none).kind == "bits"


def test_nodes_of_one_graph_are_of_one_category_each_as_well():
    graph = sbm_graph()
    noisy = torch.arange(graph.num_nodes) % 4 == 0
    x = nn.functional.one_hot(torch.where(noisy, (graph.y + 1) % 3, graph.y), 3).float()
    target = toy_target("gcn", graph=dataclasses.replace(graph, x=x))
    result = evaluated(PROBE, target, eps="0.1")
    assert result.params["kind"] == "categories"
    assert rows(result)["budget"].status == "pass"
    assert result.measured[0].excess.lo > 0
