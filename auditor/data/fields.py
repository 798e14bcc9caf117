"""What a graph holds beside features, edges, weights and labels: carried through every edit, passed to the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from auditor.errors import GraphError


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Named tensors by what a row of each belongs to.

    Attributes:
        node: [N, …] each (`pos`, `pe`, `n_id`).
        edge: [E, …] each, in the order of edge_index (`edge_attr`, `edge_type`).
        graph: [B, …] each, one row per graph; of one graph, anything that is neither of the above.
    """

    node: Mapping[str, Tensor] = field(default_factory=dict)
    edge: Mapping[str, Tensor] = field(default_factory=dict)
    graph: Mapping[str, Tensor] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Every (name, tensor)."""
        for part in (self.node, self.edge, self.graph):
            yield from part.items()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.node or self.edge or self.graph)

    def get(self, name: str) -> Tensor | None:
        """The tensor of that name, None without one."""
        return next((value for key, value in self if key == name), None)

    def take(self, nodes: Tensor | None = None, arcs: Tensor | None = None, graphs: Tensor | None = None) -> Fields:
        """The rows of these nodes, arcs and graphs, int64 each; None for all as they are."""
        return Fields(_rows(self.node, nodes), _rows(self.edge, arcs), _rows(self.graph, graphs))

    def check(self, nodes: int, arcs: int, graphs: int | None, owner: str) -> None:
        """Raises GraphError when a field does not have one row per node, arc or graph."""
        for part, rows, what in ((self.node, nodes, "node"), (self.edge, arcs, "edge"), (self.graph, graphs, "graph")):
            for name, value in part.items() if rows is not None else ():
                if value.dim() == 0 or value.shape[0] != rows:
                    raise GraphError(
                        f"{owner}: {name} is {list(value.shape)}; expected one row per {what}, [{rows}, …]. "
                        "Correct the field, or leave it out of the file."
                    )


NO_FIELDS = Fields()


def _rows(part: Mapping[str, Tensor], ids: Tensor | None) -> Mapping[str, Tensor]:
    return part if ids is None else {name: value[ids] for name, value in part.items()}


def side_by_side(parts: Sequence[Fields]) -> Fields:
    """The fields of several graphs, one after the other."""

    def joined(maps: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return {name: torch.cat([one[name] for one in maps]) for name in maps[0]}

    return Fields(joined([p.node for p in parts]), joined([p.edge for p in parts]), joined([p.graph for p in parts]))


def origin_of(old: Tensor, new: Tensor, num_nodes: int) -> Tensor:
    """Which old arc each new arc takes its rows from, int64 [E'].

    An arc that was there keeps its own row (the k-th of parallel arcs that of the k-th); an added one copies the row of
    an arc that a hash of its two ends chooses, the same for both directions and in every edit. So values stay ones that
    occur, and those of one arc occur together.

    Args:
        old: arcs, int64 [2, E].
        new: arcs, int64 [2, E'].
        num_nodes: N.

    Raises:
        GraphError: an arc is added where there is none to copy.
    """
    before, after = old[0] * num_nodes + old[1], new[0] * num_nodes + new[1]
    if torch.equal(before, after):
        return torch.arange(before.numel())
    keys, order = torch.sort(before, stable=True)
    first = torch.searchsorted(keys, after)
    place = first + _occurrence(after)
    inside = place < keys.numel()
    there = inside & (keys[place.clamp(max=max(keys.numel() - 1, 0))] == after) if keys.numel() else inside
    if not there.all() and not keys.numel():
        raise GraphError(
            "an edge was added to a graph without edges whose model needs values on each of them; "
            "there is no edge to copy them from."
        )
    origin = torch.empty_like(after)
    origin[there] = order[place[there]]
    low, high = torch.aminmax(new[:, ~there], dim=0)
    mixed = (low * 0x9E3779B1 + high * 0x85EBCA77 + 0x27220A95) & 0x7FFFFFFFFFFF
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0x7FFFFFFFFFFF
    origin[~there] = (mixed ^ (mixed >> 12)) % max(keys.numel(), 1)
    return origin


def _occurrence(keys: Tensor) -> Tensor:
    """How many equal keys come before each one, int64 [K]."""
    _, order = torch.sort(keys, stable=True)
    ordered = keys[order]
    position = torch.arange(keys.numel())
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    first = torch.cummax(torch.where(starts, position, 0), dim=0).values
    rank = torch.empty_like(position)
    rank[order] = position - first
    return rank
