"""The report on one split: every check that its kind of data has, judged together."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.data.hygiene.items import OVERLAP, against_rows, alike_rows, copy_row, item_rows, overlap_row, pool_of
from auditor.data.hygiene.links import link_parts, link_rows, sizes
from auditor.data.hygiene.stored import Fields, Stored
from auditor.data.hygiene.times import FUTURE, event_parts, event_rows, node_rows, pair_rows
from auditor.data.named import masks_from
from auditor.data.sources import LoadedData
from auditor.errors import GraphError
from auditor.split_report import SplitReport, SplitRow, unchecked


def data_report(
    name: str,
    data: LoadedData,
    split: Split,
    *,
    against: tuple[str, Graph, Split] | None = None,
    chronological: bool | None = None,
) -> SplitReport:
    """Of nodes of one graph or of many graphs.

    Args:
        name: what the report calls them.
        data: as loaded.
        split: theirs; unknown where nobody says.
        against: name, graph and split of a target whose train items take the place of the data's own.

        chronological: whether train was meant to lie before test; None for nobody says.

    Raises:
        GraphError: the two sets are of different levels or widths.
    """
    graph, parts = data.graph, dict(zip(("train", "val", "test"), split.sizes, strict=True))
    notes = list(data.notes)
    if not split.is_known and data.masks:
        count = data.masks["train"].shape[1]
        notes.append(f"the data come with {count} splits: name one, from masks:0 to masks:{count - 1}")
    if against is None:
        held = graph.fields.node if graph.batch is None else graph.fields.graph
        times = node_rows(held, split, graph.task.level, chronological=chronological)
        rows: tuple[SplitRow, ...] = (*item_rows(graph, split), *times)
    else:
        named, trained, trained_on = against
        _check_alike(name, graph, named, trained)
        rows = against_rows(graph, split, trained, trained_on)
        tested = parts["test"] if split.is_known else int(graph.labelled.sum())
        parts = {f"train of {named}": trained_on.sizes[0], "test": tested}
    return SplitReport.of(name, graph.task.level, split.spec, parts, rows, notes)


def stored_report(stored: Stored, *, chronological: bool | None = None) -> SplitReport:
    """Of a link split, heterogeneous data or a stream of events.

    Args:
        stored: as read.
        chronological: whether train was meant to lie before test; None for what the data say.

    Raises:
        DataError: malformed parts.
    """
    if any(part.events for part in stored.parts.values()):
        return _events(stored, chronological=chronological is not False)
    if any(part.has_pairs for part in stored.parts.values()):
        parts = link_parts(stored.parts, stored.name)
        rows = [*link_rows(parts), *pair_rows(stored.parts, chronological=chronological)]
        notes = [] if "train" in parts else ["there is no part for training: its pairs cannot be compared"]
        return SplitReport.of(stored.name, "edge", "in the file", sizes(parts), rows, notes)
    return _typed_nodes(stored, chronological=chronological)


def _events(stored: Stored, *, chronological: bool) -> SplitReport:
    times, places = event_parts(stored)
    parts = {word: len(t) for word, t in times.items()}
    if times.keys() >= {"train", "test"}:
        rows = list(event_rows(times, places, chronological=chronological))
        return SplitReport.of(stored.name, "event", "in the file", parts, rows)
    fix = "Save a list [train, val, test] of TemporalData, or train_mask, val_mask and test_mask [T] over the events."
    row = unchecked(FUTURE, "fault", "nobody named the events that are trained on and those that test", fix)
    return SplitReport.of(stored.name, "event", "unknown", parts, [row])


def _typed_nodes(stored: Stored, *, chronological: bool | None) -> SplitReport:
    """Of the node types that have masks."""
    found: dict[str, tuple[Fields, Split]] = {}
    for kind, held in stored.parts[""].nodes.items():
        items = next((len(held[key]) for key in ("y", "x") if key in held), 0)
        masks = masks_from(held, items, f"{stored.name}, {kind}") if items else {}
        if masks:
            found[kind] = held, Split(masks["train"], masks["val"], masks["test"], spec="file")
    if not found:
        why = "no type of nodes has train_mask and test_mask, and no relation has edge_label_index"
        fix = "Save the masks with the nodes, or the list [train, val, test] that RandomLinkSplit makes."
        return SplitReport.of(stored.name, "node", "unknown", {}, [unchecked(OVERLAP, "fault", why, fix)])
    alike = {kind: alike_rows(_features(held, len(split.train))) for kind, (held, split) in found.items()}
    tests = sum(each.groups is not None for each in alike.values())
    rows: list[SplitRow] = []
    parts = {"train": 0, "val": 0, "test": 0}
    for kind, (held, split) in found.items():
        y = held["y"].reshape(-1).long() if "y" in held and held["y"].numel() == len(split.train) else None
        pool = pool_of(split, torch.zeros(len(split.train), dtype=torch.int64) if y is None else y)
        rows.append(overlap_row(pool, "node", about=kind))
        rows.append(copy_row(alike[kind], pool, pool.ids, "node", tests=max(tests, 1), about=kind))
        rows.extend(node_rows(held, split, "node", chronological=chronological, about=kind))
        parts = {word: parts[word] + size for word, size in zip(parts, split.sizes, strict=True)}
    return SplitReport.of(stored.name, "node", "in the file", parts, rows)


def _features(held: Fields, items: int) -> Tensor:
    x = held.get("x")
    return torch.empty(items, 0) if x is None else x.reshape(items, -1)


def _check_alike(name: str, graph: Graph, other: str, trained: Graph) -> None:
    one, two = (f"{g.task.level}s with {g.num_features} features" for g in (graph, trained))
    if one != two:
        raise GraphError(
            f"{name} has {one}, {other} was trained on {two}; expected the same of both. Give data in the form that "
            "the target reads."
        )
