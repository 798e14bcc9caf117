"""The network behind singular vectors is what its page says: values, gradient, and no memory of other edges."""

from __future__ import annotations

import torch

from benchmarks.robustness.networks import RANK, LowRank, low_rank
from tests.toys import sbm_graph, toy_target


def _dense(arcs: torch.Tensor, weight: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(A_r, U U^T), [N, N]: of a toy graph, which is the only one small enough."""
    a = torch.zeros(n, n, dtype=torch.float64).index_put((arcs[1], arcs[0]), weight.double())
    u, s, v = torch.linalg.svd(a)
    return u[:, :RANK] @ torch.diag(s[:RANK]) @ v[:RANK], u[:, :RANK] @ u[:, :RANK].T


def _network(features: int) -> LowRank:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LowRank(features, 3).eval()


def _answer(network: LowRank, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Two GCN layers on a dense adjacency, written out."""
    scale = (a.sum(dim=1, keepdim=True).clamp_min(0) + 1).rsqrt()
    whole = scale * (a + torch.eye(len(a), dtype=a.dtype)) * scale.T
    one, two = network.one.double(), network.two.double()
    return whole @ two((whole @ one(x.double())).relu())


def test_low_rank_network_is_a_gcn_on_the_dense_projection():
    graph = sbm_graph(120)
    network, n = _network(graph.num_features), graph.num_nodes
    weight = torch.ones(graph.num_edges, requires_grad=True)
    found = network(graph.x, graph.edge_index, weight)
    (gradient,) = torch.autograd.grad(found[:, 0].tanh().sum(), weight)
    a, inside = _dense(graph.edge_index, torch.ones(graph.num_edges), n)
    a.requires_grad_(True)
    expected = _answer(network, graph.x, a)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
    (g,) = torch.autograd.grad(expected[:, 0].tanh().sum(), a)
    projected = inside @ g + g @ inside - inside @ g @ inside
    own = projected[graph.edge_index[1], graph.edge_index[0]]
    torch.testing.assert_close(gradient.double(), own, atol=1e-4 * float(own.abs().max()), rtol=1e-3)


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
