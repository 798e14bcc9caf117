"""`auditor train`: a reference target on a named data set, saved so that it loads like anybody else's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auditor.data.catalogue import CATALOGUE
from auditor.data.graph import UNKNOWN, Split
from auditor.data.splits import make_split
from auditor.errors import ConfigError, nearest
from auditor.guarantee import FILE_NAME as GUARANTEE
from auditor.targets.config import (
    FILE_NAME,
    REFERENCE,
    SERVED,
    SPLIT,
    WEIGHTS,
    DataTable,
    TargetFile,
    TargetTable,
    TrainTable,
    write_target_file,
)
from auditor.targets.load import assemble, load_model
from auditor.targets.loaded import Request
from auditor.targets.models import LAYERS, build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.reference import write_reference
from auditor.targets.target import ModelHandle, Target
from auditor.targets.weights import write_tensors

if TYPE_CHECKING:
    from auditor.data.sources import LoadedData

ARCHITECTURES: Mapping[str, str] = {"gcn": "GCN", "gat": "GAT", "sage": "GraphSAGE", "gin": "GIN", "mlp": "MLP"}


def train_reference(
    data: LoadedData,
    arch: str,
    *,
    out_dir: Path,
    hidden: int | None = None,
    layers: int | None = None,
    split_spec: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    transform: str | None = None,
    source: str | None = None,
) -> Target:
    """Trains, writes `target.toml`, `model.safetensors` and `model.ref.safetensors`, and returns the loaded target.

    Args:
        data: as loaded; a transform it already went through is kept.
        arch: `gcn`, `gat`, `sage`, `gin`, or `mlp`, which sees no edge; graph data sets take `gin` or `mlp`.
        out_dir: the target's folder, made when absent.
        hidden: default 16 (GAT 64 with 8 heads; graph task 32).
        layers: default 2 (graph task 3).
        split_spec: default: the data's own.
        seed: of initialisation, dropout and batches, and of a drawn split.
        epochs: default 200 (graph task 100).
        transform: default `row-normalize` for bag-of-words features, else `none`.
        source: how the user named the data; needed for a file, default the name of a data set.

    Raises:
        ConfigError: an architecture or size that cannot be built.
        SplitError: the split does not exist for this data.
    """
    from auditor.data.sources import apply_transform, with_features

    place = _place(source, data.name, out_dir)
    if data.transform != "none":
        transform = data.transform
    else:
        transform = transform or ("row-normalize" if data.is_bag_of_words else "none")
        data = replace(data, graph=apply_transform(data.graph, transform), transform=transform)
    if not data.graph.num_features:
        data = with_features(data, "identity" if data.graph.batch is None else "ones")
    graph = replace(data.graph, whole_x=False)
    table = model_table(
        arch, data.graph.task.level, graph.num_features, int(graph.y.max()) + 1, hidden=hidden, layers=layers
    )
    train = _train_table(graph.task.level, seed, epochs)
    spec = split_spec or _default_split(data)
    split = make_split(spec, data, seed)
    recipe = TrainRecipe(partial(build_model, table), **train.model_dump())
    model = recipe.fit(graph, split, seed).model
    out_dir.mkdir(parents=True, exist_ok=True)
    for stale in (SERVED, GUARANTEE):
        (out_dir / stale).unlink(missing_ok=True)  # of a defended target that lay here
    write_tensors(out_dir / WEIGHTS, model.state_dict())
    handle = ModelHandle(model)
    write_reference(out_dir / REFERENCE, handle, graph)
    with torch.no_grad():
        logits = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    correct = graph.task.correct(logits, graph.y)[split.test]
    file = TargetFile(
        target=TargetTable(
            name=f"{data.name}-{arch}",
            weights=WEIGHTS,
            reference=REFERENCE,
            claimed_accuracy=round(float(correct.double().mean()), 6),
            embedding_layer=_embedding_layer(table),
            train=train,
        ),
        model=table,
        data=DataTable.model_validate(
            {**place, "split": _kept_split(split, spec, out_dir), "transform": transform, "features": data.features}
        ),
    )
    write_target_file(out_dir / FILE_NAME, file)
    return assemble(load_model(Request(file, out_dir)), file, out_dir, data)


def _default_split(data: LoadedData) -> str:
    """The data's own split, or a drawn one where it comes without."""
    if data.default_split != UNKNOWN:
        return data.default_split
    if data.masks:
        return "masks:0"
    return "per-class:20" if data.graph.batch is None else "random:0.6/0.2/0.2"


def _kept_split(split: Split, spec: str, out_dir: Path) -> str:
    """How to find the split again: its name where it has one, else a file of ids in the target's folder."""
    if split.seed is None and not spec.startswith("file:"):
        return spec
    parts = {part: torch.nonzero(getattr(split, part)).flatten().numpy() for part in ("train", "val", "test")}
    np.savez(out_dir / SPLIT, train_idx=parts["train"], val_idx=parts["val"], test_idx=parts["test"], spec=split.spec)
    return f"file:{SPLIT}"


def model_table(
    arch: str, task: str, num_features: int, num_classes: int, *, hidden: int | None = None, layers: int | None = None
) -> dict[str, Any]:
    """The `[model]` table of a reference target, with our defaults.

    Raises:
        ConfigError: unknown architecture, or one that a graph task has no reference form of.
    """
    if arch not in ARCHITECTURES:
        raise ConfigError(f'no architecture is called "{arch}". {nearest(arch, ARCHITECTURES)}')
    sizes = {"in_channels": num_features, "out_channels": num_classes}
    if task == "graph":
        return {
            "class": ARCHITECTURES[arch],
            **sizes,
            "hidden_channels": hidden or 32,
            "num_layers": layers or 3,
            "readout": "mean" if arch == "mlp" else "add",
        }
    heads = {"heads": 8} if arch == "gat" else {}
    width = hidden or (64 if arch == "gat" else 16)
    if heads and width % 8:
        raise ConfigError(f"hidden = {width} does not split into 8 attention heads; give a multiple of 8.")
    return {
        "class": ARCHITECTURES[arch],
        **sizes,
        "hidden_channels": width,
        "num_layers": layers or 2,
        "dropout": 0.5,
        **heads,
    }


def _embedding_layer(table: Mapping[str, Any]) -> str | None:
    """The last layer of a model that passes no messages; in any other the last that does is found."""
    if table["class"] in LAYERS:
        return None
    return f"{'gnn.' if 'readout' in table else ''}lins.{table['num_layers'] - 1}"


def _train_table(task: str, seed: int, epochs: int | None) -> TrainTable:
    """The recipe: Adam, 0.01; weight decay and dropout on single graphs only, where a few nodes train many weights."""
    if task == "graph":
        return TrainTable(weight_decay=0.0, epochs=epochs or 100, batch_size=64, seed=seed)
    return TrainTable(weight_decay=5e-4, epochs=epochs or 200, seed=seed)


def _place(source: str | None, name: str, out_dir: Path) -> dict[str, Any]:
    """How to find the data again: a name, or a path relative to the target's folder."""
    if source is not None and Path(source).is_file():
        return {"path": os.path.relpath(Path(source).resolve(), out_dir.resolve())}
    known = source or name
    if not any(entry.id == known.lower().partition(":")[0] for entry in CATALOGUE):
        raise ConfigError(
            f'the target could not be loaded again: "{known}" is no data set, and no path to its file was given. '
            "Give the path that the graph was loaded from."
        )
    return {"name": known}
