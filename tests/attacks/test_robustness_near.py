"""One node on its surroundings: gradients and answers are those of the whole graph, or the whole graph is asked."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, GINConv, PairNorm, SAGEConv

from attacks.robustness.local_evasion import LocalEvasion
from attacks.robustness.losses import margins
from attacks.robustness.near import Near
from attacks.robustness.soft_flips import Victim
from auditor.probe import Attempt
from auditor.view import Access, grant_graph
from tests.toys import sbm_graph, toy_target

RIVALS = 3
SIZE = 300


class Deep(nn.Module):
    """So many plain layers, each beside its input where the widths are equal."""

    def __init__(self, widths: tuple[int, ...], layer=GCNConv) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(a, b) for a, b in pairwise(widths))

    def forward(self, x, edge_index):
        for layer in self.layers:
            z = layer(x, edge_index)
            x = torch.tanh(z) + (x if z.shape == x.shape else 0)
        return 5 * x


class Normed(nn.Module):
    """What a node gets depends on all others."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = GCNConv(32, 8), PairNorm(), GCNConv(8, 4)

    def forward(self, x, edge_index):
        return self.two(self.norm(torch.tanh(self.one(x, edge_index))), edge_index)


class Idle(nn.Module):
    """Runs a layer that has no part in what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = GCNConv(32, 4), GCNConv(32, 4)

    def forward(self, x, edge_index):
        self.two(x, edge_index)
        return self.one(x, edge_index)


def victims(monkeypatch, model):
    """(relaxed along every arc, on sparse products), both of one view."""
    torch.manual_seed(0)
    toy = toy_target("mlp", graph=sbm_graph(SIZE, classes=4, degree=4.0), epochs=1)
    tested = torch.zeros(SIZE, dtype=torch.bool)
    tested[torch.nonzero(toy.split.test).flatten()[:8]] = True
    target = dataclasses.replace(toy, model=model(), split=dataclasses.replace(toy.split, test=tested))
    view = grant_graph(target, frozenset(Access), with_test_labels=True)
    slow = Victim.of(view)
    assert slow.sparse is None
    monkeypatch.setattr("attacks.robustness.sparse_flips.LARGE", 0)
    fast = Victim.of(view)
    assert fast.sparse is not None
    return slow, fast, view


def single(victim, place):
    return dataclasses.replace(victim, items=victim.items[place : place + 1], y=victim.y[place : place + 1])


def paths(victim, node, rng):
    """No flip, an old edge cut, old and new edges at the node, and pairs of two others near and far."""
    keys = victim.space.at(node)
    cut = keys[victim.space.exists(keys)][:1]
    yield keys[:0]
    yield cut
    yield torch.unique(torch.cat([cut, keys[torch.from_numpy(rng.permutation(keys.numel())[:3])]]))
    yield victim.space.draw(4, rng)


def gin(a, b):
    return GINConv(nn.Sequential(nn.Linear(a, 6), nn.Tanh(), nn.Linear(6, b)))


@pytest.mark.parametrize("widths", [(32, 4), (32, 8, 4), (32, 6, 6, 4), (32, 4, 6, 6, 4)], ids=len)
@pytest.mark.parametrize("layer", [GCNConv, SAGEConv, gin], ids=["gcn", "sage", "gin"])
def test_gradients_and_margins_from_surroundings_are_those_of_the_whole_graph(monkeypatch, widths, layer):
    slow, fast, _ = victims(monkeypatch, lambda: Deep(widths, layer))
    far, near, rng = Near(slow), Near(fast), np.random.default_rng(0)
    moved = set()
    for place in range(5):
        node, y = int(fast.items[place]), fast.y[place : place + 1]
        for path in paths(fast, node, rng):
            pairs = torch.unique(torch.cat([fast.space.at(node), fast.space.draw(400, rng), fast.space.existing[::5]]))
            pairs = pairs[~torch.isin(pairs, path)]
            expected = far.promised(single(slow, place), path, pairs, RIVALS)
            for _ in range(2):  # the first time the whole graph is asked as well
                found = near.promised(single(fast, place), path, pairs, RIVALS)
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
            left = near.margins(node, y, [path])
            torch.testing.assert_close(left, margins(slow.logits(path)[[place]], y), rtol=1e-4, atol=1e-5)
            moved.add(round(float(left), 3))
    assert near.follows == {False: True, True: True}
    assert near.agrees is True
    assert not far.follows
    assert len(moved) > 12


def test_few_nodes_are_run_for_a_node_of_a_large_graph(monkeypatch):
    _, fast, _ = victims(monkeypatch, lambda: Deep((32, 8, 4)))
    near, node = Near(fast), int(fast.items[0])
    pairs, none = fast.space.at(node), fast.space.existing[:0]
    near.promised(single(fast, 0), none, pairs, RIVALS)
    sizes = []
    usual = fast.sparse.stack.logits

    def logits(multiply, degrees, nodes=None):
        sizes.append(SIZE if nodes is None else nodes.numel())
        return usual(multiply, degrees, nodes)

    monkeypatch.setattr(fast.sparse.stack, "logits", logits)
    near.promised(single(fast, 0), none, pairs, RIVALS)
    assert len(sizes) == 1
    assert 1 < sizes[0] < SIZE / 2


@pytest.mark.parametrize("model", [Normed, Idle])
def test_what_surroundings_do_not_tell_is_taken_from_the_whole_graph(monkeypatch, model):
    slow, fast, _ = victims(monkeypatch, model)
    far, near, rng = Near(slow), Near(fast), np.random.default_rng(0)
    for place in range(3):
        node = int(fast.items[place])
        for path in paths(fast, node, rng):
            pairs = fast.space.at(node)
            pairs = pairs[~torch.isin(pairs, path)]
            expected = far.promised(single(slow, place), path, pairs, RIVALS)
            found = near.promised(single(fast, place), path, pairs, RIVALS)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert not all(near.follows.values())


def test_the_search_finds_what_it_finds_on_whole_graphs_and_says_where_it_looked(monkeypatch):
    _, _, view = victims(monkeypatch, lambda: Deep((32, 8, 4)))

    def run():
        attempt = Attempt(
            np.random.default_rng(0),
            torch.Generator().manual_seed(0),
            budgets=(8, 24),
            item_budgets=(torch.ones(8, dtype=torch.int64), torch.full((8,), 3)),
        )
        return LocalEvasion().run(view, attempt)

    near = run()
    monkeypatch.setattr("attacks.robustness.sparse_flips.LARGE", 10**9)
    whole = run()
    assert [p.keys.tolist() for p in near.points] == [p.keys.tolist() for p in whole.points]
    assert near.notes["surroundings_of_gradients"] is True
    assert "surroundings_of_gradients" not in whole.notes
    assert any(p.keys.numel() > 1 for p in near.points)
