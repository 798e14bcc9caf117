"""`auditor check`: loads the target and shows what an audit would do; no attack."""

from __future__ import annotations

import typer

from auditor.cli import options


def check(
    target: options.TargetPath,
    only: options.Only = None,
    skip: options.Skip = None,
    family: options.Family = None,
    profile: options.Profile = None,
    seeds: options.Seeds = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    trust_pickle: options.TrustPickle = False,
) -> None:
    """Load a target, show its validity rows and the plan of cells. Exit 3 when an integrity row fails."""
    from auditor import registry
    from auditor.cli.console import stdout
    from auditor.cli.session import Session
    from auditor.runner.assemble import check_validity, target_row

    given = {"only": only, "skip": skip, "family": family, "profile": profile, "seeds": seeds, "data_root": data_root}
    session = Session.open(target, given)
    loaded = session.load_target(data=data, trust_pickle=trust_pickle)
    cells = session.plan(loaded)
    rows = check_validity(loaded, (cell.request.entry.id for cell in cells))
    failed = [row.id for row in rows if row.kind == "integrity" and row.status == "fail"]
    registry.find("reports", "terminal").load()().print_check(target_row(loaded), rows, cells, failed, stdout())
    if failed:
        raise typer.Exit(3)
