"""`auditor diff`: what got worse between two audits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli import judging

if TYPE_CHECKING:
    from rich.table import Table

    from auditor.audit import Advantage
    from auditor.diff import Diff


def diff(
    old_json: Annotated[Path, typer.Argument(metavar="OLD.JSON", help="The earlier audit.json.")],
    new_json: Annotated[Path, typer.Argument(metavar="NEW.JSON", help="The later audit.json.")],
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit 1 when a judged number got worse, 3 when one is gone.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="List unchanged numbers too.")] = False,
) -> None:
    """Compare two audits; a change counts only if the intervals say so."""
    from auditor.cli.console import stdout
    from auditor.diff import diff as compare

    found = compare(judging.read_audit(old_json), judging.read_audit(new_json))
    console = stdout()
    table = _table(found, show_all)
    if table.row_count:
        console.print(table)
    if found.old_target != found.new_target:
        names = f"{_plain(found.old_target)} and {_plain(found.new_target)}"
        console.print(f"the audits are of different targets, {names}: nothing can be compared", markup=False)
    counts = " · ".join(f"{count} {change}" for change, count in found.counts.items() if count)
    console.print(counts or "nothing was measured in either audit", markup=False)
    raise typer.Exit(found.exit_code if fail_on_regression else 0)


def _table(found: Diff, show_all: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("change", "what", "old", "new", "difference"):
        table.add_column(name, overflow="fold", no_wrap=name != "what")
    for row in found.rows:
        if row.change == "same" and not show_all:
            continue
        moved = (
            "" if row.difference is None or row.half_width is None else f"{row.difference:+.3f} ± {row.half_width:.3f}"
        )
        change = row.change if row.primary else f"{row.change} (shown)"
        what = f"{row.name}: {row.reason}" if row.reason else row.name
        cells = (change, _plain(what), _advantage(row.old), _advantage(row.new), moved)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _advantage(advantage: Advantage | None) -> str:
    if advantage is None or advantage.value is None:
        return "–"
    ends = ("open" if end is None else f"{end:.2f}" for end in (advantage.ci.lo, advantage.ci.hi))
    return f"{advantage.value:.2f} [{', '.join(ends)}]"


def _plain(text: str) -> str:
    """Text of a file without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
