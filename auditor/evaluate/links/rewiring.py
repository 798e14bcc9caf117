"""Random graphs with the degrees, or the degrees and the class mixing, of a given one: edge swaps.

Two edges (a, b), (c, d) become (a, d), (c, b) unless a loop or a duplicate arises. With classes, partners come from the
same unordered class pair and are oriented alike, so that each new edge joins the same two classes as the old one. Of a
directed graph an arc keeps its direction, so that degrees in and out are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.data.graph import Graph
from auditor.evaluate.links.pairs import contains

Ints = NDArray[np.int64]
SWAPS_PER_EDGE = 10
TRIES_PER_EDGE = 100


@dataclass(frozen=True, slots=True, eq=False)
class Rewired:
    """E' and how it came about.

    Attributes:
        pairs: u < v (arcs: as they point), int64 [2, |E|], in ascending key order.
        swaps: accepted swaps; fewer than 10 |E| means the tries ran out.
        overlap: |E ∩ E'| / |E|.
    """

    pairs: Ints
    swaps: int
    overlap: float


def rewired_graph(graph: Graph, *, rng: np.random.Generator) -> tuple[Graph, Rewired]:
    """The same nodes with the same degrees (in and out, of a directed graph) and other edges; graph by graph, of many.

    Loops stay. A weight stays with an edge, whichever it is: the weights are dealt anew.
    """
    directed, n = not graph.is_undirected, graph.num_nodes
    keys = (graph.arc_keys(include_loops=False) if directed else graph.pair_keys()).numpy()
    inside = None if graph.batch is None else graph.batch.numpy()
    made = rewire(np.stack([keys // n, keys % n]), n, rng=rng, classes=inside, directed=directed)
    return with_pairs(graph, made.pairs, directed=directed, rng=rng), made


def with_pairs(graph: Graph, pairs: Ints, *, directed: bool, rng: np.random.Generator) -> Graph:
    """The same nodes and loops with other edges, int64 [2, M] (arcs of a directed graph); weights are dealt anew."""
    arcs = torch.from_numpy(pairs if directed else np.concatenate([pairs, pairs[::-1]], axis=1))
    is_loop = graph.edge_index[0] == graph.edge_index[1]
    weight = None
    if graph.edge_weight is not None:
        held = graph.edge_weight[~is_loop]
        dealt = held[torch.from_numpy(rng.integers(0, max(len(held), 1), pairs.shape[1]))]
        weight = torch.cat([dealt, *([] if directed else [dealt]), graph.edge_weight[is_loop]])
    return graph.with_edges(torch.cat([arcs, graph.edge_index[:, is_loop]], dim=1), weight)


def rewire(
    pairs: Ints, num_nodes: int, *, rng: np.random.Generator, classes: Ints | None = None, directed: bool = False
) -> Rewired:
    """Swaps edges until 10 |E| swaps were accepted or 100 |E| were tried.

    Every round pairs all edges at random and swaps the pairs at once; a swap whose new edge exists, or is made by
    another swap of the round, is dropped. Degrees are kept exactly; with `classes` [N] the class-mixing matrix too.

    Args:
        pairs: edges u != v, distinct, int64 [2, |E|].
        num_nodes: N.
        rng: the only source of randomness.
        classes: class of each node, or None for the `degree` scheme.
        directed: the pairs are arcs, and classes may only be those of whole graphs.
    """
    n, size = num_nodes, pairs.shape[1]
    start = np.sort(_keys(pairs[0], pairs[1], n, directed))
    edges = np.stack([start // n, start % n])
    swaps = tries = 0
    while swaps < SWAPS_PER_EDGE * size and tries < TRIES_PER_EDGE * size and size > 1:
        first, second = _partners(edges, rng, classes, directed)
        tries += max(1, first.size)
        a, b = edges[:, first]
        c, d = edges[:, second]
        new = _keys(a, d, n, directed), _keys(c, b, n, directed)
        accepted = _acceptable(*new, _keys(edges[0], edges[1], n, directed)) & (a != d) & (c != b)
        first, second = first[accepted], second[accepted]
        edges[:, first], edges[:, second] = (
            np.stack([a[accepted], d[accepted]]),
            np.stack([c[accepted], b[accepted]]),
        )
        swaps += int(first.size)
    keys = np.sort(_keys(edges[0], edges[1], n, directed))
    return Rewired(np.stack([keys // n, keys % n]), swaps, float(contains(start, keys).mean()) if size else 1.0)


def _partners(edges: Ints, rng: np.random.Generator, classes: Ints | None, directed: bool = False) -> tuple[Ints, Ints]:
    """Orients every edge in place, where it may be, and draws disjoint couples of edges, as two arrays of positions."""
    size = edges.shape[1]
    if not directed:
        turn = np.asarray(rng.random(size) < 0.5)
        if classes is not None:  # lower class first; inside a class either way
            c0, c1 = classes[edges[0]], classes[edges[1]]
            turn = np.where(c0 == c1, turn, c0 > c1)
        edges[:, turn] = edges[::-1, turn]
    order = rng.permutation(size)
    if classes is None:
        even = size - size % 2
        return order[:even:2], order[1:even:2]
    group = (classes[edges[0]] * (int(classes.max()) + 1) + classes[edges[1]])[order]
    by_group = np.argsort(group, kind="stable")
    order, group = order[by_group], group[by_group]
    place = np.arange(size) - np.searchsorted(group, group)  # position inside its group
    starts = np.flatnonzero((place[:-1] % 2 == 0) & (group[:-1] == group[1:]))
    return order[starts], order[starts + 1]


def _acceptable(one: Ints, two: Ints, held: Ints) -> NDArray[np.bool_]:
    """Swaps whose two new edges are not among those held and are made by no other swap of the round."""
    present = np.sort(held)
    fresh = ~contains(present, one) & ~contains(present, two) & (one != two)
    _, where, count = np.unique(np.concatenate([one, two]), return_inverse=True, return_counts=True)
    alone = count[where.reshape(-1)] == 1
    return np.asarray(fresh & alone[: one.size] & alone[one.size :])


def _keys(u: Ints, v: Ints, n: int, directed: bool) -> Ints:
    return np.asarray(u * n + v if directed else np.minimum(u, v) * n + np.maximum(u, v))
