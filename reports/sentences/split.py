"""What the checks of a split found, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from auditor.split_report import SplitReport, SplitRow
from reports.sentences.names import check
from reports.sentences.numbers import closed, count, listed

STATUS: Final[Mapping[str, str]] = {"pass": "passed", "leak": "LEAK", "note": "note", "not_checked": "not checked"}
VERDICT: Final[Mapping[str, str]] = {"CLEAN": "pass", "LEAKS": "fail", "UNDECIDED": "inconclusive"}
"""The status whose colour a verdict has."""

_SAID: Final[Mapping[str, str]] = {
    "CLEAN": "No exact copy of test data was visible in training.",
    "AT RANDOM": "No more test data was visible in training than under random splits of the same items.",
    "IN PART": "Nothing was found, and not every check could be made.",
    "LEAKS": "Test data was visible in training.",
    "UNDECIDED": "What was visible in training cannot be told.",
}


def headline(report: SplitReport) -> str:
    """`cora: CLEAN. No exact copy …`."""
    return f"{report.name}: {report.status}. {_SAID[_saying(report)]}"


def _saying(report: SplitReport) -> str:
    """A pass says no more than was looked at: copies that are as many as at random are copies all the same."""
    if report.status != "CLEAN":
        return report.status
    if any(row.kind == "excess" and row.found for row in report.rows):
        return "AT RANDOM"
    unmade = any(row.status == "not_checked" and row.kind != "note" for row in report.rows)
    return "IN PART" if unmade else report.status


def facts(report: SplitReport) -> list[str]:
    """Which split, how large its parts are, and how the data were read."""
    sizes = sorted(report.sizes.items(), key=lambda part: (part[0] == "test", part[0] == "val"))
    nouns = listed([f"{size:,} {part}" for part, size in sizes if size])
    split = [f"split {report.split}"] if report.split else []
    return [closed(", ".join([*split, f"{report.level}s: {nouns}" if nouns else f"no {report.level}s in any part"]))]


def finding(row: SplitRow) -> str:
    """A row: what was looked at and what was seen."""
    about = f" ({row.about})" if row.about else ""
    severity = f", severity {row.severity}" if row.status == "leak" else ""
    end = "" if row.evidence.endswith("…") else "."
    return f"{check(row.id)}{about}{severity}: {row.evidence}{end}"


def ending(report: SplitReport) -> str:
    """Counts and the exit code; a pass says what it does not show."""
    leaks = count(len(report.leaks), "check") + f" of {len(report.rows)} found a leak"
    told = {
        "CLEAN": "Copies that differ in a digit are not looked for",
        "LEAKS": leaks,
        "UNDECIDED": "no check of test data could be made",
    }[report.status]
    return f"{told[0].upper()}{told[1:]}. Exit code {report.exit_code}."
