"""Pruning and reinvesting: what a change can reach, that nothing gets worse, and that what is wasted is spent again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, SimpleConv

from attacks.robustness.prune_reinvest import PruneReinvest
from attacks.robustness.reach import Reach, checked_depth, depth_of
from attacks.robustness.soft_flips import Victim
from auditor.data.graph import Graph, Split
from auditor.probe import Attempt
from auditor.targets.target import Target
from auditor.view import grant_graph
from tests.attacks.asked import attack, attempt
from tests.toys import ALL, sbm_graph, toy_target


def victim_of(target: Target) -> Victim:
    return Victim.of(grant_graph(target, attack("active-set").access, with_test_labels=True))


class Marked(nn.Module):
    """A node is of class 1 when at least `needed` of its neighbours are marked."""

    def __init__(self, needed: int) -> None:
        super().__init__()
        self.needed, self.sum = needed, SimpleConv(aggr="sum")

    def forward(self, x, edge_index):
        marked = self.sum(x[:, :1], edge_index)
        return torch.cat([torch.full_like(marked, self.needed - 0.5), marked], dim=1)


def marked_victim(needed: int = 1, n: int = 60) -> Victim:
    """Nodes 0-4 carry the mark; the rest form a ring and have class 0. Nodes 10 and up are attacked."""
    ring = torch.arange(5, n)
    edges = torch.stack([ring, torch.roll(ring, -1)])
    x = torch.zeros(n, 2)
    x[:5, 0] = 1
    graph = Graph(x, torch.cat([edges, edges.flip(0)], dim=1), torch.zeros(n, dtype=torch.int64), name="ring")
    test, train = torch.arange(n) >= 10, torch.arange(n) < 5
    target = Target(
        "marked", graph, Split(train, ~(test | train), test), 2, ALL, "factory", "marked", {}, Marked(needed)
    )
    return victim_of(target)


def improve(victim: Victim, start: torch.Tensor, budget: int, *, rounds: int = 1, package: int = 1, **asked):
    improving = PruneReinvest(victim, attempt(budget, **asked), budget, depth=depth_of(victim), package=package)
    return improving.run(start, rounds), improving.spent


def errors(victim: Victim, keys: torch.Tensor) -> int:
    return int((~victim.correct(keys)).sum())


@pytest.mark.parametrize("arch", ["gcn", "sage", "gat"])
def test_changes_that_are_judged_together_answer_as_each_alone(arch):
    victim = victim_of(toy_target(arch, graph=sbm_graph(n=600, degree=2.0), epochs=5))
    keys = victim.space.draw(60, np.random.default_rng(0))
    depth = checked_depth(victim, keys[:3])
    assert depth == depth_of(victim)
    reach = Reach(victim, depth, keys)
    changes = [reach.of(key) for key in keys.split(1)]
    batches = list(reach.together(changes))
    assert sorted(place for batch in batches for place in batch) == list(range(60))
    assert len(batches) < 60
    for batch in batches:
        joint = victim.logits(keys[batch])
        for place in batch:
            if changes[place].items is not None:
                alone = victim.logits(keys[place : place + 1])
                torch.testing.assert_close(joint[changes[place].items], alone[changes[place].items])


class Coupled(nn.Module):
    """A layer of GCN beside the mean over all nodes: each answer depends on each edge."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = GCNConv(width, 3)

    def forward(self, x, edge_index):
        h = self.conv(x, edge_index)
        return h - h.mean(dim=0)


def test_a_model_that_couples_all_nodes_is_judged_one_change_at_a_time():
    torch.manual_seed(0)
    graph = sbm_graph()
    n = graph.num_nodes
    test = torch.arange(n) >= n // 2
    split = Split(~test, torch.zeros_like(test), test)
    target = Target("coupled", graph, split, 3, ALL, "factory", "coupled", {}, Coupled(graph.num_features))
    victim = victim_of(target)
    keys = victim.space.draw(20, np.random.default_rng(0))
    assert checked_depth(victim, keys[:3]) is None
    reach = Reach(victim, None, keys)
    assert [len(batch) for batch in reach.together([reach.of(key) for key in keys.split(1)])] == [1] * 20


def test_flips_that_break_nothing_are_spent_on_other_items():
    victim = marked_victim()
    useful = victim.space.keys(torch.zeros(5, dtype=torch.int64), torch.arange(10, 15))
    useless = victim.space.keys(torch.full((10,), 6), torch.arange(20, 30))
    start = torch.cat([useful, useless])
    assert errors(victim, start) == 5
    keys, spent = improve(victim, start, 15)
    assert errors(victim, keys) == 15
    assert set(useful.tolist()) <= set(keys.tolist())
    assert (spent.errors, spent.taken_back, spent.spent_again, spent.left_over) == ([5, 15], 10, 10, 0)


def test_what_cannot_break_anything_stays_unspent():
    victim = marked_victim()
    keys, spent = improve(victim, torch.empty(0, dtype=torch.int64), 80)
    assert errors(victim, keys) == keys.numel() == 50
    assert spent.left_over == 30


def test_an_item_that_needs_two_flips_falls_to_a_package():
    victim = marked_victim(needed=2)
    nothing = torch.empty(0, dtype=torch.int64)
    assert errors(victim, improve(victim, nothing, 20)[0]) == 0
    keys, _ = improve(victim, nothing, 20, package=4)
    assert errors(victim, keys) == 10


@pytest.mark.parametrize("arch", ["gcn", "sage"])
def test_it_is_never_worse_and_keeps_to_budget_and_caps(arch):
    victim = victim_of(toy_target(arch))
    space = victim.space
    caps = torch.bincount(torch.cat(space.ends(space.existing)), minlength=space.graph.num_nodes)
    start = space.draw(200, np.random.default_rng(1))
    room, kept = caps.clone(), []
    for key, u, v in zip(start.tolist(), *(end.tolist() for end in space.ends(start)), strict=True):
        if room[u] and room[v]:
            room[u] -= 1
            room[v] -= 1
            kept.append(key)
    start = torch.tensor(kept[:40])
    keys, spent = improve(victim, start, 40, rounds=2, package=3, node_caps=caps)
    assert errors(victim, keys) == spent.errors[1] > spent.errors[0] == errors(victim, start)
    assert keys.numel() == keys.unique().numel() <= 40
    assert bool((torch.bincount(torch.cat(space.ends(keys)), minlength=space.graph.num_nodes) <= caps).all())


def test_budgets_that_grow_are_never_weaker():
    target = toy_target("gcn")
    search = attack("active-set", losses=("tanh",), cycles=1)
    view = grant_graph(target, search.access, with_test_labels=True)
    asked: Attempt = attempt(5, 10, 20, 40)
    left = [point.claimed_accuracy for point in search.run(view, asked).points]
    assert left == sorted(left, reverse=True)
