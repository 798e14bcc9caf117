"""Graphs in `.npz` archives, never unpickled: compressed sparse rows, plain arrays, Twitch."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch

from auditor.data.raw import MAX_UNHELD, Raw, native, symmetrised, to_tensor, without_loops
from auditor.errors import GraphError
from auditor.reading.archives import check_expansion, check_members
from auditor.reading.files import first_line, measure, reading

Arrays = Mapping[str, npt.NDArray[Any]]
BARE = b"\x93NUMPY"  # how a single array begins
SPARSE = ("data", "indices", "indptr", "shape")


def read_arrays(path: Path, wanted: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The wanted arrays that the archive holds; the others are not even decoded. None for all of them.

    Of all of them, those that hold Python objects are never read: an empty array of objects says that they are there.
    Numbers are in this machine's byte order, unsigned ones of 16 bits and more as int64, which torch can count with.

    Raises:
        GraphError: not an archive of arrays, an array that is not what its header says or that torch does not have, or
            a wanted array holds Python objects.
    """
    expected = "plain numeric arrays in an .npz archive. Write it again with numpy.savez."
    size = measure(path, error=GraphError, expected=expected)
    with reading(path.name, error=GraphError, expected=expected):
        _refuse_bare(path)
        with zipfile.ZipFile(path) as archive:
            check_members(archive, size, path.name, error=GraphError)
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise ValueError("two members stand for the same array")
            keys = members if wanted is None else [key for key in wanted if key in members]
            found = {key: _array(archive, members[key], key, path.name) for key in keys}
    objects = [key for key, array in found.items() if array.dtype.hasobject]
    if objects and wanted is not None:
        raise GraphError(
            f"{path.name}: {', '.join(objects)} hold Python objects, which only an unsafe loader could read; expected "
            "numeric arrays. Save them again as plain arrays (for a sparse matrix: its data, indices, indptr and "
            "shape)."
        )
    return found


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """(shape, type) of the array that begins here; the stream stands behind the header then.

    Raises:
        ValueError: no array, or a shape that is none.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array is written in version {version} of the format; expected 1 or 2")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(isinstance(n, bool) or n < 0 for n in shape) or (0 in shape and max(shape) > MAX_UNHELD):
        raise ValueError(f"an array has the shape {shape}; expected whole numbers from 0")
    return shape, dtype


def _refuse_bare(path: Path) -> None:
    """Raises ValueError for a single array outside of an archive."""
    with path.open("rb") as stream:
        if stream.read(6) == BARE:
            raise ValueError("it is a single array, an .npy file, which has no name")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, name: str) -> npt.NDArray[Any]:
    """One array, read once its header fits what the archive holds of it; an empty one of its type for objects."""
    if not info.filename.endswith(".npy"):
        return np.empty(0, dtype="V1")
    with archive.open(info) as stream:
        shape, dtype = read_header(stream)
        declared, held = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
    if dtype.hasobject:
        return np.empty(0, dtype=object)
    if declared != held:
        raise GraphError(
            f"{name}: {key} is {list(shape)} of {dtype} by its header, {declared} bytes, and the file holds {held} "
            "bytes of it; expected as many. Write it again with numpy.savez."
        )
    with archive.open(info) as stream:
        return native(np.lib.format.read_array(stream, allow_pickle=False), key, name)


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
        integers(arrays["edges"].T, "edges", path.name),
        integers(arrays["target"], "target", path.name),
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
    adjacency = matrix_of(arrays, "adj_", name)
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
        x = dense_features(matrix_of(arrays, "attr_", name), name)
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


def dense_features(features: scipy.sparse.csr_matrix, name: str) -> torch.Tensor:
    """float32 [N, F] of a sparse matrix.

    Raises:
        GraphError: it would take far more memory than the file holds.
    """
    rows, columns = features.shape
    check_expansion(
        4 * rows * columns,
        features.data.nbytes + features.indices.nbytes + features.indptr.nbytes,
        f"{name}: dense features of {rows} × {columns}",
        error=GraphError,
        remedy='Keep the most frequent columns; where features only name the nodes, set [data] features = "identity".',
    )
    features.sum_duplicates()  # in the precision of the file, before it is rounded
    return torch.from_numpy(features.astype(np.float32).toarray(order="C"))


def matrix_of(arrays: Arrays, part: str, name: str) -> scipy.sparse.csr_matrix:
    """The sparse matrix whose four arrays begin with `part`.

    Raises:
        GraphError: an array is missing, or they do not form a matrix of real numbers.
    """
    keys = [part + key for key in SPARSE]
    if missing := [key for key in keys if key not in arrays]:
        raise GraphError(f"{name} lacks {', '.join(missing)}; expected {', '.join(keys)}. Save all of them.")
    data, indices, pointer, shape = (arrays[key] for key in keys)
    if shape.shape != (2,) or shape.dtype.kind not in "iu":
        raise GraphError(f"{name}: {part}shape is {shape.tolist()}; expected two integers, rows and columns.")
    try:
        check_rows(data, indices, pointer)
        matrix = scipy.sparse.csr_matrix((data, indices, pointer), shape=(int(shape[0]), int(shape[1])))
        matrix.check_format(full_check=True)  # indices out of range would crash what comes after
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        raise GraphError(
            f"{name}: {part}data, {part}indices, {part}indptr and {part}shape do not form a sparse matrix "
            f"({first_line(error)}); expected the four arrays of scipy.sparse.csr_matrix. Save them again from the "
            "matrix."
        ) from error
    return matrix


def check_rows(data: npt.NDArray[Any], indices: npt.NDArray[Any], pointer: npt.NDArray[Any]) -> None:
    """What SciPy leaves unchecked: the types, and pointers of a matrix that is empty by its last one.

    Raises:
        ValueError: the three arrays are no rows of real numbers.
    """
    if data.dtype.kind not in "biuf":
        raise ValueError(f"the entries are {data.dtype}, not real numbers")
    if pointer.ndim != 1 or not pointer.size or pointer.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise ValueError("the indices and pointers are no rows of integers")
    if int(pointer[0]) != 0 or int(pointer[-1]) != indices.size or bool((np.diff(pointer) < 0).any()):
        raise ValueError(f"the pointers do not rise from 0 to the number of indices, {indices.size}")
