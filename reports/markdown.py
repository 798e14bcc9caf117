"""The audit for a merge request or a CI step summary: verdict, answers, the worst findings, what was not tested."""

from __future__ import annotations

import re

from auditor.audit import Audit
from reports import rows as read
from reports.comparison import Cell, Comparison, guarantee_text, points, points_interval, seconds
from reports.rows import Reading, Row
from reports.words import advantage, band, control, holders, interval, measured, number

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

    def render(self, audit: Audit) -> str:
        """The report; every string of the document is escaped."""
        reading = Reading.of(audit)
        safe = reading.audit
        lines = [
            f"# {safe.verdict.status}: audit of {escape(safe.target.name)}",
            "",
            f"**{escape(read.headline(safe))}**",
            "",
            f"{escape(read.target_facts(safe))}  ",
            *([f"{escape(read.clean_facts(safe))}  "] if read.clean_facts(safe) else []),
            *(f"{escape(fact)}  " for fact in read.defense_facts(safe)),
            f"{escape(read.coverage(safe))} · policy {escape(safe.verdict.policy)}, "
            f"fails from {escape(safe.verdict.fail_on)} · exit code {safe.verdict.exit_code}",
            "",
            *(f"- {escape(line)}" for line in read.verdict_lines(safe)[:_LISTED]),
            "",
        ]
        if safe.matrix is not None:
            lines += _comparison(Comparison.of(safe.matrix))
            lines += ["## The target without a defence", ""]
        lines += _answers(reading)
        lines += _findings(reading)
        lines += _lists(reading)
        return _fit(lines)


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text).translate(_ENTITIES)


def _comparison(compared: Comparison) -> list[str]:
    """One row per arm, what may be said of each defence, guarantees, what was not fitted and what was left out."""
    heads = [f"{column.title} {column.arrow}" for column in compared.columns]
    lines = [
        "## Comparison",
        "",
        f"{escape(compared.unit)} In a cell: value and 95 % interval, then the paired difference Δ to no defence "
        f"and its interval over seeds ({', '.join(map(str, compared.seeds))}). {escape(compared.marking)}",
        "",
        "| " + " | ".join(["defence", *map(escape, heads), "seconds", "Pareto", "guarantee"]) + " |",
        "|" + "---|" * (len(heads) + 4),
    ]
    for arm in compared.arms:
        name = f"control: {escape(arm.name)}" if arm.is_control else f"**{escape(arm.name)}**"
        cells = [_compared(cell) for cell in arm.cells]
        if arm.missing and not arm.row.entries and cells:
            cells[0] = arm.missing
        front, promised = "front" if arm.row.pareto else "–", "yes" if arm.row.guarantee else "none"
        lines.append("| " + " | ".join([name, *cells, seconds(arm.row.seconds), front, promised]) + " |")
    lines.append("")
    lines += [f"- **{escape(arm.name)}**: {escape(word)}" for arm in compared.asked for word in arm.row.words]
    lines += [
        f"- **{escape(arm.name)}**: {'guarantee: ' if arm.row.guarantee else ''}{escape(guarantee_text(arm.row))}"
        for arm in compared.arms
        if arm.row.guarantee or (arm.is_asked and arm.row.entries)
    ]
    lines += [f"- {escape(compared.standing)}"] if compared.standing else []
    lines += [f"- **{escape(a.name)}** {a.missing}: {escape(a.row.reason)}" for a in compared.arms if a.missing]
    if compared.left_out:
        lines += ["", "Left out against profile standard:", "", *(f"- {escape(line)}" for line in compared.left_out)]
    return [*lines, ""]


def _compared(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = f"{points(cell.entry.value)} {points_interval(cell.entry.ci)}".strip()
    found = cell.to_none
    if found is not None:
        difference = f"Δ {points(found.value, signed=True)} {points_interval(found.ci, signed=True)}".strip()
        return f"{escape(text)}<br>{escape(difference)}" + (f" **{found.word}**" if found.word else "")
    return escape(text)


def _answers(reading: Reading) -> list[str]:
    lines = ["| | | |", "|---|---|---|"]
    lines += [f"| **{a.title}** | {a.status} | {escape(a.text)} |" for a in read.answers(reading)]
    return [*lines, ""]


def _findings(reading: Reading) -> list[str]:
    rows = reading.undefended
    if not rows:
        return []
    lines = [
        "## Findings",
        "",
        "| probe | measured | adversary holds | value | control | advantage, 95 % | severity | status |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in rows[:FINDINGS]]
    if len(rows) > FINDINGS:
        lines += ["", f"and {len(rows) - FINDINGS} more in audit.json, none worse than these"]
    if len(reading.judged) > len(rows):
        lines += ["", f"and {len(reading.judged) - len(rows)} on the defences and their controls in audit.json"]
    return [*lines, ""]


def _line(row: Row) -> str:
    finding = row.finding
    assert finding is not None  # judged rows only
    cells = (
        row.source,
        measured(row.measurement, row.subset),
        holders(row.access),
        f"{number(row.value)} {interval(row.ci)}".strip(),
        control(row.control),
        advantage(row.advantage),
        band(finding.severity, finding.severity_upper),
        finding.status + (" (untrusted)" if finding.untrusted else ""),
    )
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _lists(reading: Reading) -> list[str]:
    accepted = [row for row in reading.judged if row.status == "accepted" and row.finding]
    sections = {
        "What to do next": [
            escape(advice) + (f" ({', '.join(map(escape, ids))})" if ids else "")
            for advice, ids in read.next_steps(reading)
        ],
        "Accepted": [
            f"{escape(row.finding_id)}, {escape(measured(row.measurement, row.subset))}: "
            + escape((row.finding and row.finding.accepted_by) or "no reason recorded")
            for row in accepted
        ],
        "Checks that did not pass": [
            f"{row.status.replace('_', ' ')}: {escape(row.id)}: {escape(row.evidence)}"
            for row in read.validity(reading.audit)
            if row.status != "pass"
        ],
        "Not tested": [
            f"{gap.status}: {escape(gap.probe)}: {escape(gap.reason)}"
            + (f" ({len(gap.seeds)} seeds)" if len(gap.seeds) > 1 else "")
            for gap in read.listed_gaps(reading.audit)
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
