"""Relaxed flips of a model whose layers add up or average: sparse products in place of a message along each arc.

The linear map of a layer is done before its sum, with which it commutes: SAGE and GIN then send 64 numbers along an arc
and not thousands of features. The gradients are those of the relaxation up to the order of sums, and for means in a
GraphConv, whose relaxation only ranks, those of real edits. Small graphs keep to the relaxation to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.layer_stack import LayerStack, Rows, at_pairs
from attacks.robustness.losses import Loss
from auditor.data.edits import EdgeSpace
from auditor.data.keys import order_of
from auditor.targets.device import CPU
from auditor.targets.target import ModelHandle

LARGE = 5_000
"""Arcs from which sparse products are used."""
LossOf = Callable[[Tensor, Loss], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Arcs:
    """Arcs sorted by their ends, in compressed rows: `order` int64 [E], `starts` int32 [N], `columns` int32 [E]."""

    order: Tensor
    starts: Tensor
    columns: Tensor

    def rows(self, weights: Tensor) -> Rows:
        """The adjacency, from the weights of the sorted arcs, [E]."""
        return Rows(self.starts, self.columns, weights)


@dataclass(frozen=True, slots=True, eq=False)
class SparseModel:
    """The model and its clean graph.

    Attributes:
        stack: the model on an adjacency given by its products.
        space: the flippable pairs.
        arcs: of the graph.
        place: of each arc of the graph among the sorted ones, int64 [E].
        degrees: float32 [N].
    """

    stack: LayerStack
    space: EdgeSpace
    arcs: Arcs
    place: Tensor
    degrees: Tensor

    @classmethod
    def of(cls, handle: ModelHandle, space: EdgeSpace) -> SparseModel | None:
        """None for a small graph, one with directions, weights, loops or fields, any other model, and on a GPU."""
        graph = space.graph
        plain = not space.directed and graph.edge_weight is None and graph.batch is None and not any(graph.fields)
        if handle.device.type != CPU or graph.num_edges < LARGE:
            return None
        if not plain or not graph.is_undirected or bool((graph.edge_index[0] == graph.edge_index[1]).any()):
            return None
        stack = LayerStack.of(handle, graph.x)
        if stack is None:
            return None
        arcs = _sorted(graph.edge_index, graph.num_nodes)
        place = torch.empty_like(arcs.order)
        place[arcs.order] = torch.arange(place.numel())
        degrees = torch.bincount(graph.edge_index[0], minlength=graph.num_nodes)
        return cls(stack, space, arcs, place, degrees.float())

    def at(self, keys: Tensor, loss_of: LossOf) -> SparseFlips:
        """The pairs `keys` int64 [K] made ready to be flipped by weights."""
        space = self.space
        where, there = space.found(keys)
        edges, absent = torch.nonzero(there).flatten(), torch.nonzero(~there).flatten()
        stored = self.place[space.places[where[edges]]]
        ends = torch.stack(space.ends(keys))
        added = _sorted(torch.cat([ends[:, absent], ends[:, absent].flip(0)], dim=1), self.degrees.shape[0])
        order = order_of(keys)
        sign = torch.where(there, -1.0, 1.0)
        return SparseFlips(self, edges, absent, stored, added, ends, order, ends[:, order], sign, loss_of)


@dataclass(frozen=True, slots=True, eq=False)
class SparseFlips:
    """Pairs to flip by weights, as `RelaxedFlips`.

    Attributes:
        model: the model and its clean graph.
        edges, absent: places of the pairs that are there and of those that are not.
        stored: places of the two arcs of the former among the sorted ones, int64 [K1, 2].
        added: arcs of the latter, all u -> v before all v -> u.
        ends: of the pairs, int64 [2, K].
        order: that sorts the pairs by their ends, int64 [K].
        ordered: the ends in this order, int64 [2, K].
        sign: of the weight that a flip adds to its pair, [K].
        loss_of: a loss from the model's outputs.
    """

    model: SparseModel
    edges: Tensor
    absent: Tensor
    stored: Tensor
    added: Arcs
    ends: Tensor
    order: Tensor
    ordered: Tensor
    sign: Tensor
    loss_of: LossOf

    def gradient(self, w: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw [K], L) of a loss, with w [K] in [0, 1]."""
        value = self.loss_of(self.logits(w), loss)
        left, right = self.model.stack.pair_factors(value)
        found = torch.empty_like(w)
        found[self.order] = at_pairs(left, right, self.ordered)
        return torch.nan_to_num(self.sign * found), float(value.detach())

    def logits(self, w: Tensor) -> Tensor:
        """Of every node, [N, C]."""
        u, v, change = self.ends[0], self.ends[1], self.sign * w
        degrees = self.model.degrees.index_add(0, u, change).index_add(0, v, change)
        there, added = self._parts(w)
        return self.model.stack.logits(lambda h: there.times(h).add_(added.times(h)), degrees)

    def _parts(self, w: Tensor) -> tuple[Rows, Rows]:
        """The edges that are left, and the pairs that are added: their sum is the adjacency."""
        left = torch.ones(self.model.place.shape[0])
        left[self.stored] = (1 - w.index_select(0, self.edges)).unsqueeze(1)
        added = w.index_select(0, self.absent).repeat(2).index_select(0, self.added.order)
        return self.model.arcs.rows(left), self.added.rows(added).without_zeros()


def _sorted(arcs: Tensor, n: int) -> Arcs:
    order = order_of(arcs[0] * n + arcs[1])
    counts = torch.bincount(arcs[0], minlength=n)
    return Arcs(order, (torch.cumsum(counts, dim=0) - counts).int(), arcs[1].index_select(0, order).int())
