"""`auditor run`: the audit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import options

if TYPE_CHECKING:
    from auditor.api.report import Report
    from auditor.api.session import Session


def run(
    target: options.TargetPath,
    only: options.Only = None,
    skip: options.Skip = None,
    family: options.Family = None,
    profile: options.Profile = None,
    seeds: options.Seeds = None,
    training_seeds: options.TrainingSeeds = None,
    exposed: options.Exposed = None,
    policy: Annotated[
        str | None, typer.Option(help="lenient, standard (default), strict or NAME of a policy.NAME table.")
    ] = None,
    fail_on: Annotated[str | None, typer.Option(help="Severity from which a result fails the gate.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Accepted results (auditor-baseline.json).")] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for audit.json and reports.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Reports to write beside audit.json.")] = None,
    log: options.Log = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Torch threads; part of what a rerun must share.")] = None,
    device: options.Device = None,
    exit_zero: Annotated[bool | None, typer.Option("--exit-zero", help="A failed gate exits 0 (dashboards).")] = None,
    jobs: options.Jobs = None,
    cell_timeout: options.CellTimeout = None,
    max_memory: options.MaxMemory = None,
    resume: options.Resume = None,
    accept_mixed_env: options.MixedEnv = None,
    discard_models: options.DiscardModels = None,
    save_flips: Annotated[
        bool | None,
        typer.Option("--save-flips", help="Keep the edits found, which name true edges, in -o; replay= takes them."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Run only the i-th of n parts; auditor merge joins them.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="processes (default), or ray: a Ray cluster.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the cluster (default: RAY_ADDRESS, else one on this machine).")
    ] = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
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
        "exposed": exposed,
        "policy": policy,
        "fail_on": fail_on,
        "baseline": baseline,
        "out": out,
        "log": log,
        "data_root": data_root,
        "threads": threads,
        "device": device,
        "exit_zero": exit_zero,
        "jobs": jobs,
        "cell_timeout": cell_timeout,
        "max_memory": max_memory,
        "resume": resume,
        "accept_mixed_env": accept_mixed_env,
        "discard_models": discard_models,
        "save_flips": save_flips,
        "shard": shard,
        "executor": executor,
        "ray_address": ray_address,
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
    if session.resolved["shard"] and not report.interrupted:
        raise typer.Exit(_say_shard(report, session))
    show(report, session, verbose=verbose)
    raise typer.Exit(report.verdict.exit_code)


def _say_shard(report: Report, session: Session) -> int:
    """What became of one part of the cells, and its exit code: 0 where each of them ended as it should."""
    from auditor.cli.console import stdout
    from auditor.split_report import counted, verb

    broken = [cell for cell in report.cells if cell.status in ("error", "timeout")]
    screen = stdout()
    for cell in broken:
        screen.print(f"{cell.probe} seed {cell.seed}: {cell.status}, {cell.reason}", markup=False)
    done, planned = len(report.cells), report.document.coverage.planned
    screen.print(
        f"SHARD {session.resolved['shard']}  {done} of {counted(planned, 'cell')} {verb(done, planned)} in "
        f'{session.out}. No verdict yet: "auditor merge" joins the shards.',
        markup=False,
    )
    return 3 if broken else 0
