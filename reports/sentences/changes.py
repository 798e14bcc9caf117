"""What changed between two audits, and what a baseline accepts, in words. Both come from outside the document."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Protocol

from auditor import printable
from auditor.document import Estimate
from auditor.document.results import Unit
from reports.sentences import names
from reports.sentences.numbers import closed, count, day, difference_cell, digits, listed

HEADS = ("change", "what", "before", "after", "difference")
ACCEPTED_HEADS = ("finding", "size", "accepted up to", "days left", "reason", "by")
NOTHING = "none"
_CHANGES = {
    "worse": "worse",
    "gone": "gone",
    "redefined": "measured in another way",
    "new": "new",
    "better": "better",
    "same": "the same",
}
_WHY = {
    "no-control": "it has no control",
    "one-control": "only one of the two has a control",
    "open": "a range has no end",
}


class Changed(Protocol):
    """One number in both audits, or in one; a difference is new − old, positive = worse for the owner."""

    arm: str
    probe: str
    metric: str
    subset: str
    unit: Unit
    change: str
    judged: bool
    old: Estimate | None
    new: Estimate | None
    difference: float | None
    half_width: float | None
    why: tuple[str, ...]


class Changes(Protocol):
    """Every number of two audits, and how many changed how."""

    old_target: str
    new_target: str
    rows: Sequence[Changed]
    counts: Mapping[str, int]


class Acceptance(Protocol):
    """One accepted result; `hi` is the accepted upper end of its excess, None where that is open."""

    id: str
    what: str
    severity: str
    hi: float | None
    reason: str
    by: str
    expires: datetime.date


class Acceptances(Protocol):
    """A baseline: what it accepts, under which policy, and what must keep running."""

    policy: str
    accepted: Sequence[Acceptance]
    cells: Sequence[object]


def cells(row: Changed) -> tuple[str, ...]:
    """One number under `HEADS`."""
    change = _CHANGES.get(row.change, row.change) + ("" if row.judged else " (shown)")
    what = f"{names.source(row.probe, row.arm)}, {names.metric(row.metric)} {row.subset}".rstrip()
    if row.why:
        differing = [f"another {word.replace('_', ' ')}" for word in row.why if word not in _WHY]
        what += f": {listed([*differing, *(_WHY[word] for word in row.why if word in _WHY)])}"
    moved = None
    if row.difference is not None and row.half_width is not None:
        lo, hi = row.difference - row.half_width, row.difference + row.half_width
        moved = Estimate(value=row.difference, lo=lo, hi=hi)
    sides = (_excess(each, row.unit) for each in (row.old, row.new, moved))
    return tuple(printable.neutral(text) for text in (change, what, *sides))


def change_line(row: Changed) -> str:
    """The same as one line: `worse: posterior-similarity, AUC; before 5.4 worse …; after …; difference …`."""
    change, what, *sides = cells(row)
    told = (f"{head} {side}" for head, side in zip(HEADS[2:], sides, strict=True))
    return printable.neutral("; ".join((f"{change}: {what}", *told)))


def summary(changes: Changes) -> list[str]:
    """How many numbers changed how, and whether they could be compared at all."""
    said = []
    if changes.old_target != changes.new_target:
        targets = f"{printable.neutral(changes.old_target)} and {printable.neutral(changes.new_target)}"
        said.append(f"the audits are of different targets, {targets}: nothing can be compared")
    counted = [
        f"{digits(number)} {_CHANGES.get(change, change)}" for change, number in changes.counts.items() if number
    ]
    said.append(", ".join(counted) if counted else "nothing was measured in either audit")
    return [closed(text) for text in said]


def left_out(number: int) -> str:
    """How many changed numbers a list leaves out."""
    return f"And {count(number, 'more changed number')}, shown or further down: --all."


def accepted_cells(entry: Acceptance, today: datetime.date) -> tuple[str, ...]:
    """One acceptance under `ACCEPTED_HEADS`."""
    left = (entry.expires - today).days
    days = digits(left) if left >= 0 else f"over since {day(entry.expires)}"
    up_to = "no end" if entry.hi is None else digits(entry.hi, 3)
    name = ": ".join(filter(None, (entry.id, entry.what)))
    words = (name, names.size(entry.severity), up_to, days, entry.reason, entry.by)
    return tuple(printable.neutral(word) for word in words)


def accepted_line(entry: Acceptance, today: datetime.date) -> str:
    """The same as one line: `accepted: privacy-link-stealing: …; size large; …`."""
    name, *words = accepted_cells(entry, today)
    told = (f"{head} {word}" for head, word in zip(ACCEPTED_HEADS[1:], words, strict=True))
    return "; ".join((f"accepted: {name}", *told))


def accepted_summary(baseline: Acceptances) -> str:
    """How much is accepted, and how much must keep running."""
    kept = f"{count(len(baseline.cells), 'test')} must keep running"
    return closed(
        f"{count(len(baseline.accepted), 'result')} accepted under {printable.neutral(baseline.policy)}, {kept}"
    )


def _excess(estimate: Estimate | None, unit: Unit) -> str:
    if estimate is not None and (estimate.value, estimate.lo, estimate.hi) == (0.0, 0.0, 0.0):
        return NOTHING
    return " · ".join(filter(None, difference_cell(estimate, unit)))
