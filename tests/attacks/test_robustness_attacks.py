"""The structure attacks themselves: budgets, caps, planted effects, strength on a real graph."""

from __future__ import annotations

import pytest
import torch

from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError, SkippedError
from auditor.parameters import build
from auditor.probe import Attempt, Registered
from auditor.targets.target import Target
from auditor.view import grant_graph
from tests.attacks.asked import attack, attempt
from tests.evaluate.robustness.probing import marked_target
from tests.toys import toy_target


def view_for(given: Registered, target: Target):
    return grant_graph(target, given.access, with_test_labels=True)


def run(given: Registered, target: Target, asked: Attempt):
    return given.run(view_for(given, target), asked)


def errors(target, keys):
    edited = EdgeSpace.of(target.graph).toggled(keys)
    z = target.logits(edited.x, edited.edge_index)
    return int((z.argmax(dim=1) != target.graph.y)[target.split.test].sum())


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage"])
def test_active_set_is_stronger_than_the_fixed_rule_and_the_control(arch):
    target = toy_target(arch)
    budget = EdgeSpace.of(target.graph).m // 5
    left = {}
    for each in (attack("active-set", cycles=2), attack("dice"), attack("random", draws=3)):
        left[each.id] = max(errors(target, point.keys) for point in run(each, target, attempt(budget)).points)
    assert left["active-set"] > max(left["dice"], left["random"]) + 3, left


def test_claimed_accuracy_is_that_of_the_edited_graph():
    target = toy_target("gat")
    outcome = run(attack("active-set", cycles=1), target, attempt(10, 40))
    for point in outcome.points:
        n = int(target.split.test.sum())
        assert point.claimed_accuracy == pytest.approx(1 - errors(target, point.keys) / n, abs=1e-9)
    assert outcome.variant == ("tanh", "tanh", "prob", "prob")


@pytest.mark.parametrize(
    ("id_", "settings"), [("active-set", {"cycles": 1}), ("greedy", {}), ("dice", {}), ("random", {"draws": 2})]
)
def test_caps_hold(id_, settings):
    target = toy_target("gcn")
    space = EdgeSpace.of(target.graph)
    caps = torch.bincount(torch.cat(space.ends(space.existing)), minlength=120) // 4
    for point in run(attack(id_, **settings), target, attempt(40, node_caps=caps)).points:
        spent = torch.bincount(torch.cat(space.ends(point.keys)), minlength=120)
        assert 0 < point.keys.numel() <= 40
        assert bool((spent <= caps).all())


def test_dice_adds_between_classes_and_deletes_inside():
    target = toy_target("gcn")
    space, y = EdgeSpace.of(target.graph), target.graph.y
    (point,) = run(attack("dice"), target, attempt(50)).points
    there = space.exists(point.keys)
    u, v = space.ends(point.keys)
    assert bool((y[u] == y[v])[there].all())
    assert bool((y[u] != y[v])[~there].all())
    assert int((~there).sum()) == 30


def test_random_sets_of_one_draw_are_nested():
    outcome = run(attack("random", draws=2), toy_target("gcn"), attempt(5, 20))
    small, large = outcome.points[0].keys, outcome.points[1].keys
    assert torch.equal(large[:5], small)
    assert not torch.equal(outcome.points[2].keys, small)


def test_planted_effect_every_flip_breaks_one_target():
    target = marked_target()
    assert target.accuracy() == 1
    (point,) = run(attack("active-set", losses=("tanh",)), target, attempt(20)).points
    assert errors(target, point.keys) == 20


def test_greedy_breaks_one_target_a_flip_and_leaves_graphs_to_the_other_search():
    target = marked_target()
    (point,) = run(attack("greedy"), target, attempt(20)).points
    assert errors(target, point.keys) == point.keys.numel() == 20
    with pytest.raises(SkippedError, match="one graph"):
        run(attack("greedy"), toy_target("graph-gin"), attempt(5))


