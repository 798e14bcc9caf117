"""The network behind singular vectors is what its page says: values, gradient, and no memory of other edges."""

from __future__ import annotations

import pytest
import torch

from benchmarks.robustness.networks import RANK, LowRank, low_rank
from tests.toys import sbm_graph, toy_target


def _dense(arcs: torch.Tensor, weight: torch.Tensor, n: int) -> torch.Tensor:
    """A_r [N, N] of a toy graph, which is the only one small enough."""
    a = torch.zeros(n, n, dtype=torch.float64).index_put((arcs[1], arcs[0]), weight.double())
    u, s, v = torch.linalg.svd(a)
    return u[:, :RANK] @ torch.diag(s[:RANK]) @ v[:RANK]


def _network(features: int) -> LowRank:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LowRank(features, 3).eval()


def _answer(network: LowRank, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Two GCN layers on a dense adjacency, written out."""
    scale = (a.sum(dim=1, keepdim=True) + 1).clamp_min(1e-5).rsqrt()
    whole = scale * (a + torch.eye(len(a), dtype=a.dtype)) * scale.T
    one, two = network.one.double(), network.two.double()
    return whole @ two((whole @ one(x.double())).relu())


def test_low_rank_network_is_a_gcn_on_the_dense_projection():
    graph = sbm_graph(120)
    arcs, n = graph.edge_index, graph.num_nodes
    network, ones = _network(graph.num_features), torch.ones(graph.num_edges, dtype=torch.float64)
    weight = ones.float().requires_grad_(True)
    found = network(graph.x, arcs, weight)
    (gradient,) = torch.autograd.grad(found[:, 0].tanh().sum(), weight)
    torch.testing.assert_close(found.double(), _answer(network, graph.x, _dense(arcs, ones, n)), atol=1e-4, rtol=1e-4)
    h = 1e-5
    for place in torch.nonzero(arcs[0] < arcs[1]).flatten()[::20].tolist():
        pair = torch.nonzero((arcs[0] == arcs[1, place]) & (arcs[1] == arcs[0, place])).flatten()
        both = torch.cat([torch.tensor([place]), pair])
        up, down = (
            _answer(network, graph.x, _dense(arcs, ones.index_fill(0, both, 1 + step), n))[:, 0].tanh().sum()
            for step in (h, -h)
        )
        slope = float((up - down).detach()) / (2 * h)
        assert float(gradient[both].sum()) == pytest.approx(slope, rel=0.02, abs=2e-3 * float(gradient.abs().max()))


def test_a_degree_below_the_least_is_the_least():
    graph = sbm_graph(120)
    network, least = _network(graph.num_features), _network(graph.num_features)
    least.least = 1e3
    with torch.no_grad():
        found, bounded = (each(graph.x, graph.edge_index) for each in (network, least))
    assert bounded.abs().max() < 0.5 * found.abs().max()


def test_low_rank_network_sees_every_edit():
    graph = sbm_graph(120)
    network = _network(graph.num_features)
    with torch.no_grad():
        clean = network(graph.x, graph.edge_index)
        edited = network(graph.x, graph.edge_index[:, 20:])
        assert not torch.allclose(clean, edited)
        halved = torch.ones(graph.num_edges)
        halved[:20] = 0
        assert torch.allclose(network(graph.x, graph.edge_index, halved), edited, atol=1e-5)
        assert torch.equal(network(graph.x, graph.edge_index), clean)


def test_low_rank_network_is_trained_on_its_own_graph():
    target = toy_target()
    trained = low_rank(target)
    assert trained.model is not target.model
    assert trained.accuracy() > target.task.constant_quality(target.graph.y[target.split.test])
