"""What an audit would do, on the terminal: the target, its checks, the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from auditor.document import TargetRow, ValidityRow
from reports.sentences import names
from reports.sentences import target as words


def check_parts(
    target: TargetRow,
    checks: Sequence[ValidityRow],
    plan: Sequence[words.Planned],
    failed: Sequence[str],
    jobs: int,
    groups: int,
) -> Iterable[RenderableType]:
    """Facts of the target, a row for each check and each test, and both counted; `failed` checks spoil an audit."""
    yield Text(target.name, style="bold")
    yield from map(Text, (*words.facts(target), words.offers(target)))
    table = Table("check", "kind", "status", "evidence")
    for row in checks:
        table.add_row(*map(Text, (row.id, row.kind, names.CHECKS[row.status], row.evidence)))
    yield table
    table = Table(*words.PLAN_HEADS)
    for cell in plan:
        table.add_row(*map(Text, words.plan_cells(cell)))
    yield table
    yield Text(f"{words.passed(checks)}.")
    yield Text(words.plan(plan, jobs, groups))
    if failed:
        yield Text(f"NOT TRUSTWORTHY  {names.checks(failed)} failed", style="bold red")
