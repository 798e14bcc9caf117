from __future__ import annotations

import numpy as np
import torch

from auditor.data.graph import Graph
from auditor.evaluate.shift.blocks import grown_regions, item_blocks, louvain
from tests.toys import sbm_graph, small_graphs


def cliques(count: int, size: int) -> Graph:
    pairs = [(c * size + i, c * size + j) for c in range(count) for i in range(size) for j in range(size) if i != j]
    n = count * size + 1  # and an isolated node
    return Graph(torch.ones(n, 1), torch.tensor(pairs).T, torch.arange(n) % 2)


def test_cliques_are_their_own_blocks_and_so_is_an_isolated_node():
    labels = louvain(cliques(40, 4), rng=np.random.default_rng(0))
    assert len(set(labels.tolist())) == 41
    assert all(len(set(labels[4 * c : 4 * c + 4].tolist())) == 1 for c in range(40))
    blocks = item_blocks(cliques(40, 4), torch.arange(161), rng=np.random.default_rng(0))
    assert (blocks.found, blocks.modelled) == (41, True)
    assert blocks.row(3.0).status == "pass"


def test_too_few_blocks_are_said_and_items_stand_alone():
    blocks = item_blocks(sbm_graph(200), torch.arange(100), rng=np.random.default_rng(0))
    assert not blocks.modelled
    assert len(set(blocks.ids.tolist())) == 100
    assert blocks.row(1.0).status == "warn"
    assert "not modelled" in blocks.row(1.0).evidence


def test_graphs_are_resampled_one_by_one():
    blocks = item_blocks(small_graphs(40), torch.arange(20, 40), rng=np.random.default_rng(0))
    assert blocks.ids.tolist() == list(range(20))


def test_grown_regions_are_connected_or_one_component():
    graph = cliques(40, 4)
    labels = grown_regions(graph, rng=np.random.default_rng(0), regions=10)
    u, v = graph.edge_index.numpy()
    inside = {labels[a] for a, b in zip(u, v, strict=True) if labels[a] != labels[b]}
    assert len(set(labels.tolist())) >= 40  # a seed reaches its own clique only
    assert len(inside) < 10
