"""Link splits, heterogeneous data and event streams, as PyG saves or holds them; for the checks of a split alone.

A file is read without running it (`auditor.data.inert`). Forms: a list [train, val, test] of `Data`, `HeteroData` or
`TemporalData`; one `HeteroData` or `TemporalData`; one `Data` (or arrays by the same names) with `edge_label_index`,
with `test_pos_edge_index` and the like, or with `src`, `dst`, `t`; a dictionary of parts with `edge` [P, 2] and
`edge_neg`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.data.inert import Archive, Record, UnreadableError
from auditor.data.named import COUNTED, PARTS, WORDS, as_numbers
from auditor.data.npz import BARE, read_arrays
from auditor.errors import GraphError, SplitError
from auditor.reading.files import bytes_of, reading

Relation = tuple[str, str, str]
ONE: Relation = ("node", "to", "node")
"""The relation of a graph that has one alone."""

_PYG = "torch_geometric.data."
_DATA, _HETERO, _STREAM = (f"{_PYG}{name}" for name in ("data.Data", "hetero_data.HeteroData", "temporal.TemporalData"))
_KINDS = {"Data": _DATA, "HeteroData": _HETERO, "TemporalData": _STREAM}
EVENTS = ("src", "dst", "t")
_PAIRS = "edge_label_index"
_SUFFIXES = ("pos_edge_index", "neg_edge_index", "edge_label_index", "edge_label")
_EXPECTED = "a link split, heterogeneous data or a stream of events, saved by torch.save or numpy.savez."

Fields = Mapping[str, Tensor]
Opened = Callable[[Any], tuple[str, Any]]
"""Turns one object into (kind, fields)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one part of a split holds: fields by node type and by relation, or of events."""

    nodes: Mapping[str, Fields] = field(default_factory=dict)
    edges: Mapping[Relation, Fields] = field(default_factory=dict)
    events: Fields = field(default_factory=dict)

    @property
    def has_pairs(self) -> bool:
        """Whether pairs of nodes are what is predicted."""
        return any(_PAIRS in fields for fields in self.edges.values())


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A split as it is kept.

    Attributes:
        name: of the file or the object.
        parts: by `train`, `val`, `test`; by the empty word where one object holds everything.
    """

    name: str
    parts: Mapping[str, Part]


def node_count(held: Fields) -> int | None:
    """How many nodes of a type there are, as its own fields say."""
    if "num_nodes" in held and held["num_nodes"].numel() == 1:
        return int(held["num_nodes"])
    return len(held["x"]) if "x" in held and held["x"].dim() else None


