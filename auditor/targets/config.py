"""`target.toml`: what a target is made of, read and written. Imports no torch.

An `audit.toml` (or `[tool.auditor]` in `pyproject.toml`) may hold the same tables beside those of the run; the latter
are kept as they are and checked by whoever uses them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import ConfigError, UsageError, expected, nearest, shown
from auditor.guarantee import FILE_NAME as GUARANTEE
from auditor.reading.toml import read_toml

FILE_NAME = "target.toml"
AUDIT_FILE = "audit.toml"
WEIGHTS, REFERENCE, SPLIT, SERVED = "model.safetensors", "model.ref.safetensors", "split.npz", "served.safetensors"
"""Beside `FILE_NAME`, what the verbs that make a target write."""
QUESTIONS: Mapping[str, str] = {
    "graph": '[data] path = "graph.pt", or name = "cora": the graph that the model was trained on',
    "factory": '[target] factory = "model.py:build": what builds the module',
    "init": "[target.init]: the arguments of the factory, a line each",
    "weights_key": "[target] weights_key: which state dict of the file",
    "split": '[data] split = "file:split.npz": which items the model was trained on; "unknown" if nobody knows',
    "call": '[call], such as edge_weight = "edge_attr" or "none": what a parameter of forward takes',
    "output": "[call] output = 0, or a key: which part of what forward returns holds the answers",
}
"""What `auditor init` may leave open, and the line that answers it."""


class Table(BaseModel):
    """Frozen and strict: unknown keys are refused, "0" is not 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainTable(Table):
    """`[target.train]`: the recipe, which gives RETRAIN."""

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 0.01
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    batch_size: Annotated[int, Field(ge=1, le=1_000_000_000)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class TargetTable(Table):
    """`[target]`: the files, or the factory, and what is claimed of them. Paths are relative to the file.

    `init` holds the keyword arguments that the factory is called with. `measured_at_save` is the accuracy when the
    target was written: no proof about training, but whatever gives another one later is another model or graph.
    """

    name: str | None = None
    kind: str | None = None
    factory: str | None = None
    init: dict[str, Any] | None = None
    root: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    strip_prefix: str | None = None
    sha256: Annotated[str | None, Field(pattern="^[0-9a-fA-F]{64}$")] = None
    reference: str | None = None
    claimed_accuracy: Annotated[float | None, Field(ge=0, le=1)] = None
    measured_at_save: Annotated[float | None, Field(ge=0, le=1)] = None
    embedding_layer: str | None = None
    train: TrainTable | None = None


class DataTable(Table):
    """`[data]`: which graph, and which items of it are training, validation and test items.

    `split_was_drawn_in_training` says that a split written as `per-class:`, `random:` or `size:` is the very draw that
    the model was trained on: without it, nobody knows. `molecules` says whether graphs are molecules, which an edit of
    nodes or edges makes others.
    """

    name: str | None = None
    path: str | None = None
    root: str | None = None
    split: str | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0
    split_was_drawn_in_training: bool = False
    transform: Literal["none", "row-normalize"] = "none"
    features: Literal["identity", "degree", "ones"] | None = None
    molecules: bool | None = None
    node_fields: list[str] | None = None
    edge_fields: list[str] | None = None


class TargetFile(Table):
    """The whole file. `model` is checked against the constructor it names, when the model is built.

    `unanswered` are the questions that `auditor init` could not answer: a word of `QUESTIONS` each.
    """

    unanswered: list[str] = Field(default_factory=list)
    target: TargetTable = Field(default_factory=TargetTable)
    model: dict[str, Any] | None = None
    data: DataTable = Field(default_factory=DataTable)
    call: dict[str, str | int] = Field(default_factory=dict)
    defense: dict[str, Any] | None = None
    # Tables of an audit.toml that other parts read and check.
    access: dict[str, Any] | None = None
    run: dict[str, Any] | None = None
    gate: dict[str, Any] | None = None
    policy: dict[str, dict[str, Any]] | None = None
    defenses: dict[str, dict[str, Any]] | None = None
    suppress: list[dict[str, Any]] | None = None


def read_target_file(path: Path) -> TargetFile:
    """The tables of a `target.toml`, `audit.toml` or `pyproject.toml`.

    Raises:
        UsageError: the file is missing or a folder.
        ConfigError: not TOML, or a key or value that is not known (the nearest name is offered).
    """
    document = read_toml(path, missing=UsageError, error=ConfigError)
    if path.name == "pyproject.toml":
        tool = document.get("tool")
        document = tool.get("auditor") if isinstance(tool, dict) else None  # type: ignore[assignment]
        if not isinstance(document, dict):
            raise ConfigError(f"{path} has no [tool.auditor] table; add one, or give an audit.toml.")
    return parse_target_file(document, where=path.name)


def config_file(path: Path) -> Path | None:
    """The file whose tables belong to `path`: itself, the one in that folder, or the one beside those weights."""
    if os.path.isdir(path):
        places = [path / FILE_NAME, path / AUDIT_FILE]
    else:
        places = [path if path.suffix == ".toml" else path.parent / FILE_NAME]
    return next((place for place in places if os.path.isfile(place)), None)


def parse_target_file(document: Mapping[str, Any], *, where: str) -> TargetFile:
    """Checked tables from a parsed document; `where` names it in messages."""
    try:
        file = TargetFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error, document)}") from None
    if file.target.init is not None and file.target.factory is None:
        raise ConfigError(
            f'{where}: [target.init] has no factory to be given to; expected factory = "model.py:build" in [target]. '
            "Add it, or drop the table."
        )
    if file.data.name is not None and file.data.path is not None:
        raise ConfigError(f"{where}: [data] has both name and path; expected one of them. Remove the other.")
    return file


