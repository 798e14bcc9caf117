"""What `train` and `demo` share: data, split and a trained reference target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.document import TargetRow
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


def describe(target: Target) -> str:
    """Test accuracy with its interval, the constant predictor, the split and its sizes."""
    from auditor.runner.assemble import target_row

    row = target_row(target)
    split = row.split
    drawn = "" if split["seed"] is None else f" (seed {split['seed']})"
    return (
        f"{row.name}: {accuracy_line(row)}\n"
        f"split {split['spec']}{drawn}: {split['train']} train, {split['val']} validation, "
        f"{split['test']} test"
    )


def accuracy_line(row: TargetRow) -> str:
    """Test accuracy with its interval, beside the constant predictor."""
    clean = row.clean
    if clean is None or row.constant_predictor is None:
        return "accuracy was not measured"
    return (
        f"test accuracy {clean.value:.3f} [{clean.lo:.3f}, {clean.hi:.3f}] on {clean.n} items; "
        f"constant predictor {row.constant_predictor:.3f}"
    )
