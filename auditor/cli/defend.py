"""`auditor defend`: fits or wraps one defended target and saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options

Group = Annotated[
    str | None,
    typer.Option("--group", help="Column of the data that names the groups, for defences that are told them."),
]


def defend(
    target: options.TargetPath,
    defense: Annotated[str, typer.Option("--defense", help='Which one: id or id:key=value ("auditor list defenses").')],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the defended target.")],
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of the fit.")] = 0,
    group: Group = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    plain: options.Plain = None,
) -> None:
    """Fit a defence on a target's own recipe and data, on the CPU, and save the defended target.

    Privacy noise is drawn from the operating system and recorded nowhere; --seed fixes weights and split alone.
    """
    from auditor import registry
    from auditor.api.files import check_folder, check_other_folder
    from auditor.api.options import with_defense_tables
    from auditor.api.session import Session
    from auditor.cli.console import is_plain, loading, note, stderr, stdout
    from auditor.compare.arms import fit_defended, make_defense
    from auditor.data.sources import resolve_root
    from auditor.runner.describe import target_row
    from auditor.runner.execute import TrainedCache
    from auditor.targets.config import check_replaced_target
    from auditor.targets.derived import group_column, save_derived

    session = Session.open(target, {"data_root": data_root, "plain": plain})
    made = make_defense(with_defense_tables([defense], session.resolved.tables.get("defenses"))[0])
    with loading(plain=session.resolved["plain"]):
        loaded = session.load_target(data=data)
    check_folder(out)
    check_other_folder(out, target)
    check_replaced_target(out)
    with stderr().status(f"fitting {defense}"):
        column = group_column(target, group, resolve_root(data_root))
        defended = fit_defended(loaded, made, seed=seed, models=TrainedCache(), group=column, release=True)
    save_derived(defended, target, out)
    tag = defended.defense
    assert tag is not None
    registry.find("reports", "terminal").load()().print_fitted(
        target_row(loaded), target_row(defended), tag, stdout(), plain=is_plain(session.resolved["plain"])
    )
    note(f'written: {out}/target.toml. Audit it with "auditor run {out}".')
