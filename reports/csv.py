"""One row per measurement and seed, for a spreadsheet or a data frame; then the rows of a comparison.

A row of a comparison has the probe `compare` and no seed: it is joined over seeds. `control` is the other arm, and the
advantage is signed as everywhere: positive = worse for the owner than the other arm.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from auditor.audit import Audit, CellRow, Finding, Interval, Measurement
from reports.neutral import neutral

HEADER = (
    "target", "probe", "family", "defense", "seed", "finding", "measurement", "subset", "primary", "direction", "scale",
    "n", "value", "value_lo", "value_hi", "control", "control_value", "advantage", "advantage_lo", "advantage_hi",
    "p_adjusted", "access", "status", "severity", "severity_upper", "confidence", "fingerprint",
)  # fmt: skip


class CsvReport:
    """RFC 4180 with a header; numbers unrounded, fractions."""

    id = "csv"
    filename = "audit.csv"

    def render(self, audit: Audit) -> str:
        """The table; text that a spreadsheet would run as a formula gets a leading apostrophe."""
        safe = neutral(audit)
        findings = {
            (key, found.id, found.measurement, found.subset): found for found in safe.findings for key in found.cells
        }
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow(HEADER)
        for cell in safe.cells:
            for row in cell.measurements:
                found = findings.get((cell.key, row.finding, row.name, row.subset))
                writer.writerow([_cell(value) for value in _values(safe.target.name, cell, row, found)])
        for line in _compared(safe):
            writer.writerow([_cell(value) for value in line])
        return buffer.getvalue()


def _values(target: str, cell: CellRow, row: Measurement, found: Finding | None) -> tuple[object, ...]:
    ci, gained = row.ci or Interval(), row.advantage
    gained_ci = gained.ci if gained else Interval()
    judged = (found.status, found.severity, found.severity_upper, found.confidence) if found else ("", "", "", "")
    return (
        target, cell.probe, cell.family, cell.defense, cell.seed, row.finding, row.name, row.subset, row.primary,
        row.direction, row.scale, row.n, row.value, ci.lo, ci.hi, row.control.name if row.control else None,
        row.control.value if row.control else None, gained.value if gained else None, gained_ci.lo, gained_ci.hi,
        row.p_adjusted, " ".join(cell.access), *judged, found.fingerprint if found else "",
    )  # fmt: skip


def _compared(audit: Audit) -> Iterator[tuple[object, ...]]:
    """One row per arm, headline number and other arm."""
    arms = () if audit.matrix is None else audit.matrix.rows
    values = {(arm.defense, e.family, e.name, e.subset): e.value for arm in arms for e in arm.entries}
    for arm in arms:
        for e in arm.entries:
            ci, sign = e.ci or Interval(), -1.0 if e.better == "higher" else 1.0
            for other in e.differences or (None,):
                control = None if other is None else values.get((other.to, e.family, e.name, e.subset))
                gained: tuple[float | None, ...] = (None, None, None)
                if other is not None and other.value is not None:
                    ends = (other.ci.lo, other.ci.hi) if other.ci else (None, None)
                    if sign < 0:
                        ends = (ends[1], ends[0])
                    gained = tuple(None if x is None else sign * x for x in (other.value, *ends))
                yield (
                    audit.target.name, "compare", e.family, arm.defense, None, "defense-gain", e.name, e.subset, False,
                    "lower_is_worse" if e.better == "higher" else "higher_is_worse", None, None, e.value, ci.lo, ci.hi,
                    None if other is None else other.to, control, *gained, None, None, None, None, None, None, None,
                )  # fmt: skip


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
