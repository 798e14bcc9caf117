"""Properties of nodes and graphs that strata are cut by; none reads a label."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from auditor.data.graph import Graph

Floats = NDArray[np.float64]
# Values are compared and ranked: rounding keeps equal nodes equal whatever the order of the sums.
DIGITS = 9


def node_properties(graph: Graph, train: Tensor) -> dict[str, Floats]:
    """Degrees, PageRank, personalised PageRank from the training nodes, hops to the nearest one, local clustering.

    All but degrees are read on the undirected graph without loops; float64 [N] each, hops are inf where no training
    node is reachable.
    """
    adjacency = undirected(graph)
    seeds = train.numpy()
    return {
        **degrees(graph),
        "pagerank": pagerank(adjacency, np.ones(graph.num_nodes)),
        "personalised-pagerank": pagerank(adjacency, seeds.astype(np.float64)),
        "hops-to-train": hops(adjacency, np.flatnonzero(seeds)),
        "clustering": clustering(adjacency),
    }


def degrees(graph: Graph) -> dict[str, Floats]:
    """`degree`, or of a directed graph `in-degree` (how many messages arrive) and `out-degree`; float64 [N] each.

    Loops and repeated arcs do not count; a graph that holds every arc's reverse is undirected.
    """
    arcs, n = graph.arc_keys(include_loops=False), graph.num_nodes
    source, sink = arcs // n, arcs % n
    ends = {"degree": sink} if graph.is_undirected else {"in-degree": sink, "out-degree": source}
    return {name: torch.bincount(end, minlength=n).numpy().astype(np.float64) for name, end in ends.items()}


def graph_properties(graph: Graph) -> dict[str, Floats]:
    """Number of nodes, mean degree 2M/n, density 2M/(n(n−1)) of each graph; float64 [B]."""
    assert graph.batch is not None
    count = graph.num_items
    nodes = torch.bincount(graph.batch, minlength=count).numpy().astype(np.float64)
    first = graph.pair_keys() // graph.num_nodes
    edges = torch.bincount(graph.batch[first], minlength=count).numpy().astype(np.float64)
    pairs = nodes * (nodes - 1) / 2
    density: Floats = np.zeros(count)
    np.divide(edges, pairs, out=density, where=pairs > 0)
    return {
        "nodes": nodes,
        "mean-degree": np.round(2 * edges / nodes, DIGITS).astype(np.float64),
        "density": np.round(density, DIGITS),
    }


def undirected(graph: Graph) -> sparse.csr_matrix:
    """Symmetric 0/1 adjacency without loops, float64 [N, N] sparse."""
    n, keys = graph.num_nodes, graph.pair_keys().numpy()
    u, v = keys // n, keys % n
    ones = np.ones(2 * len(keys))
    return sparse.csr_matrix((ones, (np.r_[u, v], np.r_[v, u])), shape=(n, n))


def pagerank(adjacency: sparse.csr_matrix, restart: Floats, *, damping: float = 0.85) -> Floats:
    """PageRank by power iteration to 1e-12 in L1, times N, [N]; what restarts cannot reach scores exactly 0.

    A loose tolerance would rank nodes outside the restart's component above part of it.
    """
    n = adjacency.shape[0]
    restart = restart / restart.sum()
    degree = _flat(adjacency.sum(axis=1))
    rank: Floats = restart.copy()
    for _ in range(500):
        share = np.divide(rank, degree, out=np.zeros(n), where=degree > 0)
        moved = damping * (adjacency @ share + rank[degree == 0].sum() * restart) + (1 - damping) * restart
        done = np.abs(moved - rank).sum() < 1e-12
        rank = moved
        if done:
            break
    scaled: Floats = np.round(rank * n, DIGITS)
    return scaled


def hops(adjacency: sparse.csr_matrix, seeds: NDArray[np.int64]) -> Floats:
    """Breadth-first distance to the nearest seed, [N]; inf where there is none."""
    distance = csgraph.dijkstra(adjacency, directed=False, indices=seeds, unweighted=True, min_only=True)
    return np.asarray(distance, dtype=np.float64)


def clustering(adjacency: sparse.csr_matrix) -> Floats:
    """Local clustering: closed share of the pairs of neighbours, [N]; 0 below two neighbours.

    Wedges are counted in row blocks, so that A² is never held at once.
    """
    degree = _flat(adjacency.sum(axis=1))
    closed = np.zeros(len(degree))
    for start in range(0, len(degree), 4096):
        rows = adjacency[start : start + 4096]
        closed[start : start + 4096] = _flat((rows @ adjacency).multiply(rows).sum(axis=1))
    wedges = degree * (degree - 1)
    share: Floats = np.zeros(len(degree))
    np.divide(closed, wedges, out=share, where=wedges > 0)
    return np.round(share, DIGITS).astype(np.float64)


def _flat(matrix: object) -> Floats:
    return np.asarray(matrix, dtype=np.float64).ravel()
