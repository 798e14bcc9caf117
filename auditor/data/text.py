"""Small readers of published text layouts, so that no data set needs pandas or somebody's processed pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from auditor.data.raw import Raw, coalesced, symmetrised, to_tensor, without_loops


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
    arcs = np.loadtxt(folder / "adjacency.tsv", dtype=np.int64, usecols=(0, 1), ndmin=2)
    y = np.loadtxt(folder / "labels.tsv", dtype=np.int64, ndmin=1)
    return _undirected(to_tensor(arcs.T, torch.int64), to_tensor(y, torch.int64))


def read_geom(folder: Path, prefix: str) -> Raw:
    """WebKB (dense feature rows) and Actor (lists of feature indices) with their ten public splits; stays directed.

    Source: Pei et al., "Geom-GCN: Geometric Graph Convolutional Networks", ICLR 2020.
    """
    rows = [line.split("\t") for line in _lines(folder / "out1_node_feature_label.txt")[1:]]
    nodes = torch.tensor([int(node) for node, _, _ in rows])
    if prefix == "film":
        lists = [np.fromstring(words, dtype=np.int64, sep=",") for _, words, _ in rows]
        features = torch.zeros(len(rows), int(max(words.max() for words in lists)) + 1)
        for i, words in enumerate(lists):
            features[i, torch.from_numpy(words)] = 1.0
    else:
        features = torch.tensor(np.array([np.fromstring(words, dtype=np.float32, sep=",") for _, words, _ in rows]))
    x, y = torch.empty_like(features), torch.empty(len(rows), dtype=torch.int64)
    x[nodes] = features  # Actor lists its nodes in another order than their ids
    y[nodes] = torch.tensor([int(label) for _, _, label in rows])
    arcs = np.loadtxt(folder / "out1_graph_edges.txt", dtype=np.int64, skiprows=1, ndmin=2)
    columns: dict[str, list[Tensor]] = {"train": [], "val": [], "test": []}
    for i in range(10):
        with np.load(folder / f"{prefix}_split_0.6_0.2_{i}.npz", allow_pickle=False) as arrays:
            for name, column in columns.items():
                column.append(to_tensor(arrays[f"{name}_mask"], torch.bool))
    masks = {name: torch.stack(column, dim=1) for name, column in columns.items()}  # [N, 10]
    return Raw(coalesced(to_tensor(arcs.T, torch.int64), len(rows)), y, x, masks=masks)


def read_blogcatalog(folder: Path) -> Raw:
    """BlogCatalog of 5,196 bloggers: SciPy CSR features, a text edge list, `id label` lines with labels from 1.

    Source: Yang et al., "PANE: scalable and effective attributed network embedding", VLDB Journal 2023 (data set).
    """
    with np.load(folder / "attrs.npz", allow_pickle=False) as arrays:
        if bytes(arrays["format"]) != b"csr":
            raise ValueError(f"attrs.npz is in format {arrays['format']}, expected csr")
        matrix = scipy.sparse.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"])
        )
    arcs = np.loadtxt(folder / "edgelist.txt", dtype=np.int64, ndmin=2)
    labels = np.loadtxt(folder / "labels.txt", dtype=np.int64, ndmin=2)
    return Raw(
        to_tensor(arcs.T, torch.int64),
        to_tensor(labels[:, 1] - 1, torch.int64),
        to_tensor(matrix.toarray(), torch.float32),
    )


def _undirected(stored: Tensor, y: Tensor) -> Raw:
    """Both directions of every stored arc, loops left out, and a note that says so."""
    edge_index = symmetrised(without_loops(stored), y.shape[0])
    loops = int((stored[0] == stored[1]).sum())
    note = f"{stored.shape[1]} stored arcs were symmetrised to {edge_index.shape[1]}, {loops} self-loops left out"
    return Raw(edge_index, y, notes=[note])


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
