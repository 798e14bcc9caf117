"""`auditor check`: loads the target and shows what an audit would do; no attack."""

from __future__ import annotations

import shlex

import typer

from auditor.cli import options


def check(
    target: options.TargetPath,
    only: options.Only = None,
    skip: options.Skip = None,
    family: options.Family = None,
    profile: options.Profile = None,
    seeds: options.Seeds = None,
    training_seeds: options.TrainingSeeds = None,
    jobs: options.Jobs = None,
    device: options.Device = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
    trust_pickle: options.TrustPickle = False,
) -> None:
    """Load a target, show its validity rows and the plan of cells. Exit 3 when an integrity row fails."""
    from auditor import registry
    from auditor.api import auditing as api
    from auditor.cli.console import is_plain, stdout

    done = api.check(
        target,
        data,
        only=only,
        skip=skip,
        family=family,
        profile=profile,
        seeds=seeds,
        training_seeds=training_seeds,
        jobs=jobs,
        device=device,
        data_root=data_root,
        trust_pickle=trust_pickle,
    )
    terminal = registry.find("reports", "terminal").load()()
    terminal.print_check(
        done.target,
        done.validity,
        done.cells,
        done.failed,
        stdout(),
        jobs=done.jobs,
        groups=done.groups,
        plain=is_plain(plain),
        verbose=verbose,
        path=shlex.quote(str(target)),
    )
    if done.failed:
        raise typer.Exit(3)
