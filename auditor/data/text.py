"""Small readers of published text layouts, so that no data set needs pandas or somebody's processed pickle."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.data.npz import dense_features, matrix_of, read_arrays
from auditor.data.raw import Raw, coalesced, symmetrised, to_tensor, without_loops
from auditor.errors import DataError
from auditor.reading.archives import check_expansion
from auditor.reading.files import MAX_TEXT, bytes_of


def read_airports(folder: Path, country: str) -> Raw:
    """Airports of one country; each connection is stored once, hence symmetrised.

    Source: Ribeiro et al., "struc2vec: Learning Node Representations from Structural Identity", KDD 2017.
    """
    rows = [line.split() for line in _lines(folder / f"labels-{country}-airports.txt")[1:]]
    position = {int(node): i for i, (node, _) in enumerate(rows)}
    pairs = [line.split() for line in _lines(folder / f"{country}-airports.edgelist")]
    stored = torch.tensor([[position[int(u)], position[int(v)]] for u, v in pairs]).t()
    return _undirected(stored, torch.tensor([int(label) for _, label in rows]))


def read_polblogs(folder: Path) -> Raw:
    """Links between political blogs, symmetrised as in every published use.

    Source: Adamic and Glance, "The political blogosphere and the 2004 U.S. election", LinkKDD 2005.
    """
    arcs = _table(folder / "adjacency.tsv", usecols=(0, 1))
    y = _table(folder / "labels.tsv", ndmin=1)
    return _undirected(to_tensor(arcs.T, torch.int64), to_tensor(y, torch.int64))


def read_geom(folder: Path, prefix: str) -> Raw:
    """WebKB (dense feature rows) and Actor (lists of feature indices) with their ten public splits; stays directed.

    Source: Pei et al., "Geom-GCN: Geometric Graph Convolutional Networks", ICLR 2020.
    """
    rows = [line.split("\t") for line in _lines(folder / "out1_node_feature_label.txt")[1:]]
    nodes = torch.tensor([int(node) for node, _, _ in rows])
    if prefix == "film":
        lists = [np.fromstring(words, dtype=np.int64, sep=",") for _, words, _ in rows]
        width, held = int(max(words.max() for words in lists)) + 1, sum(words.nbytes for words in lists)
        check_expansion(
            4 * len(rows) * width, held, f"features of {len(rows)} × {width}", error=DataError, remedy="Fetch it again."
        )
        features = torch.zeros(len(rows), width)
        for i, words in enumerate(lists):
            features[i, torch.from_numpy(words)] = 1.0
    else:
        features = torch.tensor(np.array([np.fromstring(words, dtype=np.float32, sep=",") for _, words, _ in rows]))
    if not torch.equal(nodes.sort().values, torch.arange(len(rows))):
        raise ValueError(f"the {len(rows)} nodes are not numbered from 0, each once")
    x, y = torch.empty_like(features), torch.empty(len(rows), dtype=torch.int64)
    x[nodes] = features  # Actor lists its nodes in another order than their ids
    y[nodes] = torch.tensor([int(label) for _, _, label in rows])
    arcs = _table(folder / "out1_graph_edges.txt", skiprows=1)
    columns: dict[str, list[Tensor]] = {"train": [], "val": [], "test": []}
    for i in range(10):
        arrays = read_arrays(folder / f"{prefix}_split_0.6_0.2_{i}.npz")
        for name, column in columns.items():
            column.append(to_tensor(arrays[f"{name}_mask"], torch.bool))
    masks = {name: torch.stack(column, dim=1) for name, column in columns.items()}  # [N, 10]
    return Raw(coalesced(to_tensor(arcs.T, torch.int64), len(rows)), y, x, masks=masks)


def read_blogcatalog(folder: Path) -> Raw:
    """BlogCatalog of 5,196 bloggers: SciPy CSR features, a text edge list, `id label` lines with labels from 1.

    Source: Yang et al., "PANE: scalable and effective attributed network embedding", VLDB Journal 2023 (data set).
    """
    arrays = read_arrays(folder / "attrs.npz")
    if bytes(arrays["format"]) != b"csr":
        raise ValueError(f"attrs.npz is in format {arrays['format']}, expected csr")
    matrix = matrix_of(arrays, "", "attrs.npz")
    arcs = _table(folder / "edgelist.txt")
    labels = _table(folder / "labels.txt")
    return Raw(
        to_tensor(arcs.T, torch.int64),
        to_tensor(labels[:, 1] - 1, torch.int64),
        dense_features(matrix, "attrs.npz"),
    )


def _undirected(stored: Tensor, y: Tensor) -> Raw:
    """Both directions of every stored arc, loops left out, and a note that says so."""
    edge_index = symmetrised(without_loops(stored), y.shape[0])
    loops = int((stored[0] == stored[1]).sum())
    note = f"{stored.shape[1]} stored arcs were symmetrised to {edge_index.shape[1]}, {loops} self-loops left out"
    return Raw(edge_index, y, notes=[note])


def _lines(path: Path) -> list[str]:
    return [line for line in _text(path).split("\n") if line.strip()]


def _table(
    path: Path, *, ndmin: Literal[1, 2] = 2, skiprows: int = 0, usecols: Sequence[int] | None = None
) -> npt.NDArray[np.int64]:
    """Whole numbers in columns, int64."""
    text = io.StringIO(_text(path))
    return np.loadtxt(text, dtype=np.int64, ndmin=ndmin, skiprows=skiprows, usecols=usecols)


def _text(path: Path) -> str:
    expected = "the file as published. Fetch it again."
    return bytes_of(path, error=DataError, cap=MAX_TEXT, expected=expected).decode("utf-8")
