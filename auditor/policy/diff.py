"""What changed between two audits, result by result; a change counts only if the intervals say so."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

from auditor.document import Audit, CellRow, Estimate, Result
from auditor.document.results import Question, Unit
from auditor.records import Model, Number

Change = Literal["worse", "better", "same", "new", "gone", "redefined"]
CHANGES: tuple[Change, ...] = ("worse", "gone", "redefined", "new", "better", "same")

DEFINING = ("attack", "attacks", "labels", "density", "features", "controls", "draws", "protocol")
"""Keys of a cell's parameters that say how a number was measured; the others record what came out on the way.

Settings that the user wrote are part of the probe's name, and budgets of the subset's.
"""

HALVES: frozenset[Question] = frozenset({"over-confidence", "under-confidence"})
"""Questions that ask about one number from its two sides: what lies below 0 is what the other one asks about."""


class DiffRow(Model):
    """One result in both audits, or in one.

    Attributes:
        fingerprint: of finding, target, arm, probe, metric and subset.
        unit: of the metric.
        change: what happened to its excess.
        judged: whether either audit judges it.
        old, new: excess over the control; None where the audit lacks it. Of a number that two questions ask about from
            both sides it is 0 where it lies on the other's: no confidence is more than not too high.
        difference: new − old; positive = worse for the model's owner.
        half_width: of the difference, from both intervals taken as independent.
        why: why it was not compared: `profile`, `access` or defining parameters that differ, `no-control`,
            `one-control`, `open`.
    """

    fingerprint: str
    finding: str
    arm: str
    probe: str
    metric: str
    subset: str
    unit: Unit
    change: Change
    judged: bool
    old: Estimate | None = None
    new: Estimate | None = None
    difference: Number = None
    half_width: Number = None
    why: tuple[str, ...] = ()


class Diff(Model):
    """Every result of two audits, regressions first."""

    old_target: str
    new_target: str
    rows: tuple[DiffRow, ...]

    @property
    def counts(self) -> dict[Change, int]:
        """How many rows changed how."""
        found = Counter(row.change for row in self.rows)
        return {change: found[change] for change in CHANGES}

    @property
    def exit_code(self) -> int:
        """1 when a judged number got worse, else 3 when something is gone, else 0 (`--fail-on-regression`)."""
        if any(row.change == "worse" and row.judged for row in self.rows):
            return 1
        return 3 if any(row.change == "gone" for row in self.rows) else 0


def diff(old: Audit, new: Audit) -> Diff:
    """Compares two audits; rows in the order worse, gone, redefined, new, better, same, then as the audits list them.

    Numbers are compared only when the same thing was measured in the same way: equal fingerprint, profile, access and
    defining parameters.
    The half-width sqrt(h_new² + h_old²) takes both as independent, which is wider than the truth when they share items
    and less blunt than asking that intervals do not overlap.
    """
    before, after = _defined(old), _defined(new)
    rows = [_row(before.get(key), after.get(key)) for key in dict.fromkeys((*before, *after))]
    return Diff(
        old_target=old.target.name,
        new_target=new.target.name,
        rows=tuple(sorted(rows, key=lambda row: (CHANGES.index(row.change), not row.judged))),
    )


_Defined = tuple[Result, dict[str, Any]]


def _row(old: _Defined | None, new: _Defined | None) -> DiffRow:
    known = new or old
    assert known is not None  # the key comes from one of the two
    change, difference, width, why = _compare(old, new)
    result = known[0]
    return DiffRow(
        fingerprint=result.fingerprint,
        finding=result.finding,
        arm=result.arm,
        probe=result.probe,
        metric=result.metric,
        subset=result.subset,
        unit=result.unit,
        change=change,
        judged=any(side is not None and side[0].judged for side in (old, new)),
        old=None if old is None else _effect(old[0]),
        new=None if new is None else _effect(new[0]),
        difference=difference,
        half_width=width,
        why=why,
    )


def _compare(old: _Defined | None, new: _Defined | None) -> tuple[Change, float | None, float | None, tuple[str, ...]]:
    """Change, difference, half-width, and why there is no comparison."""
    if old is None:
        return "new", None, None, ()
    if new is None:
        return "gone", None, None, ()
    if other := tuple(name for name in old[1] if old[1][name] != new[1][name]):
        return "redefined", None, None, other
    before, after = old[0].excess, new[0].excess
    if (before is None) != (after is None):
        return "redefined", None, None, ("one-control",)
    if before is None or after is None:
        return "same", None, None, ("no-control",)
    if before.value is None or after.value is None or before.half_width is None or after.half_width is None:
        return "same", None, None, ("open",)
    width = math.hypot(before.half_width, after.half_width)  # of the number itself: no end is nearer than it was
    question = new[0].question
    difference = _asked_about(after.value, question) - _asked_about(before.value, question)
    change: Change = "worse" if difference - width > 0 else "better" if difference + width < 0 else "same"
    return change, difference, width, ()


def _effect(result: Result) -> Estimate | None:
    """The excess, as far as it is what its question asks about."""
    excess = result.excess
    if excess is None or result.question not in HALVES:
        return excess
    ends = (excess.value, excess.lo, excess.hi)
    value, lo, hi = (None if end is None else _asked_about(end, result.question) for end in ends)
    return Estimate(value=value, lo=lo, hi=hi, n=excess.n)


def _asked_about(value: float, question: Question) -> float:
    return max(value, 0.0) if question in HALVES else value


def _defined(audit: Audit) -> dict[str, _Defined]:
    """Every result by its fingerprint, with how it was measured; that is equal in all seeds of an audit."""
    cells = {cell.key: cell for cell in audit.cells}
    return {r.fingerprint: (r, _definition(audit.profile, r, cells[r.cells[0]])) for r in audit.results}


def _definition(profile: str, result: Result, cell: CellRow) -> dict[str, Any]:
    params = {key: cell.params.get(key) for key in DEFINING}
    return {"profile": profile, "access": result.access, **params}