@pytest.mark.parametrize("arch", ["gcn", "gat"])
def test_greedy_is_stronger_than_the_control(arch):
    target = toy_target(arch)
    left = {}
    for each in (attack("greedy"), attack("random", draws=3)):
        left[each.id] = max(errors(target, point.keys) for point in run(each, target, attempt(60)).points)
    assert left["greedy"] > left["random"] + 3, left


def test_graph_level_attack_keeps_each_graphs_budget_and_stops_when_it_is_broken():
    target = toy_target("graph-gin")
    search = attack("active-set", losses=("tanh",))
    view = view_for(search, target)
    n = view.items.numel()
    levels = (torch.ones(n, dtype=torch.int64), torch.full((n,), 3))
    outcome = search.run(view, attempt(n, 3 * n, item_budgets=levels))
    space = EdgeSpace.of(target.graph)
    small, large = outcome.points
    assert set(small.keys.tolist()) <= set(large.keys.tolist())
    batch = target.graph.batch
    for point, level in zip(outcome.points, levels, strict=True):
        u, v = space.ends(point.keys)
        spent = torch.bincount(batch[u], minlength=target.graph.num_items)
        assert torch.equal(batch[u], batch[v])
        assert bool((spent[view.items] <= level).all())
    broken_by_one = target.logits(*_edited(space, small.keys)).argmax(dim=1) != target.graph.y
    spent = torch.bincount(batch[space.ends(large.keys)[0]], minlength=target.graph.num_items)
    assert bool((spent[broken_by_one & target.split.test] <= 1).all())
    assert large.claimed_accuracy < small.claimed_accuracy < target.accuracy()


def test_one_flip_on_graphs_finds_what_exhaustive_search_finds():
    target = toy_target("graph-gin")
    searches = {name: attack("active-set", losses=(name,)) for name in ("tanh", "prob")}
    view = view_for(searches["tanh"], target).with_items(torch.nonzero(target.split.test).flatten()[:10])
    asked = attempt(10, item_budgets=(torch.ones(10, dtype=torch.int64),))
    found = {name: search.run(view, asked).points[0].keys for name, search in searches.items()}
    space, graph = EdgeSpace.of(target.graph), target.graph
    breakable = broken = 0
    for item in view.items.tolist():
        nodes = torch.nonzero(graph.batch == item).flatten()
        pairs = torch.combinations(nodes)
        wrong = [
            bool(target.logits(*_edited(space, (u * graph.num_nodes + v).view(1))).argmax(dim=1)[item] != graph.y[item])
            for u, v in pairs
        ]
        mine = [_edited(space, keys[graph.batch[keys // graph.num_nodes] == item]) for keys in found.values()]
        breakable += any(wrong)
        broken += any(bool(target.logits(*edit).argmax(dim=1)[item] != graph.y[item]) for edit in mine)
    assert breakable >= 5
    assert broken >= 0.95 * breakable


def _edited(space, keys):
    graph = space.toggled(keys)
    return graph.x, graph.edge_index, graph.edge_weight, graph.batch


def test_model_without_edges_is_skipped():
    with pytest.raises(SkippedError, match="no gradient"):
        run(attack("active-set"), toy_target("mlp"), attempt(5))


@pytest.mark.parametrize(
    ("id_", "params"),
    [
        ("active-set", {"losses": "tahn"}),
        ("active-set", {"losses": "tanh/tanh"}),
        ("active-set", {"cycles": "-1"}),
        ("active-set", {"scan": "-1"}),
        ("active-set", {"rounds": "-2"}),
        ("active-set", {"package": "-1"}),
        ("greedy", {"losses": "tahn"}),
        ("random", {"draws": "0"}),
        ("dice", {"additions": "1.5"}),
        ("dice", {"additions": "nan"}),
    ],
)
def test_bad_parameters_are_refused(id_, params):
    with pytest.raises(ConfigError):
        build(registry.find("attacks", id_).load(), params, owner=id_)
