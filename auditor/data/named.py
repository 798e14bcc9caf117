"""From named tensors to the parts of a graph: everything in a file is passed on, or refused by name.

Nothing that is present counts as absent, and nothing is replaced, rounded or dropped without a note. See
docs/methods/graph-files.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.data.named_fields import Owners, fields_from, is_whole
from auditor.data.raw import MAX_UNHELD, Raw, native
from auditor.errors import GraphError, SplitError, TaskError
from auditor.reading.archives import check_expansion

COUNTED = frozenset(
    {
        torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
        torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    }
)  # fmt: skip
"""Types of real numbers that are read; floats of 8 bits and less are refused by name."""
MAX_FIELDS = 1_000
MAX_LISTED = 1 << 25  # numbers in nested lists, which a file may name again and again
MAX_WHOLE = 2**24  # whole numbers up to here survive float32
PARTS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
MASKS = tuple(f"{word}_mask" for words in PARTS.values() for word in words)
LISTS = tuple(
    form
    for words in PARTS.values()
    for word in words
    for form in (f"{word}_idx", f"{word}_index", f"{word}_ids", f"idx_{word}", word)
)
SPLITS = ("split_idx", "idx_split", "split_ids", "splits", "split")
WORDS: Mapping[str, str] = {word: part for part, words in PARTS.items() for word in words}
ADJACENCY = ("adj_t", "adj")
OWN = ("x", "edge_index", "y", "edge_weight", "batch", "ptr", *ADJACENCY, *MASKS, *LISTS)


def raw_from(
    given: Mapping[str, Any], name: str, *, node_fields: tuple[str, ...] = (), edge_fields: tuple[str, ...] = ()
) -> Raw:
    """The parts of the graph that `given` holds: x, edge_index or adj_t, y, and whatever else belongs to its rows.

    Args:
        given: tensors by PyG's names, in any layout; arrays, numbers and lists of them are read as tensors, anything
            else is no part of a graph and is noted.
        name: of the file, for messages.
        node_fields: names that have one row per node, where their length does not say so.
        edge_fields: the same for edges.

    Raises:
        GraphError: a part is missing, malformed, or in a form that cannot be read.
        TaskError: the labels belong to a task that is not audited.
        SplitError: masks or lists of items that cannot be read.
    """
    if len(given) > MAX_FIELDS:
        raise GraphError(f"{name} holds {len(given)} fields; expected at most {MAX_FIELDS}. Save those that are read.")
    notes: list[str] = []
    given = {**given, **_parts_of_split(given, name)}
    numbers = {key: as_numbers(value) for key, value in given.items() if key != "num_nodes"}
    values = {key: _dense(value, key, name, notes) for key, value in numbers.items() if value is not None}
    words = sorted(key for key, value in numbers.items() if value is None and given[key] is not None)
    if words:
        notes.append(f"neither tensors nor numbers, not passed on: {', '.join(words)}")
    split = [key for key in given if key in (*MASKS, *LISTS, *SPLITS)]
    x, whole = _features(values.get("x"), name, notes)
    edge_index, weight = _edges(values, name, notes)
    batch = _batch(values, name)
    y = _labels(values.get("y"), name, notes)
    nodes = int(batch.shape[0] if batch is not None else x.shape[0] if x is not None else _nodes(given, y, name))
    items = nodes if batch is None else int(batch.max()) + 1
    masks = masks_from(values, items, name)
    rest = {key: value for key, value in values.items() if key not in OWN}
    owners = Owners.make(nodes, edge_index, batch)
    fields = fields_from(rest, owners, name, notes, node_fields=node_fields, edge_fields=edge_fields)
    return Raw(
        edge_index, y, x, weight, batch,
        masks=masks, masks_from="file", notes=notes, fields=fields, whole_x=whole, num_nodes=nodes,
        flat_x="x" in values and values["x"].dim() == 1, withheld=tuple(dict.fromkeys((*words, *split))),
    )  # fmt: skip


def as_numbers(value: Any) -> Tensor | None:
    """The numbers of a tensor, an array, a plain number or a list of them; None for anything else.

    Arrays of many graphs, which PyG leaves in a list, are put one after the other as it does with tensors.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biuf":
            return None
        return torch.from_numpy(np.array(native(np.asarray(value), "an array", "the data"), order="C"))
    if isinstance(value, bool | int | float):
        return torch.tensor(value)
    if not isinstance(value, list | tuple) or not value or _count(value, {}) > MAX_LISTED:
        return None
    try:
        if all(isinstance(part, np.ndarray | Tensor) for part in value):
            return torch.cat([torch.as_tensor(part) for part in value])
        return as_numbers(np.array(value))
    except (TypeError, ValueError, RuntimeError, OverflowError):  # of no one shape, or not of numbers
        return None


