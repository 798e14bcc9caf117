"""The surroundings of a node, in place of its whole graph: what a model of message passing reads to answer for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from auditor.data.fields import side_by_side
from auditor.data.graph import Graph
from auditor.targets.soft_edges import message_passing_layers


def reach_of(model: nn.Module) -> int:
    """Steps of message passing through all layers, and one more for the degrees at the end."""
    return 1 + sum(int(getattr(layer, "K", 1) or 1) for layer in message_passing_layers(model))


def around(graph: Graph, nodes: Tensor, hops: int) -> Tensor:
    """Ids of all nodes within so many steps of `nodes`, whichever way the arcs point, int64 ascending."""
    u, v = graph.edge_index[0], graph.edge_index[1]
    reached = torch.zeros(graph.num_nodes, dtype=torch.bool)
    reached[nodes] = True
    for _ in range(hops):
        touched = reached[u] | reached[v]
        reached[u[touched]] = True
        reached[v[touched]] = True
    return torch.nonzero(reached).flatten()


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """A part of one graph that answers about some of its nodes are read from.

    Attributes:
        graph: the part.
        ids: of its nodes in the whole graph, int64 ascending.
    """

    graph: Graph
    ids: Tensor

    @classmethod
    def of(cls, graph: Graph, nodes: Tensor, model: nn.Module) -> Surroundings | None:
        """Those that answers about `nodes`, int64, are read from; None where they are no saving.

        None as well where edges or nodes have other fields, which may name what lies outside. Whether a model gives the
        same answers there is tried, never believed.
        """
        if graph.batch is not None or graph.fields:
            return None
        ids = around(graph, nodes, reach_of(model))
        return None if 2 * ids.numel() > graph.num_nodes else cls(graph.induced(ids), ids)

    def place(self, nodes: Tensor) -> Tensor:
        """Where nodes of the whole graph, int64, stand in the part."""
        return torch.searchsorted(self.ids, nodes)


def joined(parts: Sequence[Graph]) -> Graph:
    """Several graphs as one, no edge between them."""
    sizes = torch.tensor([part.num_nodes for part in parts])
    starts = (torch.cumsum(sizes, dim=0) - sizes).tolist()
    weights = [part.edge_weight for part in parts if part.edge_weight is not None]
    return replace(
        parts[0],
        x=torch.cat([part.x for part in parts]),
        edge_index=torch.cat([part.edge_index + start for part, start in zip(parts, starts, strict=True)], dim=1),
        y=torch.cat([part.y for part in parts]),
        edge_weight=torch.cat(weights) if len(weights) == len(parts) else None,
        fields=side_by_side([part.fields for part in parts], starts),
    )
