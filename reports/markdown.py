"""The audit for a merge request or a CI step summary: verdict, answers, the worst results, what was not tested."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditor.document import Audit, Comparison, Headline, Result
from reports import views
from reports.comparison import Grid, to
from reports.neutral import neutral
from reports.sentences import comparison as words
from reports.sentences import exposed, names, target, verdict
from reports.sentences.compose import alike, said, word
from reports.sentences.numbers import MISSING, closed, count, interval_cell, value_cell
from reports.sentences.steps import steps
from reports.sentences.templates import excess_cell

FINDINGS = 20
BYTES = 60_000
_LISTED = 30
# What GitHub's dialect reads as markup: anywhere, at the start of a line or item, and where it would make a link.
_SPECIAL = re.compile(r"([\\`*_\[\]#!|~$@])|^([-+=])|(?<=\d)(?=[.)]\s)|(?<=:)(?=//)|(?<=www)(?=\.)", re.I)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class MarkdownReport:
    """GitHub-flavoured Markdown of at most 60 kB."""

    id = "markdown"
    filename = "audit.md"
    opening = r"# [A-Z ()]+: audit of "

    def render(self, audit: Audit) -> str:
        """The report; every string of the document is escaped."""
        safe = neutral(audit)
        status, last = verdict.last_line(safe)
        facts = (*target.facts(safe.target), verdict.policy(safe))
        lines = [
            f"# {status}: audit of {escape(safe.target.name)}",
            "",
            f"**{escape(last)}**",
            "",
            *(f"{escape(fact)}  " for fact in facts),
            "",
            *(f"- {escape(line)}" for line in verdict.further(safe)[:_LISTED]),
            "",
        ]
        if safe.comparison is not None:
            lines += _comparison(safe.comparison, safe.results)
            lines += ["## The target without a defence", ""]
        lines += _answers(safe)
        lines += _results(safe)
        lines += _exposed(safe)
        lines += _lists(safe)
        return _fit(lines)


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text).translate(_ENTITIES)


def _comparison(compared: Comparison, results: Sequence[Result]) -> list[str]:
    """One row per arm, what may be said of each defence, guarantees, what was not fitted and what was left out."""
    grid = Grid.of(compared)
    titled = zip(words.titles(grid.columns), grid.columns, strict=True)
    heads = [f"{title} {words.arrow(column)}" for title, column in titled]
    lines = [
        "## Comparison",
        "",
        f"{escape(words.legend(compared))} {escape(words.marking(compared))}",
        "",
        "| " + " | ".join(["defence", *map(escape, heads), "seconds", "Pareto", "guarantee"]) + " |",
        "|" + "---|" * (len(heads) + 4),
    ]
    for row in grid.rows:
        name = f"control: {escape(row.name)}" if row.is_control else f"**{escape(row.name)}**"
        cells = [_compared(cell) for cell in row.cells]
        if row.arm.reason and not row.arm.headlines and cells:
            cells[0] = words.missing(row.arm)
        front, promised = "front" if row.arm.pareto else MISSING, "yes" if row.arm.guarantee else "none"
        lines.append("| " + " | ".join([name, *cells, words.seconds(row.arm.seconds), front, promised]) + " |")
    lines.append("")
    for row in grid.asked:
        for decision in row.arm.decisions:
            small = f" ({escape(decision.probe)})" if decision.probe else ""
            lines.append(f"- **{escape(row.name)}**: {escape(words.decided(decision, row.arm, results))}{small}")
    lines += [
        f"- **{escape(row.name)}**: {'guarantee: ' if row.arm.guarantee else ''}{escape(words.guarantee(row.arm))}"
        for row in grid.rows
        if row.arm.guarantee or (row.is_asked and row.arm.headlines)
    ]
    lines += [f"- {escape(text)}"] if (text := words.standing(compared)) else []
    lines += [
        f"- **{escape(row.name)}** {words.missing(row.arm)}: {escape(row.arm.reason)}"
        for row in grid.rows
        if row.arm.reason
    ]
    if compared.left_out:
        lines += ["", "Left out against profile standard:", "", *(f"- {escape(line)}" for line in compared.left_out)]
    return [*lines, ""]


def _compared(cell: Headline | None) -> str:
    if cell is None:
        return MISSING
    text = " · ".join(filter(None, words.number(cell)))
    found = to(cell)
    if found is None:
        return escape(text)
    difference = " · ".join(filter(None, words.difference(cell, found)))
    return f"{escape(text)}<br>{escape(f'Δ {difference}')}" + (" **proven**" if found.mark else "")


def _answers(audit: Audit) -> list[str]:
    lines = ["| | | |", "|---|---|---|"]
    for answer in views.briefly(audit, views.nearest(views.deciding(audit))):
        text = answer.text if answer.result is None else said(answer.result, views.item(audit))
        text = " ".join(filter(None, (text, closed(alike(answer.status, answer.more)))))
        lines.append(f"| **{answer.title}** | {answer.status} | {escape(text)} |")
    return [*lines, ""]


def _results(audit: Audit) -> list[str]:
    results, every = views.undefended(audit), views.judged(audit)
    if not results:
        return []
    lines = [
        "## Results",
        "",
        "| probe | measured | adversary holds | value | control | excess, 95 % | size | judged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(result) for result in results[:FINDINGS]]
    if len(results) > FINDINGS:
        lines += ["", f"and {len(results) - FINDINGS} more in audit.json, none worse than these"]
    if len(every) > len(results):
        lines += ["", f"and {len(every) - len(results)} on the defences and their controls in audit.json"]
    return [*lines, ""]


def _exposed(audit: Audit) -> list[str]:
    """Where the most exposed are named: not in a format that is made for merge requests."""
    if not views.asks_who(audit):
        return []
    told = exposed.ELSEWHERE if views.exposed(audit) else exposed.NOBODY
    return [f"## {exposed.TITLE}", "", closed(escape(told)), ""]


def _line(result: Result) -> str:
    judgement, control = result.judgement, result.control
    assert judgement is not None  # judged results only
    unit = result.unit
    beside = MISSING
    if control is not None:
        beside = f"{value_cell(control.estimate.value, unit)} ({control.name})"
    value = (
        value_cell(result.own.value, unit),
        interval_cell(result.own, unit),
    )
    cells = (
        views.source(result),
        names.measured(result),
        names.holders(result.access),
        ", ".join(filter(None, value)),
        beside,
        ", ".join(filter(None, excess_cell(result))),
        names.band(judgement.severity, judgement.severity_upper),
        word(result),
    )
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _lists(audit: Audit) -> list[str]:
    accepted = [r for r in views.judged(audit) if r.judgement is not None and r.judgement.status == "accepted"]
    item = views.item(audit)
    sections = {
        "Do first": [
            escape(step.text) + (f" ({', '.join(map(escape, step.findings))})" if step.findings else "")
            for step in steps(audit, views.undefended(audit))
        ],
        "Accepted": [
            f"{escape(views.source(result))}, {escape(names.measured(result))}: {escape(said(result, item))}"
            for result in accepted
        ],
        "Checks that did not pass": [
            f"{names.CHECKS[row.status]}: {escape(names.check(row.id))}: {escape(row.evidence)}"
            for row in views.checks(audit)
            if row.status != "pass"
        ],
        "Not tested": [
            f"{names.CELLS[each.status]}: {escape(each.source)}: {escape(each.reason)}"
            + (f" ({count(len(each.seeds), 'seed')})" if len(each.seeds) > 1 else "")
            for each in views.listed_missing(audit)
        ],
    }
    lines = []
    for title, items in sections.items():
        if items:
            lines += [f"## {title}", "", *(f"- {item}" for item in items[:_LISTED])]
            lines += [f"- and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
            lines.append("")
    return lines


def _fit(lines: list[str]) -> str:
    """Whole lines up to the limit: a cut line could leave markup open."""
    notice = "\nThe rest does not fit here: audit.json\n"
    room = BYTES - len(notice)
    kept: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            return "\n".join(kept) + notice
        kept.append(line)
    return "\n".join(kept).rstrip() + "\n"
