"""What changed between two audits, cell by cell; a change counts only if the intervals say so (reports spec 3.6)."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

from auditor.audit import Advantage, Audit, CellRow
from auditor.joined import Joined, join_cells
from auditor.record import Model, Number

Change = Literal["worse", "better", "same", "new", "gone", "redefined"]
CHANGES: tuple[Change, ...] = ("worse", "gone", "redefined", "new", "better", "same")

DEFINING = ("attack", "attacks", "labels", "density", "features", "controls", "draws", "protocol")
"""Keys of a cell's parameters that say how a number was measured; the others record what came out on the way.

Settings that the user wrote are part of the probe's name, and budgets of the subset's.
"""


class DiffRow(Model):
    """One measurement in both audits, or in one.

    Attributes:
        fingerprint: of the finding id, target, defence, probe, measurement and subset.
        change: what happened to its advantage.
        primary: whether either audit judges it.
        old, new: joined advantages; None where the audit lacks it.
        difference: new − old; positive = worse for the model's owner.
        half_width: of the difference, from both intervals taken as independent.
        reason: why it was not compared, for `redefined`.
    """

    fingerprint: str
    id: str
    defense: str
    probe: str
    measurement: str
    subset: str
    change: Change
    primary: bool
    old: Advantage | None = None
    new: Advantage | None = None
    difference: Number = None
    half_width: Number = None
    reason: str = ""

    @property
    def name(self) -> str:
        """Short words for a line: probe, measurement, subset, defence."""
        defense = "" if self.defense == "none" else f"on {self.defense}"
        return " ".join(filter(None, (self.probe, self.measurement, self.subset, defense)))


class Diff(Model):
    """Every measurement of two audits, regressions first."""

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
        """1 when a primary number got worse, else 3 when something is gone, else 0 (`--fail-on-regression`)."""
        if any(row.change == "worse" and row.primary for row in self.rows):
            return 1
        return 3 if any(row.change == "gone" for row in self.rows) else 0


def diff(old: Audit, new: Audit) -> Diff:
    """Compares two audits; rows in the order worse, gone, redefined, new, better, same, then as the audits list them.

    Numbers are compared only when the same thing was measured in the same way: equal fingerprint, profile, access and
    defining parameters.
    The half-width sqrt(h_new² + h_old²) takes both as independent, which is wider than the truth when they share items
    and less blunt than asking that intervals do not overlap.
    """
    before = {joined.fingerprint: joined for joined in join_cells(old.cells, old.target.name)}
    after = {joined.fingerprint: joined for joined in join_cells(new.cells, new.target.name)}
    deeper = ("profile",) if old.profile != new.profile else ()
    rows = [_row(before.get(key), after.get(key), deeper) for key in dict.fromkeys((*before, *after))]
    return Diff(
        old_target=old.target.name,
        new_target=new.target.name,
        rows=tuple(sorted(rows, key=lambda row: (CHANGES.index(row.change), not row.primary))),
    )


def _row(old: Joined | None, new: Joined | None, deeper: tuple[str, ...]) -> DiffRow:
    known = new or old
    if known is None:
        raise ValueError("a row needs an old or a new measurement")
    change, difference, width, reason = _compare(old, new, deeper)
    return DiffRow(
        fingerprint=known.fingerprint,
        id=known.finding,
        defense=known.defense,
        probe=known.probe,
        measurement=known.name,
        subset=known.subset,
        change=change,
        primary=any(side is not None and side.primary for side in (old, new)),
        old=None if old is None else old.advantage,
        new=None if new is None else new.advantage,
        difference=difference,
        half_width=width,
        reason=reason,
    )


def _compare(
    old: Joined | None, new: Joined | None, deeper: tuple[str, ...]
) -> tuple[Change, float | None, float | None, str]:
    """Change, difference, half-width, and why there is no comparison."""
    if old is None:
        return "new", None, None, ""
    if new is None:
        return "gone", None, None, ""
    if other := (*deeper, *_redefined(old, new)):
        return "redefined", None, None, f"measured in another way: {', '.join(other)}"
    if (old.advantage is None) != (new.advantage is None):
        return "redefined", None, None, "only one of the two has a control"
    if old.advantage is None or new.advantage is None:
        return "same", None, None, "shown without a control"
    h_old, h_new = _half_width(old.advantage), _half_width(new.advantage)
    if old.advantage.value is None or new.advantage.value is None or h_old is None or h_new is None:
        return "same", None, None, "an open interval proves no change"
    difference, width = new.advantage.value - old.advantage.value, math.hypot(h_old, h_new)
    change: Change = "worse" if difference - width > 0 else "better" if difference + width < 0 else "same"
    return change, difference, width, ""


def _half_width(advantage: Advantage) -> float | None:
    lo, hi = advantage.ci.lo, advantage.ci.hi
    return None if lo is None or hi is None else (hi - lo) / 2


def _redefined(old: Joined, new: Joined) -> tuple[str, ...]:
    """What defines the measurement and differs between two audits."""
    before, after = _definition(old.cells[0]), _definition(new.cells[0])
    return tuple(name for name in before if before[name] != after[name])


def _definition(cell: CellRow) -> dict[str, Any]:
    """How a number was measured: the adversary's access and the defining parameters; equal in all seeds of an audit."""
    return {"access": cell.access, **{key: cell.params.get(key) for key in DEFINING}}
