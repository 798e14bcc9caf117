"""Relaxed flips of a model of plain GCN layers on a large graph: sparse products in place of a message along each arc.

The gradients are those of the relaxation up to the order of sums. Small graphs keep to the relaxation to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from attacks.gcn_stack import GcnStack, at_pairs
from attacks.robustness.losses import Loss
from auditor.data.edits import EdgeSpace
from auditor.targets.target import ModelHandle

LARGE = 500_000
"""Arcs from which sparse products are used."""
LossOf = Callable[[Tensor, Loss], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class SparseGcn:
    """The model and its clean graph.

    Attributes:
        stack: the model on an adjacency given by its products.
        space: the flippable pairs.
        starts, columns: of the sorted arcs, as in a CSR matrix.
        place: of each arc of the graph among the sorted ones, int64 [E].
        degrees: float32 [N].
    """

    stack: GcnStack
    space: EdgeSpace
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    place: Tensor
    degrees: Tensor

    @classmethod
    def of(cls, handle: ModelHandle, space: EdgeSpace) -> SparseGcn | None:
        """None for a small graph, one with directions, weights, loops or fields, and any other model."""
        graph = space.graph
        plain = not space.directed and graph.edge_weight is None and graph.batch is None and not any(graph.fields)
        if graph.num_edges < LARGE or not plain or bool((graph.edge_index[0] == graph.edge_index[1]).any()):
            return None
        stack = GcnStack.of(handle, graph.x)
        if stack is None:
            return None
        n, (u, v) = graph.num_nodes, graph.edge_index
        order = torch.argsort(u * n + v)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel())
        counts = torch.bincount(u, minlength=n)
        starts = torch.cat([counts.new_zeros(1), torch.cumsum(counts, dim=0)])
        return cls(stack, space, starts.numpy(), v[order].numpy(), place, counts.float())

    def at(self, keys: Tensor, loss_of: LossOf) -> SparseFlips:
        """The pairs `keys` int64 [K] made ready to be flipped by weights."""
        space = self.space
        there = space.exists(keys)
        edges, absent = torch.nonzero(there).flatten(), torch.nonzero(~there).flatten()
        stored = self.place[space.places[torch.searchsorted(space.existing, keys[edges])]]
        ends = torch.stack(space.ends(keys))
        return SparseFlips(self, edges, absent, stored, ends, torch.where(there, -1.0, 1.0), loss_of)


@dataclass(frozen=True, slots=True, eq=False)
class SparseFlips:
    """Pairs to flip by weights, as `RelaxedFlips`.

    Attributes:
        gcn: the model and its clean graph.
        edges, absent: places of the pairs that are there and of those that are not.
        stored: places of the two arcs of the former among the sorted ones, int64 [K1, 2].
        ends: of the pairs, int64 [2, K].
        sign: of the weight that a flip adds to its pair, [K].
        loss_of: a loss from the model's outputs.
    """

    gcn: SparseGcn
    edges: Tensor
    absent: Tensor
    stored: Tensor
    ends: Tensor
    sign: Tensor
    loss_of: LossOf

    def gradient(self, w: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw [K], L) of a loss, with w [K] in [0, 1]."""
        stack, u, v = self.gcn.stack, self.ends[0], self.ends[1]
        change = self.sign * w
        degrees = self.gcn.degrees.index_add(0, u, change).index_add(0, v, change)
        matrices = self._matrices(w)

        def multiply(h: Tensor) -> Tensor:
            given = h.detach().numpy()
            return torch.from_numpy(np.asarray(sum(matrix @ given for matrix in matrices)))

        value = self.loss_of(stack.logits(multiply, degrees), loss)
        left, right = stack.pair_factors(value)
        return torch.nan_to_num(self.sign * at_pairs(left, right, self.ends)), float(value.detach())

    def _matrices(self, w: Tensor) -> list[csr_array]:
        """The edges that are left, and the pairs that are added: their sum is the adjacency."""
        n, gcn = self.gcn.degrees.shape[0], self.gcn
        left = torch.ones(gcn.columns.shape[0])
        left[self.stored] = (1 - w.index_select(0, self.edges)).unsqueeze(1)
        u, v = self.ends.index_select(1, self.absent).numpy()
        added = w.index_select(0, self.absent).numpy()
        return [
            csr_array((left.numpy(), gcn.columns, gcn.starts), shape=(n, n)),
            csr_array((np.r_[added, added], (np.r_[u, v], np.r_[v, u])), shape=(n, n)),
        ]
