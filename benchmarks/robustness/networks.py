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
RANK = 50


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

    Backward, with g = dL/dA_r = P H^T: the weights get P_U g + g P_U - P_U g P_U at their arcs, the part of g along
    which a matrix of this rank can move. What a change does by turning the vectors that were left out is not in it: the
    derivative with a hundred of these cost seven times as much and led the search no more than 2.4 points lower.

    Source: the projection on the tangent space of matrices of fixed rank, as Mujkanovic et al. ("Are Defenses for Graph
    Neural Networks Robust?", NeurIPS 2022) attack a GCN behind a singular value decomposition.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, arcs: Tensor, u: Tensor, s: Tensor) -> Tensor:
        ctx.save_for_backward(h, arcs, u, s)
        return u @ (s[:, None] * (u.T @ h))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        h, arcs, u, s = ctx.saved_tensors
        p_in, h_in = u @ (u.T @ grad), u @ (u.T @ h)
        to, of = arcs[1], arcs[0]
        at = (p_in[to] * (h - h_in)[of]).sum(dim=1) + (grad[to] * h_in[of]).sum(dim=1)
        return u @ (s[:, None] * (u.T @ grad)), at, None, None, None


class LowRank(nn.Module):
    """Two GCN layers on the adjacency rebuilt from its 50 largest singular vectors (Entezari et al., WSDM 2020).

    The decomposition is made anew whenever edges or weights change: an edit is seen by it as it is in service.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, classes)
        self._of: tuple[Tensor, Tensor] | None = None
        self._found = (torch.empty(0), torch.empty(0))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N, F] -> [N, C]."""
        weight = x.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        u, s = self._decomposed(edge_index, weight.detach(), x.shape[0])

        def multiply(h: Tensor) -> Tensor:
            out: Tensor = _LowRank.apply(h, weight, edge_index, u, s)  # type: ignore[no-untyped-call]
            return out

        degrees = multiply(x.new_ones(x.shape[0], 1)).clamp_min(0) + 1  # a matrix of low rank has negative entries
        scale = degrees.rsqrt()

        def spread(h: Tensor) -> Tensor:
            return scale * (multiply(scale * h) + scale * h)

        h = spread(self.one(functional.dropout(x, 0.5, self.training))).relu()
        return spread(self.two(functional.dropout(h, 0.5, self.training)))

    def _decomposed(self, edge_index: Tensor, weight: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Vectors [N, 50] and values [50] of largest size; remembered for these very edges and weights alone."""
        if self._of is None or not (torch.equal(self._of[0], edge_index) and torch.equal(self._of[1], weight)):
            there = (weight != 0).numpy()
            of, to = edge_index.numpy()[:, there]
            matrix = coo_array((weight.numpy()[there].astype(np.float64), (to, of)), shape=(n, n)).tocsr()
            s, u = eigsh((matrix + matrix.T) / 2, k=RANK, which="LM", v0=np.ones(n), tol=1e-6)
            self._of = (edge_index.clone(), weight.clone())
            self._found = (torch.from_numpy(u.copy()).float(), torch.from_numpy(s.copy()).float())
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
            loss = functional.cross_entropy(model(graph.x, graph.edge_index)[train], graph.y[train])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return replace(target, name=f"{graph.name}-{name}", model=model, build=None, recipe=None)