def stored(data: Any) -> Stored | None:
    """What a path or an object holds, where that is of one of the forms above; None for anything else.

    Raises:
        GraphError: a file that is damaged, or a field of pairs or events that is no tensor.
        SplitError: parts that cannot be told apart.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(os.path.expanduser(data))
        return _of_file(path) if path.is_file() else None
    return _of_object(data, "data", _live)


def _of_file(path: Path) -> Stored | None:
    with reading(path.name, error=GraphError, expected=_EXPECTED):
        with path.open("rb") as stream:
            head = stream.read(len(BARE))
        if head == BARE or not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            wanted = [name.removesuffix(".npy") for name in names]
            if not _is_special(wanted):
                return None
            return _of_object(read_arrays(path), path.stem, lambda value: (_DATA, value))
    try:
        archive = Archive(bytes_of(path, error=GraphError, expected=_EXPECTED))
        return _of_object(archive.content, path.stem, lambda value: _saved(archive, value))
    except UnreadableError as error:
        raise GraphError(f"{path.name} cannot be read: {error}. Expected {_EXPECTED}") from None


def _of_object(content: Any, name: str, opened: Opened) -> Stored | None:
    """The parts of a whole file or object; `opened` turns one object into (kind, fields)."""
    if isinstance(content, list | tuple) and len(content) in (2, 3):
        parts = [_part(opened(each), name) for each in content]
        made = [part for part in parts if part is not None]
        of_pairs, of_events = [part.has_pairs for part in made], [bool(part.events) for part in made]
        if len(made) == len(parts) and (all(of_events) or (of_pairs[-1] and not any(of_events))):
            words = ("train", "val", "test") if len(made) == 3 else ("train", "test")
            return Stored(name, dict(zip(words, made, strict=True)))
        return None
    if isinstance(content, dict) and content and set(content) <= set(WORDS) and "test" in content:
        return _of_dictionary(content, name, opened)
    one = opened(content)
    part = _part(one, name)
    if part is None:
        return None
    kind, fields = one
    if kind == _DATA and not part.has_pairs and not part.events:
        return _by_prefix(fields, name)
    return Stored(name, {"": part})


def _of_dictionary(content: Mapping[str, Any], name: str, opened: Opened) -> Stored | None:
    """{train, valid, test} of objects, or of edges as the Open Graph Benchmark splits them."""
    parts: dict[str, Part] = {}
    bare: dict[str, Mapping[str, Any]] = {}
    for word, value in content.items():
        kind, fields = opened(value)
        if kind == _DATA and "edge" in fields:
            bare[WORDS[word]] = fields
        elif (part := _part((kind, fields), name)) is not None and (part.has_pairs or part.events):
            parts[WORDS[word]] = part
    if len(bare) == len(content):
        flat: dict[str, Any] = {}
        for word, fields in bare.items():
            for kind, key in (("pos", "edge"), ("neg", "edge_neg")):
                if key in fields:
                    flat[f"{word}_{kind}_edge_index"] = _turned(fields[key], f"{word} {key}", name)
        return _by_prefix(flat, name)
    of_one_form = len({bool(part.events) for part in parts.values()}) == 1
    return Stored(name, parts) if len(parts) == len(content) and of_one_form else None


def _is_special(names: Sequence[str]) -> bool:
    """Whether fields of these names are pairs that are predicted, or events."""
    prefixed = any(f"{word}_{suffix}" in names for word in WORDS for suffix in _SUFFIXES)
    return _PAIRS in names or prefixed or (set(EVENTS) <= set(names) and "edge_index" not in names)


def _by_prefix(fields: Mapping[str, Any], name: str) -> Stored | None:
    """`train_pos_edge_index`, `test_edge_label_index`, …: one graph that holds the pairs of all parts.

    Messages are edge_index where it is there, else the positives of train.
    """
    if not _is_special(list(fields)):
        return None
    values = {key: _plain(value) for key, value in fields.items()}
    own: dict[str, dict[str, Tensor]] = {}
    for part, words in PARTS.items():
        held = {s: values[f"{w}_{s}"] for w in words for s in _SUFFIXES if values.get(f"{w}_{s}") is not None}
        if held:
            own[part] = {key: value for key, value in held.items() if value is not None}
    train = own.get("train", {})
    messages = values.get("edge_index", train.get("pos_edge_index", train.get(_PAIRS)))
    if messages is None or "test" not in own:
        raise SplitError(
            f"{name} holds pairs of {', '.join(own) or 'no part'} and "
            f"{'no message graph' if messages is None else 'none of test'}; expected test_pos_edge_index (or "
            "test_edge_label_index) beside edge_index or train_pos_edge_index. Save them together."
        )
    nodes = {key: value for key, value in values.items() if key == "x" and value is not None}
    parts = {
        part: Part({ONE[0]: nodes}, {ONE: {"edge_index": messages, **_labelled(held, f"{name}, {part}")}})
        for part, held in own.items()
    }
    return Stored(name, parts)


def _labelled(held: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Positives and negatives as `edge_label_index` and `edge_label`.

    Raises:
        GraphError: pairs of another shape than [2, P], or none.
    """
    if _PAIRS in held:
        return {key: held[key] for key in (_PAIRS, "edge_label") if key in held}
    sides = [held[key] for key in ("pos_edge_index", "neg_edge_index") if key in held]
    if not sides or any(side.dim() != 2 or len(side) != 2 for side in sides):
        said = ", ".join(f"{key} {list(value.shape)}" for key, value in held.items())
        raise GraphError(f"{name}: {said}; expected pairs as pos_edge_index [2, P], sources first.")
    labels = [side.new_full((side.shape[-1],), "pos_edge_index" in held and i == 0) for i, side in enumerate(sides)]
    return {_PAIRS: torch.cat(sides, dim=-1), "edge_label": torch.cat(labels)}


