"""`auditor repair`: corrects named wrong nodes by editing the weights, within an accuracy budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options


def repair(
    target: options.TargetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the repaired target.")],
    errors: Annotated[
        str, typer.Option(help="test, val (wrong nodes of that mask) or a CSV file with node,label.")
    ] = "val",
    max_drawdown: Annotated[
        float, typer.Option(min=0.0, help="Points of accuracy that may be lost on validation nodes.")
    ] = 1.0,
    method: Annotated[str, typer.Option(help="gre-plus, or finetune (the control).")] = "gre-plus",
    together: Annotated[bool, typer.Option("--together", help="All nodes in one edit, not one at a time.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of the parts of the training nodes.")] = 0,
    data_root: options.DataRoot = None,
    plain: options.Plain = None,
) -> None:
    """Edit the weights so that named wrong nodes become right, on the CPU; exit 1 when none fits the budget."""
    import torch

    from auditor import registry
    from auditor.api.files import check_names, check_other_folder, prepare_folder, write_file
    from auditor.cli.console import is_plain, note, stderr, stdout
    from auditor.compare.arms import load_any
    from auditor.data.sources import resolve_root
    from auditor.defense import DefenseTask
    from auditor.parameters import build
    from auditor.runner.execute import TrainedCache
    from auditor.targets.config import check_replaced_target
    from auditor.targets.derived import save_derived, tables_of

    torch.set_num_threads(1)  # the same bytes on every machine
    words = {"method": method, "errors": errors, "max_drawdown": str(max_drawdown), "together": str(together).lower()}
    defense = build(registry.find("defenses", "repair").load(), words, owner="repair")
    tables_of(target)
    check_other_folder(out, target)
    check_replaced_target(out)
    check_names(out, {"repair.json": r'\{\s*"own":'})
    models = TrainedCache()
    loaded = load_any(target, models=models, data_root=resolve_root(data_root), notify=note)
    with stderr().status(f"repairing {loaded.name}"):
        repaired, facts = defense.beside_control(loaded, DefenseTask(seed, models))
    registry.find("reports", "terminal").load()().print_repair(facts, stdout(), plain=is_plain(plain))
    if repaired is None:
        note("nothing was saved: no node could be repaired within the budget")
        raise typer.Exit(1)
    prepare_folder(out)
    save_derived(repaired, target, out)
    write_file(out / "repair.json", facts.model_dump_json(indent=1) + "\n")
    note(f'written: {out}/target.toml and repair.json. Audit it with "auditor run {out}".')
