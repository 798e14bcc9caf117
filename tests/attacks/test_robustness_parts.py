"""Pieces of the structure attacks: projection, losses, relaxed flips, draws."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GraphConv

from attacks.robustness.losses import LOSSES, Outputs, margins
from attacks.robustness.projection import project, project_with_caps
from attacks.robustness.soft_flips import Victim
from auditor.data.edits import EdgeSpace, canonical_graph, select_graphs
from auditor.data.graph import Graph
from auditor.flips import within_caps
from auditor.view import Access, grant_graph
from tests.toys import sbm_graph, small_graphs, toy_target

WHITE_BOX = frozenset({Access.WEIGHTS, Access.GRAPH, Access.FEATURES, Access.LABELS})


@pytest.mark.parametrize(
    ("budget", "expected"), [(1, [0.9, 0.1, 0, 0, 0]), (2, [1, 0.6, 0.3, 0.1, 0]), (3, [1, 0.7, 0.4, 0.2, 0])]
)
def test_projection_matches_hand_computed_values(budget, expected):
    w = project(torch.tensor([1.5, 0.7, 0.4, 0.2, -0.3]), budget)
    torch.testing.assert_close(w, torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)


@pytest.mark.parametrize("budget", [10, 5000, 100_000])
def test_projection_of_many_values_is_that_of_their_order(budget):
    values = torch.randn(300_000, generator=torch.Generator().manual_seed(budget)) + 0.5
    found = project(values, budget)
    whole = values.double()
    lo, hi = torch.tensor(0.0, dtype=torch.float64), whole.max()
    for _ in range(60):  # without leaving anything out
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if (whole - middle).clamp(0, 1).sum() > budget else (lo, middle)
    torch.testing.assert_close(found.double(), (whole - hi).clamp(0, 1), atol=1e-6, rtol=0)
    assert float(found.double().sum()) == pytest.approx(budget, rel=1e-4)


def test_projection_with_caps_keeps_both():
    rng = np.random.default_rng(0)
    u, v = torch.triu_indices(12, 12, 1)
    caps = torch.from_numpy(rng.integers(0, 3, 12))
    w = project_with_caps(torch.from_numpy(rng.random(u.numel())).float() * 2, 5, u, v, caps)
    at_node = torch.zeros(12).index_add(0, u, w).index_add(0, v, w)
    assert float(w.sum()) <= 5 + 1e-4
    assert bool((at_node <= caps + 1e-4).all())
    assert float(w.max()) > 0


def test_rounding_within_caps_goes_by_order():
    caps = torch.tensor([1, 2, 1, 1])
    ab, ac, bc, cd = 1, 2, 6, 11  # u * 4 + v
    assert within_caps(torch.tensor([ac, ab, bc, cd]), 4, caps, 9).tolist() == [ac]
    assert within_caps(torch.tensor([ab, ac, bc, cd]), 4, caps, 9).tolist() == [ab, bc]
    assert within_caps(torch.tensor([ab, ac, bc, cd]), 4, caps, 1).tolist() == [ab]
    assert within_caps(torch.tensor([ab, ac, bc, cd]), 4, None, 3).tolist() == [ab, ac, bc]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_rise_when_margins_fall(name):
    y = torch.tensor([0, 1])
    better, worse = torch.tensor([[2.0, 0, 0], [0, 2, 0]]), torch.tensor([[1.0, 0, 0], [0, 0.5, 1]])
    assert float(LOSSES[name](worse, y)) > float(LOSSES[name](better, y))
    assert margins(worse, y).tolist() == [1.0, -0.5]


def test_saturated_outputs_are_scaled_and_probabilities_logged():
    y = torch.zeros(10, dtype=torch.int64)
    z = torch.zeros(10, 3)
    z[:, 0] = 2.0
    assert Outputs.of(z, y) == Outputs(False, 1.0)
    assert Outputs.of(1000 * z, y) == Outputs(False, 2000.0)
    probabilities = Outputs.of(z.softmax(dim=1), y)
    assert probabilities.are_probabilities
    torch.testing.assert_close(margins(probabilities.read(z.softmax(dim=1)), y), torch.full((10,), 2.0))


@pytest.mark.parametrize("directed", [False, True])
def test_toggling_matches_a_dense_adjacency(directed):
    rng = np.random.default_rng(0)
    a = (rng.random((15, 15)) < 0.2).astype(int)
    a = a if directed else np.maximum(np.triu(a, 1), np.triu(a, 1).T)
    np.fill_diagonal(a, [1] + [0] * 14)  # one self-loop, which must stay
    graph = Graph(torch.ones(15, 2), torch.from_numpy(np.stack(a.nonzero())), torch.zeros(15, dtype=torch.int64))
    space = EdgeSpace.of(graph)
    assert space.directed == directed
    keys = space.draw(20, rng)
    expected = a.copy()
    for u, v in zip(*(ends.tolist() for ends in space.ends(keys)), strict=True):
        expected[u, v] ^= 1
        if not directed:
            expected[v, u] ^= 1
    edited = space.toggled(keys)
    dense = np.zeros_like(a)
    np.add.at(dense, tuple(edited.edge_index.numpy()), 1)
    assert np.array_equal(dense, expected)
    assert torch.equal(
        torch.sort(EdgeSpace.of(edited).toggled(keys).arc_keys()).values, torch.sort(graph.arc_keys()).values
    )


def test_a_pair_that_is_there_one_way_is_one_edge():
    edges = torch.tensor([[0, 1, 1, 3], [1, 0, 2, 2]])
    graph = Graph(torch.ones(4, 1), edges, torch.zeros(4, dtype=torch.int64), edited_as="pairs")
    space = EdgeSpace.of(graph)
    assert space.existing.tolist() == [0 * 4 + 1, 1 * 4 + 2, 2 * 4 + 3]
    assert space.toggled(space.existing[1:2]).edge_index.tolist() == [[0, 1, 3], [1, 0, 2]]
    assert space.toggled(torch.tensor([0 * 4 + 3])).edge_index.tolist() == [[0, 1, 1, 3, 0, 3], [1, 0, 2, 2, 3, 0]]


def test_duplicate_arcs_are_dropped_once_and_a_weighted_edge_keeps_its_weight():
    edges = torch.tensor([[0, 1, 0, 1, 2], [1, 0, 1, 2, 1]])
    weight = torch.tensor([2.0, 2.0, 9.0, 4.0, 4.0])
    graph = Graph(torch.ones(4, 1), edges, torch.zeros(4, dtype=torch.int64), weight)
    clean = canonical_graph(graph)
    assert clean.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert clean.edge_weight.tolist() == [2, 2, 4, 4]
    edited = EdgeSpace.of(graph).toggled(torch.tensor([0 * 4 + 1, 2 * 4 + 3]))
    assert edited.edge_index.tolist() == [[1, 2, 2, 3], [2, 1, 3, 2]]
    assert edited.edge_weight.tolist() == [4, 4, 2, 2]  # lower median of the clean weights


@pytest.mark.parametrize("graph", [sbm_graph(n=60), small_graphs(12)], ids=["one", "many"])
def test_draws_are_distinct_uniform_pairs_inside_one_graph(graph):
    space = EdgeSpace.of(graph)
    rng = np.random.default_rng(0)
    for count in (1, space.num_pairs // 3, space.num_pairs):
        keys = space.draw(count, rng)
        u, v = space.ends(keys)
        assert torch.unique(keys).numel() == count
        assert bool((u < v).all())
        assert graph.batch is None or torch.equal(graph.batch[u], graph.batch[v])
    hits = torch.zeros(graph.num_nodes**2)
    for _ in range(2000):
        hits[space.draw(5, rng)] += 1
    hits = hits[space.draw(space.num_pairs, rng)]  # chi-squared per pair: mean 1, variance 2 / pairs
    expected = 2000 * 5 / space.num_pairs
    assert abs(float(((hits - expected) ** 2 / expected).mean()) - 1) < 5 * (2 / space.num_pairs) ** 0.5 + 0.02


def test_select_graphs_keeps_each_graph_as_it_was():
    graph = small_graphs(10)
    part, nodes = select_graphs(graph, torch.tensor([2, 7]))
    assert part.num_items == 2
    assert torch.equal(part.x, graph.x[nodes])
    assert torch.equal(nodes[part.edge_index], graph.edge_index[:, (graph.batch[graph.edge_index[0]] % 5) == 2])
    assert torch.equal(part.y, graph.y[[2, 7]])


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage"])
def test_relaxed_flips_of_weight_one_equal_the_edited_graph(arch):
    target = toy_target(arch)
    victim = Victim.of(grant_graph(target, WHITE_BOX, with_test_labels=True))
    keys = torch.cat([victim.space.existing[:6], victim.space.sample(10, np.random.default_rng(0))]).unique()
    edited = victim.space.toggled(keys)
    real = target.logits(edited.x, edited.edge_index)[victim.items]
    soft = victim.at(keys).scores(torch.ones(keys.numel()))
    torch.testing.assert_close(soft, real, rtol=1e-4, atol=1e-4)
    clean = target.clean_logits()[victim.items]
    torch.testing.assert_close(victim.at(keys).scores(torch.zeros(keys.numel())), clean, rtol=1e-4, atol=1e-4)


def test_an_edge_that_is_there_one_way_has_the_gradient_of_its_arc():
    target = toy_target("gcn")
    arc = target.graph.edge_index[:, :1]
    graph = replace(target.graph.with_edges(target.graph.edge_index[:, 1:]), edited_as="pairs")
    victim = Victim.of(grant_graph(replace(target, graph=graph), WHITE_BOX, with_test_labels=True))
    keys = victim.space.keys(*arc)
    relaxed, h = victim.at(keys), 0.02

    def loss(w):
        return float(LOSSES["tanh"](relaxed.scores(torch.tensor([w])).double(), victim.y))

    found, _ = relaxed.gradient(torch.tensor([0.5]), LOSSES["tanh"])
    assert float(found) == pytest.approx((loss(0.5 + h) - loss(0.5 - h)) / (2 * h), rel=0.05)
    assert abs(float(found)) > 1e-5


def test_gradient_in_pieces_equals_the_gradient_at_once(monkeypatch):
    victim = Victim.of(grant_graph(toy_target("gat"), WHITE_BOX, with_test_labels=True))
    rng = np.random.default_rng(0)
    everything = victim.space.draw(900, rng)
    keys, others, w = everything[:50], everything[50:], torch.from_numpy(rng.random(50)).float()
    at_once, _ = victim.gradient_at_zero(keys, w, others, LOSSES["tanh"])
    monkeypatch.setattr("attacks.robustness.soft_flips.CHUNK_VALUES", 0)
    monkeypatch.setattr("attacks.robustness.soft_flips.SMALLEST_CHUNK", 200)
    in_pieces, _ = victim.gradient_at_zero(keys, w, others, LOSSES["tanh"])
    assert at_once.abs().max() > 0
    torch.testing.assert_close(in_pieces, at_once, rtol=1e-3, atol=1e-7)


class Added(nn.Module):
    """Sums of neighbours beside what a node says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = GraphConv(24, 8), GraphConv(8, 3)

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).tanh(), edge_index)


