from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from auditor.data.graph import Graph
from defenses.l2r.stability import graph_parts, stability, stable_clusters
from tests.toys import sbm_graph


def _planted(graphs: int = 60, nodes: int = 30, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Three blocks of four dimensions: stable inside, tied to the next block with a random sign in each graph."""
    rng = np.random.default_rng(seed)
    h = []
    for _ in range(graphs):
        common = rng.normal(size=nodes)
        signs = rng.choice([-1, 1], 3)
        blocks = [signs[b] * common + 0.5 * rng.normal(size=nodes) for b in range(3)]
        h.append(np.stack([block + 0.1 * rng.normal(size=nodes) for block in blocks for _ in range(4)], axis=1))
    owner = torch.arange(graphs).repeat_interleave(nodes)
    return torch.from_numpy(np.concatenate(h)).float(), owner, np.repeat(np.arange(3), 4)


def test_constant_correlation_is_no_distance() -> None:
    rng = np.random.default_rng(0)
    h = torch.from_numpy(rng.normal(size=(400, 3))).float()
    h[:, 1] = 2 * h[:, 0] + 1  # correlation 1 in every graph
    found = stability(h, torch.arange(20).repeat_interleave(20), rng=rng)
    assert found.environments == 20
    assert found.distance[0, 1] == pytest.approx(0, abs=1e-3)
    assert found.distance[0, 2] > 0.1  # sampling noise of 20 nodes, about 1/sqrt(20)


def test_distance_is_the_deviation_of_numpys_correlations() -> None:
    h, owner, _ = _planted(graphs=10)
    found = stability(h, owner, rng=np.random.default_rng(0))
    each = np.stack([np.corrcoef(h[owner == g].numpy().T) for g in range(10)])
    assert np.allclose(found.distance, each.std(axis=0), atol=2e-3)


def test_planted_blocks_are_recovered() -> None:
    h, owner, truth = _planted()
    found = stability(h, owner, rng=np.random.default_rng(0))
    clusters = stable_clusters(found, 3, rng=np.random.default_rng(1))
    assert adjusted_rand_score(truth, clusters.numpy()) >= 0.9


def test_dead_columns_form_no_cluster_of_their_own() -> None:
    h, owner, truth = _planted()
    dead = torch.zeros(h.shape[0], 5)
    found = stability(torch.cat([h, dead], dim=1), owner, rng=np.random.default_rng(0))
    clusters = stable_clusters(found, 3, rng=np.random.default_rng(1))
    assert (found.active[-5:] == 0).all()
    assert set(clusters[-5:].tolist()) <= set(clusters[:12].tolist())
    assert adjusted_rand_score(truth, clusters[:12].numpy()) >= 0.9


def test_small_graphs_are_no_environment_and_many_are_sampled() -> None:
    h = torch.randn(3 * 10 + 4 * 600, 3, generator=torch.Generator().manual_seed(0))
    owner = torch.cat([torch.arange(10).repeat_interleave(3), 10 + torch.arange(600).repeat_interleave(4)])
    assert stability(h, owner, rng=np.random.default_rng(0)).environments == 512
    assert stability(h[:30], owner[:30], rng=np.random.default_rng(0)).environments == 0


def test_parts_of_one_graph_are_regions_and_small_ones_are_left_out() -> None:
    n = 660
    ring = torch.stack([torch.arange(640), (torch.arange(640) + 1) % 640])
    alone = torch.stack([torch.arange(640, 659), torch.arange(641, 660)])  # a path of 20 nodes
    graph = Graph(torch.ones(n, 1), torch.cat([ring, ring.flip(0), alone, alone.flip(0)], dim=1), torch.arange(n) % 2)
    parts = graph_parts(graph, seed=0)
    sizes = torch.bincount(parts[parts >= 0])
    assert int(sizes[sizes > 0].min()) >= 20
    assert 8 <= int((sizes > 0).sum()) <= 16
    inside = parts[ring[0]] == parts[ring[1]]
    assert int((~inside).sum()) <= 2 * 16  # on a ring, a random partition would cut 15 of 16 edges
    assert torch.equal(parts, graph_parts(graph, seed=0))
    small = graph_parts(sbm_graph(), seed=0)  # 120 nodes: three parts, not sixteen of seven nodes each
    assert int((small >= 0).sum()) >= 100
