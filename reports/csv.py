"""One row per result and seed, for a spreadsheet or a data frame; then the rows of a comparison.

A row of a comparison has the probe `compare` and no seed: it is joined over seeds, and `control` is the other arm. An
excess is signed as everywhere: positive = worse for the owner than the control.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from auditor.document import AtSeed, Audit, Estimate, Headline, Result, excess_of
from reports.neutral import neutral

HEADER = (
    "target", "probe", "family", "arm", "seed", "finding", "metric", "subset", "judged", "unit", "worse_when",
    "question", "n", "value", "value_lo", "value_hi", "control", "control_value", "excess", "excess_lo", "excess_hi",
    "p_adjusted", "access", "status", "severity", "severity_upper", "confidence", "fingerprint",
)  # fmt: skip
_NO = Estimate(value=None)


class CsvReport:
    """RFC 4180 with a header; numbers unrounded, fractions."""

    id = "csv"
    filename = "audit.csv"
    opening = "target,probe,family,arm,seed,"

    def render(self, audit: Audit) -> str:
        """The table; text that a spreadsheet would run as a formula gets a leading apostrophe."""
        safe = neutral(audit)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow(HEADER)
        for result in safe.results:
            for each in result.by_seed:
                writer.writerow([_cell(value) for value in _values(safe.target.name, result, each)])
        for line in _compared(safe):
            writer.writerow([_cell(value) for value in line])
        return buffer.getvalue()


def _values(target: str, result: Result, each: AtSeed) -> tuple[object, ...]:
    own, control, found = each.estimate, each.control, result.judgement
    excess = _NO if each.contrast is None else excess_of(each.contrast, result.worse_when)
    judged = (found.status, found.severity, found.severity_upper, found.confidence) if found else ("", "", "", "")
    return (
        target, result.probe, result.family, result.arm, each.seed, result.finding, result.metric, result.subset,
        result.judged, result.unit, result.worse_when, result.question, own.n, own.value, own.lo, own.hi,
        control.name if control else None, control.estimate.value if control else None, excess.value, excess.lo,
        excess.hi, each.p_adjusted, " ".join(result.access), *judged, result.fingerprint,
    )  # fmt: skip


def _compared(audit: Audit) -> Iterator[tuple[object, ...]]:
    """One row per arm, headline number and other arm."""
    arms = () if audit.comparison is None else audit.comparison.arms
    values = {(arm.arm, _kind(h)): h.estimate.value for arm in arms for h in arm.headlines}
    for arm in arms:
        for h in arm.headlines:
            own = h.estimate
            for other in h.differences or (None,):
                there = None if other is None else values.get((other.to, _kind(h)))
                excess = _NO if other is None else excess_of(other.estimate, h.worse_when)
                yield (
                    audit.target.name, "compare", h.family, arm.arm, None, h.probe, h.metric, h.subset,
                    bool(other and other.judged), h.unit, h.worse_when, None, own.n, own.value, own.lo, own.hi,
                    None if other is None else other.to, there, excess.value, excess.lo, excess.hi, None, None, None,
                    None, None, None, None,
                )  # fmt: skip


def _kind(h: Headline) -> tuple[str, ...]:
    return h.family, h.probe, h.metric, h.subset, h.shown


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
