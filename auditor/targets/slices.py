"""Takes some graphs out of many that lie side by side, without a loader."""

from __future__ import annotations

from dataclasses import replace

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
        """The graphs `ids` int64 [b] side by side, renumbered from 0."""
        graph = self._graph
        nodes, edges = self._nodes[ids], self._edges[ids]
        batch = torch.repeat_interleave(torch.arange(ids.shape[0]), nodes)
        node_ids = _ranges(self._node_start[ids], nodes)
        edge_ids = self._edge_order[_ranges(self._edge_start[ids], edges)]
        shift = (nodes.cumsum(0) - nodes) - self._node_start[ids]  # new id = old id + shift of its graph
        edge_index = graph.edge_index[:, edge_ids] + torch.repeat_interleave(shift, edges)
        return replace(
            graph,
            x=graph.x[node_ids],
            edge_index=edge_index,
            y=graph.y[ids],
            edge_weight=None if graph.edge_weight is None else graph.edge_weight[edge_ids],
            batch=batch,
            fields=graph.fields.take(node_ids, edge_ids, ids),
        )


def _ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """The concatenation of start .. start + length - 1."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + torch.repeat_interleave(starts - before, lengths)
