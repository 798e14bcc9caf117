"""What `train` and `demo` share: data, split and a trained reference target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from auditor.targets.target import Target


def train_target(
    data: str,
    out: Path,
    *,
    arch: str,
    hidden: int | None = None,
    layers: int | None = None,
    split: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    transform: str | None = None,
    data_root: str | None = None,
    download: bool = False,
) -> Target:
    """Loads the data, trains, saves to `out`."""
    import torch

    from auditor.cli.console import note
    from auditor.data.sources import load_data, resolve_root
    from auditor.targets.train import train_reference

    torch.set_num_threads(1)  # the same bytes on every machine
    loaded = load_data(data, root=resolve_root(data_root), download=download, notify=note)
    return train_reference(
        loaded,
        arch,
        hidden=hidden,
        layers=layers,
        split_spec=split,
        seed=seed,
        epochs=epochs,
        transform=transform,
        source=data,
        out_dir=out,
    )


def say_trained(target: Target, console: Console, *, plain: bool = False) -> None:
    """Accuracy and split of a target that was just made."""
    from auditor import registry
    from auditor.runner.describe import target_row

    registry.find("reports", "terminal").load()().print_trained(target_row(target), console, plain=plain)
