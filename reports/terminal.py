"""The audit on one screen of at most 100 columns: what leaks, to whom, how far it falls, the verdict last."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.audit import Audit
from reports import rows as read
from reports.comparison import Comparison
from reports.rows import Reading, Row
from reports.terminal_claim import claim_parts
from reports.terminal_comparison import comparison_parts
from reports.words import QUESTIONS, TITLES, band, holders, interval, measured, number

WIDTH = 100
NARROW = 95  # columns below which the five columns no longer fit
_PASSING_SHOWN = 4  # worst first; the others are counted
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
        for part in _parts(reading, width=width, plain=plain):
            console.print(part, width=width, markup=False, emoji=False, highlight=False)


def _parts(reading: Reading, *, width: int, plain: bool) -> Iterable[RenderableType]:
    audit = reading.audit
    yield from _head(audit)
    yield from _trust(audit)
    if audit.matrix is not None:
        yield from comparison_parts(reading, Comparison.of(audit.matrix), width=width, plain=plain)
    elif read.is_claim(audit):
        yield from claim_parts(audit, plain=plain)
    else:
        for family in read.families(audit):
            yield from _family(reading, family, plain=plain, narrow=width < NARROW)
    yield from _gaps(audit)
    if not read.is_claim(audit):
        yield from _answers(reading, plain=plain)
    if audit.matrix is None:
        yield from _steps(reading)
    yield from _verdict(audit)


def _head(audit: Audit) -> Iterable[RenderableType]:
    seeds = f"seed{'s' if len(audit.seeds) > 1 else ''} {', '.join(map(str, audit.seeds))}"
    yield Text.assemble((audit.target.name, "bold"), (f"  profile {audit.profile}, {seeds}", "dim"))
    for fact in (read.target_facts(audit), read.clean_facts(audit), *read.defense_facts(audit)):
        if fact:
            yield Text(fact, style="dim")


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


def _family(reading: Reading, family: str, *, plain: bool, narrow: bool) -> Iterable[RenderableType]:
    judged, others = reading.judged_in(family), reading.others_in(family)
    if not judged and not others:
        return
    passing = [row for row in judged if row.status == "pass"]
    loud = [row for row in judged if row.status != "pass"]
    extra = others[:_UNJUDGED_SHOWN] if not judged else []
    shown = [*loud, *passing[:_PASSING_SHOWN], *extra]
    yield Text.assemble("\n", (TITLES.get(family, family), "bold"), ("  " + QUESTIONS.get(family, ""), "dim"))
    yield from _stacked(shown) if narrow else _tables(shown, plain=plain)
    lines = _grid(2)
    for row in _worth_a_sentence(shown):
        lines.add_row(Text("•", style=_STYLE.get(row.status, "")), Text(read.sentence(row)))
    if lines.row_count:
        yield lines
    more = []
    if len(passing) > _PASSING_SHOWN:
        more.append(f"{len(passing) - _PASSING_SHOWN} more pass, none worse")
    if len(others) > len(extra):
        more.append(f"{len(others) - len(extra)} more numbers are shown, not judged")
    if more:
        yield Padding(Text(" · ".join(more) + " (audit.html, audit.json)", style="dim"), (0, 0, 0, 2))


def _worth_a_sentence(rows: Sequence[Row]) -> list[Row]:
    """Every finding that does not pass, and the first row of each probe: a pass is a result that wants words too."""
    first: dict[str, Row] = {}
    for row in rows:
        if row.text:
            first.setdefault(row.source, row)
    return [row for row in rows if (row.finding and row.status != "pass") or first.get(row.source) is row]


def _stacked(rows: Sequence[Row]) -> Iterable[RenderableType]:
    """The same numbers for a terminal too narrow for five columns: each row as three lines."""
    source = ""
    for row in rows:
        if row.source != source:
            source = row.source
            yield Text.assemble((source, "bold"), (f"  holding {holders(row.access)}", "dim"))
        _, value, beside, gained, judged = (cell.plain for cell in _cells(row))
        judged = judged.replace("\n", ", severity ", 1)
        style = _STYLE.get(row.status, "")
        yield Text.assemble(("  " + measured(row.measurement, row.subset), "bold"), f"  {_flat(value)}")
        yield Text(f"    beside {_flat(beside)}")
        yield Text.assemble(f"    advantage {_flat(gained)}  ", (_flat(judged), style))


def _flat(text: str) -> str:
    return text.replace("\n", " ")


def _tables(rows: Sequence[Row], *, plain: bool) -> Iterable[RenderableType]:
    """One heading, then the rows of each probe under its name and what the adversary holds."""
    heading = _table()
    words = ("measured", "value", "beside the control", "advantage 95 %", "status, confidence")
    heading.add_row(*(Text(word, style="dim") for word in words))
    yield heading
    if not plain:
        yield Rule(style="dim")
    groups: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.source, row.access), []).append(row)
    for (source, access), members in groups.items():
        yield Text.assemble((source, "bold"), (f"  holding {holders(access)}", "dim"))
        table = _table()
        for row in members:
            table.add_row(*_cells(row))
        yield table


def _table() -> Table:
    """Columns of fixed widths, so that the tables of several probes stand under one heading."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(min_width=16, overflow="fold", ratio=1)
    table.add_column(no_wrap=True, width=16)
    table.add_column(width=18, overflow="fold")
    table.add_column(no_wrap=True, width=16)
    table.add_column(width=20, overflow="fold")
    return table


def _cells(row: Row) -> tuple[Text, ...]:
    what = Text(f"{measured(row.measurement, row.subset)}")
    value = Text.assemble(number(row.value), "\n", (interval(row.ci), "dim"))
    beside = (
        Text("–")
        if row.control is None
        else Text.assemble(number(row.control.value), "\n", _breakable(row.control.name))
    )
    gained = Text("–")
    if row.advantage is not None:
        signed = number(row.advantage.value, signed=True)
        gained = Text.assemble((signed, "bold"), "\n", (interval(row.advantage.ci, signed=True), "dim"))
    finding = row.finding
    if finding is None:
        return what, value, beside, gained, Text("shown, not judged", style="dim")
    judged = _status(finding.status) + Text(f", {finding.confidence}")
    judged.append("\n" + band(finding.severity, finding.severity_upper))
    if finding.untrusted:
        judged.append("\nuntrusted", style="bold yellow")
    return what, value, beside, gained, judged


def _breakable(name: str) -> str:
    """A name like `counterfactual/degree+class` as words, so that it wraps between them."""
    return re.sub(r"(?<=\S)/(?=\S)", " ", name)


def _gaps(audit: Audit) -> Iterable[RenderableType]:
    untold = read.listed_gaps(audit)
    if audit.matrix is not None:  # the comparison has said which defences were not fitted, and why
        unfitted = {row.defense for row in audit.matrix.rows if row.reason and not row.entries}
        untold = [gap for gap in untold if gap.defense not in unfitted]
    found = untold
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
    if reading.audit.matrix is not None:
        yield Text("The target without a defence", style="bold")
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
