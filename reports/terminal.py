"""The audit on one screen of at most 100 columns: what leaks, to whom, how far it falls, the verdict last."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor import printable
from auditor.document import Audit, Result, TargetRow, ValidityRow
from auditor.document.facts import RepairFacts
from reports import views
from reports.neutral import neutral
from reports.sentences import changes as words
from reports.sentences import names, repair, target, verdict
from reports.sentences.changes import Acceptances, Changes
from reports.sentences.compose import left_out, said, word
from reports.sentences.numbers import MISSING, called, count, interval_cell, value_cell
from reports.sentences.steps import steps
from reports.sentences.templates import excess_cell
from reports.terminal_check import check_parts
from reports.terminal_claim import claim_parts
from reports.terminal_comparison import comparison_parts

WIDTH = 100
NARROWEST = 20  # below it the terminal itself breaks the lines
NARROW = 95  # columns below which the five columns no longer fit
_LOUD_SHOWN = 60  # of one family that do not pass, worst first: a screen is no list of a thousand
_PASSING_SHOWN = 4  # worst first; the others are counted
_UNJUDGED_SHOWN = 3
_MISSING_SHOWN = 12
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
        width = max(min(console.width, WIDTH), NARROWEST)
        for part in _parts(neutral(audit), width=width, plain=plain):
            console.print(part, width=width, markup=False, emoji=False, highlight=False)

    def print_trained(self, trained: TargetRow, console: Console) -> None:
        """A target that was just made."""
        _print(target.trained(neutral(trained)), console)

    def print_fitted(self, before: TargetRow, after: TargetRow, fit: target.Fit, console: Console) -> None:
        """A defended target beside the one that it was made from."""
        _print(target.fitted(neutral(before), neutral(after), fit), console)

    def print_check(
        self,
        checked: TargetRow,
        checks: Sequence[ValidityRow],
        plan: Sequence[target.Planned],
        failed: Sequence[str],
        console: Console,
        jobs: int = 1,
        groups: int = 0,
    ) -> None:
        """What an audit would do: target, checks and plan; `failed` checks spoil it."""
        for part in check_parts(neutral(checked), [neutral(row) for row in checks], plan, failed, jobs, groups):
            console.print(part)

    def print_repair(self, facts: RepairFacts, console: Console) -> None:
        """What a repair did, beside its control."""
        _print(repair.lines(facts), console)

    def print_changes(self, changes: Changes, console: Console, *, show_all: bool = False) -> None:
        """What changed between two audits; unchanged numbers only where they are asked for."""
        rows = [row for row in changes.rows if show_all or row.change != "same"]
        if rows:
            console.print(_listing(words.HEADS, [words.cells(row) for row in rows]))
        _print(words.summary(changes), console)

    def print_accepted(self, baseline: Acceptances, console: Console, *, today: datetime.date) -> None:
        """What a baseline accepts, and how many days are left."""
        if baseline.accepted:
            rows = [words.accepted_cells(entry, today) for entry in baseline.accepted]
            console.print(_listing(words.ACCEPTED_HEADS, rows))
        _print([words.accepted_summary(baseline)], console)


def _print(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(Text(printable.neutral(line)))


def _listing(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without boxes; names and reasons come from files and are text, not markup."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _parts(audit: Audit, *, width: int, plain: bool) -> Iterable[RenderableType]:
    yield from _head(audit)
    yield from _trust(audit)
    if audit.comparison is not None:
        yield from comparison_parts(audit, audit.comparison, width=width, plain=plain)
    elif views.is_claim(audit):
        yield from claim_parts(audit, plain=plain)
    else:
        for family in views.families(audit):
            yield from _family(audit, family, plain=plain, narrow=width < NARROW)
    yield from _missing(audit)
    if not views.is_claim(audit):
        yield from _answers(audit, plain=plain)
    if audit.comparison is None:
        yield from _steps(audit)
    yield from _verdict(audit)


def _head(audit: Audit) -> Iterable[RenderableType]:
    run = f"profile {audit.profile}, {called('seed', audit.seeds)}"
    yield Text.assemble((audit.target.name, "bold"), (f"  {run}", "dim"))
    for fact in target.facts(audit.target):
        yield Text(fact, style="dim")


def _trust(audit: Audit) -> Iterable[RenderableType]:
    rows = views.checks(audit)
    if not rows:
        return
    yield Text.assemble("\n", ("Can this audit be trusted?", "bold"), f"  {target.passed(rows)}")
    lines = _grid(4, 12)
    for row in rows:
        if row.status != "pass":
            touches = "" if row.touches is None else f" (touches {', '.join(row.touches) or 'nothing asked for'})"
            lines.add_row("", _styled(names.CHECKS[row.status], row.status), Text(f"{row.id}: {row.evidence}{touches}"))
    if lines.row_count:
        yield lines


def _family(audit: Audit, family: str, *, plain: bool, narrow: bool) -> Iterable[RenderableType]:
    judged, others = (views.of_family(results, family) for results in (views.judged(audit), views.shown(audit)))
    if not judged and not others:
        return
    passing = [result for result in judged if _status(result) == "pass"]
    loud = [result for result in judged if _status(result) != "pass"]
    extra = others[:_UNJUDGED_SHOWN] if not judged else []
    listed = [*loud[:_LOUD_SHOWN], *passing[:_PASSING_SHOWN], *extra]
    title, question = names.TITLES.get(family, family), names.QUESTIONS.get(family, "")
    yield Text.assemble("\n", (title, "bold"), ("  " + question, "dim"))
    yield from _stacked(listed) if narrow else _tables(listed, plain=plain)
    lines = _grid(2)
    for result in _worth_a_sentence(listed):
        lines.add_row(Text("•", style=_STYLE.get(_status(result), "")), Text(said(result, views.item(audit))))
    yield lines
    beyond = max(len(loud) - _LOUD_SHOWN, 0)
    if more := left_out(max(len(passing) - _PASSING_SHOWN, 0), len(others) - len(extra), beyond):
        yield Padding(Text(f"{more} (audit.html, audit.json)", style="dim"), (0, 0, 0, 2))


def _status(result: Result) -> str:
    return "" if result.judgement is None else result.judgement.status


def _worth_a_sentence(results: Sequence[Result]) -> list[Result]:
    """Every result that does not pass, and the first of each probe: a pass is a result that wants words too."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(views.source(result), result)
    return [r for r in results if _status(r) not in ("", "pass") or first[views.source(r)] is r]


