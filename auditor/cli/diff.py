"""`auditor diff`: what got worse between two audits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import judging, options


def diff(
    old_json: Annotated[Path, typer.Argument(metavar="OLD.JSON", help="The earlier audit.json.")],
    new_json: Annotated[Path, typer.Argument(metavar="NEW.JSON", help="The later audit.json.")],
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit 1 when a judged number got worse, 3 when one is gone.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="List unchanged numbers too.")] = False,
    plain: options.Plain = None,
) -> None:
    """Compare two audits; a change counts only if the intervals say so."""
    from auditor import registry
    from auditor.api.report import Report
    from auditor.cli.console import is_plain, stdout

    old, new = Report(judging.read_audit(old_json)), Report(judging.read_audit(new_json))
    found = new.diff(old)
    registry.find("reports", "terminal").load()().print_changes(
        found, stdout(), show_all=show_all, plain=is_plain(plain)
    )
    raise typer.Exit(found.exit_code if fail_on_regression else 0)
