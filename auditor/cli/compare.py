"""`auditor compare`: the matrix of utility, privacy, robustness and shift, undefended and under each defence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from auditor.cli import options
from auditor.cli.defend import Group


def compare(
    target: options.TargetPath,
    defense: Annotated[
        list[str] | None, typer.Option("--defense", help="A defence, id or id:key=value; repeat for more.")
    ] = None,
    only: options.Only = None,
    skip: options.Skip = None,
    family: options.Family = None,
    profile: options.Profile = None,
    seeds: options.Seeds = None,
    group: Group = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for audit.json and reports.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Reports to write beside audit.json.")] = None,
    log: options.Log = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    exit_zero: Annotated[bool | None, typer.Option("--exit-zero", help="A failed gate exits 0 (dashboards).")] = None,
    jobs: options.Jobs = None,
    cell_timeout: options.CellTimeout = None,
    max_memory: options.MaxMemory = None,
    resume: options.Resume = None,
    accept_mixed_env: options.MixedEnv = None,
    discard_models: options.DiscardModels = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
) -> None:
    """Compare a target with and without defences: each beside its controls, attacked adaptively."""
    from auditor.api.session import Session
    from auditor.cli.console import show
    from auditor.cli.progress import observe

    given = {
        "only": only,
        "skip": skip,
        "family": family,
        "profile": profile,
        "seeds": seeds,
        "out": out,
        "log": log,
        "format": format_,
        "data_root": data_root,
        "device": device,
        "exit_zero": exit_zero,
        "jobs": jobs,
        "cell_timeout": cell_timeout,
        "max_memory": max_memory,
        "resume": resume,
        "accept_mixed_env": accept_mixed_env,
        "discard_models": discard_models,
        "plain": plain,
    }
    session = Session.open(target, given, verb="compare")
    defenses = session.defenses(defense or (), group=group)
    with observe(plain=session.resolved["plain"]) as observer:
        argv = tuple(sys.argv[1:])
        report = session.compare(defenses, observer=observer, data=data, group=group, argv=argv)
    show(report, session, verbose=verbose)
    raise typer.Exit(report.verdict.exit_code)
