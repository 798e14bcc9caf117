"""`auditor run`: the audit."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from auditor.cli import options


def run(
    target: options.TargetPath,
    only: options.Only = None,
    skip: options.Skip = None,
    family: options.Family = None,
    profile: options.Profile = None,
    seeds: options.Seeds = None,
    training_seeds: options.TrainingSeeds = None,
    policy: Annotated[
        str | None, typer.Option(help="lenient, standard (default), strict or NAME of a policy.NAME table.")
    ] = None,
    fail_on: Annotated[str | None, typer.Option(help="Severity from which a result fails the gate.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Accepted results (auditor-baseline.json).")] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for audit.json and reports.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Reports to write beside audit.json.")] = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Torch threads; part of what a rerun must share.")] = None,
    exit_zero: Annotated[bool | None, typer.Option("--exit-zero", help="A failed gate exits 0 (dashboards).")] = None,
    plain: options.Plain = None,
    trust_pickle: options.TrustPickle = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show options and origins, then stop.")] = False,
) -> None:
    """Audit a trained model: attacks, controls, intervals, verdict."""
    from auditor.api.auditing import audit
    from auditor.api.session import Session
    from auditor.cli.console import show
    from auditor.cli.progress import observe

    given: dict[str, Any] = {
        "only": only,
        "skip": skip,
        "family": family,
        "profile": profile,
        "seeds": seeds,
        "training_seeds": training_seeds,
        "policy": policy,
        "fail_on": fail_on,
        "baseline": baseline,
        "out": out,
        "data_root": data_root,
        "threads": threads,
        "exit_zero": exit_zero,
    }
    session = Session.open(target, {**given, "format": format_, "plain": plain})
    if print_config:
        typer.echo(session.resolved.text())
        raise typer.Exit
    formats = None if format_ is None else format_.split(",")
    with observe(plain=session.resolved["plain"]) as observer:
        report = audit(
            target,
            data,
            formats=formats,
            trust_pickle=trust_pickle,
            progress=observer,
            argv=sys.argv[1:],
            **given,
        )
    show(report, session)
    raise typer.Exit(report.verdict.exit_code)
