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
    from rich.table import Table
    from rich.text import Text

    from auditor.api import auditing as api
    from auditor.cli.console import stdout
    from auditor.cli.training import accuracy_line

    done = api.check(
        target,
        data,
        only=only,
        skip=skip,
        family=family,
        profile=profile,
        seeds=seeds,
        data_root=data_root,
        trust_pickle=trust_pickle,
    )
    loaded, line, cells = done.target, done.row, done.cells
    console = stdout()
    console.print(
        f"{line.name}: {line.kind}, {line.task.level} task, digest {line.digest[:12]}, {line.features} features, "
        f"{line.classes} classes, {line.nodes} nodes, {line.edges} directed edges"
        + (f", {line.graphs} graphs" if line.task.level == "graph" else ""),
        markup=False,
    )
    console.print(
        f"{accuracy_line(line)}; offers {', '.join(line.capabilities)}",
        markup=False,
    )
    if loaded.defense is not None:
        promised = loaded.defense.guarantee
        said = ("no formal guarantee",) if promised is None else (promised.headline(), *promised.own_caveats)
        console.print(f"defended by {loaded.defense.spec}: {'; '.join(said)}", markup=False)
    table = Table("validity", "kind", "status", "evidence", title_justify="left")
    for row in done.validity:
        table.add_row(row.id, row.kind, row.status, Text(row.evidence))
    console.print(table)
    plan_table = Table("probe", "seed", "estimate", "note")
    for cell in cells:
        estimate = "–" if cell.skip else f"≈ {cell.estimate_s:.0f} s"
        plan_table.add_row(Text(cell.request.spec), str(cell.seed), estimate, Text(cell.skip or "planned"))
    console.print(plan_table)
    planned = [cell for cell in cells if not cell.skip]
    total = sum(cell.estimate_s for cell in planned)
    console.print(f"{len(planned)} of {len(cells)} cells would run, about {total:.0f} CPU s on a graph of 3,000 nodes")
    if done.failed:
        console.print(f"NOT TRUSTWORTHY  failed: {', '.join(done.failed)}", style="bold red")
        raise typer.Exit(3)
