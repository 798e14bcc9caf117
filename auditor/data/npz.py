"""Graphs in `.npz` archives, never unpickled: compressed sparse rows, plain arrays, Twitch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch

from auditor.data.raw import Raw, symmetrised, to_tensor, without_loops
from auditor.errors import GraphError

Arrays = Mapping[str, npt.NDArray[Any]]
MAX_DENSE_BYTES = 16 * 2**30
SPARSE = ("data", "indices", "indptr", "shape")


def read_arrays(path: Path, wanted: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The wanted arrays that the archive holds; the others are not even decoded. None for all of them.

    Of all of them, those that hold Python objects are never read: an empty array of objects says that they are there.

    Raises:
        GraphError: not an archive of arrays, or a wanted array holds Python objects.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    objects: list[str] = []
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files if wanted is None else wanted:
                if key in archive.files:
                    try:
                        found[key] = archive[key]
                    except ValueError as error:
                        if "Object arrays" not in str(error):
                            raise
                        if wanted is None:
                            found[key] = np.empty(0, dtype=object)
                        else:
                            objects.append(key)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise GraphError(
            f"{path.name} could not be read as an .npz archive ({error}); expected plain numeric arrays. "
            "Write it again with numpy.savez."
        ) from error
    if objects:
        raise GraphError(
            f"{path.name}: {', '.join(objects)} hold Python objects, which only an unsafe loader could read; expected "
            "numeric arrays. Save them again as plain arrays (for a sparse matrix: its data, indices, indptr and "
            "shape)."
        )
    return found


def read_csr_set(path: Path) -> Raw:
    """Citation, co-purchase and co-author sets as PyG gives them: features 0/1, symmetrised, no loops.

    Source: Bojchevski and Günnemann, ICLR 2018; Shchur et al., "Pitfalls of Graph Neural Network Evaluation", 2018.
    """
    raw = from_sparse(read_arrays(path, sparse_keys()), path.name)
    if raw.x is None:
        raise GraphError(f"{path.name} lacks attr_data; expected features. Fetch the file again.")
    raw.x[raw.x > 0] = 1.0
    raw.edge_index = symmetrised(without_loops(raw.edge_index), raw.y.shape[0])
    raw.edge_weight = None
    return raw


def read_twitch(path: Path) -> Raw:
    """One Twitch community: `features` [N, F], `target` [N], `edges` [E, 2], self-loops as published.

    Source: Rozemberczki et al., "Multi-Scale Attributed Node Embedding", 2021.
    """
    arrays = read_arrays(path, ("features", "target", "edges"))
    return Raw(
        to_tensor(arrays["edges"].T, torch.int64),
        to_tensor(arrays["target"], torch.int64),
        to_tensor(arrays["features"], torch.float32),
    )


def sparse_keys() -> tuple[str, ...]:
    """The keys of the compressed-sparse-row layout."""
    return (*(f"{part}_{key}" for part in ("adj", "attr") for key in SPARSE), "labels")


def from_sparse(arrays: Arrays, name: str) -> Raw:
    """A graph from `adj_*`, `attr_*` (may be absent) and `labels`; directions, weights other than 1 and loops are kept.

    Raises:
        GraphError: an array is missing, or the sparse structure is inconsistent.
    """
    needed = [*(f"adj_{key}" for key in SPARSE), "labels"]
    if "attr_data" in arrays:
        needed += [f"attr_{key}" for key in SPARSE]
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise GraphError(
            f"{name} lacks {', '.join(missing)}; expected adj_data, adj_indices, adj_indptr, adj_shape, the same with "
            "attr_ for features, and labels. Save all of them."
        )
    adjacency = _matrix(arrays, "adj", name)
    adjacency.eliminate_zeros()  # a stored zero is no edge
    adjacency = adjacency.tocoo()
    rows, columns = int(adjacency.shape[0]), int(adjacency.shape[1])
    labels = arrays["labels"]
    if rows != columns or labels.shape[:1] != (rows,):
        raise GraphError(
            f"{name}: the adjacency is {rows} × {columns}, there are {labels.shape} labels; expected a square matrix "
            "with one label per row. Check adj_shape and labels."
        )
    edge_index = to_tensor(np.stack([adjacency.row, adjacency.col]), torch.int64)
    weight = to_tensor(adjacency.data, torch.float32)
    x = None
    if "attr_data" in arrays:
        features = _matrix(arrays, "attr", name)
        if 4 * features.shape[0] * features.shape[1] > MAX_DENSE_BYTES:
            raise GraphError(
                f"{name}: features of {features.shape[0]} × {features.shape[1]} take more than 16 GiB when dense; "
                "expected fewer. Keep the most frequent columns."
            )
        x = to_tensor(features.toarray(), torch.float32)
    return Raw(
        edge_index, integers(labels, "labels", name), x, edge_weight=None if bool((weight == 1).all()) else weight
    )


def integers(array: npt.NDArray[Any], key: str, name: str) -> torch.Tensor:
    """`array` as int64; floats are never rounded silently.

    Raises:
        GraphError: the array is not of an integer dtype.
    """
    if array.dtype.kind not in "iu":
        raise GraphError(
            f"{name}: {key} is {array.dtype} {list(array.shape)}; expected integers. Ids and class indices are whole "
            f"numbers: save {key} as int64."
        )
    return to_tensor(array, torch.int64)


def _matrix(arrays: Arrays, part: str, name: str) -> scipy.sparse.csr_matrix:
    data, indices, pointer, shape = (arrays[f"{part}_{key}"] for key in SPARSE)
    if shape.shape != (2,) or shape.dtype.kind not in "iu":
        raise GraphError(f"{name}: {part}_shape is {shape.tolist()}; expected two integers, rows and columns.")
    try:
        matrix = scipy.sparse.csr_matrix((data, indices, pointer), shape=(int(shape[0]), int(shape[1])))
        matrix.check_format(full_check=True)  # indices out of range would crash the conversion below
    except (ValueError, TypeError, IndexError) as error:
        raise GraphError(
            f"{name}: {part}_data, _indices, _indptr and _shape do not form a sparse matrix ({error}); expected the "
            "four arrays of scipy.sparse.csr_matrix. Save them again from the matrix."
        ) from error
    return matrix
