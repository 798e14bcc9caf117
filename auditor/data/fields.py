"""What a graph holds beside features, edges, weights and labels: carried through every edit, passed to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from auditor.errors import GraphError, SkippedError

Ids = Literal["node", "graph"]


@dataclass(frozen=True, slots=True, eq=False)
class IdList:
    """Ids of nodes that belong to no row: another list of edges, or the nodes that each graph names.

    Attributes:
        ids: int [2, M] for edges (`edge_index_2`), [M] or [k, M] for nodes (`root_index` of M / B nodes a graph); the
            entries of one graph side by side.
        is_edges: an entry goes with its nodes; any other list needs all of its nodes.
        rows: fields with a row per entry (`edge_attr_2`), [M, …] each.
    """

    ids: Tensor
    is_edges: bool
    rows: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """New ids of the nodes and graphs of a part, -1 for those that are not in it.

    Attributes:
        node: int64 [N] by old id.
        graph: int64 [B] by old id; None for one graph.
        old: the old graph of each old node, int64 [N]; None for one graph.
        batch: the new graph of each new node, int64 [N']; None for one graph.
        owner: what the part is of, for messages.
    """

    node: Tensor
    graph: Tensor | None = None
    old: Tensor | None = None
    batch: Tensor | None = None
    owner: str = "graph"

    def of(self, ids: Tensor, kind: Ids, name: str) -> Tensor:
        """The ids as they are numbered now; -1, which names nobody, stays.

        Raises:
            SkippedError: one of them is not in the part.
        """
        table = self.node if kind == "node" else self.graph
        if table is None:
            return ids
        new = torch.where(ids < 0, -1, table[ids.long().clamp(min=0)])
        if bool(((new < 0) & (ids >= 0)).any()):
            raise SkippedError(
                f"{name} of {self.owner} names {kind}s by their ids, some of which would be taken away; what the model "
                "should read then is not known"
            )
        return new.to(ids.dtype)

    def numbered(self, part: Mapping[str, Tensor], kinds: Mapping[str, Ids]) -> Mapping[str, Tensor]:
        """The fields of some rows, those that hold ids as they are numbered now."""
        return {name: self.of(value, kinds[name], name) if name in kinds else value for name, value in part.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Named tensors by what a row of each belongs to.

    Attributes:
        node: [N, …] each (`pos`, `pe`, `n_id`).
        edge: [E, …] each, in the order of edge_index (`edge_attr`, `edge_type`).
        graph: [B, …] each, one row per graph; of one graph, anything that is neither of the above.
        lists: node ids that have no such row; they are renumbered with the nodes.
        ids: which fields of rows hold ids themselves, of nodes (`parent_index`) or of the row's graph (`x_batch`);
            those of edges of the graph alone, since what an added edge should name is not known.
    """

    node: Mapping[str, Tensor] = field(default_factory=dict)
    edge: Mapping[str, Tensor] = field(default_factory=dict)
    graph: Mapping[str, Tensor] = field(default_factory=dict)
    lists: Mapping[str, IdList] = field(default_factory=dict)
    ids: Mapping[str, Ids] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Every (name, tensor)."""
        for part in (self.node, self.edge, self.graph):
            yield from part.items()
        for name, entries in self.lists.items():
            yield name, entries.ids
            yield from entries.rows.items()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.node or self.edge or self.graph or self.lists)

    def get(self, name: str) -> Tensor | None:
        """The tensor of that name, None without one."""
        return next((value for key, value in self if key == name), None)

    def each(self, change: Callable[[Tensor], Tensor]) -> Fields:
        """The same fields, each tensor as `change` makes it."""

        def of(part: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            return {name: change(value) for name, value in part.items()}

        lists = {name: replace(own, ids=change(own.ids), rows=of(own.rows)) for name, own in self.lists.items()}
        return replace(self, node=of(self.node), edge=of(self.edge), graph=of(self.graph), lists=lists)

    @property
    def held(self) -> tuple[str, ...]:
        """The fields that need all nodes that they name: without these nodes, what they say is not known."""
        lists = (name for name, entries in self.lists.items() if not entries.is_edges)
        return (*(name for name, kind in self.ids.items() if kind == "node"), *lists)

    def only(self, names: Iterable[str]) -> Fields:
        """The fields of these names; a list stays with its rows."""
        kept = set(names)

        def rows(part: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            return {name: value for name, value in part.items() if name in kept}

        lists = {
            name: replace(entries, rows=rows(entries.rows))
            for name, entries in self.lists.items()
            if kept & {name, *entries.rows}
        }
        ids = {name: kind for name, kind in self.ids.items() if name in kept}
        return Fields(rows(self.node), rows(self.edge), rows(self.graph), lists, ids)

    def take(
        self,
        nodes: Tensor | None = None,
        arcs: Tensor | None = None,
        graphs: Tensor | None = None,
        places: Places | None = None,
    ) -> Fields:
        """The rows of these nodes, arcs and graphs, int64 each; None for all as they are.

        Args:
            nodes: old ids.
            arcs: old places.
            graphs: old ids.
            places: the new numbers of nodes and graphs; None where they stay.

        Raises:
            SkippedError: a field names a node that is taken away.
        """
        node, edge, graph = (
            _rows(part, chosen) for part, chosen in ((self.node, nodes), (self.edge, arcs), (self.graph, graphs))
        )
        if places is None:
            return replace(self, node=node, edge=edge, graph=graph)
        node, edge, graph = (places.numbered(part, self.ids) for part in (node, edge, graph))
        lists = {name: _entries(entries, name, self.ids, places) for name, entries in self.lists.items()}
        return Fields(node, edge, graph, lists, self.ids)

    def check(self, nodes: int, arcs: int, graphs: int | None, owner: str) -> None:
        """Raises GraphError when a field does not have one row per node, arc or graph, or names none of the nodes."""
        for part, rows, what in ((self.node, nodes, "node"), (self.edge, arcs, "edge"), (self.graph, graphs, "graph")):
            for name, value in part.items() if rows is not None else ():
                if value.dim() == 0 or value.shape[0] != rows:
                    raise GraphError(
                        f"{owner}: {name} is {list(value.shape)}; expected one row per {what}, [{rows}, …]. "
                        "Correct the field, or leave it out of the file."
                    )
        for name, entries in self.lists.items():
            if entries.ids.numel() and not 0 <= int(entries.ids.min()) <= int(entries.ids.max()) < nodes:
                raise GraphError(
                    f"{owner}: {name} holds {int(entries.ids.min())} to {int(entries.ids.max())}; expected ids of "
                    f"nodes in [0, {nodes}). Correct the field, or leave it out of the file."
                )


NO_FIELDS = Fields()


def counts_on(name: str) -> bool:
    """Whether a field of this name holds ids of nodes, by PyG's rule: it counts them on from graph to graph."""
    return ("index" in name or name == "face") and "batch" not in name


def columns(ids: Tensor) -> Tensor:
    """A list of ids [M] or […, M] as [k, M]."""
    return ids[None] if ids.dim() == 1 else ids.flatten(0, -2)


def _rows(part: Mapping[str, Tensor], ids: Tensor | None) -> Mapping[str, Tensor]:
    return part if ids is None else {name: value[ids] for name, value in part.items()}


def _entries(entries: IdList, name: str, kinds: Mapping[str, Ids], places: Places) -> IdList:
    """The entries whose nodes are left, graph by graph in the new order."""
    ids, rows, there = entries.ids, entries.rows, None
    if entries.is_edges:
        there = (places.node[ids.long()] >= 0).all(dim=0)
    elif places.graph is not None and places.old is not None:  # nodes go with their graph, not without it
        there = places.graph[places.old[columns(ids)[0].long()]] >= 0
    if there is not None:
        kept = torch.nonzero(there).flatten()
        ids, rows = ids[..., kept], _rows(rows, kept)
    ids = places.of(ids, "node", name)
    if places.batch is not None and ids.numel():
        order = torch.argsort(places.batch[columns(ids)[0].long()], stable=True)
        ids, rows = ids[..., order], _rows(rows, order)
    return replace(entries, ids=ids, rows=places.numbered(rows, kinds))


def side_by_side(parts: Sequence[Fields], starts: Sequence[int]) -> Fields:
    """The fields of several single graphs one after the other, whose nodes count on from `starts`."""

    def shifted(values: Iterable[Tensor], kind: Ids | None) -> list[Tensor]:
        steps = starts if kind == "node" else range(len(parts))
        return [v if kind is None else torch.where(v < 0, v, v + step) for v, step in zip(values, steps, strict=True)]

    def joined(maps: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        ids = parts[0].ids
        return {name: torch.cat(shifted((one[name] for one in maps), ids.get(name))) for name in maps[0]}

    lists = {
        name: replace(
            first,
            ids=torch.cat(shifted((p.lists[name].ids for p in parts), "node"), dim=-1),
            rows=joined([p.lists[name].rows for p in parts]),
        )
        for name, first in parts[0].lists.items()
    }
    node, edge, graph = (joined([getattr(p, part) for p in parts]) for part in ("node", "edge", "graph"))
    return Fields(node, edge, graph, lists, parts[0].ids)


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
