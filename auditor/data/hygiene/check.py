"""The report on one split: every check that its kind of data has, judged together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.data.hygiene.items import OVERLAP, against_rows, alike_rows, copy_row, item_rows, overlap_row, pool_of
from auditor.data.hygiene.links import link_parts, link_rows, sizes
from auditor.data.hygiene.stored import Fields, Stored, node_count
from auditor.data.hygiene.times import FUTURE, OF_NODES, OF_PAIRS, event_parts, event_rows, node_rows, pair_rows
from auditor.data.named import masks_from
from auditor.data.sources import LoadedData
from auditor.errors import GraphError, UsageError
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
        UsageError: train is said to lie before test, and nothing has a time.
    """
    graph, parts = data.graph, dict(zip(("train", "val", "test"), split.sizes, strict=True))
    notes = list(data.notes)
    if not split.is_known and data.masks:
        count = data.masks["train"].shape[1]
        notes.append(f"the data come with {count} splits: name one, from masks:0 to masks:{count - 1}")
    if against is None:
        held = graph.fields.node if graph.batch is None else graph.fields.graph
        times = tuple(node_rows(held, split, graph.task.level, chronological=chronological))
        _check_times(name, times, OF_NODES, needed=chronological is True and split.is_known)
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
        UsageError: train is said to lie before test, and nothing has a time.
    """
    if any(part.events for part in stored.parts.values()):
        return _events(stored, chronological=chronological is not False)
    if any(part.has_pairs for part in stored.parts.values()):
        parts = link_parts(stored.parts, stored.name)
        times = tuple(pair_rows(stored.parts, chronological=chronological))
        _check_times(stored.name, times, (OF_PAIRS,), needed=chronological is True)
        rows = [*link_rows(parts), *times]
        notes = [] if "train" in parts else ["there is no part for training: its pairs cannot be compared"]
        notes += (
            ["nothing says which part this is: its pairs are taken for those that test"] if "" in stored.parts else []
        )
        return SplitReport.of(stored.name, "edge", "in the file", sizes(parts), rows, notes)
    return _typed_nodes(stored, chronological=chronological)


def _events(stored: Stored, *, chronological: bool) -> SplitReport:
    times, places = event_parts(stored)
    parts = {word: len(t) for word, t in times.items()}
    if all(len(times.get(word, ())) for word in ("train", "test")):
        rows = list(event_rows(times, places, chronological=chronological))
        return SplitReport.of(stored.name, "event", "in the file", parts, rows)
    fix = "Save a list [train, val, test] of TemporalData, or train_mask, val_mask and test_mask [T] over the events."
    row = unchecked(FUTURE, "fault", "nobody named the events that are trained on and those that test", fix)
    return SplitReport.of(stored.name, "event", "unknown", parts, [row])


def _typed_nodes(stored: Stored, *, chronological: bool | None) -> SplitReport:
    """Of the node types that have masks."""
    found: dict[str, tuple[Fields, Split]] = {}
    for kind, held in stored.parts[""].nodes.items():
        name = f"{stored.name}, {kind}"
        masks = masks_from(held, node_count(held) or 0, name)
        if masks:
            found[kind] = held, Split(masks["train"], masks["val"], masks["test"], spec="file")
    if not found:
        why = "no type of nodes has train_mask and test_mask, and no relation has edge_label_index"
        fix = "Save the masks with the nodes, or the list [train, val, test] that RandomLinkSplit makes."
        return SplitReport.of(stored.name, "node", "unknown", {}, [unchecked(OVERLAP, "fault", why, fix)])
    alike = {
        kind: alike_rows(_features(held, split, f"{stored.name}, {kind}")) for kind, (held, split) in found.items()
    }
    tests = sum(each.groups is not None for each in alike.values())
    rows: list[SplitRow] = []
    times: list[SplitRow] = []
    parts = {"train": 0, "val": 0, "test": 0}
    for kind, (held, split) in found.items():
        pool = pool_of(split, _classes(held, len(split.train)))
        rows.append(overlap_row(pool, "node", about=kind))
        rows.append(copy_row(alike[kind], pool, pool.ids, "node", tests=max(tests, 1), about=kind))
        times += node_rows(held, split, "node", chronological=chronological, about=kind)
        parts = {word: parts[word] + size for word, size in zip(parts, split.sizes, strict=True)}
    _check_times(stored.name, times, OF_NODES, needed=chronological is True)
    return SplitReport.of(stored.name, "node", "in the file", parts, [*rows, *times])


def _check_times(name: str, rows: Sequence[SplitRow], fields: Sequence[str], *, needed: bool) -> None:
    """Raises UsageError where an order in time is asked for and nothing has a time."""
    if needed and not rows:
        raise UsageError(
            f"chronological came with {name}, which has no times to compare; expected a number for each item as "
            f"{' or '.join(fields)}. Save it, or leave chronological out."
        )


def _classes(held: Fields, items: int) -> Tensor:
    """Numbers of the labels from 0, int64 [items]; all 0 where nodes have not one label each."""
    y = held.get("y")
    if y is None or y.numel() != items:
        return torch.zeros(items, dtype=torch.int64)
    numbers: Tensor = torch.unique(y.flatten(), return_inverse=True)[1]
    return numbers


def _features(held: Fields, split: Split, name: str) -> Tensor:
    x, items = held.get("x"), len(split.train)
    if x is None:
        return torch.empty(items, 0)
    if x.shape[:1] != (items,) or x.layout != torch.strided or x.is_complex():
        raise GraphError(
            f"{name}: x is {x.dtype} {list(x.shape)}, {x.layout}, the masks have {items} entries; expected a dense row "
            "of real numbers for each node. Save masks in the order of x."
        )
    return x.reshape(items, -1)


def _check_alike(name: str, graph: Graph, other: str, trained: Graph) -> None:
    one, two = (f"{g.task.level}s with {g.num_features} features" for g in (graph, trained))
    if one != two:
        raise GraphError(
            f"{name} has {one}, {other} was trained on {two}; expected the same of both. Give data in the form that "
            "the target reads."
        )