def _stacked(results: Sequence[Result]) -> Iterable[RenderableType]:
    """The same numbers for a terminal too narrow for five columns: each result as three lines."""
    before = ""
    for result in results:
        if (own := views.source(result)) != before:
            before = own
            yield Text.assemble((own, "bold"), (f"  holding {names.holders(result.access)}", "dim"))
        what, value, beside, excess, judged = (_flat(cell.plain) for cell in _cells(result))
        yield Text.assemble((f"  {what}", "bold"), f"  {value}")
        yield Text(f"    beside {beside}")
        yield Text.assemble(f"    excess {excess}  ", (judged, _STYLE.get(_status(result), "")))


def _flat(text: str) -> str:
    return ", ".join(line.strip() for line in text.split("\n") if line.strip())


def _tables(results: Sequence[Result], *, plain: bool) -> Iterable[RenderableType]:
    """One heading, then the rows of each probe under its name and what the adversary holds."""
    heading = _table()
    words = ("measured", "value", "beside the control", "excess, 95 %", "judged, size")
    heading.add_row(*(Text(word, style="dim") for word in words))
    yield heading
    if not plain:
        yield Rule(style="dim")
    groups: dict[tuple[str, tuple[str, ...]], list[Result]] = {}
    for result in results:
        groups.setdefault((views.source(result), result.access), []).append(result)
    for (source, access), members in groups.items():
        yield Text.assemble((source, "bold"), (f"  holding {names.holders(access)}", "dim"))
        table = _table()
        for result in members:
            table.add_row(*_cells(result))
        yield table


