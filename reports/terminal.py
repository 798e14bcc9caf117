"""The audit on one screen of at most 100 columns: what leaks, to whom, how far it falls, the verdict last."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.audit import Audit
from reports import rows as read
from reports.rows import Reading, Row
from reports.words import FAMILIES, QUESTIONS, band, holders, interval, measured, number

WIDTH = 100
_QUIET_SHOWN = 3  # passes with nothing proven that a family still shows, so that a clean audit is no empty page
_UNJUDGED_SHOWN = 3
_GAPS_SHOWN = 12
_LINES_SHOWN = 6

_STYLE = {
    "fail": "bold red",
    "FAILED": "bold red",
    "error": "bold red",
    "timeout": "bold red",
    "inconclusive": "bold yellow",
    "INCOMPLETE": "bold yellow",
    "warn": "bold yellow",
    "skipped": "yellow",
    "accepted": "bold magenta",
    "pass": "bold green",
    "PASSED": "bold green",
}


class TerminalReport:
    """Rich tables: target, trust, one table per family, answers, what would help, verdict."""

    id = "terminal"
    filename = "audit.txt"

    def render(self, audit: Audit, *, width: int = WIDTH, color: bool = False, plain: bool = False) -> str:
        """The report as text.

        Args:
            audit: the document.
            width: columns, at most 100.
            color: whether to write ANSI colours.
            plain: no boxes and no rules.
        """
        buffer = io.StringIO()
        console = Console(
            file=buffer,
            width=min(width, WIDTH),
            force_terminal=color,
            color_system="standard" if color else None,
            highlight=False,
            legacy_windows=False,
            _environ={},
        )
        self.print(audit, console, plain=plain)
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"

    def print(self, audit: Audit, console: Console, *, plain: bool = False) -> None:
        """Writes the report to a console; no user text is read as markup."""
        reading = Reading.of(audit)
        width = min(console.width, WIDTH)
        for part in _parts(reading, plain=plain):
            console.print(part, width=width, markup=False, emoji=False, highlight=False)


def _parts(reading: Reading, *, plain: bool) -> Iterable[RenderableType]:
    audit = reading.audit
    yield from _head(audit)
    yield from _trust(audit)
    for family in read.families(audit):
        yield from _family(reading, family, plain=plain)
    yield from _gaps(audit)
    yield from _answers(reading, plain=plain)
    yield from _steps(reading)
    yield from _verdict(audit)


def _head(audit: Audit) -> Iterable[RenderableType]:
    yield Text.assemble((audit.target.name, "bold"), "  ", (read.target_facts(audit), "dim"))
    seeds = ", ".join(str(seed) for seed in audit.seeds)
    facts = [
        read.clean_facts(audit),
        f"profile {audit.profile}",
        f"seed{'s' if len(audit.seeds) > 1 else ''} {seeds}",
    ]
    yield Text(" · ".join(fact for fact in facts if fact), style="dim")


def _trust(audit: Audit) -> Iterable[RenderableType]:
    rows = read.validity(audit)
    if not rows:
        return
    passed = sum(row.status == "pass" for row in rows)
    yield Text.assemble("\n", ("Can this audit be trusted?", "bold"), f"  {passed} of {len(rows)} checks passed")
    lines = _grid(4, 12)
    for row in rows:
        if row.status != "pass":
            touches = "" if set(row.touches) == {"all"} else f" (touches {', '.join(row.touches)})"
            lines.add_row("", _status(row.status.replace("_", " ")), Text(f"{row.id}: {row.evidence}{touches}"))
    if passed < len(rows):
        yield lines


def _family(reading: Reading, family: str, *, plain: bool) -> Iterable[RenderableType]:
    judged = reading.judged_in(family)
    others = reading.others_in(family)
    if not judged and not others:
        return
    loud = [row for row in judged if not row.is_quiet]
    quiet = [row for row in judged if row.is_quiet]
    extra = others[:_UNJUDGED_SHOWN] if not judged else []
    shown = [*loud, *quiet[:_QUIET_SHOWN], *extra]
    title = FAMILIES.get(family, family)
    yield Text.assemble("\n", (title, "bold"), ("  " + QUESTIONS.get(family, ""), "dim"))
    yield _table(shown, plain=plain)
    lines = _grid(2)
    for row in [r for r in shown if r.finding and r.status != "pass"] or [r for r in shown if r.text][:1]:
        lines.add_row(Text("•", style=_STYLE.get(row.status, "")), Text(read.sentence(row)))
    if lines.row_count:
        yield lines
    more = []
    if len(quiet) > _QUIET_SHOWN:
        more.append(f"{len(quiet) - _QUIET_SHOWN} more pass with nothing proven")
    if len(others) > len(extra):
        more.append(f"{len(others) - len(extra)} more numbers are shown, not judged")
    if more:
        yield Padding(Text(" · ".join(more) + " (audit.html, audit.json)", style="dim"), (0, 0, 0, 2))


def _table(rows: Sequence[Row], *, plain: bool) -> Table:
    table = Table(box=None if plain else box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, expand=True)
    table.add_column("what was tried, holding", min_width=22, overflow="fold", ratio=1)
    table.add_column("value", no_wrap=True, min_width=14)
    table.add_column("beside the control", width=18, overflow="fold")
    table.add_column("advantage 95 %", no_wrap=True, min_width=16)
    table.add_column("judged", width=17, overflow="fold")
    for index, row in enumerate(rows):
        table.add_row(*_cells(row))
        if index < len(rows) - 1:
            table.add_row()
    return table


def _cells(row: Row) -> tuple[Text, ...]:
    what = Text.assemble((row.source, "bold"), "\n", measured(row.measurement, row.subset))
    what.append(f"\n{', '.join(row.access) or 'nothing'}", style="dim")
    value = Text.assemble(number(row.value), "\n", (interval(row.ci), "dim"))
    beside = Text("–") if row.control is None else Text.assemble(number(row.control.value), "\n", row.control.name)
    gained = Text("–")
    if row.advantage is not None:
        signed = number(row.advantage.value, signed=True)
        gained = Text.assemble((signed, "bold"), "\n", (interval(row.advantage.ci, signed=True), "dim"))
    finding = row.finding
    if finding is None:
        return what, value, beside, gained, Text("shown, not judged", style="dim")
    judged = _status(finding.status + (" (untrusted)" if finding.untrusted else ""), finding.status)
    judged.append(f"\n{band(finding.severity, finding.severity_upper)}", style="not bold default")
    judged.append(f"\n{finding.confidence} confidence", style="not bold dim default")
    return what, value, beside, gained, judged


def _gaps(audit: Audit) -> Iterable[RenderableType]:
    found = read.gaps(audit)
    if not found:
        return
    yield Text.assemble("\n", ("Could not be checked", "bold"))
    lines = _grid(2, 8)
    for gap in found[:_GAPS_SHOWN]:
        seeds = "" if len(gap.seeds) == 1 else f" ({len(gap.seeds)} seeds)"
        lines.add_row("", _status(gap.status), Text(f"{gap.probe}{seeds}: {gap.reason}"))
    if len(found) > _GAPS_SHOWN:
        lines.add_row("", "", Text(f"and {len(found) - _GAPS_SHOWN} more (audit.json)", style="dim"))
    yield lines


def _answers(reading: Reading, *, plain: bool) -> Iterable[RenderableType]:
    yield Text("") if plain else Padding(Rule(style="dim"), (1, 0, 0, 0))
    lines = _grid(12, 14)
    for answer in read.answers(reading):
        row = answer.row
        if row is None or row.finding is None:
            lines.add_row(Text(answer.title, style="bold"), Text(answer.status, style="dim"), Text(answer.text))
            continue
        gained = "" if row.advantage is None else number(row.advantage.value, signed=True)
        lo_hi = "" if row.advantage is None else interval(row.advantage.ci, signed=True)
        severity = band(row.finding.severity, row.finding.severity_upper)
        beyond = "" if row.control is None else f" beyond {row.control.name}"
        text = Text.assemble((f"{severity}: ", "bold"), f"{gained} {lo_hi}{beyond}".strip())
        text.append(f", {measured(row.measurement, row.subset)}; {row.source}, holding {holders(row.access)}")
        lines.add_row(Text(answer.title, style="bold"), _status(answer.status), text)
    yield lines


def _steps(reading: Reading) -> Iterable[RenderableType]:
    steps = read.next_steps(reading)
    if not steps:
        return
    yield Text.assemble("\n", ("What would help", "bold"))
    lines = _grid(2)
    for advice, ids in steps[:5]:
        lines.add_row("→", Text.assemble(advice, (f"  {', '.join(ids)}" if ids else "", "dim")))
    yield lines


def _verdict(audit: Audit) -> Iterable[RenderableType]:
    yield Text(f"\n{read.coverage(audit)}", style="dim")
    lines = read.verdict_lines(audit)
    for line in lines[:_LINES_SHOWN]:
        yield Text(line)
    if len(lines) > _LINES_SHOWN:
        yield Text(f"and {len(lines) - _LINES_SHOWN} more lines (audit.json)", style="dim")
    yield Text()
    verdict = _grid(len(audit.verdict.status) + 1)
    verdict.add_row(_status(audit.verdict.status), Text(read.headline(audit)))
    yield verdict


def _grid(*widths: int) -> Table:
    """Columns of fixed widths and a last one that takes the rest."""
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for width in widths:
        grid.add_column(width=width)
    grid.add_column(ratio=1, overflow="fold")
    return grid


def _status(word: str, style: str | None = None) -> Text:
    return Text(word, style=_STYLE.get(style or word, ""))
