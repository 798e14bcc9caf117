"""Single graphs put side by side, so that a model answers for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from auditor.data.fields import side_by_side
from auditor.data.graph import Graph


def nodes_of(batch: Tensor, items: Tensor) -> list[Tensor]:
    """Ids of the nodes of each of some graphs, int64 [n] each, for the graph of every node, int64 [N] ascending."""
    ends = torch.stack([items, items + 1])
    first, last = torch.searchsorted(batch, ends).tolist()
    return [torch.arange(a, b) for a, b in zip(first, last, strict=True)]


def in_one_batch(graphs: Sequence[Graph]) -> tuple[Graph, list[int]]:
    """Many graphs in one, from a batch of one graph each; and the first node of each."""
    sizes = torch.tensor([graph.num_nodes for graph in graphs])
    starts = (torch.cumsum(sizes, dim=0) - sizes).tolist()
    weights = [graph.edge_weight for graph in graphs if graph.edge_weight is not None]
    whole = replace(
        graphs[0],
        x=torch.cat([graph.x for graph in graphs]),
        edge_index=torch.cat([graph.edge_index + start for graph, start in zip(graphs, starts, strict=True)], dim=1),
        y=torch.cat([graph.y for graph in graphs]),
        edge_weight=torch.cat(weights) if len(weights) == len(graphs) else None,
        batch=torch.arange(len(graphs)).repeat_interleave(sizes),
        fields=side_by_side([graph.fields for graph in graphs], starts),
    )
    return whole, starts
