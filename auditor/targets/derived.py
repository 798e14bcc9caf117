"""Writes a target that was made from another one: its own weights, the tables of the other, and what made it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from auditor.data.sources import load_data
from auditor.errors import CapabilityError, ConfigError, UsageError, nearest
from auditor.guarantee import FILE_NAME as GUARANTEE
from auditor.guarantee import to_json
from auditor.targets.config import (
    AUDIT_FILE,
    FILE_NAME,
    REFERENCE,
    SERVED,
    WEIGHTS,
    DataTable,
    TargetFile,
    TargetTable,
    read_target_file,
    write_target_file,
)
from auditor.targets.reference import write_reference
from auditor.targets.target import Target
from auditor.targets.weights import write_tensors

SERVED_PREFIX = SERVED.removesuffix(".safetensors") + "."
WRITABLE = ("safetensors", "state_dict", "factory")


def tables_of(path: Path) -> tuple[TargetFile, Path]:
    """The tables of the target that `path` names, and the folder they are relative to.

    Raises:
        UsageError: there is no `target.toml` or `audit.toml`.
    """
    folder = path if os.path.isdir(path) else path.parent
    candidates = [path] if path.suffix == ".toml" else [folder / FILE_NAME, folder / AUDIT_FILE]
    for file in candidates:
        if os.path.isfile(file):
            return read_target_file(file), folder
    raise UsageError(
        f"{path} has no {FILE_NAME}; expected a target's folder, so that a new one can be written like it."
    )


def group_column(path: Path, name: str | None, data_root: Path | None) -> Tensor | None:
    """A named column of the target's data, int64 [items]; None when none was named.

    Raises:
        ConfigError: the data has no such column (the nearest one is offered).
    """
    if name is None:
        return None
    table, folder = tables_of(path)
    source = str(folder / table.data.path) if table.data.path else str(table.data.name)
    columns = load_data(source, root=data_root).columns
    if name not in columns:
        raise ConfigError(f'the data of this target has no column "{name}". {nearest(name, columns)}')
    return columns[name]


def save_derived(target: Target, source: Path, out_dir: Path) -> None:
    """Writes `target.toml`, weights and reference of a target made from the one at `source`; same architecture.

    Paths in the tables, those to a factory's code included, are rewritten to hold from `out_dir`; `[defense]` says what
    made it. What a mechanism released
    for the model to run on (a graph, or tensors of the model named `served.…`) lies beside it in `served.safetensors`,
    the Guarantee in `guarantee.json`.

    Raises:
        CapabilityError: nothing builds the target's model, so that its weights alone would not be one.
        UsageError: `source` has no tables.
    """
    if target.kind not in WRITABLE:
        raise CapabilityError(
            f"{target.name} was given as {target.kind}; expected weights with a [model] table or a factory that "
            "builds the model again. Save it in that form first."
        )
    file, folder = tables_of(source)
    out_dir.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().contiguous() for name, value in target.model.state_dict().items()}
    served = {name.removeprefix(SERVED_PREFIX): state.pop(name) for name in list(state) if _is_served(name)}
    if target.private is not None:
        served["edge_index"] = target.graph.edge_index
    write_tensors(out_dir / WEIGHTS, state)
    for file_name in (SERVED, GUARANTEE):
        (out_dir / file_name).unlink(missing_ok=True)  # an earlier target's
    if served:
        write_tensors(out_dir / SERVED, served)
    if target.defense is not None and target.defense.guarantee is not None:
        (out_dir / GUARANTEE).write_bytes(to_json(target.defense.guarantee))
    fixed = bool(target.fixed_nodes)
    write_reference(out_dir / REFERENCE, target.adversary_handle(), target.graph, fixed_nodes=fixed)
    table = TargetTable(
        name=target.name,
        weights=WEIGHTS,
        reference=REFERENCE,
        claimed_accuracy=round(target.accuracy(), 6),
        embedding_layer=file.target.embedding_layer,  # the base's: a defence sets its own when it is loaded
        train=file.target.train,
        **_moved_factory(file.target, folder, out_dir),
    )
    tables = {"target": table, "data": _moved(file.data, folder, out_dir), "defense": _defense(target)}
    write_target_file(out_dir / FILE_NAME, file.model_copy(update=tables))


def _is_served(name: str) -> bool:
    return name.startswith(SERVED_PREFIX)


def _moved(data: DataTable, folder: Path, out_dir: Path) -> DataTable:
    """The same data as seen from another folder."""
    given = {key: place for key in ("path", "root") if (place := getattr(data, key)) is not None}
    moved = {key: _seen_from(out_dir, folder / place) for key, place in given.items()}
    if data.split is not None and data.split.startswith("file:"):
        moved["split"] = f"file:{_seen_from(out_dir, folder / data.split.removeprefix('file:'))}"
    return data.model_copy(update=moved)


def _moved_factory(table: TargetTable, folder: Path, out_dir: Path) -> dict[str, Any]:
    """The same factory and project as seen from another folder; nothing where a `[model]` table builds the model."""
    if table.factory is None:
        return {}
    place, _, name = table.factory.rpartition(":")
    own = f"{_seen_from(out_dir, folder / place)}:{name}" if place.endswith(".py") else table.factory
    return {"factory": own, "init": table.init, "root": _seen_from(out_dir, folder / (table.root or "."))}


def _seen_from(out_dir: Path, place: Path) -> str:
    return os.path.relpath(place.resolve(), out_dir.resolve())


def _defense(target: Target) -> Mapping[str, Any] | None:
    tag = target.defense
    return None if tag is None else {"id": tag.spec, "version": tag.version, "seed": tag.seed, "base": tag.base}
