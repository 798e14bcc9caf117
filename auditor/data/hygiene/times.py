"""Whether something of the time of the test was there before it: events, arcs, pairs and nodes with times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from auditor.data.graph import Split
from auditor.data.hygiene.stored import EVENTS, ONE, Fields, Part, Stored
from auditor.data.named import masks_from
from auditor.errors import GraphError
from auditor.split_report import KEPT, SplitRow, counted, fault, named, unchecked, verb

FUTURE = "future-edge"
OF_NODES = ("time", "node_time", "timestamp", "t")
OF_ARCS = ("time", "edge_time", "timestamp", "t")
OF_PAIRS = "edge_label_time"
_FIX = "Cut at a point in time, between two different times: every tie on one side of it."


def future_row(earlier: Tensor, tested: Tensor, what: tuple[str, str], about: str, *, chronological: bool) -> SplitRow:
    """What was there before the test and is not older than its first item; ties count.

    Args:
        earlier: times of what was trained on or read, [n].
        tested: times of the test items, [m].
        what: one of the former and several, in words.
        about: the parts.
        chronological: whether train was meant to lie before test; else the row is a note.

    Raises:
        GraphError: a time that is no number, which is neither before nor after anything.
    """
    for times in (earlier, tested):
        bad = torch.nonzero(~torch.isfinite(times)).flatten()
        if bad.numel():
            raise GraphError(
                f"{bad.numel()} of {len(times)} times are no numbers (first: {bad[:5].tolist()}); expected a time for "
                "each that is trained on or tested. Leave out what has none."
            )
    first = tested.min()
    late = torch.nonzero(earlier >= first).flatten()
    ties = int((earlier == first).sum())
    found = [(int(i),) for i in late]
    be = verb(len(late), len(earlier))
    evidence = f"{len(late):,} of {counted(len(earlier), *what)} {be} not older than the "
    evidence += f"first of {len(tested):,} to be predicted, at {_time(first)}"
    evidence += f" ({ties:,} at that very time)" if ties else ""
    evidence += f": {named(found)}" if found else ""
    if found and not chronological:
        evidence += "; nothing says that train was meant to lie before test"
    return fault(FUTURE, found, len(earlier), evidence, _FIX, about=about, kind="fault" if chronological else "note")


def _time(value: Tensor) -> str:
    return f"{value.item():g}" if value.is_floating_point() else f"{value.item()}"


def event_parts(stored: Stored) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(times, places in the stream) of the events of each part; {} where no part is named.

    Raises:
        GraphError: sources, targets and times of unequal length.
        SplitError: masks that overlap, or are none.
    """
    for word, part in stored.parts.items():
        lengths = {key: list(part.events[key].shape) for key in EVENTS if key in part.events}
        if (
            len(lengths) < len(EVENTS)
            or len({tuple(shape) for shape in lengths.values()}) > 1
            or len(lengths["t"]) != 1
        ):
            said = ", ".join(f"{key} {shape}" for key, shape in lengths.items()) or "no events"
            raise GraphError(
                f"{stored.name}{' ' if word else ''}{word}: {said}; expected a source, a target and a time for each "
                "event, [T] each."
            )
    if "" not in stored.parts:
        times = {word: part.events["t"] for word, part in stored.parts.items()}
        return times, {word: torch.arange(len(t)) for word, t in times.items()}
    events = stored.parts[""].events
    masks = masks_from(events, len(events["t"]), stored.name)
    if not masks:
        return {}, {}
    Split(masks["train"], masks["val"], masks["test"])
    places = {word: torch.nonzero(mask).flatten() for word, mask in masks.items() if bool(mask.any())}
    return {word: events["t"][place] for word, place in places.items()}, places


