"""Which dimensions keep their correlation from graph to graph, and so belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from defenses.joint_cluster.partition import partition
from defenses.l2r.dependence import SMALLEST_SD

Floats = NDArray[np.float64]
MIN_NODES, MAX_GRAPHS, RESTARTS, ACTIVE_SHARE = 4, 512, 5, 0.5
PARTS, MIN_PART = 16, 20


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """How correlations between dimensions vary over environments.

    Attributes:
        distance: Dis [d, d], root mean square over environments of R_n - mean R, >= 0.
        active: share of environments in which a dimension varies at all, [d].
        environments: how many were used.
    """

    distance: Floats
    active: Floats
    environments: int


def stability(h: Tensor, owner: Tensor, *, rng: np.random.Generator) -> Stability:
    """Dis(i, j) over the environments that have at least 4 nodes; at most 512 of them, drawn.

    Args:
        h: node embeddings [N, d].
        owner: environment of each node (its graph, or its part of one graph), int64 [N]; negative is left out.
        rng: draws the environments when there are more than 512.
    """
    known = torch.nonzero(owner >= 0).flatten()
    order = known[torch.argsort(owner[known], stable=True)]
    _, counts = torch.unique_consecutive(owner[order], return_counts=True)
    ends = torch.cumsum(counts, dim=0)
    usable = torch.nonzero(counts >= MIN_NODES).flatten().numpy()
    if usable.size > MAX_GRAPHS:
        usable = np.sort(rng.choice(usable, MAX_GRAPHS, replace=False))
    d = h.shape[1]
    total, square, active = torch.zeros(d, d), torch.zeros(d, d), torch.zeros(d)
    for e in usable:
        part = h[order[int(ends[e] - counts[e]) : int(ends[e])]].float()
        sd, mean = torch.std_mean(part, dim=0, correction=0)
        alive = sd >= SMALLEST_SD
        unit = torch.where(alive, (part - mean) / sd.clamp_min(SMALLEST_SD), 0.0)
        r = unit.T @ unit / part.shape[0]  # Pearson; 0 where a dimension is constant
        total += r
        square += r * r
        active += alive
    n = max(1, usable.size)
    variance = (square / n - (total / n) ** 2).clamp_min(0)
    return Stability(variance.sqrt().double().numpy(), (active / n).double().numpy(), int(usable.size))


def stable_clusters(found: Stability, k: int, *, rng: np.random.Generator) -> Tensor:
    """Clusters of dimensions, k of them, by k-medoids on Dis, int64 [d]; the best of 5 restarts.

    A dimension that varies in less than half of the environments looks perfectly stable: it takes no part in choosing
    medoids and joins the nearest one afterwards.
    """
    live = np.flatnonzero(found.active >= ACTIVE_SHARE)
    if live.size <= k:
        live = np.arange(found.distance.shape[0])
    inner = found.distance[np.ix_(live, live)]
    best_cost, best = np.inf, np.arange(k)
    for _ in range(RESTARTS):
        medoids, cost = _swapped(inner, rng.choice(live.size, k, replace=False))
        if cost < best_cost:
            best_cost, best = cost, medoids
    chosen = live[best]
    clusters = found.distance[:, chosen].argmin(axis=1)
    clusters[chosen] = np.arange(k)  # a medoid stays in its own cluster, also among equal columns
    return torch.from_numpy(clusters.astype(np.int64))


def _swapped(distance: Floats, medoids: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Best single swap until none helps (the swap phase of PAM): medoids and the sum of distances to the nearest."""
    medoids = medoids.copy()
    cost = float(distance[:, medoids].min(axis=1).sum())
    while True:
        best: tuple[float, int, int] = (cost, -1, -1)
        for slot in range(medoids.size):
            others = np.delete(medoids, slot)
            nearest = distance[:, others].min(axis=1) if others.size else np.full(distance.shape[0], np.inf)
            costs = np.minimum(distance, nearest[:, None]).sum(axis=0)  # of every candidate in this slot
            costs[medoids] = np.inf
            candidate = int(costs.argmin())
            if costs[candidate] < best[0] - 1e-12:
                best = (float(costs[candidate]), slot, candidate)
        if best[1] < 0:
            return medoids, cost
        cost, medoids[best[1]] = best[0], best[2]


def graph_parts(graph: Graph, *, seed: int) -> Tensor:
    """Parts of one graph as environments, int64 [N]: 16 regions grown breadth first, fewer below 640 nodes.

    Nodes of a part with fewer than 20 nodes get -1. Random mini-batches would not do: they are exchangeable, so that
    Dis would measure sampling noise alone.
    """
    parts = max(2, min(PARTS, graph.num_nodes // (2 * MIN_PART)))
    assign = partition("bfs", graph.edge_index, graph.num_nodes, parts, seed=seed, x=graph.x).assign
    return torch.where(torch.bincount(assign, minlength=parts)[assign] >= MIN_PART, assign, -1)
