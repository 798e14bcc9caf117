"""Takes some graphs out of many that lie side by side, without a loader."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.data.graph import Graph


class GraphSlices:
    """Takes some graphs out of a concatenation by index arithmetic alone, in the order asked for."""

    def __init__(self, graph: Graph) -> None:
        if graph.batch is None:
            raise ValueError("a single graph has no slices")
        self._graph = graph
        graphs = graph.num_items
        self._nodes = torch.bincount(graph.batch, minlength=graphs)  # [B]
        self._node_start = self._nodes.cumsum(0) - self._nodes
        owner = graph.batch[graph.edge_index[0]]  # [E]
        self._edges = torch.bincount(owner, minlength=graphs)
        self._edge_start = self._edges.cumsum(0) - self._edges
        self._edge_order = owner.argsort(stable=True)

    def take(self, ids: Tensor) -> Graph:
        """The graphs `ids` int64 [b], distinct, side by side, renumbered from 0."""
        nodes = _ranges(self._node_start[ids], self._nodes[ids])
        arcs = self._edge_order[_ranges(self._edge_start[ids], self._edges[ids])]
        return self._graph.taking(nodes, ids, arcs)


def _ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """The concatenation of start .. start + length - 1."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + torch.repeat_interleave(starts - before, lengths)
