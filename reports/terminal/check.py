"""What an audit would do, on the terminal: whether the target can be audited, what is wrong with it, the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from auditor.document import TargetRow, ValidityRow
from reports.sentences import names
from reports.sentences import target as words
from reports.sentences.numbers import closed
from reports.terminal.layout import Screen


def check_parts(
    target: TargetRow,
    checks: Sequence[ValidityRow],
    plan: Sequence[words.Planned],
    failed: Sequence[str],
    split: tuple[int, int],
    screen: Screen,
    *,
    path: str,
    verbose: bool,
) -> Iterable[RenderableType]:
    """A line that says whether, one for each check that did not pass, and the plan; `failed` checks spoil an audit.

    `split`: processes and groups of cells.
    """
    yield screen.text(words.auditable(target, checks, failed), "bold")
    yield from (screen.text(closed(fact)) for fact in words.facts(target))
    yield from screen.labelled("Call", [text] if (text := words.called(target)) else [])
    for row in checks:
        if row.status in ("warn", "fail"):
            yield from screen.labelled(names.CHECKS[row.status], [closed(f"{names.check(row.id)}: {row.evidence}")])
    if verbose:
        yield screen.text(closed(words.offers(target)))
        yield _table(("check", "kind", "status", "evidence"), [_cells(row) for row in checks], plain=screen.plain)
        yield _table(words.PLAN_HEADS, [words.plan_cells(cell) for cell in plan], plain=screen.plain)
    yield from screen.labelled("Plan", [words.plan(plan, *split), *words.skipped(plan)])
    if failed:
        word, text = "NOT TRUSTWORTHY", f"{names.checks(failed)} failed. Exit code 3."
        yield screen.verdict("fail", word, closed(text[:1].upper() + text[1:]))
    elif path:
        yield from screen.labelled("Next", [f"auditor run {path}"])


def _cells(row: ValidityRow) -> tuple[str, ...]:
    return row.id, row.kind, names.CHECKS[row.status], row.evidence


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, plain: bool) -> Table:
    table = Table(*heads, box=box.ASCII if plain else box.HEAVY_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
