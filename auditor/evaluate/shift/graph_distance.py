"""How far two graphs lie apart: fused Gromov–Wasserstein distances between them as metric measure spaces (POT)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial.distance import cdist

from auditor.data.graph import Graph
from auditor.errors import SkippedError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FARTHEST = 8
"""Steps from which two nodes count as apart for good; one number for all graphs, since a scale of its own throws a
graph's size away."""
MOST_POINTS = 200
ROUNDS = 2
PAIRS = 10_000
FLOOR = 1e-6
ALPHA = 0.5
MOST_STEPS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """A graph as points of equal mass.

    Attributes:
        features: of each point, [n, d].
        steps: between each two points, at most 8, in eighths, [n, n].
        surroundings: features averaged with those of neighbours, all rounds beside one another, [n, k].
    """

    features: Floats
    steps: Floats
    surroundings: Floats


def check_transport() -> None:
    """Whether POT is there.

    Raises:
        SkippedError: it is not.
    """
    if importlib.util.find_spec("ot") is None:
        raise SkippedError("distances between graphs need POT, which is not installed; run: pip install POT")


def features_of(graph: Graph) -> Floats:
    """What points are compared by, [N, F]: features, of a graph without any log(1 + degree)."""
    return graph.x.double().numpy() if graph.num_features else np.log1p(_degrees(graph))[:, None]


def spaces(graph: Graph, positions: Ints, features: Floats, *, rng: np.random.Generator) -> list[Space]:
    """Some of many graphs as spaces; of one with more than 200 nodes 200 points, drawn uniformly.

    Args:
        graph: many graphs; edges are read as undirected, loops left out.
        positions: which of them, int64 [m].
        features: of every node, [N, d].
        rng: of the points of large graphs.
    """
    assert graph.batch is not None
    batch = graph.batch.numpy()
    order = np.argsort(batch, kind="stable")
    starts = np.searchsorted(batch[order], np.arange(graph.num_items + 1))
    keys = graph.pair_keys().numpy()
    ends = np.stack([keys // graph.num_nodes, keys % graph.num_nodes])
    links = sparse.csr_matrix((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(graph.num_nodes, graph.num_nodes))
    links = (links + links.T).tocsr()
    return [_space(links, order[starts[b] : starts[b + 1]], features, rng) for b in positions.tolist()]


def _space(links: sparse.csr_matrix, nodes: Ints, features: Floats, rng: np.random.Generator) -> Space:
    inside = links[nodes][:, nodes]
    degree = np.asarray(inside.sum(axis=1)).ravel()
    layer = np.c_[features[nodes], np.log1p(degree)]
    layers = [layer]
    for _ in range(ROUNDS):
        around = (inside @ layer) / np.maximum(degree, 1)[:, None]
        layer = np.where(degree[:, None] > 0, (layer + around) / 2, layer)
        layers.append(layer)
    kept = np.arange(len(nodes))
    if len(nodes) > MOST_POINTS:
        kept = np.sort(rng.choice(len(nodes), MOST_POINTS, replace=False))
    steps = csgraph.shortest_path(inside, directed=False, unweighted=True, indices=kept)[:, kept]
    return Space(features[nodes][kept], np.minimum(steps, FARTHEST) / FARTHEST, np.concatenate(layers, axis=1)[kept])


def feature_scale(features: Floats, *, rng: np.random.Generator) -> float:
    """Median squared distance of the features of 10,000 random pairs of nodes; at least 1e-6.

    Where most pairs have the same features, as with one-hot kinds of atoms, it is their mean: a median of 0 would make
    features all that counts.
    """
    pairs = rng.integers(0, len(features), (2, PAIRS))
    squared = ((features[pairs[0]] - features[pairs[1]]) ** 2).sum(axis=1)
    median = float(np.median(squared))
    return max(FLOOR, median if median > FLOOR else float(squared.mean()))


def distance(one: Space, other: Space, scale: float) -> float:
    """Fused Gromov–Wasserstein distance with the square loss, α = .5; the smaller of what two starts lead to.

    The problem is not convex, and the product of the masses may be stationary: a graph and itself in another order
    would be apart. So the second start is the optimal transport of continuous Weisfeiler–Lehman features.

    Args:
        one: a space.
        other: another.
        scale: what squared distances of features are divided by.

    Source: Vayer et al., "Optimal transport for structured data with application on graphs", ICML 2019; Togninalli et
    al., "Wasserstein Weisfeiler–Lehman graph kernels", NeurIPS 2019 (the second start).
    """
    import ot

    cost = cdist(one.features, other.features, "sqeuclidean") / scale
    masses = [np.full(len(each.features), 1 / len(each.features)) for each in (one, other)]
    matched = ot.emd(*masses, cdist(one.surroundings, other.surroundings, "sqeuclidean"))
    found = [
        ot.gromov.fused_gromov_wasserstein2(
            cost,
            one.steps,
            other.steps,
            *masses,
            "square_loss",
            symmetric=True,
            alpha=ALPHA,
            G0=start,
            max_iter=MOST_STEPS,
        )
        for start in (None, matched)
    ]
    return max(0.0, float(min(found)))


def distances(many: Sequence[Space], others: Sequence[Space], scale: float) -> Floats:
    """Of each to each, [n, m]."""
    found: Floats = np.array([[distance(one, other, scale) for other in others] for one in many], dtype=np.float64)
    return found.reshape(len(many), len(others))


def _degrees(graph: Graph) -> Floats:
    keys = graph.pair_keys().numpy()
    ends = np.concatenate([keys // graph.num_nodes, keys % graph.num_nodes])
    return np.bincount(ends, minlength=graph.num_nodes).astype(np.float64)
