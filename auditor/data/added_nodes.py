"""A graph with more nodes: those that were there stay as they are, and come first."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from auditor.data.edits import edited_as_pairs
from auditor.data.graph import Graph


def with_nodes(graph: Graph, x: Tensor, edges: Tensor) -> Graph:
    """The graph with added nodes, numbered on from N.

    Args:
        graph: one graph without fields.
        x: features of the added nodes as the model reads them, [r, F].
        edges: which added node (from 0) and which old one it is joined to, int64 [2, k]: an arc each way; in a graph
            with directions (`edited_as_pairs`) one to the old node. In a weighted graph they get the median weight.
    """
    new, old = edges[0] + graph.num_nodes, edges[1]
    arcs = torch.stack([new, old])
    if edited_as_pairs(graph):
        arcs = torch.cat([arcs, arcs.flip(0)], dim=1)
    weight = graph.edge_weight
    if weight is not None:
        weight = torch.cat([weight, weight.median().expand(arcs.shape[1])])
    return replace(
        graph,
        x=torch.cat([graph.x, x]),
        edge_index=torch.cat([graph.edge_index, arcs], dim=1),
        y=torch.cat([graph.y, graph.y.new_full((x.shape[0],), -1)]),
        edge_weight=weight,
    )


def usual_edges(graph: Graph) -> int:
    """Edges that an added node has by default: the mean degree, rounded up, and one."""
    return math.ceil(graph.num_edges / graph.num_nodes) + 1


def likeness(added: Tensor, old: Tensor, edges: Tensor) -> Tensor:
    """Mean cosine of each added node's features and those of the nodes that it is joined to, [r]; NaN without any.

    Args:
        added: features, [r, F].
        old: those of the nodes that are there, [N, F].
        edges: as in `with_nodes`.
    """
    each = (normalize(added, dim=1)[edges[0]] * normalize(old, dim=1)[edges[1]]).sum(dim=1)
    total = torch.zeros(added.shape[0], dtype=each.dtype).index_add(0, edges[0], each)
    return total / torch.bincount(edges[0], minlength=added.shape[0])


def usual_likeness(graph: Graph, x: Tensor, quantile: float) -> float:
    """The `quantile` over nodes of the mean cosine of a node's features x [N, F] and its neighbours'."""
    u, v = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    found = likeness(x, x, torch.stack([u, v]))
    return float(torch.quantile(found[~found.isnan()], quantile))
