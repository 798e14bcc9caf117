"""What the checks of a split found, on the terminal: leaks first, then the rest, then the verdict again."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType

from auditor.split_report import SplitReport
from reports.sentences import split as words
from reports.sentences.numbers import closed
from reports.terminal.layout import Screen

ORDER = ("leak", "note", "not_checked", "pass")


def split_parts(report: SplitReport, screen: Screen) -> Iterable[RenderableType]:
    """The screen."""
    yield screen.text(words.headline(report), "bold")
    yield from (screen.text(fact) for fact in words.facts(report))
    for row in sorted(report.rows, key=lambda row: ORDER.index(row.status)):
        yield from screen.labelled(words.STATUS[row.status], [words.finding(row)])
        yield from screen.labelled("Fix", [row.fix] if row.fix else [])
    yield from screen.labelled("Read", [closed(note) for note in report.notes])
    yield screen.verdict(words.VERDICT[report.status], report.status, words.ending(report))
