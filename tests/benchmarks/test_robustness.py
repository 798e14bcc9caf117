"""The network behind singular vectors is what its page says: values, gradient, and no memory of other edges."""

from __future__ import annotations

import torch

from benchmarks.robustness.networks import RANK, LowRank, low_rank
from tests.toys import sbm_graph, toy_target


def _dense(a: torch.Tensor) -> torch.Tensor:
    """The best approximation of a symmetric matrix [N, N] of a toy graph, which is the only one small enough."""
    s, u = torch.linalg.eigh(a)
    largest = torch.argsort(-s.abs())[:RANK]
    return u[:, largest] @ torch.diag(s[largest]) @ u[:, largest].T


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
    network = _network(graph.num_features)
    weight = torch.ones(graph.num_edges, requires_grad=True)
    found = network(graph.x, graph.edge_index, weight)
    (gradient,) = torch.autograd.grad(found[:, 0].tanh().sum(), weight)
    n = graph.num_nodes
    a = torch.zeros(n, n, dtype=torch.float64).index_put(tuple(graph.edge_index), torch.tensor(1.0).double())
    a += 1e-7 * torch.diag(torch.arange(n).double())  # no two values alike: their vectors are then a matter of taste
    a.requires_grad_(True)
    expected = _answer(network, graph.x, _dense(a))
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)
    (g,) = torch.autograd.grad(expected[:, 0].tanh().sum(), a)
    of, to = graph.edge_index
    own, both = gradient.double(), (g + g.T)[to, of] / 2
    both_own = torch.zeros(n, n, dtype=torch.float64).index_put((to, of), own)
    both_own = ((both_own + both_own.T) / 2)[to, of]
    assert float(torch.corrcoef(torch.stack([both_own, both]))[0, 1]) > 0.99
    torch.testing.assert_close(both_own, both, atol=0.05 * float(both.abs().max()), rtol=0.05)


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
