"""Sets of graphs in the layout of the TU collection: text files, the same zipped, and a packed form of COLLAB."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from auditor.data.npz import read_arrays
from auditor.data.raw import MAX_UNHELD, Raw, coalesced, to_tensor, without_loops
from auditor.errors import DataError
from auditor.reading.archives import check_expansion, check_members
from auditor.reading.files import bytes_of, measure

Ints = npt.NDArray[np.int64]


def read_tu(folder: Path, prefix: str) -> Raw:
    """Graphs with one-hot node labels as features, as PyG's `TUDataset` gives them by default.

    Source: Morris et al., "TUDataset: A collection of benchmark datasets for learning with graphs", 2020.
    """
    return _assemble(lambda part: _optional(folder / f"{prefix}_{part}.txt"))


def read_tu_zip(archive: Path, prefix: str) -> Raw:
    """The same, from `<prefix>/<prefix>_*.txt` inside a zip; nothing is unpacked to disk."""
    size = measure(archive, error=DataError, expected="the archive as published. Fetch it again.")
    with zipfile.ZipFile(archive) as zipped:
        check_members(zipped, size, archive.name, error=DataError)
        members = {info.filename: info for info in zipped.infolist()}

        def part_of(part: str) -> Ints | None:
            info = members.get(f"{prefix}/{prefix}_{part}.txt")
            return None if info is None else _integers(zipped.read(info))

        return _assemble(part_of)


def read_tu_either(folder: Path, prefix: str) -> Raw:
    """From `<prefix>.zip` where it lies in `folder`, else from its text files."""
    archive = folder / f"{prefix}.zip"
    return read_tu_zip(archive, prefix) if archive.is_file() else read_tu(folder, prefix)


def read_collab(path: Path) -> Raw:
    """COLLAB from packed arrays: `num_nodes`, `y` [B]; `edge_ptr` [B + 1]; `edge_index` [2, E], local ids, u < v."""
    arrays = read_arrays(path)
    sizes, pointer = arrays["num_nodes"].astype(np.int64), arrays["edge_ptr"].astype(np.int64)
    if sizes.size and (int(sizes.min()) < 0 or int(sizes.max()) > MAX_UNHELD or int(sizes.sum()) > MAX_UNHELD):
        raise DataError(f"{path.name} counts {sizes.sum()} nodes; expected at most {MAX_UNHELD}. Fetch it again.")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = np.repeat(starts, np.diff(pointer))
    edge_index = to_tensor(arrays["edge_index"].astype(np.int64) + offset, torch.int64)
    y = to_tensor(arrays["y"], torch.int64)
    batch = to_tensor(np.repeat(np.arange(sizes.shape[0]), sizes), torch.int64)
    return Raw(torch.cat([edge_index, edge_index.flip(0)], dim=1), y, batch=batch)


def _assemble(part: Callable[[str], Ints | None]) -> Raw:
    """Tensors from the parts of the layout: `A` (ids from 1), `graph_indicator`, `graph_labels`, `node_labels`."""
    arcs, indicator, labels = part("A"), part("graph_indicator"), part("graph_labels")
    if arcs is None or indicator is None or labels is None:
        raise DataError("a TU data set needs the files A, graph_indicator and graph_labels; one of them is missing.")
    batch = to_tensor(indicator[:, 0] - 1, torch.int64)
    num_nodes = batch.shape[0]
    edge_index = to_tensor(arcs.T - 1, torch.int64)
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= num_nodes):
        raise DataError(
            f"the arcs name nodes {int(edge_index.min()) + 1} to {int(edge_index.max()) + 1}; expected 1 to "
            f"{num_nodes}, one per line of graph_indicator. Fetch the raw files again."
        )
    node_labels = part("node_labels")
    x = None
    if node_labels is not None:
        columns = to_tensor(node_labels - node_labels.min(axis=0), torch.int64)
        width = int(columns.max(dim=0).values.sum()) + columns.shape[1]
        what = f"one-hot node labels of {columns.shape[0]} × {width}"
        remedy = "Fetch the raw files again."
        check_expansion(4 * columns.shape[0] * width, node_labels.nbytes, what, error=DataError, remedy=remedy)
        x = torch.cat([torch.nn.functional.one_hot(c).float() for c in columns.unbind(dim=1)], dim=1)
    classes = np.unique(labels[:, 0], return_inverse=True)[1]
    return Raw(coalesced(without_loops(edge_index), num_nodes), to_tensor(classes, torch.int64), x, batch=batch)


def _optional(path: Path) -> Ints | None:
    if not path.exists():
        return None
    return _integers(bytes_of(path, error=DataError, expected="the file as published. Fetch it again."))


def _integers(raw: bytes) -> Ints:
    """The rows of comma-separated text of integers, int64 [rows, columns]."""
    content = raw.replace(b",", b" ")
    columns = len(content.split(b"\n", 1)[0].split())
    return np.array(content.split(), dtype=np.int64).reshape(-1, columns)
