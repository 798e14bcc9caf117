"""Networks that `auditor train` does not build, trained here on the data and split of a target, 200 epochs, seed 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import APPNP

from auditor.targets.target import Target

HIDDEN, EPOCHS = 64, 200
RANK, BEYOND = 50, 100
SMALLEST_GAP = 0.02
"""Of a value: two values that are closer turn into each other at the slightest change, and a gradient says nothing."""
Decomposed = tuple[Tensor, Tensor, Tensor, Tensor]
"""Vectors [N, 50] and values [50] of largest size, and those that follow: [N, K] and [K]."""


class Spread(nn.Module):
    """An MLP whose answers APPNP spreads (Gasteiger et al., ICLR 2019: K = 10, alpha = .1)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, classes)
        self.spread = APPNP(K=10, alpha=0.1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] -> [N, C]."""
        h = functional.dropout(x, 0.5, self.training)
        h = functional.dropout(self.one(h).relu(), 0.5, self.training)
        out: Tensor = self.spread(self.two(h), edge_index)
        return out


class _LowRank(torch.autograd.Function):
    """A_r H, with A_r = U diag(s) U^T of the weights of the arcs; two thin products, nothing of N x N.

    Backward: the derivative of the best approximation of rank r. With g = dL/dA_r = P H^T and v_j the vectors that are
    left out, u_i (u_i^T g u_k) u_k^T inside, and u_i (u_i^T g v_j) v_j^T times s_i / (s_i - t_j) between the two, both
    ways round. The next `BEYOND` vectors count with their values t_j, all others as if those were 0.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, arcs: Tensor, found: Decomposed) -> Tensor:
        ctx.save_for_backward(h, arcs, *found)
        u, s, _, _ = found
        return u @ (s[:, None] * (u.T @ h))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        h, arcs, u, s, v, t = ctx.saved_tensors
        p_in, h_in = u @ (u.T @ grad), u @ (u.T @ h)
        gap = s[:, None] - t[None, :]
        near = SMALLEST_GAP * s.abs()[:, None]
        more = t[None, :] / torch.where(gap.abs() < near, near * gap.sign(), gap)  # s / (s - t), less the 1 in the rest
        to, of = arcs[1], arcs[0]
        at = (p_in[to] * (h - h_in)[of]).sum(dim=1) + (grad[to] * h_in[of]).sum(dim=1)
        at += ((u @ (more * (u.T @ grad @ (h.T @ v))))[to] * v[of]).sum(dim=1)
        at += ((v @ (more.T * (v.T @ grad @ (h.T @ u))))[to] * u[of]).sum(dim=1)
        return u @ (s[:, None] * (u.T @ grad)), at, None, None


class LowRank(nn.Module):
    """Two GCN layers on the adjacency rebuilt from its 50 largest singular vectors (Entezari et al., WSDM 2020).

    The decomposition is made anew whenever edges or weights change: an edit is seen by it as it is in service.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, classes)
        self._of: tuple[Tensor, Tensor] | None = None
        self._found: Decomposed = (torch.empty(0), torch.empty(0), torch.empty(0), torch.empty(0))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N, F] -> [N, C]."""
        weight = x.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        found = self._decomposed(edge_index, weight.detach(), x.shape[0])

        def multiply(h: Tensor) -> Tensor:
            out: Tensor = _LowRank.apply(h, weight, edge_index, found)  # type: ignore[no-untyped-call]
            return out

        degrees = multiply(x.new_ones(x.shape[0], 1)).clamp_min(0) + 1  # a matrix of low rank has negative entries
        scale = degrees.rsqrt()

        def spread(h: Tensor) -> Tensor:
            return scale * (multiply(scale * h) + scale * h)

        h = spread(self.one(functional.dropout(x, 0.5, self.training))).relu()
        return spread(self.two(functional.dropout(h, 0.5, self.training)))

    def _decomposed(self, edge_index: Tensor, weight: Tensor, n: int) -> Decomposed:
        """The decomposition, remembered for these very edges and weights alone."""
        if self._of is None or not (torch.equal(self._of[0], edge_index) and torch.equal(self._of[1], weight)):
            there = (weight != 0).numpy()
            of, to = edge_index.numpy()[:, there]
            matrix = coo_array((weight.numpy()[there].astype(np.float64), (to, of)), shape=(n, n)).tocsr()
            s, u = eigsh((matrix + matrix.T) / 2, k=min(RANK + BEYOND, n - 1), which="LM", v0=np.ones(n), tol=1e-6)
            largest = np.argsort(-np.abs(s))
            values, vectors = (torch.from_numpy(each).float() for each in (s[largest], u[:, largest]))
            self._of = (edge_index.clone(), weight.clone())
            self._found = (vectors[:, :RANK], values[:RANK], vectors[:, RANK:], values[RANK:])
        return self._found


def appnp(target: Target) -> Target:
    """An APPNP, as if it were loaded."""
    return _trained(target, Spread, "appnp")


def low_rank(target: Target) -> Target:
    """A GCN on the largest singular vectors of its graph, as if it were loaded."""
    return _trained(target, LowRank, f"svd-{RANK}")


def _trained(target: Target, network: type[nn.Module], name: str) -> Target:
    """A network of (features, classes) after Adam with a rate of .01 and a weight decay of .0005."""
    graph, train = target.graph, target.split.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network(graph.num_features, target.num_classes)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            functional.cross_entropy(model(graph.x, graph.edge_index)[train], graph.y[train]).backward()
            optimizer.step()
    return replace(target, name=f"{graph.name}-{name}", model=model, build=None, recipe=None)