def _part(one: tuple[str, Any], name: str) -> Part | None:
    """One object as a part; None for what is neither a graph nor a stream."""
    kind, fields = one
    if kind == _HETERO:
        nodes, edges = fields
        return Part(
            {key: _tensors(held, name) for key, held in nodes.items()},
            {key: _tensors(held, name) for key, held in edges.items()},
        )
    if kind == _STREAM or (kind == _DATA and set(EVENTS) <= set(fields) and "edge_index" not in fields):
        return Part(events=_tensors(fields, name))
    if kind == _DATA:
        held = _tensors(fields, name) if {_PAIRS, "edge_index", "adj_t"} & set(fields) else {}
        return Part({ONE[0]: held}, {ONE: held} if held else {})
    return None


def _tensors(fields: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Fields that are numbers, as tensors; a field that must be and is not is refused."""
    made: dict[str, Tensor] = {}
    for key, value in fields.items():
        numbers = _plain(value)
        if numbers is not None:
            made[key] = numbers
        elif key in ("x", "adj_t") and isinstance(value, Tensor):
            made[key] = value  # sparse: how many nodes there are, and the arcs
        elif key in (_PAIRS, *EVENTS, "edge_index") and value is not None:
            _numbers(value, key, name)
    return made


def _plain(value: Any) -> Tensor | None:
    """The numbers of a value, unsigned ones as int64, for which torch has few operations; None of a sparse matrix."""
    numbers = as_numbers(value)
    if numbers is None or numbers.layout != torch.strided or numbers.dtype not in COUNTED:
        return None
    return numbers.long() if numbers.dtype in (torch.uint16, torch.uint32, torch.uint64) else numbers


def _numbers(value: Any, key: str, name: str) -> Tensor:
    numbers = _plain(value)
    if numbers is None:
        said = f"{value.layout} of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise GraphError(f"{name}: {key} is {said}; expected real numbers. Save it as a dense tensor.")
    return numbers


def _turned(value: Any, key: str, name: str) -> Tensor:
    """Pairs [P, 2] as [2, P]."""
    pairs = _numbers(value, key, name)
    if pairs.dim() != 2:
        raise GraphError(f"{name}: {key} is {list(pairs.shape)}; expected pairs [P, 2], sources first.")
    return pairs.T


def _saved(archive: Archive, value: Any) -> tuple[str, Any]:
    """(kind, fields) of an object in an archive; the kind is empty for anything else."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return _DATA, archive.value(value)
    if not isinstance(value, Record) or value.args is None or not isinstance(value.state, dict):
        return "", {}
    state = value.state
    if value.name == _HETERO:
        stores = (state.get("_node_store_dict") or {}, state.get("_edge_store_dict") or {})
        return _HETERO, tuple({key: _mapping(archive, held) for key, held in store.items()} for store in stores)
    if value.name in (_DATA, _STREAM):
        return value.name, _mapping(archive, state.get("_store", state))
    return "", {}


def _mapping(archive: Archive, store: Any) -> dict[str, Any]:
    state = store.state if isinstance(store, Record) else store
    held = state.get("_mapping", state) if isinstance(state, dict) else {}
    return {key: archive.value(value) for key, value in held.items() if isinstance(key, str) and key[:1] != "_"}


def _live(value: Any) -> tuple[str, Any]:
    """(kind, fields) of PyG's own objects."""
    if isinstance(value, Mapping):
        return _DATA, value
    kind = _KINDS.get(type(value).__name__, "")
    if not kind or not type(value).__module__.startswith(_PYG.rstrip(".")):
        return "", {}
    if kind == _HETERO:
        nodes = {key: dict(value[key].items()) for key in value.node_types}
        return kind, (nodes, {key: dict(value[key].items()) for key in value.edge_types})
    return kind, value.to_dict()
