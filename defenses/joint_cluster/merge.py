"""Joins clusters with too few training nodes to a neighbour, so that no prototype stands for a handful of people."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from defenses.joint_cluster.partition import clean_edges

FALLBACK = -1


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Clusters of which each holds enough training nodes.

    Attributes:
        assign: int64 [N], 0..K'-1; -1 (`FALLBACK`) for nodes of clusters that were too small and touched no other.
        clusters: K' >= 1.
        merged: clusters that were joined to another.
        fallback: clusters with a node in them that were marked fallback.
    """

    assign: Tensor
    clusters: int
    merged: int
    fallback: int


def merge_small(assign: Tensor, train: Tensor, edge_index: Tensor, min_occupancy: int) -> Merged:
    """Repeats: the cluster with fewest training nodes joins the one it shares most edges with, until all have enough.

    Ties: the lowest id is taken first; it joins the larger occupancy, then the lower id. A small cluster that shares no
    edge with another becomes fallback. When that leaves no cluster at all, all of them are one: a mean of nothing would
    be NaN, and an attack that gets NaN gradients fails and makes the model look robust. O(E log K + K^2).

    Args:
        assign: int64 [N], values >= 0.
        train: ids of training nodes, int64 [T], T >= min_occupancy.
        edge_index: int64 [2, E].
        min_occupancy: >= 1.
    """
    count = int(assign.max()) + 1
    occupancy = torch.bincount(assign[train], minlength=count).tolist()
    size = torch.bincount(assign, minlength=count).tolist()
    cuts = _cuts(assign, edge_index, count)
    into = list(range(count))
    merged = fallback = 0
    heap = [(n, k) for k, n in enumerate(occupancy)]
    heapq.heapify(heap)
    gone: set[int] = set()
    while heap and heap[0][0] < min_occupancy:
        n, k = heapq.heappop(heap)
        if k in gone or n != occupancy[k]:  # joined already, or grown since it was pushed
            continue
        gone.add(k)
        if not cuts[k]:
            into[k] = FALLBACK
            fallback += size[k] > 0
            continue
        host = min(cuts[k], key=lambda other: (-cuts[k][other], -occupancy[other], other))
        into[k] = host
        merged += 1
        occupancy[host] += occupancy[k]
        size[host] += size[k]
        for other, edges in cuts.pop(k).items():
            del cuts[other][k]
            if other != host:
                cuts[host][other] = cuts[host].get(other, 0) + edges
                cuts[other][host] = cuts[other].get(host, 0) + edges
        cuts[k] = {}
        heapq.heappush(heap, (occupancy[host], host))
    roots = [_root(into, k) for k in range(count)]
    kept = sorted({root for root in roots if root != FALLBACK})
    if not kept:
        return Merged(torch.zeros_like(assign), 1, merged + fallback, 0)
    place = {root: i for i, root in enumerate(kept)}
    final = torch.tensor([place.get(root, FALLBACK) for root in roots], dtype=torch.int64)
    return Merged(final[assign], len(kept), merged, fallback)


def _cuts(assign: Tensor, edge_index: Tensor, count: int) -> dict[int, dict[int, int]]:
    """Undirected edges between each two clusters, both ways."""
    ends = clean_edges(edge_index, assign.shape[0])
    clusters = assign.numpy()
    a, b = clusters[ends[0]], clusters[ends[1]]
    pairs, edges = np.unique(np.stack([a, b])[:, a != b], axis=1, return_counts=True)
    cuts: dict[int, dict[int, int]] = {k: {} for k in range(count)}
    for (i, j), n in zip(pairs.T.tolist(), edges.tolist(), strict=True):
        cuts[i][j] = cuts[i].get(j, 0) + n
        cuts[j][i] = cuts[j].get(i, 0) + n
    return cuts


def _root(into: list[int], k: int) -> int:
    """Where cluster k ended up."""
    while k != FALLBACK and into[k] != k:
        k = into[k]
    return k