def _count(value: Any, known: dict[int, int]) -> int:
    """How many numbers nested lists stand for; a list that is named a thousand times is looked at once."""
    if isinstance(value, Tensor):
        return value.numel()
    if not isinstance(value, list | tuple):
        return int(getattr(value, "size", 1))
    if id(value) not in known:
        known[id(value)] = 1 + sum(_count(part, known) for part in value)
    return known[id(value)]


def _parts_of_split(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`train_idx`, … of a split that is kept under one name: a dict of ids, or the part of each item in words.

    Raises:
        SplitError: numbers alone tell who is in which part, and nothing says which number means which.
    """
    found: dict[str, Any] = {}
    for key in (key for key in SPLITS if key in given):
        value = given[key]
        parts = value if isinstance(value, Mapping) else _by_word(value)
        if parts and set(parts) <= WORDS.keys():
            found |= {f"{word}_idx": ids for word, ids in parts.items()}
            found[key] = None  # read
        elif isinstance(value, Mapping) and WORDS.keys() & set(parts):
            raise SplitError(f"{name}: {key} has {', '.join(map(str, value))}; expected train, test and perhaps val.")
    numbers = as_numbers(given.get("split"))
    named = any(key in found or key in given for key in (*MASKS, *LISTS))
    if numbers is not None and not named and is_whole(numbers) and numbers.dim() == 1 and numbers.numel() > 1:
        seen = torch.unique(numbers)
        if seen.numel() <= len(PARTS):
            raise SplitError(
                f"{name}: split holds {', '.join(map(str, seen.tolist()))}, and nothing says which of them is train, "
                "val or test. Save train_mask and test_mask in its place, or call it something else if it is no split."
            )
    return found


def _by_word(value: Any) -> dict[str, list[int]]:
    """Places of each word in a list or array of words; {} for anything else."""
    words = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        return {}
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    return places


def _dense(value: Tensor, key: str, name: str, notes: list[str]) -> Tensor:
    """The tensor in the plain layout and of a type that torch counts with, on the CPU."""
    if value.is_meta or value.is_nested or value.is_complex() or value.is_quantized or value.dtype not in COUNTED:
        what = "a tensor without values" if value.is_meta else "nested" if value.is_nested else _type(value)
        raise GraphError(f"{name}: {key} is {what}; expected real numbers. Convert it before the audit.")
    value = _signed(value.detach().cpu().resolve_neg(), key, name)
    if value.layout == torch.strided:
        return value
    if key in ADJACENCY:
        return value
    entries = value.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
    check_expansion(
        value.element_size() * value.numel(),
        entries.indices().nbytes + entries.values().nbytes,
        f"{name}: {key} is sparse {list(value.shape)}; it",
        error=GraphError,
        remedy="Keep fewer columns.",
    )
    notes.append(f"{key} was sparse and is read as the dense tensor it stands for")
    return entries.to_dense()  # type: ignore[no-any-return]


def _signed(value: Tensor, key: str, name: str) -> Tensor:
    """Unsigned numbers of 16 bits and more as int64: torch can hold them and not compare them."""
    if value.dtype not in (torch.uint16, torch.uint32, torch.uint64) or value.layout != torch.strided:
        return value
    return torch.from_numpy(native(value.numpy(), key, name))


def _edges(values: Mapping[str, Tensor], name: str, notes: list[str]) -> tuple[Tensor, Tensor | None]:
    """(edge_index int64 [2, E], weights float32 [E] or None)."""
    both = [key for key in ADJACENCY if key in values and "edge_index" in values]
    if both:
        raise GraphError(
            f"{name} holds {both[0]} beside edge_index; expected one of them, since they may differ. "
            "Leave out the one that the model was not trained with."
        )
    if "edge_index" in values:
        weight = values.get("edge_weight")
        return whole(values["edge_index"], "edge_index", name), _weights(weight, name, notes)
    key = next((key for key in ADJACENCY if key in values), None)
    if key is None:
        raise GraphError(
            f"{name} lacks edge_index and holds {', '.join(sorted(values)) or 'nothing that is read'}; expected "
            "edge_index [2, E] and y, with x [N, F] (or the adj_*/attr_*/labels layout). Save them under these names."
        )
    matrix = values[key]
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise GraphError(f"{name}: {key} is {list(matrix.shape)}; expected a square adjacency [N, N].")
    if "edge_attr" in values or "edge_weight" in values:
        raise GraphError(
            f"{name} has {key} beside values of edges whose order it does not say; save edge_index as well."
        )
    entries = matrix.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
    arcs, value = entries.indices(), entries.values()
    if key == "adj_t":  # stored transposed, as PyG's layers read it
        arcs = arcs.flip(0)
    arcs = arcs[:, value != 0]
    value = value[value != 0]
    order = torch.argsort(arcs[0] * matrix.shape[0] + arcs[1], stable=True)
    notes.append(f"edges are those of {key}")
    return arcs[:, order], None if bool((value == 1).all()) else value[order].float()


def _weights(weight: Tensor | None, name: str, notes: list[str]) -> Tensor | None:
    if weight is None:
        return None
    if weight.dim() == 2 and weight.shape[1] == 1:
        notes.append("edge_weight [E, 1] is read as [E]")
        weight = weight[:, 0]
    return weight.float()


def _batch(values: Mapping[str, Tensor], name: str) -> Tensor | None:
    if "batch" in values:
        batch = whole(values["batch"], "batch", name)
        if batch.dim() != 1 or not batch.numel() or not 0 <= int(batch.min()) <= int(batch.max()) < batch.numel():
            raise GraphError(
                f"{name}: batch is {list(batch.shape)}; expected [N] with 0..B-1, the graph of each node, in order."
            )
        return batch
    if "ptr" in values:
        steps = whole(values["ptr"], "ptr", name)
        rises = steps.dim() == 1 and steps.numel() > 1 and bool((steps.diff() >= 0).all())
        if (
            not rises
            or int(steps[0]) != 0
            or int(steps[-1]) > max(MAX_UNHELD, *(len(v) for v in values.values() if v.dim()))
        ):
            raise GraphError(
                f"{name}: ptr is {list(steps.shape)}; expected [B + 1] from 0 to N, where each graph begins."
            )
        return torch.arange(steps.numel() - 1).repeat_interleave(steps[1:] - steps[:-1])
    return None


def _features(x: Tensor | None, name: str, notes: list[str]) -> tuple[Tensor | None, bool]:
    """(x float32 [N, F], whether its values are whole numbers by their type)."""
    if x is None or (x.dim() == 2 and x.shape[1] == 0):
        return None, False
    if x.dim() == 3:
        raise TaskError(
            f"{name}: x is {list(x.shape)}; expected [N, F]. A model that takes x [B, W, K] is a forecaster, which is "
            "not audited."
        )
    if x.dim() not in (1, 2):
        raise GraphError(f"{name}: x is {list(x.shape)}; expected numbers [N, F].")
    if x.dim() == 1:
        notes.append("x [N] is read as one column")
        x = x[:, None]
    by_type = not torch.is_floating_point(x) and x.dtype != torch.bool
    largest = max(-int(x.min()), int(x.max())) if by_type and x.numel() else 0
    if largest >= MAX_WHOLE:
        raise GraphError(
            f"{name}: x holds {largest}; expected whole numbers below {MAX_WHOLE}, which are exact in "
            "float32. Renumber the ids."
        )
    if x.dtype in (torch.float64, torch.float16, torch.bfloat16):
        notes.append(f"x is {_type(x)} in the file and float32 here")
    return x.float(), by_type


def _labels(y: Tensor | None, name: str, notes: list[str]) -> Tensor:
    """Class indices int64, -1 for none."""
    if y is None:
        raise TaskError(
            f"{name} lacks y: no labels, as for link prediction, recommendation or self-supervision, which are not "
            "audited; expected y with one class index per node or graph. Save it in the file."
        )
    if y.dim() == 2 and y.shape[1] == 1:
        notes.append("y [N, 1] is read as [N]")
        y = y[:, 0]
    if y.dim() == 2:
        one_hot = bool(((y == 0) | (y == 1)).all()) and bool((y.sum(dim=1) == 1).all())
        if one_hot:
            notes.append(f"y is one-hot over {y.shape[1]} classes, read as class indices")
            return y.argmax(dim=1)
        kind = "multi-label" if bool((~torch.isnan(y.float()) & (y == y.round())).any()) else "regression"
        raise TaskError(
            f"{name}: y is {list(y.shape)} with other than one class per row: a {kind} task, which is not audited; "
            "expected one class index per item."
        )
    if y.dim() != 1:
        raise GraphError(f"{name}: y is {list(y.shape)}; expected one class index per item, [N] or [B].")
    if torch.is_floating_point(y):
        missing = torch.isnan(y)
        if bool((y[~missing] != y[~missing].round()).any()):
            raise TaskError(
                f"{name}: y holds fractions such as {float(y[~missing][y[~missing] != y[~missing].round()][0]):.4g}: a "
                "regression task, which is not audited; expected one class index per item."
            )
        if bool((y[~missing].abs() >= MAX_WHOLE).any()):
            raise GraphError(f"{name}: y holds {float(y[~missing].abs().max()):.4g}; expected class indices from 0.")
        notes.append(f"y is {_type(y)} with whole values, read as class indices")
        y = torch.where(missing, torch.full_like(y, -1.0), y)
    y = y.long()
    bare = int((y < 0).sum())
    if bare and sorted(torch.unique(y).tolist()) == [-1, 1]:
        raise GraphError(
            f"{name}: y holds -1 and 1 alone. They look like two classes, and -1 means that an item has no label; "
            "expected classes from 0. Save y as (y + 1) // 2 for two classes, or every label as 0 for a single one."
        )
    if bare and int(y.min()) >= -1:
        notes.append(f"{bare} items have no label (-1): they stay in the graph and out of every accuracy")
    return y


def _nodes(given: Mapping[str, Any], y: Tensor, name: str) -> int:
    """N of a graph without features."""
    said = given.get("num_nodes")
    nodes = int(said) if isinstance(said, int) else int(y.shape[0])
    if not 0 <= nodes <= max(MAX_UNHELD, y.shape[0]):
        raise GraphError(
            f"{name} says that it has {nodes} nodes, and holds a row for none; expected at most {MAX_UNHELD}."
        )
    return nodes


def masks_from(values: Mapping[str, Tensor], items: int, name: str) -> dict[str, Tensor]:
    """`train`, `val`, `test` as booleans of one shape, [N] or [N, K]; {} without any. [N, 1] is [N].

    Each may be a mask (`train_mask`) or a list of ids (`train_idx`, `idx_train`, …); a part for
    validation that is missing is empty.

    Raises:
        SplitError: an entry that is neither true nor false, ids out of range, shapes that differ, or a part missing.
    """
    masks: dict[str, Tensor] = {}
    for part, words in PARTS.items():
        keys = [key for word in words for key in (f"{word}_mask", *_list_names(word), word) if key in values]
        if len(keys) > 1:
            made = [_mask(values[key], key, items, name) for key in keys]
            if not all(torch.equal(made[0], other) for other in made[1:]):
                raise SplitError(f"{name}: {' and '.join(keys)} name different items; keep one of them.")
        if keys:
            masks[part] = _mask(values[keys[0]], keys[0], items, name)
    if not masks:
        return {}
    missing = [f"{part}_mask" for part in ("train", "test") if part not in masks]
    if missing:
        raise SplitError(
            f"{name} names its {', '.join(masks)} items but no {', '.join(missing)}; expected train_mask and test_mask "
            'together. Add it, or give a split file: split = "file:split.npz".'
        )
    masks.setdefault("val", torch.zeros_like(masks["train"]))
    widest = max(masks, key=lambda part: masks[part].dim())
    shape = masks[widest].shape
    for part, mask in masks.items():
        masks[part] = mask[:, None].expand(-1, *shape[1:]) if mask.dim() < len(shape) else mask  # serves every column
        if masks[part].shape != shape:
            raise SplitError(
                f"{name}: {part}_mask is {list(mask.shape)}, {widest}_mask is {list(shape)}; expected [N] each, or "
                "[N, K] for K splits, where one of [N] serves all K. Save masks of equal length."
            )
    return masks


def _list_names(word: str) -> tuple[str, ...]:
    return (f"{word}_idx", f"{word}_index", f"{word}_ids", f"idx_{word}")


def _mask(value: Tensor, key: str, items: int, name: str) -> Tensor:
    if key.endswith("_mask") or value.dtype == torch.bool:
        if value.dtype != torch.bool and not bool(((value == 0) | (value == 1)).all()):
            raise SplitError(
                f"{name}: {key} is {_type(value)} with values other than 0 and 1; expected booleans [N]. For a list of "
                f"ids, name it {key.removesuffix('_mask')}_idx."
            )
        if value.dim() not in (1, 2):
            raise SplitError(f"{name}: {key} is {list(value.shape)}; expected booleans [N], or [N, K] for K splits.")
        return value.reshape(-1).bool() if value.shape[1:] == (1,) else value.bool()
    ids = value.reshape(-1)
    if torch.is_floating_point(ids) or (ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < items):
        raise SplitError(
            f"{name}: {key} is {_type(value)} {list(value.shape)}; expected ids of items from 0 to {items - 1}. For "
            f"booleans, name it {key.partition('_')[0]}_mask."
        )
    mask = torch.zeros(items, dtype=torch.bool)
    mask[ids.long()] = True
    return mask


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def whole(value: Tensor, key: str, name: str) -> Tensor:
    """`value` as int64; fractions are never rounded.

    Raises:
        GraphError: the tensor is not of an integer type.
    """
    if torch.is_floating_point(value) or value.dtype == torch.bool:
        raise GraphError(
            f"{name}: {key} is {_type(value)} {list(value.shape)}; expected integers. Ids and class indices are whole "
            f"numbers: save {key} as int64."
        )
    return value.long()
