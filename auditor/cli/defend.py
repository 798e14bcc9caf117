"""`auditor defend`: fits or wraps one defended target and saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options

Group = Annotated[
    str | None, typer.Option("--group", help="Column of the data that names the groups (group-balanced).")
]


def defend(
    target: options.TargetPath,
    defense: Annotated[str, typer.Option("--defense", help='Which one: id or id:key=value ("auditor list defenses").')],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the defended target.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fit.")] = 0,
    group: Group = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
) -> None:
    """Fit a defence on a target's own recipe and data, and save the defended target.

    Privacy noise is drawn from the operating system and recorded nowhere; --seed fixes weights and split alone.
    """
    from auditor.api.files import check_folder, check_other_folder
    from auditor.api.options import with_defense_tables
    from auditor.api.session import Session, group_column
    from auditor.cli.console import loading, note, stderr, stdout
    from auditor.cli.training import describe
    from auditor.compare.arms import fit_defended, make_defense
    from auditor.runner.execute import TrainedCache
    from auditor.targets.derived import save_derived

    session = Session.open(target, {"data_root": data_root})
    made = make_defense(with_defense_tables([defense], session.resolved.tables.get("defenses"))[0])
    with loading(plain=session.resolved["plain"]):
        loaded = session.load_target(data=data)
    check_folder(out)
    check_other_folder(out, target)
    with stderr().status(f"fitting {defense}"):
        column = group_column(target, group, data_root)
        defended = fit_defended(loaded, made, seed=seed, models=TrainedCache(), group=column, release=True)
    save_derived(defended, target, out)
    console = stdout()
    console.print(f"before  {describe(loaded)}", markup=False)
    console.print(f"after   {describe(defended)}", markup=False)
    tag = defended.defense
    if tag is not None:
        guarantee = tag.guarantee
        promise = "none: this defence makes no formal claim" if guarantee is None else guarantee.headline()
        console.print(f"defence {tag.spec}, version {tag.version}, seed {tag.seed}\nguarantee {promise}", markup=False)
        for caveat in () if guarantee is None else guarantee.caveats:
            console.print(f"  caveat: {caveat}", markup=False)
        for row in tag.validity:
            console.print(f"  {row.status} {row.id}: {row.evidence}", markup=False)
        for name, value in tag.notes.items():
            console.print(f"  {name}: {value}", markup=False)
    note(f'written: {out}/target.toml. Audit it with "auditor run {out}".')