@pytest.mark.parametrize("arch", ["gcn", "sage", "gin", "added"])
def test_sparse_products_have_the_gradients_of_the_relaxation(monkeypatch, arch):
    target = toy_target("gcn" if arch == "added" else arch)
    if arch == "added":
        torch.manual_seed(0)
        target = replace(target, model=Added())
    view = grant_graph(target, WHITE_BOX, with_test_labels=True)
    slow = Victim.of(view)
    assert slow.sparse is None
    monkeypatch.setattr("attacks.robustness.sparse_flips.LARGE", 0)
    fast = Victim.of(view)
    assert fast.sparse is not None
    rng = np.random.default_rng(0)
    keys = torch.cat([slow.space.existing[::3], slow.space.sample(200, rng)]).unique()
    keys = keys[torch.from_numpy(rng.permutation(keys.numel()))]
    somewhere, clean = torch.from_numpy(rng.random(keys.numel())).float(), torch.zeros(keys.numel())
    for loss, w in itertools.product(LOSSES.values(), (somewhere, clean)):
        expected, value = slow.at(keys).gradient(w, loss)
        found, same = fast.at(keys).gradient(w, loss)
        assert same == pytest.approx(value, abs=1e-5)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
        assert float(expected.abs().max()) > 1e-4
    assert torch.equal(fast.tried(keys), slow.correct(keys))
    assert torch.equal(slow.tried(keys), slow.correct(keys))
    assert not torch.equal(slow.correct(keys), slow.correct(keys[:0]))


class Pairs(Added):
    """Layers that are handed who sends and who receives, as in PyG's examples of neighbour sampling."""

    def forward(self, x, edge_index):
        h = self.one((x, x), edge_index).tanh()
        return self.two((h, h), edge_index)


def test_layers_that_are_handed_pairs_keep_to_the_relaxation(monkeypatch):
    monkeypatch.setattr("attacks.robustness.sparse_flips.LARGE", 0)
    victim = Victim.of(grant_graph(replace(toy_target("gcn"), model=Pairs()), WHITE_BOX, with_test_labels=True))
    assert victim.sparse is None
    gradient, _ = victim.at(victim.space.existing[:5]).gradient(torch.zeros(5), LOSSES["tanh"])
    assert float(gradient.abs().max()) > 0


def test_other_layers_keep_to_the_relaxation(monkeypatch):
    monkeypatch.setattr("attacks.robustness.sparse_flips.LARGE", 0)
    assert Victim.of(grant_graph(toy_target("gat"), WHITE_BOX, with_test_labels=True)).sparse is None
