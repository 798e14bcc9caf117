"""A graph with more nodes: those that were there stay as they are, in the order that they have."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from auditor.data.edits import edited_as_pairs
from auditor.data.graph import Graph
from auditor.errors import SkippedError

BLOCK = 10_000_000
"""Values of features that are compared at once."""


def with_nodes(
    graph: Graph, x: Tensor, edges: Tensor, graphs: Tensor | None = None, *, weight: Tensor | None = None
) -> Graph:
    """The graph with added nodes: numbered on from N, or of many graphs each behind the nodes of its own (`places_in`).

    Args:
        graph: without fields.
        x: features of the added nodes as the model reads them, [r, F].
        edges: which added node (from 0) and which old one it is joined to, int64 [2, k]: an arc each way; in a graph
            with directions (`edited_as_pairs`) one to the old node.
        graphs: of many graphs which one each is added to, int64 [r].
        weight: of the new arcs of a weighted graph; None for the median of those that are there.

    Raises:
        ValueError: many graphs, and nothing says which.
    """
    new, old = edges[0] + graph.num_nodes, edges[1]
    arcs = torch.stack([new, old])
    if edited_as_pairs(graph):
        arcs = torch.cat([arcs, arcs.flip(0)], dim=1)
    weights = graph.edge_weight
    if weights is not None:
        own = weights.median() if weight is None else weight
        weights = torch.cat([weights, own.expand(arcs.shape[1])])
    features, edge_index = torch.cat([graph.x, x]), torch.cat([graph.edge_index, arcs], dim=1)
    if graph.batch is None:
        unknown = graph.y.new_full((x.shape[0],), -1)
        y = torch.cat([graph.y, unknown])
        # Nothing is known of the new nodes in the columns that users name.
        return replace(graph, x=features, edge_index=edge_index, y=y, edge_weight=weights, columns={})
    if graphs is None:
        raise ValueError("nodes are added to many graphs; which one each joins is not said")
    place, batch = places_in(graph.batch, graphs)
    return replace(
        graph, x=features[torch.argsort(place)], edge_index=place[edge_index], edge_weight=weights, batch=batch
    )


def places_in(batch: Tensor, graphs: Tensor) -> tuple[Tensor, Tensor]:
    """Where nodes stand when others join their graphs: new ids of old and added ones, int64 [N + r]; and the new batch.

    Args:
        batch: the graph of each node, int64 [N].
        graphs: of each added one, int64 [r].
    """
    of, order = torch.sort(torch.cat([batch, graphs]), stable=True)
    return torch.argsort(order), of


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
    one, other = normalize(added, dim=1), normalize(old, dim=1)
    blocks = torch.split(edges, max(1, BLOCK // max(1, old.shape[1])), dim=1)
    each = torch.cat([(one[u] * other[v]).sum(dim=1) for u, v in blocks])
    total = torch.zeros(added.shape[0], dtype=each.dtype).index_add(0, edges[0], each)
    return total / torch.bincount(edges[0], minlength=added.shape[0])


def usual_likeness(graph: Graph, x: Tensor, quantile: float) -> float:
    """The `quantile` over nodes of the mean cosine of a node's features x [N, F] and its neighbours'.

    Raises:
        SkippedError: no node has a neighbour.
    """
    u, v = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    found = likeness(x, x, torch.stack([u, v]))
    found = found[~found.isnan()]
    if not found.numel():
        raise SkippedError(f"homophily is of nodes and their neighbours; {graph.name} has no edges")
    return float(np.quantile(found.numpy(), quantile))
