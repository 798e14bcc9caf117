"""A user's own graph file: `.npz`, `.pt` holding PyG's Data, or `.safetensors`; told apart by content."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.data.named import LISTS, MASKS, OWN, masks_from, raw_from
from auditor.data.named_fields import Owners, fields_from
from auditor.data.npz import BARE, from_sparse, read_arrays, sparse_keys
from auditor.data.raw import Raw
from auditor.data.saved_graph import read_graph
from auditor.data.tensors import read_safetensors
from auditor.errors import DataError, GraphError, RefusedError, SplitError
from auditor.reading.files import bytes_of, measure, reading


def read_file(path: Path, *, node_fields: tuple[str, ...] = (), edge_fields: tuple[str, ...] = ()) -> Raw:
    """The graph in `path`, its masks included when there are any; fields as `raw_from` takes them.

    Raises:
        DataError: missing, a folder, or of no known form.
        GraphError: arrays missing or malformed.
        SplitError: masks that are not boolean.
        TaskError: a graph of another task.
        RefusedError: reading it would execute what is inside.
    """
    size = measure(
        path,
        error=DataError,
        expected="a graph file, .npz, .pt or .safetensors. Correct the path, or give a data set's name.",
    )
    with reading(path.name, error=GraphError, expected="a graph. Write it again with numpy.savez or torch.save."):
        return _read(path, size, node_fields, edge_fields)


def _read(path: Path, size: int, node_fields: tuple[str, ...], edge_fields: tuple[str, ...]) -> Raw:
    """The graph by what the file begins with."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if head[:6] == BARE:
        raise GraphError(
            f"{path.name} is a single array (.npy); expected several by their names. Save the graph with "
            "numpy.savez(path, x=…, edge_index=…, y=…)."
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            if "adj_data.npy" in names:
                return _from_sparse(path)
            given: Mapping[str, Any] = _tensors(read_arrays(path), path.name)
        else:
            given = read_graph(path)
        return raw_from(given, path.name, node_fields=node_fields, edge_fields=edge_fields)
    if head[8:9] == b"{":
        tensors = read_safetensors(bytes_of(path, error=GraphError, expected="a graph."), path.name, error=GraphError)
        return raw_from(tensors, path.name, node_fields=node_fields, edge_fields=edge_fields)
    if head[:1] == b"\x80":
        raise RefusedError(
            f"{path.name} is a bare pickle; expected an archive, since unpickling executes what is inside. Save the "
            "graph with numpy.savez, safetensors, or torch.save in its default format."
        )
    raise DataError(
        f"{path.name} is none of .npz, .pt, .safetensors by its content (it begins with {head[:4]!r}). "
        "Save the graph with numpy.savez(path, x=…, edge_index=…, y=…)."
    )


def _from_sparse(path: Path) -> Raw:
    """The adj_*/attr_*/labels layout with its masks and fields of nodes."""
    raw = from_sparse(read_arrays(path, sparse_keys()), path.name)
    others = _tensors({k: v for k, v in read_arrays(path).items() if k not in sparse_keys()}, path.name)
    n = int(raw.y.shape[0])
    raw.masks, raw.masks_from = masks_from(others, n, path.name), "file"
    rest = {key: value for key, value in others.items() if isinstance(value, Tensor) and key not in (*MASKS, *LISTS)}
    unordered = Owners({"node": n, "edge": -1}, dict.fromkeys(("node", "edge", "graph")))  # edges of no given order
    raw.fields = fields_from(rest, unordered, path.name, raw.notes)
    return raw


def _tensors(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, Any]:
    """Numbers as tensors; words as they are, unless they stand where numbers must."""
    tensors: dict[str, Any] = {}
    for key, array in arrays.items():
        if array.dtype.kind in "biuf":
            tensors[key] = torch.from_numpy(np.asarray(array, order="C"))
        elif key in (*MASKS, *LISTS):
            raise SplitError(f"{name}: {key} is {array.dtype}; expected booleans [N]. Save it as bool.")
        elif key in OWN:
            objects = array.dtype.kind == "O"
            what = "Python objects, which only an unsafe loader could read" if objects else str(array.dtype)
            raise GraphError(f"{name}: {key} is {what}; expected numbers. Encode it before the audit.")
        else:
            tensors[key] = str(array.dtype)
    return tensors
