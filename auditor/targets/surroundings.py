"""The surroundings of a node, in place of its whole graph: what a model of message passing reads to answer for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from auditor.data.edits import EdgeSpace
from auditor.data.fields import side_by_side
from auditor.data.graph import Graph
from auditor.data.keys import distinct
from auditor.targets.soft_edges import message_passing_layers


def reach_of(model: nn.Module) -> int:
    """Steps of message passing through all layers, and one more for the degrees at the end.

    A layer of PyG that takes several steps says how many in `K`; a layer of the user's may call anything that.
    """
    steps = (getattr(layer, "K", 1) for layer in message_passing_layers(model))
    return 1 + sum(k if isinstance(k, int) and k > 0 else 1 for k in steps)


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


@dataclass(frozen=True, slots=True, eq=False)
class ByEnd:
    """Arcs in the order of one of their ends: those at a few nodes are found without a look at all others.

    Attributes:
        order: places of the arcs, int64 [E].
        starts: where those of each node begin, int64 [N + 1].
    """

    order: Tensor
    starts: Tensor

    @classmethod
    def of(cls, ends: Tensor, n: int) -> ByEnd:
        """By an end of each arc, int64 [E]."""
        counts = torch.bincount(ends, minlength=n)
        return cls(torch.argsort(ends, stable=True), torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]))

    def at(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """(arcs with that end at one of `nodes`, place of the node that each has), int64 [A] both."""
        first, count = self.starts[nodes], self.starts[nodes + 1] - self.starts[nodes]
        whose = torch.arange(nodes.numel()).repeat_interleave(count)
        within = torch.arange(whose.numel()) - (count.cumsum(0) - count)[whose]
        return self.order[first[whose] + within], whose


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts of one graph once some of its edges are toggled, at the cost of the part: the rest is not gone through.

    Attributes:
        space: pairs of the clean graph.
        into: its arcs by the node that they lead to.
        out: by the node that they come from; None where every arc has its reverse.
    """

    space: EdgeSpace
    into: ByEnd
    out: ByEnd | None

    @classmethod
    def of(cls, space: EdgeSpace) -> Parts:
        """Of the graph of `space`."""
        graph = space.graph
        source, target = graph.edge_index[0], graph.edge_index[1]
        out = None if graph.is_undirected else ByEnd.of(source, graph.num_nodes)
        return cls(space, ByEnd.of(target, graph.num_nodes), out)

    def around(self, nodes: Tensor, keys: Tensor, hops: int) -> Tensor:
        """As `around` on the graph with these distinct edges toggled, int64 ascending."""
        graph = self.space.graph
        gone, (u, v) = self._changes(keys)
        reached = torch.zeros(graph.num_nodes, dtype=torch.bool)
        reached[nodes] = True
        fresh = distinct(nodes)
        for _ in range(hops):
            found = [v[reached[u]], u[reached[v]]]
            for arcs, other in ((self.into, 0), *([] if self.out is None else [(self.out, 1)])):
                found.append(graph.edge_index[other, _left(arcs.at(fresh)[0], gone)])
            met = torch.cat(found)
            fresh = distinct(met[~reached[met]])
            reached[fresh] = True
        return torch.nonzero(reached).flatten()

    def arcs_into(self, nodes: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(source, place of the target among `nodes`) of every arc into these, ascending, once keys are toggled."""
        gone, (u, v) = self._changes(keys)
        arcs, whose = self.into.at(nodes)
        if gone.numel():
            kept = ~torch.isin(arcs, gone)
            arcs, whose = arcs[kept], whose[kept]
        place = torch.searchsorted(nodes, v).clamp_max_(nodes.numel() - 1)
        new = nodes[place] == v
        return torch.cat([self.space.graph.edge_index[0, arcs], u[new]]), torch.cat([whose, place[new]])

    def cut_off(self, part: Graph, nodes: Tensor, keys: Tensor) -> int:
        """Arcs that lead into the nodes of a part, int64 ascending, from others, once keys are toggled.

        Without any, a model of more layers than were counted answers as on the whole graph: such a part proves nothing
        of others.
        """
        gone, (_, target) = self._changes(keys)
        inside = torch.zeros(self.space.graph.num_nodes, dtype=torch.bool)
        inside[nodes] = True
        lost = inside[self.space.graph.edge_index[1, distinct(gone)]]
        arcs = self.into.starts[nodes + 1] - self.into.starts[nodes]
        return int(arcs.sum() - lost.sum() + inside[target].sum()) - part.num_edges

    def part(self, nodes: Tensor, keys: Tensor) -> Graph:
        """The subgraph on `nodes`, int64 ascending, of the graph with these edges toggled; arcs keep their order."""
        graph = self.space.graph
        if graph.fields:  # which may name nodes outside
            return self.space.toggled(keys).induced(nodes)
        gone, new = self._changes(keys)
        inside = torch.zeros(graph.num_nodes, dtype=torch.bool)
        inside[nodes] = True
        arcs = self.into.at(nodes)[0]
        arcs = torch.sort(_left(arcs[inside[graph.edge_index[0, arcs]]], gone)).values
        part = graph.taking(nodes, nodes, arcs)
        new = torch.searchsorted(nodes, new[:, inside[new].all(dim=0)])
        weight = part.edge_weight
        if weight is not None and graph.edge_weight is not None:
            weight = torch.cat([weight, graph.edge_weight.median().expand(new.shape[1])])
        return part.with_edges(torch.cat([part.edge_index, new], dim=1), weight)

    def _changes(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(places of the arcs that vanish, arcs that come, int64 [2, A])."""
        where, there = self.space.found(keys)
        return self.space.places[where[there]].flatten(), self.space.arcs(keys[~there])


def _left(arcs: Tensor, gone: Tensor) -> Tensor:
    return arcs[~torch.isin(arcs, gone)] if gone.numel() else arcs


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
