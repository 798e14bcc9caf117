"""`auditor dp-claim`: audits a claimed (epsilon, delta)."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import options
from auditor.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from auditor.api.report import Report
    from auditor.api.session import Session
    from auditor.runner.asked import Asked
    from auditor.runner.record import Claimed


def dp_claim(
    ctx: typer.Context,
    claim: Annotated[str, typer.Option("--claim", metavar="EPSILON[,DELTA]", help="What is claimed, e.g. 8,1e-3.")],
    target: Annotated[
        Path | None, typer.Argument(metavar="[TARGET]", help="Folder with target.toml; not for --static and --scores.")
    ] = None,
    defense: Annotated[str | None, typer.Option("--defense", help="Audit this defence, id or id:key=value.")] = None,
    train: Annotated[
        str | None,
        typer.Option(metavar="PKG:FN", help="Audit your own fn(data, seed, noise=True), run as your code."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="F.npz", help="Audit bits and scores (twin_bits, twin_scores) of your own.")
    ] = None,
    static: Annotated[
        str | None, typer.Option(metavar="q=…,sigma=…,steps=…", help="Recompute epsilon; add units=…, K=…,r=….")
    ] = None,
    level: Annotated[str | None, typer.Option(help="graph, edge or node (default: the defence's).")] = None,
    relation: Annotated[str | None, typer.Option(help="add-remove, replace, flip-pair, flip-arc or zero-out.")] = None,
    access: Annotated[
        str | None, typer.Option(help="What the adversary sees: released, mechanism, posteriors.")
    ] = None,
    canaries: Annotated[int | None, typer.Option(help="Number of canaries m (default 1000).")] = None,
    alpha: Annotated[float, typer.Option(help="False alarms allowed, over all tests together.")] = 1e-3,
    mode: Annotated[str, typer.Option(help="one-run (m canaries at once) or multi-run (one canary).")] = "one-run",
    runs: Annotated[
        int | None, typer.Option(help="Repeats; in multi-run trainings with the canary (100), and as many without.")
    ] = None,
    power_only: Annotated[bool, typer.Option("--power-only", help="Stop before anything is trained.")] = False,
    prereg: Annotated[
        Path | None, typer.Option(metavar="AUDIT.JSON", help="The --power-only document that --scores was planned by.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of canaries, bits and training.")] = 0,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for audit.json and reports.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Reports to write beside audit.json.")] = None,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="UNDERPOWERED exits 0, not 3.")
    ] = False,
    jobs: options.Jobs = None,
    cell_timeout: options.CellTimeout = None,
    max_memory: options.MaxMemory = None,
    resume: options.Resume = None,
    accept_mixed_env: options.MixedEnv = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
) -> None:
    """Audit a claimed (epsilon, delta): VIOLATED (exit 1), UNDERPOWERED (3) or CONSISTENT (0), never "verified"."""
    from auditor.api.session import Session
    from auditor.cli.console import show
    from auditor.runner.asked import Asked

    if mode not in ("one-run", "multi-run"):
        raise ConfigError(f'--mode is "{mode}"; expected one-run or multi-run.')
    ways = {"--defense": defense, "--train": train, "--scores": scores, "--static": static}
    named = [name for name, value in ways.items() if value is not None]
    registering = not named and power_only and target is None
    if len(named) != 1 and not registering:
        raise UsageError(
            f"{' and '.join(named) or 'nothing'} says what to audit; expected exactly one of {', '.join(ways)} "
            "(or --power-only alone, to register a plan for scores that are still to be made)."
        )
    needs_target = defense is not None or train is not None
    if needs_target and target is None:
        raise UsageError(f'{named[0]} needs a TARGET; "auditor train" makes one.')
    if not needs_target and target is not None:
        raise UsageError(f"{named[0] if named else '--power-only alone'} takes no TARGET; leave out {target}.")
    if static is not None:
        _only_arithmetic(ctx)
    if prereg is not None and scores is None:
        raise UsageError("--prereg belongs to --scores: every other audit writes its own before it runs.")
    given: dict[str, Any] = {
        "out": out,
        "format": format_,
        "data_root": data_root,
        "device": device,
        "jobs": jobs,
        "cell_timeout": cell_timeout,
        "max_memory": max_memory,
        "resume": resume,
        "accept_mixed_env": accept_mixed_env,
        "plain": plain,
    }
    asked = Asked(claim, level, relation, access, canaries, alpha, mode, runs, seed)  # type: ignore[arg-type]
    how = {"power_only": power_only, "allow_inconclusive": allow_inconclusive, "notify": _say_cost}
    if target is not None:
        session = Session.open(target, given, verb="dp-claim")
        report = _on_target(session, asked, defense, train, how)
    else:
        session = Session.without_target(given, verb="dp-claim")
        report = _without_target(session, asked, static, scores, prereg, how)
    show(report, session, verbose=verbose)
    raise typer.Exit(report.verdict.exit_code)


def _only_arithmetic(ctx: typer.Context) -> None:
    """Raises UsageError for options of a run beside `--static`, which runs nothing."""
    names = ("canaries", "alpha", "mode", "runs", "power_only", "seed", "access")
    sources = {name: ctx.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--static is arithmetic alone: nothing is run that {shown} could change. Leave it out.")


def _say_cost(cost: Claimed) -> None:
    """What the runs will take, before the first of them."""
    from auditor.cli.console import note

    seconds = "an unknown time" if cost.seconds is None else f"about {max(1.0, cost.seconds):,.0f} s"
    note(f"{cost.runs:,} runs of the mechanism, reach twins included: {seconds}" if cost.runs else "nothing is trained")


def _on_target(session: Session, asked: Asked, defense: str | None, train: str | None, how: dict[str, Any]) -> Report:
    """The mechanism is run in worker processes: a training function and a model are somebody's code."""
    from auditor.api.options import with_defense_tables
    from auditor.cli.progress import observe

    made = "" if defense is None else with_defense_tables([defense], session.resolved.tables.get("defenses"))[0]
    about = {"asked": asked, "defense": made, "train": train or "", "folder": str(Path.cwd())}
    job = session.job().model_copy(update=about)
    repeats = 1 if asked.mode == "multi-run" else asked.runs or 1
    with observe(plain=session.resolved["plain"]) as observer:
        start = partial(session.workers, job, jobs=session.jobs_for(repeats))
        return session.claim(start, observer=observer, argv=tuple(sys.argv[1:]), **how)


def _without_target(
    session: Session,
    asked: Asked,
    static: str | None,
    scores: Path | None,
    prereg: Path | None,
    how: dict[str, Any],
) -> Report:
    from auditor.api.files import read_file
    from auditor.cli.progress import observe
    from auditor.document import from_bytes
    from auditor.runner.claim_bench import ClaimBench
    from auditor.runner.claiming import ask_parameters, ask_scores

    if static is not None:
        question, row = ask_parameters(static, asked)
    else:
        document = None if prereg is None else from_bytes(read_file(prereg))
        if (
            prereg is not None
            and session.out is not None
            and prereg.resolve() == (session.out / "audit.json").resolve()
        ):
            raise UsageError(f"-o {session.out} would overwrite {prereg}, the pre-registration. Choose another folder.")
        question, row = ask_scores(scores, asked, document, power_only=how["power_only"])
    with observe(plain=session.resolved["plain"]) as observer:  # numbers alone: there is no code that could run
        return session.claim(lambda: ClaimBench(question, row), observer=observer, argv=tuple(sys.argv[1:]), **how)