def check_replaced_target(folder: Path) -> None:
    """Whether a target can be written there: in the place of one that a verb of ours made, or of nothing.

    Those are known by a `target.toml` that names the reference answers as they do; whoever brings weights of their own
    has none, or of another name.

    Raises:
        UsageError: one of the files that would be written is somebody's.
    """
    held = [
        name for name in (FILE_NAME, WEIGHTS, REFERENCE, SPLIT, SERVED, GUARANTEE) if os.path.lexists(folder / name)
    ]
    try:
        ours = read_target_file(folder / FILE_NAME).target if held else None
    except UsageError:  # no table, or none that can be read
        ours = TargetTable()
    if ours is not None and (ours.weights, ours.reference) != (WEIGHTS, REFERENCE):
        raise UsageError(
            f"-o would write over {folder / held[0]}, which neither train nor defend nor repair wrote. Remove it, or "
            "choose another folder."
        )


def refuse_open(file: TargetFile, keys: Sequence[str] = ()) -> None:
    """Raises ConfigError where questions of `auditor init` are open; each is named with the line that answers it.

    `keys` are those of the file of weights, what `weights_key` can be.
    """
    if file.unanswered:
        known = {"weights_key": f" (it holds {', '.join(keys)})"} if keys else {}
        lines = "; ".join(
            f"{word}: {QUESTIONS.get(word, 'no such question')}{known.get(word, '')}" for word in file.unanswered
        )
        raise ConfigError(
            f"{FILE_NAME} leaves {len(file.unanswered)} question(s) unanswered. Write {lines}. Then drop the line "
            '"unanswered", or run "auditor init" again with the flag of each.'
        )


def write_target_file(path: Path, file: TargetFile) -> None:
    """Writes the tables as TOML, keys that are not set left out."""
    tables = {key: value for key, value in file.model_dump(exclude_none=True).items() if value not in ({}, [])}
    path.write_bytes(tomli_w.dumps(tables).encode())


def _explain(error: ValidationError, document: Mapping[str, Any]) -> str:
    """The first problem in our words: place, value seen, what was expected."""
    problems = error.errors(include_url=False)
    first = problems[0]
    place, key, of_list = _place(first["loc"], document)
    table = f"[{'.'.join(place)}] " if place else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(place)
        kind = "table" if not place and isinstance(document.get(key), Mapping) else "key"
        return f'{table}has an unknown {kind} "{key}". {nearest(key, known)}'.replace("  ", " ").strip()
    # A value may be of several types; each of them has said why it is not.
    mine = [each for each in problems if _place(each["loc"], document) == (place, key, of_list)]
    wanted = " or ".join(dict.fromkeys(map(expected, mine))).replace(" or expected", " or")
    came = f"{table}{key} is {shown(first.get('input'))}"
    return f"{came}{of_list}; {wanted}. Correct the value or drop the key."


def _place(loc: Sequence[int | str], document: Mapping[str, Any]) -> tuple[list[str], str, str]:
    """Table, key, and which entry of a list; names of types, which pydantic adds, are left out."""
    path: list[str] = []
    of_list, here = "", cast(Any, document)
    for part in loc:
        if isinstance(part, int):
            of_list = f" in entry {part + 1} of the list"
        elif not of_list and (isinstance(here, Mapping) or not path):
            path.append(part)
            here = here.get(part) if isinstance(here, Mapping) else None
    return path[:-1], path[-1] if path else "", of_list


def _fields_at(path: list[str]) -> list[str]:
    """Names that the table at `path` may hold."""
    tables: dict[tuple[str, ...], type[Table]] = {
        (): TargetFile,
        ("target",): TargetTable,
        ("target", "train"): TrainTable,
        ("data",): DataTable,
    }
    kind = tables.get(tuple(path))
    return [] if kind is None else list(kind.model_fields)
