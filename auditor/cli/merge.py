"""`auditor merge`: one audit out of the shards that several machines have run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that run --shard wrote.")],
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for audit.json and reports.")] = None,
    format_: Annotated[str, typer.Option("--format", help="Reports to write beside audit.json.")] = "html",
    baseline: Annotated[str | None, typer.Option(help="Accepted results (auditor-baseline.json).")] = None,
    exit_zero: Annotated[bool | None, typer.Option("--exit-zero", help="A failed gate exits 0 (dashboards).")] = None,
    log: options.Log = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
) -> None:
    """Join the shards of one run into its audit; nothing is measured again. The exit code is the verdict."""
    from auditor.api.merging import merge as joined
    from auditor.cli.console import show_in

    formats = [name for name in format_.split(",") if name and out is not None]
    report = joined(folders, out=out, formats=formats, baseline=baseline, exit_zero=exit_zero, log=log)
    show_in(report, None if out is None else Path(out), formats, plain=plain, verbose=verbose)
    raise typer.Exit(report.verdict.exit_code)