def _table() -> Table:
    """Columns of fixed widths, so that the tables of several probes stand under one heading."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(min_width=16, overflow="fold", ratio=1)
    table.add_column(width=16, overflow="fold")
    table.add_column(width=19, overflow="fold")
    table.add_column(width=18, overflow="fold")
    table.add_column(width=16, overflow="fold")
    return table


def _cells(result: Result) -> tuple[Text, ...]:
    unit = result.unit
    what = Text("\n".join(filter(None, (names.measured(result), names.joined_by(result)))))
    value = Text.assemble(
        value_cell(result.own.value, unit),
        "\n",
        (interval_cell(result.own, unit), "dim"),
    )
    control = result.control
    beside = Text(MISSING)
    if control is not None:
        beside = Text.assemble(value_cell(control.estimate.value, unit), "\n", _breakable(control.name))
    excess, between = excess_cell(result)
    gained = Text.assemble((excess, "bold"), "\n", (between, "dim"))
    judgement = result.judgement
    if judgement is None:
        return what, value, beside, gained, Text(word(result), style="dim")
    judged = _styled(word(result), judgement.status)
    judged.append("\n" + names.band(judgement.severity, judgement.severity_upper))
    return what, value, beside, gained, judged


def _breakable(name: str) -> str:
    """A name like `counterfactual/degree+class` as words, so that it wraps between them."""
    return re.sub(r"(?<=\S)/(?=\S)", " ", name)


def _missing(audit: Audit) -> Iterable[RenderableType]:
    found = views.listed_missing(audit)
    if audit.comparison is not None:  # the comparison has said which defences were not fitted, and why
        unfitted = {arm.arm for arm in audit.comparison.arms if arm.reason and not arm.headlines}
        found = [each for each in found if each.arm not in unfitted]
    if not found:
        return
    yield Text.assemble("\n", ("Not tested", "bold"))
    lines = _grid(2, 14)
    for each in found[:_MISSING_SHOWN]:
        seeds = "" if len(each.seeds) == 1 else f" ({count(len(each.seeds), 'seed')})"
        lines.add_row("", _styled(names.CELLS[each.status], each.status), Text(f"{each.source}{seeds}: {each.reason}"))
    if len(found) > _MISSING_SHOWN:
        lines.add_row("", "", Text(f"and {len(found) - _MISSING_SHOWN} more (audit.json)", style="dim"))
    yield lines


def _answers(audit: Audit, *, plain: bool) -> Iterable[RenderableType]:
    yield Text("") if plain else Padding(Rule(style="dim"), (1, 0, 0, 0))
    if audit.comparison is not None:
        yield Text("The target without a defence", style="bold")
    lines = _grid(12, 14)
    for answer in views.answers(audit):
        status = "dim" if answer.result is None else _STYLE.get(_status(answer.result), "")
        text = Text(answer.text)
        if answer.result is not None:
            small = f"{views.source(answer.result)}, {names.measured(answer.result)}"
            text.append(f" {small}, holding {names.holders(answer.result.access)}", style="dim")
        lines.add_row(Text(answer.title, style="bold"), Text(answer.status, style=status), text)
    yield lines


def _steps(audit: Audit) -> Iterable[RenderableType]:
    found = steps(audit, views.undefended(audit))
    if not found:
        return
    yield Text.assemble("\n", ("Do first", "bold"))
    lines = _grid(2)
    for step in found[:5]:
        small = f"  {', '.join(step.findings)}" if step.findings else ""
        lines.add_row("→", Text.assemble(step.text, (small, "dim")))
    yield lines


def _verdict(audit: Audit) -> Iterable[RenderableType]:
    yield Text(f"\n{verdict.policy(audit)}", style="dim")
    lines = verdict.further(audit)
    for line in lines[:_LINES_SHOWN]:
        yield Text(line)
    if len(lines) > _LINES_SHOWN:
        yield Text(f"and {len(lines) - _LINES_SHOWN} more lines (audit.json)", style="dim")
    yield Text()
    status, line = verdict.last_line(audit)
    last = _grid(len(status) + 1)
    last.add_row(_styled(status, audit.verdict.status), Text(line))
    yield last


def _grid(*widths: int) -> Table:
    """Columns of fixed widths and a last one that takes the rest."""
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for width in widths:
        grid.add_column(width=width)
    grid.add_column(ratio=1, overflow="fold")
    return grid


def _styled(text: str, status: str) -> Text:
    return Text(text, style=_STYLE.get(status, ""))
