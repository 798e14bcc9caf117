"""What else a file holds: each field by what its rows belong to, and which of them hold ids of nodes.

See docs/methods/graph-files.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from auditor.data.fields import Fields, IdList, Ids, columns, counts_on
from auditor.errors import GraphError

NODE_NAMES = ("node_index",)  # like n_id: the row of a table that each node has


def fields_from(
    rest: Mapping[str, Tensor],
    owners: Owners,
    name: str,
    notes: list[str],
    *,
    node_fields: tuple[str, ...] = (),
    edge_fields: tuple[str, ...] = (),
) -> Fields:
    """Everything else by what its rows belong to, and which of it holds ids of nodes.

    Raises:
        GraphError: a length that fits nothing or several, or ids that are none.
    """
    unknown = sorted({*node_fields, *edge_fields} - rest.keys())
    if unknown:
        raise GraphError(f"{name} has no {', '.join(unknown)}, which [data] node_fields or edge_fields names.")
    rest = {k: v.float() if v.dtype in (torch.float64, torch.float16, torch.bfloat16) else v for k, v in rest.items()}
    said = {**dict.fromkeys(node_fields, "node"), **dict.fromkeys(edge_fields, "edge")}
    lists = {
        key: found for key, value in rest.items() if key not in said and (found := _list(key, value, owners, name))
    }
    parts: dict[str, dict[str, Tensor]] = {"node": {}, "edge": {}, "graph": {}}
    along: dict[str, dict[str, Tensor]] = {key: {} for key in lists}
    ids: dict[str, Ids] = {}
    for key, value in rest.items():
        if key in lists:
            continue
        part = said.get(key) or _part(key, value, lists, owners, name)
        if key in said and (value.dim() == 0 or value.shape[0] != owners.rows[part]):
            raise GraphError(
                f"{name}: {key} is {list(value.shape)}; expected {owners.rows[part]} rows, as [data] says."
            )
        (along[part] if part in along else parts[part])[key] = value
        of = owners.of(lists[part].ids) if part in along else owners.graph_of[part]
        if kind := _kind(key, value, part, of, owners, name, notes):
            ids[key] = kind
    for key, entries in lists.items():
        other = "edges beside edge_index, which edits of edge_index leave as they are" if entries.is_edges else "nodes"
        notes.append(f"{key} holds ids of {other}; they are renumbered with the nodes")
    filled = {key: replace(entries, rows=along[key]) for key, entries in lists.items()}
    return Fields(parts["node"], parts["edge"], parts["graph"], filled, ids)


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """What rows and ids of a graph may belong to.

    Attributes:
        rows: how many nodes, edges and graphs there are; no graphs of one graph.
        graph_of: the graph of each node, edge and graph, int64; None each for one graph.
    """

    rows: Mapping[str, int]
    graph_of: Mapping[str, Tensor | None]

    @classmethod
    def make(cls, nodes: int, edge_index: Tensor, batch: Tensor | None) -> Owners:
        """Of a graph as a file holds it, not yet checked: an edge that joins no two nodes has no graph."""
        rows = {"node": nodes, "edge": int(edge_index.shape[-1]) if edge_index.dim() else -1}
        if batch is None:
            return cls(rows, {"node": None, "edge": None, "graph": None})
        items = int(batch.max()) + 1
        source = edge_index[0] if edge_index.dim() == 2 and edge_index.shape[0] else edge_index.flatten()
        inside = (source >= 0) & (source < batch.shape[0])
        edge = torch.where(inside, batch[source.clamp(0, batch.shape[0] - 1)], -1)
        return cls({**rows, "graph": items}, {"node": batch, "edge": edge, "graph": torch.arange(items)})

    @property
    def batch(self) -> Tensor | None:
        """The graph of each node."""
        return self.graph_of["node"]

    def names(self, value: Tensor, *, least: int = 0) -> bool:
        """Whether every number could be a node's id."""
        return not value.numel() or least <= int(value.min()) <= int(value.max()) < self.rows["node"]

    def of(self, ids: Tensor) -> Tensor | None:
        """The graph of each entry of a list of ids, by its first."""
        return None if self.batch is None else self.batch[columns(ids)[0].long()]


