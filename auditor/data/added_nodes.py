"""A graph with more nodes: those that were there stay as they are, and come first."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

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
