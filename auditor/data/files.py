"""A user's own graph file: `.npz`, `.pt` holding PyG's Data, or `.safetensors`; told apart by content."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.data.inert import read_graph
from auditor.data.npz import MASKS, PLAIN, from_plain, from_sparse, read_arrays, sparse_keys
from auditor.data.raw import Raw
from auditor.errors import DataError, GraphError, RefusedError, SplitError


def read_file(path: Path) -> Raw:
    """The graph in `path`, its masks included when there are any.

    Raises:
        DataError: missing, a folder, or of no known form.
        GraphError: arrays missing or malformed.
        SplitError: masks that are not boolean.
        TaskError: a graph of another task.
        RefusedError: reading it would execute what is inside.
    """
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; expected one graph file. Give the .npz, .pt or .safetensors file itself, or a data "
            "set's name with --data-root."
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(9)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected a graph file. Check the path.") from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return _from_tensors(read_graph(path), path.name)
        return _from_npz(path)
    if head[8:9] == b"{":
        return _from_safetensors(path)
    if head[:1] == b"\x80":
        raise RefusedError(
            f"{path.name} is a bare pickle; expected an archive, since unpickling executes what is inside. Save the "
            "graph with numpy.savez, safetensors, or torch.save in its default format."
        )
    raise DataError(
        f"{path.name} is none of .npz, .pt, .safetensors by its content (it begins with {head[:4]!r}). "
        "Save the graph with numpy.savez(path, x=…, edge_index=…, y=…)."
    )


def _from_npz(path: Path) -> Raw:
    arrays = read_arrays(path, (*PLAIN, *MASKS, *sparse_keys()))
    raw = from_plain(arrays, path.name) if "adj_data" not in arrays else from_sparse(arrays, path.name)
    words = [key for key in MASKS if key in arrays and arrays[key].dtype.kind not in "biuf"]
    if words:
        raise SplitError(
            f"{path.name}: {words[0]} is {arrays[words[0]].dtype}; expected booleans [N]. Save it as bool."
        )
    raw.masks = masks_from({key: torch.from_numpy(arrays[key].copy()) for key in MASKS if key in arrays}, path.name)
    return raw


def _from_safetensors(path: Path) -> Raw:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise GraphError(
            f"{path.name} is not a safetensors file ({error}). Write it again with safetensors."
        ) from error
    return _from_tensors(tensors, path.name)


def _from_tensors(tensors: Mapping[str, Any], name: str) -> Raw:
    """The same checks for tensors as for arrays."""
    dense = {k: v.detach().cpu() for k, v in tensors.items() if isinstance(v, Tensor) and v.layout == torch.strided}
    halves = {torch.bfloat16, torch.float16}
    arrays = {k: (v.float() if v.dtype in halves else v).numpy() for k, v in dense.items() if k in PLAIN}
    raw = from_plain(arrays, name)
    raw.masks = masks_from({key: dense[key] for key in MASKS if key in dense}, name)
    return raw


def masks_from(given: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """`train`, `val`, `test` as booleans of one shape, [N] or [N, K]; a missing validation mask is empty.

    Raises:
        SplitError: an entry that is neither true nor false, shapes that differ, or train or test missing.
    """
    if not given:
        return {}
    missing = [key for key in ("train_mask", "test_mask") if key not in given]
    if missing:
        raise SplitError(
            f"{name} holds {', '.join(given)} but no {', '.join(missing)}; expected train_mask and test_mask together. "
            'Add it, or leave all masks out and name a split such as "per-class:20".'
        )
    masks: dict[str, Tensor] = {}
    for key, mask in given.items():
        if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
            raise SplitError(f"{name}: {key} is {mask.dtype} with values other than 0 and 1; expected booleans [N].")
        if mask.dim() not in (1, 2) or mask.shape != given["train_mask"].shape:
            raise SplitError(
                f"{name}: {key} is {list(mask.shape)}, train_mask is {list(given['train_mask'].shape)}; expected one "
                "shape, [N] or [N, K] for K splits. Save masks of equal length."
            )
        masks[key.removesuffix("_mask")] = mask.bool()
    masks.setdefault("val", torch.zeros_like(masks["train"]))
    return masks