def event_rows(times: Mapping[str, Tensor], places: Mapping[str, Tensor], *, chronological: bool) -> Iterator[SplitRow]:
    """Of a stream: each part that is predicted against all that come before it."""
    words = [word for word in ("train", "val", "test") if word in times and len(times[word])]
    for i, word in enumerate(words[1:], 1):
        before = words[:i]
        about = f"{' and '.join(before)} before {word}"
        row = future_row(
            torch.cat([times[w] for w in before]), times[word], ("event", "events"), about, chronological=chronological
        )
        ids = torch.cat([places[w] for w in before])
        items = tuple((int(ids[i]),) for (i,) in row.items)
        yield row.model_copy(update={"items": items[:KEPT]})


def pair_rows(parts: Mapping[str, Part], *, chronological: bool | None) -> Iterator[SplitRow]:
    """Of a link split whose pairs have times: arcs that are read for them, and pairs that were trained on."""
    for word, part in parts.items():
        for relation, held in part.edges.items():
            if word == "train" or "edge_label_index" not in held:
                continue
            about = (word or "test") + ("" if relation == ONE else f", {' '.join(relation)}")
            tested = _pair_times(held)
            arcs = {r: t for r, own in part.edges.items() if (t := arc_times(own)) is not None}
            if tested is None:
                if arcs:
                    why = "arcs have times and the pairs to be predicted have none"
                    yield unchecked(FUTURE, "fault", why, f"Save {OF_PAIRS} [P] beside edge_label_index.", about=about)
                continue
            if not len(tested):
                continue
            declared = chronological is not False
            for other, t in arcs.items():
                where = about if relation == ONE else f"{about}, read: {' '.join(other)}"
                yield future_row(t, tested, ("arc that is read", "arcs that are read"), where, chronological=declared)
            train = parts["train"].edges.get(relation, {}) if "train" in parts else {}
            for kind, earlier in (("pair", _pair_times(train)), ("arc", arc_times(train))):
                if earlier is not None and len(earlier):
                    words = f"{kind} of train", f"{kind}s of train"
                    where = f"{kind}s of train before {about}"
                    yield future_row(earlier, tested, words, where, chronological=declared)


def _pair_times(held: Fields) -> Tensor | None:
    """Of the pairs to be predicted, [P]; None where they have none.

    Raises:
        GraphError: not one for each pair.
    """
    times, pairs = held.get(OF_PAIRS), held.get("edge_label_index")
    if times is None or pairs is None:
        return None
    if times.numel() != pairs.shape[-1]:
        raise GraphError(
            f"{OF_PAIRS} is {list(times.shape)} for {pairs.shape[-1]} pairs; expected a time for each pair, [P]."
        )
    return times.flatten()


def arc_times(held: Fields) -> Tensor | None:
    """Of the arcs of a relation, [E]; None where they have none."""
    arcs = held.get("edge_index")
    return None if arcs is None or not arcs.numel() else _column(held, OF_ARCS, arcs.shape[-1])


def _column(held: Fields, names: tuple[str, ...], count: int) -> Tensor | None:
    """The first field of these names, as one number for each of `count`, [count]; None where it is none such."""
    found = next((held[key] for key in names if key in held), None)
    return found.flatten() if found is not None and found.numel() == count else None


def node_rows(
    held: Fields, split: Split, what: str, *, chronological: bool | None, about: str = ""
) -> Iterator[SplitRow]:
    """Of nodes or graphs with times: train items against the first test item. A note, unless it is said.

    Raises:
        GraphError: train is said to lie before test, and a time of either is no number.
    """
    times = _column(held, OF_NODES, len(split.train))
    if times is None or not split.is_known:
        return
    if not chronological and not bool(torch.isfinite(times[split.train | split.test]).all()):
        yield unchecked(FUTURE, "note", f"some {what}s of train or test have no time", about=about)
        return
    row = future_row(
        times[split.train],
        times[split.test],
        (f"train {what}", f"train {what}s"),
        about,
        chronological=chronological is True,
    )
    ids = torch.nonzero(split.train).flatten()
    yield row.model_copy(update={"items": tuple((int(ids[i]),) for (i,) in row.items)})
