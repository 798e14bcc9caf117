"""Networks that `auditor train` does not build, trained here on the data and split of a target, 200 epochs, seed 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import APPNP

from attacks.layer_stack import at_pairs
from auditor.targets.target import Target

HIDDEN, EPOCHS = 64, 200
RANK, LEFT_OUT = 50, 70
"""Vectors that a projection keeps, and further ones that its derivative knows of."""
EQUAL = 1e-4
LEAST_DEGREE = 1e-5


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
    """A_r H, with A_r of the `RANK` first vectors of U [N, k] and values of s [k]; thin products, nothing of N x N.

    Backward, with g = dL/dA_r = P H^T: the weights of the arcs get U (K * U^T g U) U^T, where K_ab is the slope between
    two values of the function that keeps the largest and makes 0 of the rest (Daleckii and Krein). Vectors beyond those
    of U count as ones of value 0. The vectors left out that are in U are what a search needs most: where a kept value
    and one left out are near each other, a single edge turns one vector into the other, and K is large. Without any of
    them it is the projection on the tangent space of matrices of this rank.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, arcs: Tensor, u: Tensor, s: Tensor) -> Tensor:
        ctx.save_for_backward(h, arcs, u, s)
        return _kept(u, s, u.T @ h)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        h, arcs, u, s = ctx.saved_tensors
        p_in, h_in = u.T @ grad, u.T @ h  # [k, H]
        back = _kept(u, s, p_in)
        if not ctx.needs_input_grad[1]:
            return back, None, None, None, None
        first = u[:, :RANK]
        left = torch.cat([u @ (_slopes(s) * (p_in @ h_in.T)), first @ p_in[:RANK], grad - u @ p_in], dim=1)
        right = torch.cat([u, h - u @ h_in, first @ h_in[:RANK]], dim=1)
        order = torch.argsort(arcs[1] * h.shape[0] + arcs[0])
        at = torch.empty(arcs.shape[1])
        at[order] = at_pairs(left, right, arcs.flip(0)[:, order])
        return back, at, None, None, None


def _kept(u: Tensor, s: Tensor, inner: Tensor) -> Tensor:
    return u[:, :RANK] @ (s[:RANK, None] * inner[:RANK])


def _slopes(s: Tensor) -> Tensor:
    """K [k, k] of values [k], the kept ones first."""
    is_kept = (torch.arange(s.numel()) < RANK).float()
    kept, apart = s * is_kept, s[:, None] - s
    equal = apart.abs() < EQUAL
    between = (kept[:, None] - kept) / torch.where(equal, 1.0, apart)
    return torch.where(equal, (is_kept[:, None] + is_kept) / 2, between)


class LowRank(nn.Module):
    """Two GCN layers on the adjacency rebuilt from its 50 largest singular vectors (Entezari et al., WSDM 2020).

    The decomposition is made anew whenever edges or weights change: an edit is seen by it as it is in service. A matrix
    of low rank has negative entries, and a row of it and the loop may add up to 0 or less. Degrees are then `least`:
    1e-5 in the network of Mujkanovic et al. ("Are Defenses for Graph Neural Networks Robust?", NeurIPS 2022).
    """

    def __init__(self, features: int, classes: int, least: float = LEAST_DEGREE) -> None:
        super().__init__()
        self.one, self.two, self.least = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, classes), least
        self._of: tuple[Tensor, Tensor] | None = None
        self._found = (torch.empty(0), torch.empty(0))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N, F] -> [N, C]."""
        weight = x.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        u, s = self._decomposed(edge_index, weight.detach(), x.shape[0])

        def multiply(h: Tensor) -> Tensor:
            out: Tensor = _LowRank.apply(h, weight, edge_index, u, s)  # type: ignore[no-untyped-call]
            return out

        scale = (multiply(x.new_ones(x.shape[0], 1)) + 1).clamp_min(self.least).rsqrt()

        def spread(h: Tensor) -> Tensor:
            return scale * (multiply(scale * h) + scale * h)

        h = spread(self.one(functional.dropout(x, 0.5, self.training))).relu()
        return spread(self.two(functional.dropout(h, 0.5, self.training)))

    def _decomposed(self, edge_index: Tensor, weight: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Vectors [N, k] and values [k], largest size first; remembered for these very edges and weights alone."""
        if self._of is None or not (torch.equal(self._of[0], edge_index) and torch.equal(self._of[1], weight)):
            there = (weight != 0).numpy()
            of, to = edge_index.numpy()[:, there]
            matrix = coo_array((weight.numpy()[there].astype(np.float64), (to, of)), shape=(n, n)).tocsr()
            k = min(RANK + LEFT_OUT, n - 1)
            s, u = eigsh((matrix + matrix.T) / 2, k=k, which="LM", v0=np.ones(n), tol=1e-6)
            order = np.argsort(-np.abs(s))
            self._of = (edge_index.clone(), weight.clone())
            self._found = (torch.from_numpy(u[:, order]).float(), torch.from_numpy(s[order]).float())
        return self._found


def appnp(target: Target) -> Target:
    """An APPNP, as if it were loaded."""
    return _trained(target, Spread, "appnp")


def low_rank(target: Target, least: float = LEAST_DEGREE) -> Target:
    """A GCN on the largest singular vectors of its graph, as if it were loaded; its degrees are `least` or more."""
    return _trained(target, partial(LowRank, least=least), f"svd-{RANK}")


def _trained(target: Target, network: Callable[[int, int], nn.Module], name: str) -> Target:
    """A network of (features, classes) after Adam with a rate of .01 and a weight decay of .0005."""
    graph, train = target.graph, target.split.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network(graph.num_features, target.num_classes)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(graph.x, graph.edge_index)[train], graph.y[train])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return replace(target, name=f"{graph.name}-{name}", model=model, build=None, recipe=None)
