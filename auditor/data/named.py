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

from auditor.data.fields import Fields
from auditor.data.raw import Raw
from auditor.errors import GraphError, SplitError, TaskError

MAX_DENSE_BYTES = 16 * 2**30
MAX_WHOLE = 2**24  # whole numbers up to here survive float32
PARTS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
MASKS = tuple(f"{word}_mask" for words in PARTS.values() for word in words)
LISTS = tuple(
    form
    for words in PARTS.values()
    for word in words
    for form in (f"{word}_idx", f"{word}_index", f"{word}_ids", f"idx_{word}", word)
)
ADJACENCY = ("adj_t", "adj")
OWN = ("x", "edge_index", "y", "edge_weight", "batch", "ptr", *ADJACENCY, *MASKS, *LISTS)


def raw_from(
    given: Mapping[str, Any], name: str, *, node_fields: tuple[str, ...] = (), edge_fields: tuple[str, ...] = ()
) -> Raw:
    """The parts of the graph that `given` holds: x, edge_index or adj_t, y, and whatever else belongs to its rows.

    Args:
        given: tensors by PyG's names, in any layout; plain values are no part of a graph and are noted.
        name: of the file, for messages.
        node_fields: names that have one row per node, where their length does not say so.
        edge_fields: the same for edges.

    Raises:
        GraphError: a part is missing, malformed, or in a form that cannot be read.
        TaskError: the labels belong to a task that is not audited.
        SplitError: masks or lists of items that cannot be read.
    """
    notes: list[str] = []
    plain = {key: value for key, value in given.items() if key in OWN and isinstance(value, np.ndarray | list)}
    given = {**given, **{key: torch.as_tensor(value) for key, value in plain.items()}}
    values = {key: _dense(value, key, name, notes) for key, value in given.items() if isinstance(value, Tensor)}
    words = [key for key, value in given.items() if not isinstance(value, Tensor) and value is not None]
    if words:
        notes.append(f"not tensors, not passed on: {', '.join(sorted(words))}")
    x, whole = _features(values.get("x"), name, notes)
    edge_index, weight = _edges(values, name, notes)
    batch = _batch(values, name)
    y = _labels(values.get("y"), name, notes)
    nodes = int(batch.shape[0] if batch is not None else x.shape[0] if x is not None else _nodes(given, edge_index, y))
    items = nodes if batch is None else int(batch.max()) + 1
    masks = masks_from(values, items, name)
    rest = {key: value for key, value in values.items() if key not in OWN}
    graphs = None if batch is None else items
    fields = fields_from(rest, nodes, int(edge_index.shape[1]), graphs, name, set(node_fields), set(edge_fields))
    return Raw(edge_index, y, x, weight, batch, masks=masks, notes=notes, fields=fields, whole_x=whole, num_nodes=nodes)


def _dense(value: Tensor, key: str, name: str, notes: list[str]) -> Tensor:
    """The tensor in the plain layout, on the CPU."""
    value = value.detach().cpu()
    if value.is_complex() or value.is_quantized:
        raise GraphError(f"{name}: {key} is {_type(value)}; expected real numbers. Convert it before the audit.")
    if value.layout == torch.strided:
        return value
    if key in ADJACENCY:
        return value
    size = value.element_size() * value.numel()
    if size > MAX_DENSE_BYTES:
        raise GraphError(
            f"{name}: {key} is sparse and would take {size / 2**30:.0f} GiB when dense; expected at most 16. "
            "Keep fewer columns."
        )
    notes.append(f"{key} was sparse and is read as the dense tensor it stands for")
    return value.to_dense()


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
        return whole(values["batch"], "batch", name)
    if "ptr" in values:
        steps = whole(values["ptr"], "ptr", name)
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
    if by_type and x.numel() and int(x.abs().max()) >= MAX_WHOLE:
        raise GraphError(
            f"{name}: x holds {int(x.abs().max())}; expected whole numbers below {MAX_WHOLE}, which are exact in "
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
        notes.append(f"y is {_type(y)} with whole values, read as class indices")
        y = torch.where(missing, torch.full_like(y, -1.0), y)
    y = y.long()
    bare = int((y < 0).sum())
    if bare and int(y.min()) >= -1:
        notes.append(f"{bare} items have no label (-1): they stay in the graph and out of every accuracy")
    return y


def _nodes(given: Mapping[str, Any], edge_index: Tensor, y: Tensor) -> int:
    """N of a graph without features."""
    said = given.get("num_nodes")
    return int(said) if isinstance(said, int) else int(y.shape[0])


def masks_from(values: Mapping[str, Tensor], items: int, name: str) -> dict[str, Tensor]:
    """`train`, `val`, `test` as booleans of one shape, [N] or [N, K]; {} without any.

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
    for part, mask in masks.items():
        if mask.shape != masks["train"].shape:
            raise SplitError(
                f"{name}: {part}_mask is {list(mask.shape)}, train_mask is {list(masks['train'].shape)}; expected one "
                "shape, [N] or [N, K] for K splits. Save masks of equal length."
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
        return value.bool()
    ids = value.reshape(-1)
    if torch.is_floating_point(ids) or (ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < items):
        raise SplitError(
            f"{name}: {key} is {_type(value)} {list(value.shape)}; expected ids of items from 0 to {items - 1}. For "
            f"booleans, name it {key.partition('_')[0]}_mask."
        )
    mask = torch.zeros(items, dtype=torch.bool)
    mask[ids.long()] = True
    return mask


def fields_from(
    rest: Mapping[str, Tensor],
    nodes: int,
    edges: int,
    graphs: int | None,
    name: str,
    node_fields: set[str],
    edge_fields: set[str],
) -> Fields:
    """Everything else by what its rows belong to."""
    node: dict[str, Tensor] = {}
    edge: dict[str, Tensor] = {}
    graph: dict[str, Tensor] = {}
    unknown = sorted((node_fields | edge_fields) - rest.keys())
    if unknown:
        raise GraphError(f"{name} has no {', '.join(unknown)}, which [data] node_fields or edge_fields names.")
    for key, value in rest.items():
        value = value.float() if value.dtype in (torch.float64, torch.float16, torch.bfloat16) else value
        rows = value.shape[0] if value.dim() else -1
        fits = [part for part, length in ((node, nodes), (edge, edges), (graph, graphs)) if rows == length]
        if key in node_fields or key in edge_fields:
            chosen, length = (node, nodes) if key in node_fields else (edge, edges)
            if rows != length:
                raise GraphError(f"{name}: {key} is {list(value.shape)}; expected {length} rows, as [data] says.")
            chosen[key] = value
        elif len(fits) > 1 and edges in (rows,) and "edge" in key:
            edge[key] = value
        elif len(fits) > 1:
            raise GraphError(
                f"{name}: {key} has {rows} rows, and there are {nodes} nodes, {edges} edges"
                + ("" if graphs is None else f" and {graphs} graphs")
                + f'; say in [data] whether it is one of node_fields = ["{key}"] or edge_fields = ["{key}"].'
            )
        elif fits:
            fits[0][key] = value
        elif graphs is None:
            graph[key] = value  # of the one graph: passed on as it is
        else:
            raise GraphError(
                f"{name}: {key} is {list(value.shape)}, which is none of {nodes} nodes, {edges} edges and {graphs} "
                "graphs; expected one row of each. Leave it out of the file, or save it row by row."
            )
    return Fields(node, edge, graph)


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
