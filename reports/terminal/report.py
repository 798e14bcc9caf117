"""The audit on one screen of at most 100 columns: the verdict first and last, one line for each question.

Where nobody sees columns or colours (a file, a pipe, an encoding without our signs) the same words come in the same
order as plain lines, one fact a line.
"""

from __future__ import annotations

import datetime
import io
import shlex
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from auditor import printable
from auditor.document import Audit, TargetRow, ValidityRow
from auditor.document.facts import RepairFacts
from auditor.split_report import SplitReport
from reports import views
from reports.neutral import neutral
from reports.sentences import changes as words
from reports.sentences import exposed, names, repair, target, verdict
from reports.sentences.changes import Acceptances, Changes
from reports.sentences.compose import alike, brief
from reports.sentences.numbers import closed, count, listed
from reports.sentences.steps import SHOWN, steps
from reports.terminal.check import check_parts
from reports.terminal.claim import claim_screen
from reports.terminal.comparison import comparison_screen
from reports.terminal.layout import Screen
from reports.terminal.split import split_parts
from reports.terminal.verbose import every_number

WIDTH = 100
NARROWEST = 20  # below it the terminal itself breaks the lines
_ENDLESS = 1_000_000  # columns of plain lines: nothing is wrapped
_LINES_SHOWN = 12  # of results over their limits or open, and of further lines of a verdict
_CHANGES_SHOWN = 20
_WARNINGS_SHOWN = 2
_UNKNOWN = "AUDIT.JSON"  # where nobody said which file the document lies in


