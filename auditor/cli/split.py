"""`auditor split`: what of the test data was visible in training; no model is built and nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options


def split(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA|TARGET",
            help="A data set by name, a file (graph, link split, HeteroData, TemporalData), or the folder of a target.",
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(metavar="TARGET", help="Check the test items of DATA against what this target was trained on."),
    ] = None,
    spec: Annotated[
        str | None, typer.Option("--split", help="Which split of DATA, as auditor train takes it (default: its own).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of a split that is drawn.")] = 0,
    chronological: Annotated[
        bool | None,
        typer.Option(
            "--chronological/--any-order",
            help="Train was meant to lie before test: an overlap in time is a leak (default: as the data say).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")] = False,
    data_root: options.DataRoot = None,
    plain: options.Plain = None,
) -> None:
    """Check a split: was test data visible in training? Seconds, no model. Exit 1 on a leak, 3 if it cannot be told."""
    from auditor import registry
    from auditor.api.splitting import check_split
    from auditor.cli.console import is_plain, stdout, write_data

    report = check_split(
        data,
        against=against,
        split=spec,
        split_seed=seed,
        chronological=chronological,
        data_root=data_root,
    )
    if as_json:
        write_data(report.model_dump_json(indent=1) + "\n")
    else:
        registry.find("reports", "terminal").load()().print_split(report, stdout(), plain=is_plain(plain))
    raise typer.Exit(report.exit_code)
