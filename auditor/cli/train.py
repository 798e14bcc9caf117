"""`auditor train`: makes a reference target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options


def train(
    data: Annotated[str, typer.Option(help='Data set by name ("auditor list data") or a graph file.')],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the target.")],
    arch: Annotated[
        str, typer.Option(help="gcn, gat, sage, gin, or mlp, which reads no edge; graph sets: gin, mlp.")
    ] = "gcn",
    hidden: Annotated[int | None, typer.Option(min=1, help="Hidden width (default by architecture).")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Message-passing layers (default by task).")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="public, per-class:20, random:0.6/0.2/0.2, prognn, size:25, masks:0 or file:split.npz."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of the split and of training.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=options.MOST_EPOCHS, help="Training epochs (default by task).")
    ] = None,
    transform: Annotated[
        str | None, typer.Option(help="Feature transform: none or row-normalize (default by data).")
    ] = None,
    data_root: options.DataRoot = None,
    download: Annotated[bool, typer.Option("--download", help="Let PyG download a set the data root lacks.")] = False,
) -> None:
    """Train a reference model (GCN, GAT, GraphSAGE, GIN, MLP) and save it as safetensors with its target.toml.

    It is trained on the CPU, where the same seed gives the same model.
    """
    from auditor.api.files import check_folder
    from auditor.cli.console import is_plain, note, stderr, stdout
    from auditor.cli.training import say_trained, train_target
    from auditor.targets.config import check_replaced_target

    check_folder(out)
    check_replaced_target(out)
    with stderr().status(f"training {arch} on {data}"):
        target = train_target(
            data,
            out,
            arch=arch,
            hidden=hidden,
            layers=layers,
            split=split,
            seed=seed,
            epochs=epochs,
            transform=transform,
            data_root=data_root,
            download=download,
        )
    say_trained(target, stdout(), plain=is_plain())
    note(f'written: {out}/target.toml. Audit it with "auditor run {out}".')