def _list(key: str, value: Tensor, owners: Owners, name: str) -> IdList | None:
    """A list of ids of nodes, where the name or the shape says so; None for anything with a row per item."""
    pairs = value.dim() == 2 and value.shape[0] in ((2, 3) if counts_on(key) else (2,))
    if not is_whole(value) or 0 in (value.dim(), *value.shape[:1]) or not (pairs or counts_on(key)):
        return None
    if not owners.names(value):
        return None
    fits = {part for part, rows in owners.rows.items() if value.shape[0] == rows}
    if fits - {"graph"} or (fits and not counts_on(key)):  # [2, M] of two nodes or edges: rows as everywhere
        return None
    batch = owners.batch
    if batch is None:
        return IdList(value, is_edges=True) if pairs else None
    graphs = batch[columns(value).long()]
    together = bool((graphs == graphs[0]).all())
    each = torch.bincount(graphs[0], minlength=owners.rows["graph"])
    is_edges = pairs and not bool((each == 1).all())
    if together and (is_edges or bool((graphs[0].diff() >= 0).all())):
        return IdList(value, is_edges=is_edges)
    if fits or not counts_on(key):
        return None
    raise _not_ids(key, value, name)


def _part(key: str, value: Tensor, lists: Mapping[str, IdList], owners: Owners, name: str) -> str:
    """`node`, `edge`, `graph`, or the list of ids whose entries have a row each."""
    rows = value.shape[0] if value.dim() else -1
    fits = [part for part, length in owners.rows.items() if rows == length]
    entries = [other for other, of in lists.items() if rows == of.ids.shape[-1] and of.is_edges]
    own = [other for other in entries if _is_like(key, other)]
    if len(own) == 1:
        return own[0]
    if not fits or "edge" in key:
        fits += entries
    if len(fits) > 1 and "edge" in fits and "edge" in key:
        return "edge"
    if len(fits) > 1:
        counts = ", ".join(f"{count} {part}s" for part, count in owners.rows.items())
        beside = "".join(f", {lists[other].ids.shape[-1]} entries of {other}" for other in entries)
        raise GraphError(
            f"{name}: {key} has {rows} rows, and there are {counts}{beside}; say in [data] whether it is one of "
            f'node_fields = ["{key}"] or edge_fields = ["{key}"].'
        )
    if fits:
        return fits[0]
    if owners.batch is None:
        return "graph"  # of the one graph: passed on as it is
    counts = " and ".join(", ".join(f"{count} {part}s" for part, count in owners.rows.items()).rsplit(", ", 1))
    raise GraphError(
        f"{name}: {key} is {list(value.shape)}, which is none of {counts}; expected one row of each. Leave it out of "
        "the file, or save it row by row."
    )


def _is_like(key: str, other: str) -> bool:
    """Whether a name is that of a list but for the part that says `index`: edge_attr_2 of edge_index_2."""
    before, _, after = other.partition("edge_index" if "edge_index" in other else "index")
    return bool(before or after) and key.startswith(before.rstrip("_")) and key.endswith(after)


def _kind(
    key: str, value: Tensor, part: str, graph_of: Tensor | None, owners: Owners, name: str, notes: list[str]
) -> Ids | None:
    """Whether the rows of a field hold ids of nodes, or the graph that they are of."""
    if not is_whole(value):
        return None
    if graph_of is not None and "batch" in key and torch.equal(value.long(), graph_of):
        return "graph"
    if not counts_on(key):
        return None
    if graph_of is not None:
        batch = owners.batch
        assert batch is not None
        inside = owners.names(value) and batch[value.long()] == graph_of.view(-1, *[1] * (value.dim() - 1))
        if inside is False or not bool(torch.as_tensor(inside).all()):
            raise _not_ids(key, value, name)
    elif not owners.names(value, least=-1):
        notes.append(
            f"{key} reaches from {int(value.min())} to {int(value.max())}: no ids of nodes, passed on as it is"
        )
        return None
    elif part == "node" and (key in NODE_NAMES or torch.equal(value.long(), torch.arange(owners.rows["node"]))):
        return None  # what each node is called, whatever its place
    if part == "edge":
        raise GraphError(
            f"{name}: {key} has a row per edge, of ids of nodes by its name; expected other numbers, since what an "
            'added edge should name is not known. Save them under a name without "index" if they name no nodes.'
        )
    notes.append(f"{key} holds ids of nodes; they are renumbered with the nodes")
    return "node"


def is_whole(value: Tensor) -> bool:
    """Whether the numbers are of an integer type."""
    return not torch.is_floating_point(value) and value.dtype != torch.bool


def _not_ids(key: str, value: Tensor, name: str) -> GraphError:
    return GraphError(
        f"{name}: {key} is {list(value.shape)} with values from {int(value.min())} to {int(value.max())}; expected ids "
        'of nodes of its own graph, since PyG counts fields with "index" in their names on from graph to graph. Save '
        "other numbers under another name."
    )
