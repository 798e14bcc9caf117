"""Subgraphs around training nodes in which no node occurs often: lists kept by hash, and disjoint batches of roots.

Each node w keeps a list L_w of at most K of the nodes that it sends messages to. It may occur in the subgraph of
another root only along kept arcs w -> x, x in L_w, so that it occurs in at most M = 1 + K + … + K^r of them, its own
included, however many neighbours it has. What a root's term is computed from is its subgraph and its own label.

Blanking node v (features, label, root term and L_v; the lists of the others stay) changes the term of root y only if v
occurs in the subgraph of y. Proof: the subgraph follows from the children of the nodes at depth < r, which are the S
smallest-hash w with x in L_w. If v is a child of such an x, v occurs. If it is not, either x is not in L_v or S others
come before v, and in both cases the children of x stay the same without L_v.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import GraphError

KEY = 0x6A09E667F3BCC908
"""Public and fixed: the bound holds for every order of the neighbours, so a key that nobody knows would protect
nothing, and one that depends on the data (or is drawn again for each fit) would make the lists a further release."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptArcs:
    """The kept arcs w -> x, grouped by x, smallest hash first; at most S of each group.

    Attributes:
        sources: w of each arc, int64 [A].
        starts: the arcs into x are those from starts[x] to starts[x + 1], int64 [N + 1].
    """

    sources: Tensor
    starts: Tensor

    @property
    def num_nodes(self) -> int:
        """N."""
        return int(self.starts.shape[0]) - 1


@dataclass(frozen=True, slots=True, eq=False)
class RootedBatch:
    """The subgraphs of B roots side by side, without an edge between them.

    Attributes:
        nodes: original id of each row, int64 [R]; the first row of a record is its root.
        record: which root each row belongs to, int64 [R], 0..B-1, ascending.
        root_rows: row of each root, int64 [B].
        edge_index: kept arcs between rows, int64 [2, A].
    """

    nodes: Tensor
    record: Tensor
    root_rows: Tensor
    edge_index: Tensor


def occurrence_bound(kept: int, hops: int) -> int:
    """M = Σ_{i=0..r} K^i: the most roots whose term one node can change, itself included."""
    return sum(kept**i for i in range(hops + 1))


def kept_arcs(graph: Graph, kept: int, most_children: int = 64) -> KeptArcs:
    """Each node keeps the K smallest-hash arcs that leave it; then each node the S smallest-hash arcs that enter it.

    Self-loops and repeated arcs are left out; directions stay as they are.

    Args:
        graph: one graph; its edge weights are not looked at.
        kept: K >= 0, arcs kept of those that leave a node.
        most_children: S >= 1, arcs used of those kept that enter a node. Bounds memory; M stays as it is.

    Raises:
        GraphError: many graphs, each of which would be a record of its own.
    """
    if graph.batch is not None:
        raise GraphError(f"{graph.name} holds {graph.num_items} graphs; rooted subgraphs are cut out of one graph.")
    n = graph.num_nodes
    keys = graph.arc_keys(include_loops=False).numpy()
    order = keyed_hash(keys)
    w, x = keys // n, keys % n
    keys, order = _first(keys, w, order, kept)
    w, x = keys // n, keys % n
    keys, order = _first(keys, x, order, most_children)
    sorted_ = np.lexsort((order, keys % n))
    sources = keys[sorted_] // n
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys % n, minlength=n))])
    return KeptArcs(torch.from_numpy(sources), torch.from_numpy(starts))


def rooted_batch(arcs: KeptArcs, roots: Tensor, hops: int) -> RootedBatch:
    """The subgraph of each root: the nodes within r kept arcs of it, and every arc into a node at depth < r.

    Args:
        arcs: see `kept_arcs`.
        roots: int64 [B].
        hops: r >= 0; 0 gives the roots alone.

    Returns:
        B records; a node that several paths reach is one row of its record.
    """
    n, count = arcs.num_nodes, int(roots.shape[0])
    # A row is the key record * N + node, so that equal nodes of different records stay apart.
    frontier = torch.arange(count) * n + roots
    seen, tails, heads = frontier, [frontier[:0]], [frontier[:0]]
    for _ in range(hops):
        children, parents = _arcs_into(arcs, frontier)
        tails.append(children)
        heads.append(parents)
        reached = torch.unique(children)
        frontier = reached[~torch.isin(reached, seen)]
        seen = torch.cat([seen, frontier])
    depth = torch.cat([torch.zeros(count), torch.ones(seen.shape[0] - count)])  # the root is the first of its record
    rows = seen[torch.from_numpy(np.lexsort((seen.numpy(), depth.numpy(), (seen // n).numpy())))]
    by_key = torch.sort(rows)
    place = by_key.indices[torch.searchsorted(by_key.values, torch.stack([torch.cat(tails), torch.cat(heads)]))]
    record = rows // n
    return RootedBatch(rows % n, record, torch.searchsorted(record, torch.arange(count)), place)


def occurrences(arcs: KeptArcs, roots: Tensor, hops: int, *, block: int = 256) -> int:
    """The most subgraphs among those of `roots` that one node occurs in; at most M by construction, measured here."""
    counts = torch.zeros(arcs.num_nodes, dtype=torch.int64)
    for part in torch.split(roots, block):
        counts += torch.bincount(rooted_batch(arcs, part, hops).nodes, minlength=arcs.num_nodes)
    return int(counts.max())


def keyed_hash(keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 well mixed bits of each arc's key, a bijection: two arcs never tie (splitmix64, Steele et al. 2014)."""
    z = keys.astype(np.uint64) ^ np.uint64(KEY)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _first(
    keys: NDArray[np.int64], group: NDArray[np.int64], order: NDArray[np.uint64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The arcs that are among the first `most` of their group."""
    sorted_ = np.lexsort((order, group))
    group = group[sorted_]
    rank = np.arange(group.shape[0]) - np.searchsorted(group, group)
    chosen = sorted_[rank < most]
    return keys[chosen], order[chosen]


def _arcs_into(arcs: KeptArcs, frontier: Tensor) -> tuple[Tensor, Tensor]:
    """Row keys (child, parent) of every kept arc into the rows of `frontier`."""
    n = arcs.num_nodes
    node = frontier % n
    first, count = arcs.starts[node], arcs.starts[node + 1] - arcs.starts[node]
    parents = torch.repeat_interleave(frontier, count)
    within = torch.arange(parents.shape[0]) - torch.repeat_interleave(torch.cumsum(count, 0) - count, count)
    sources = arcs.sources[torch.repeat_interleave(first, count) + within]
    return (parents // n) * n + sources, parents
