"""The unordered pairs of a graph as cells 0..P-1, P = N(N-1)/2: true edges, exact sparse draws, and back to a graph.

Pair u < v is cell v(v-1)/2 + u. Nothing here takes memory of the order of P unless that many cells are asked for.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document import ValidityRow, check

Cells = NDArray[np.int64]
MAX_EDGES = 50_000_000
"""Released edges above this are refused: a graph of so many no longer fits in memory twice."""


def num_cells(num_nodes: int) -> int:
    """P."""
    return num_nodes * (num_nodes - 1) // 2


def cells_of(pairs: Tensor) -> Cells:
    """Cell of each pair of distinct nodes, in either order: int64 [2, m] -> int64 [m]."""
    u, v = pairs.min(dim=0).values.numpy(), pairs.max(dim=0).values.numpy()
    return np.asarray(v * (v - 1) // 2 + u)


def pairs_of(cells: Cells) -> Tensor:
    """The pairs u < v of cells, int64 [m] -> int64 [2, m]."""
    v = ((1 + np.sqrt(1 + 8 * cells.astype(np.float64))) / 2).astype(np.int64)
    v -= v * (v - 1) // 2 > cells  # the root may be rounded either way
    v += v * (v + 1) // 2 <= cells
    return torch.from_numpy(np.stack([cells - v * (v - 1) // 2, v]))


def edge_cells(graph: Graph) -> Cells:
    """Cells of the edges, sorted and distinct; loops left out, an arc in one direction is an edge."""
    keys = graph.pair_keys()
    return np.sort(cells_of(torch.stack([keys // graph.num_nodes, keys % graph.num_nodes])))


def with_cells(graph: Graph, cells: Cells) -> Graph:
    """The same nodes joined by these cells, both directions stored, without edge weights."""
    u, v = pairs_of(np.sort(cells))
    return graph.with_edges(torch.stack([torch.cat([u, v]), torch.cat([v, u])]))


def other_cells(count: int, total: int, taken: Cells, rng: np.random.Generator) -> Cells:
    """`count` distinct cells of [0, total) outside `taken` (sorted, distinct), every such set equally likely.

    Rejection while the free cells are many, O(count + |taken|); enumeration where most of them are asked for.
    """
    free = total - taken.size
    if not 0 <= count <= free:
        raise ValueError(f"{count} of {free} free cells were asked for")
    if 2 * count > free:
        left = np.setdiff1d(np.arange(total, dtype=np.int64), taken, assume_unique=True)
        return np.asarray(rng.permutation(left)[:count])
    found: Cells = np.empty(0, np.int64)
    while found.size < count:
        drawn = rng.integers(0, total, count - found.size + 64)
        found = np.union1d(found, drawn[~contains(taken, drawn)])
    return np.asarray(rng.permutation(found)[:count])  # distinct draws are exchangeable: which ones go is a coin


def contains(cells: Cells, asked: Cells) -> NDArray[np.bool_]:
    """Whether each asked cell is one of `cells` (sorted, distinct)."""
    if not cells.size:
        return np.zeros(asked.shape, dtype=np.bool_)
    place = np.searchsorted(cells, asked).clip(max=cells.size - 1)
    return np.asarray(cells[place] == asked)


def pairs_row(graph: Graph) -> ValidityRow:
    """What was left out on the way from stored arcs to the pairs that an edge-level mechanism reads."""
    u, v = graph.edge_index
    loops = int((u == v).sum())
    duplicates = graph.num_edges - int(graph.arc_keys().numel())
    edges = int(graph.pair_keys().numel())
    one_way = 2 * edges - int(graph.arc_keys(include_loops=False).numel())
    seen = {
        "self-loops removed": loops,
        "repeated arcs removed": duplicates,
        "edges stored in one direction, read as undirected": one_way,
        "edge weights left out": 0 if graph.edge_weight is None else graph.num_edges,
    }
    changed = [f"{number} {what}" for what, number in seen.items() if number]
    return check(
        "edge-pairs",
        "warning",
        not changed,
        f"{edges} undirected edges; " + (", ".join(changed) or "no self-loop, repeated or one-way arc"),
    )