class TerminalReport:
    """Verdict, one line a question, what to do first, whether to trust it; tables where they are asked for."""

    id = "terminal"
    filename = "audit.txt"
    opening = r"Claim: |[^:]+: .*\b(PASSED|FAILED|NO VERDICT|HELPS|HURTS|NOT [A-Z]{2})"

    def render(
        self, audit: Audit, *, width: int = WIDTH, color: bool = False, plain: bool = False, verbose: bool = False
    ) -> str:
        """The report as text.

        Args:
            audit: the document.
            width: columns, at most 100.
            color: whether to write ANSI colours.
            plain: ASCII lines without columns, boxes and wrapping.
            verbose: with tables, checks and ids.
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
        self.print(audit, console, plain=plain, verbose=verbose)
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"

    def print(
        self,
        audit: Audit,
        console: Console,
        *,
        plain: bool = False,
        verbose: bool = False,
        where: str = "",
        path: str = "",
    ) -> None:
        """Writes the report to a console; no user text is read as markup.

        Args:
            audit: the document.
            console: where to.
            plain: see `render`.
            verbose: likewise.
            where: the page that holds the rest, if that was written.
            path: the file that the document lies in, where that is known.
        """
        width = max(min(console.width, WIDTH), NARROWEST)
        safe, screen = neutral(audit), Screen(width=width, plain=plain)
        more = "" if verbose else f"Every number: auditor report {shlex.quote(path) if path else _UNKNOWN} --verbose"
        _emit(_screen(safe, screen, where, more), console, width=width, plain=plain)
        if verbose:
            _emit(every_number(safe, width=width, plain=plain), console, width=width, plain=plain, tables=True)
        _emit(_ending(safe, screen), console, width=width, plain=plain)

    def print_trained(self, trained: TargetRow, console: Console, *, plain: bool = False) -> None:
        """A target that was just made."""
        _print(target.trained(neutral(trained)), console, plain=plain)

    def print_fitted(
        self, before: TargetRow, after: TargetRow, fit: target.Fit, console: Console, *, plain: bool = False
    ) -> None:
        """A defended target beside the one that it was made from."""
        _print(target.fitted(neutral(before), neutral(after), fit), console, plain=plain)

    def print_check(
        self,
        checked: TargetRow,
        checks: Sequence[ValidityRow],
        plan: Sequence[target.Planned],
        failed: Sequence[str],
        console: Console,
        *,
        jobs: int = 1,
        groups: int = 0,
        plain: bool = False,
        verbose: bool = False,
        path: str = "",
    ) -> None:
        """What an audit would do: target, checks and plan; `failed` checks spoil it."""
        width = max(min(console.width, WIDTH), NARROWEST)
        screen = Screen(width=width, plain=plain)
        rows = [neutral(row) for row in checks]
        parts = check_parts(neutral(checked), rows, plan, failed, (jobs, groups), screen, path=path, verbose=verbose)
        _emit(parts, console, width=width, plain=plain, tables=verbose)

    def print_split(self, report: SplitReport, console: Console, *, plain: bool = False) -> None:
        """What the checks of a split found."""
        width = max(min(console.width, WIDTH), NARROWEST)
        screen = Screen(width=width, plain=plain)
        _emit(split_parts(neutral(report), screen), console, width=width, plain=plain)

    def print_repair(self, facts: RepairFacts, console: Console, *, plain: bool = False) -> None:
        """What a repair did, beside its control."""
        _print(repair.lines(facts), console, plain=plain)

    def print_changes(self, changes: Changes, console: Console, *, show_all: bool = False, plain: bool = False) -> None:
        """What changed between two audits, counted first and last: the judged numbers that changed, or every one."""
        said = words.summary(changes)
        _print(said, console, plain=plain)
        changed = [row for row in changes.rows if row.change != "same"]
        rows = changes.rows if show_all else [row for row in changed if row.judged][:_CHANGES_SHOWN]
        if rows and plain:
            _print(map(words.change_line, rows), console, plain=plain)
        elif rows:
            console.print(_listing(words.HEADS, [words.cells(row) for row in rows]))
        if len(rows) < len(changed):
            _print([words.left_out(len(changed) - len(rows))], console, plain=plain)
        if rows:
            _print(said[-1:], console, plain=plain)

    def print_accepted(
        self, baseline: Acceptances, console: Console, *, today: datetime.date, plain: bool = False
    ) -> None:
        """What a baseline accepts, and how many days are left."""
        if plain:
            _print((words.accepted_line(entry, today) for entry in baseline.accepted), console, plain=plain)
        elif baseline.accepted:
            rows = [words.accepted_cells(entry, today) for entry in baseline.accepted]
            console.print(_listing(words.ACCEPTED_HEADS, rows))
        _print([words.accepted_summary(baseline)], console, plain=plain)


def _emit(parts: Iterable[RenderableType], console: Console, *, width: int, plain: bool, tables: bool = False) -> None:
    """Prints parts; plain ones as ASCII, and only tables among them are broken into lines."""
    for part in parts:
        if not plain:
            console.print(part, width=width, markup=False, emoji=False, highlight=False)
        elif isinstance(part, Text) and not tables:
            console.print(
                Text(printable.ascii_form(part.plain)), width=_ENDLESS, soft_wrap=True, markup=False, emoji=False
            )
        else:
            with console.capture() as captured:
                console.print(part, width=width, markup=False, emoji=False, highlight=False)
            lines = printable.ascii_form(captured.get().replace("\n", "\0")).replace("\0", "\n")
            console.print(Text(lines.rstrip("\n")), width=width, markup=False, emoji=False)


def _print(lines: Iterable[str], console: Console, *, plain: bool) -> None:
    """Lines of words alone."""
    _emit((Text(printable.neutral(line)) for line in lines), console, width=console.width, plain=plain)


def _listing(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without boxes; names and reasons come from files and are text, not markup."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _screen(audit: Audit, screen: Screen, where: str, more: str) -> Iterable[RenderableType]:
    if audit.comparison is not None:
        yield from comparison_screen(audit, audit.comparison, screen)
    elif views.is_claim(audit):
        yield from claim_screen(audit, screen)
    else:
        yield from _audit_screen(audit, screen)
    yield from screen.labelled("Not tested", _not_tested(audit))
    place = [where] if where else []
    yield from screen.labelled("Report", [". ".join([*place, more])] if more else place)


def _audit_screen(audit: Audit, screen: Screen) -> Iterable[RenderableType]:
    item, near = views.item(audit), views.nearest(views.deciding(audit))
    status = verdict.WORDS[audit.verdict.status]
    yield screen.text(f"{audit.target.name}: {status}. {verdict.headline(audit)}", "bold")
    yield screen.text(verdict.decision(audit, near, item))
    yield from screen.gap()
    lines = views.briefly(audit, near)
    for line in lines[: _LINES_SHOWN + 3]:
        text = line.text if line.result is None else brief(line.result, item)
        text = " ".join(filter(None, (text, closed(alike(line.status, line.more)))))
        yield screen.tagged(line.status, line.title, text)
    if len(lines) > _LINES_SHOWN + 3:
        yield screen.text(f"{count(len(lines) - _LINES_SHOWN - 3, 'more result')} over the limit or not settled")
    if retrained := verdict.retrained(audit):
        yield from screen.labelled("Retrained", [retrained])
    yield from screen.gap()
    found = steps(audit, near)[:SHOWN]
    if found:
        yield from screen.numbered("Do first", [(step.said, step.commands) for step in found])
        yield from screen.gap()
    yield from screen.labelled("Exposed", _exposed(audit, item))
    yield from screen.labelled("Defence", [closed(text) for text in target.defended(audit.target)])
    yield from screen.labelled("Trust", _trust(audit))


def _exposed(audit: Audit, item: str) -> list[str]:
    """Of each finding the list nearest to its limit, where lists were asked for."""
    if not views.asks_who(audit):
        return []
    first: dict[str, str] = {}
    for each in views.exposed(audit):
        label = exposed.label(each.result, item)
        first.setdefault(each.result.finding, closed(f"{label}: {exposed.line(each.exposed)}"))
    return [*first.values(), exposed.WARNING] if first else [closed(exposed.NOBODY)]


def _trust(audit: Audit) -> list[str]:
    """Checks counted, and what the first of them that did not pass say."""
    rows = views.checks(audit)
    if not rows:
        return []
    loud = [row for row in rows if row.status in ("fail", "warn")]
    texts = [closed(target.passed(rows))]
    texts += [
        closed(f"{names.checks([row.id])} {names.CHECKS[row.status]}: {row.evidence}") for row in loud[:_WARNINGS_SHOWN]
    ]
    if len(loud) > _WARNINGS_SHOWN:
        texts.append(closed(f"and {count(len(loud) - _WARNINGS_SHOWN, 'more check')} like these"))
    return texts


def _not_tested(audit: Audit) -> list[str]:
    """What gave no number and why, and what this version has no test for."""
    found = views.listed_missing(audit)
    texts = [closed(f"{each.source} {names.CELLS[each.status]}: {each.reason}") for each in found[:_LINES_SHOWN]]
    if len(found) > _LINES_SHOWN:
        texts.append(closed(f"and {count(len(found) - _LINES_SHOWN, 'more test')} (audit.json)"))
    if not views.is_claim(audit):
        texts.append(closed(listed(names.NO_TEST)))
    return texts


def _ending(audit: Audit, screen: Screen) -> Iterable[RenderableType]:
    yield from screen.gap()
    lines = verdict.further(audit)
    for line in lines[:_LINES_SHOWN]:
        yield screen.text(line)
    if len(lines) > _LINES_SHOWN:
        yield screen.text(f"and {len(lines) - _LINES_SHOWN} more lines (audit.json)")
    word, text = verdict.last_line(audit)
    yield screen.verdict(audit.verdict.status, word, text)
