"""Typical training graphs, how far another graph lies from the nearest of them, and what its size alone would tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from auditor.data.graph import Graph
from auditor.evaluate.shift.embedded import Known, known_from
from auditor.evaluate.shift.graph_distance import FLOOR, Space, distance, distances, feature_scale, spaces

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
QUARTILES = 4
DIRECTIONS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """Training graphs that stand for the others of their class.

    Attributes:
        ids: theirs, int64 [P].
        spaces: the same as metric measure spaces.
        spread: median distance of the others that each stands for, [P].
        scale: what squared distances of features are divided by.
        pool: how many training graphs of each class they were chosen from.
    """

    ids: Ints
    spaces: list[Space]
    spread: Floats
    scale: float
    pool: dict[int, int]

    def scores(self, many: list[Space]) -> Floats:
        """Minus the distance to the nearest, in units of its spread, [n]; higher = more like the training graphs."""
        found: Floats = -(distances(many, self.spaces, self.scale) / self.spread).min(axis=1)
        return found


def find_prototypes(
    graph: Graph,
    train: Ints,
    features: Floats,
    *,
    pool: int,
    count: int,
    rng: np.random.Generator,
    tick: Callable[[float], None],
) -> Prototypes:
    """The k-medoids of some training graphs of each class.

    Args:
        graph: many graphs.
        train: ids of the labelled ones that were trained on, int64 [n].
        features: of every node, [N, d].
        pool: of each class at most so many are compared, as many of each quartile of size.
        count: prototypes of each class.
        rng: of the pool, the scale and the points of large graphs.
        tick: told the share that is done.

    Source: the idea of Shen et al., "Optimizing OOD detection in molecular graphs: a novel approach with diffusion
    models" (PGR-MOOD), KDD 2024, whose prototypes are generated; here they are real graphs.
    """
    assert graph.batch is not None
    labels = graph.y.numpy()[train]
    sizes = torch.bincount(graph.batch, minlength=graph.num_items).numpy()
    of_train = np.isin(graph.batch.numpy(), train)
    scale = feature_scale(features[of_train], rng=rng)
    ids: list[int] = []
    spread: list[float] = []
    found: list[Space] = []
    counts: dict[int, int] = {}
    classes = np.unique(labels).tolist()
    for number, c in enumerate(classes):
        members = stratified(train[labels == c], sizes, pool, rng=rng)
        counts[c] = len(members)
        made = spaces(graph, members, features, rng=rng)
        apart = np.zeros((len(made), len(made)))
        for i in range(1, len(made)):
            tick((number + (i / len(made)) ** 2) / len(classes))
            for j in range(i):
                apart[i, j] = apart[j, i] = distance(made[i], made[j], scale)
        chosen = medoids(apart, count)
        nearest = apart[:, chosen].argmin(axis=1)
        for p, medoid in enumerate(chosen.tolist()):
            others = np.flatnonzero((nearest == p) & (np.arange(len(made)) != medoid))
            ids.append(int(members[medoid]))
            found.append(made[medoid])
            spread.append(max(FLOOR, float(np.median(apart[others, medoid])) if len(others) else 0.0))
    return Prototypes(np.array(ids), found, np.array(spread), scale, counts)


def stratified(ids: Ints, sizes: Ints, most: int, *, rng: np.random.Generator) -> Ints:
    """At most so many ids, equally many of each quartile of size, ascending.

    Args:
        ids: int64 [n].
        sizes: of every graph.
        most: how many.
        rng: which ones.
    """
    if len(ids) <= most:
        return np.sort(ids)
    parts = np.array_split(ids[np.argsort(sizes[ids], kind="stable")], QUARTILES)
    share = [most // QUARTILES + (part < most % QUARTILES) for part in range(QUARTILES)]
    return np.sort(np.concatenate([rng.choice(part, k, replace=False) for part, k in zip(parts, share, strict=True)]))


def medoids(apart: Floats, count: int) -> Ints:
    """Which items have the least sum of distances from all to the nearest of them: chosen greedily, then swapped.

    Args:
        apart: distances, [n, n].
        count: how many; all of fewer.

    Source: Kaufman and Rousseeuw, "Finding groups in data", 1990 (PAM).
    """
    n = len(apart)
    nearest = np.full(n, np.inf)
    chosen: list[int] = []
    while len(chosen) < min(count, n):
        total = np.minimum(apart, nearest[:, None]).sum(axis=0)
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
        nearest = np.minimum(nearest, apart[:, chosen[-1]])
    cost = float(nearest.sum())
    while True:
        best = (cost - FLOOR * (1 + cost), -1, -1)
        for place in range(len(chosen)):
            rest = chosen[:place] + chosen[place + 1 :]
            without = apart[:, rest].min(axis=1) if rest else np.full(n, np.inf)
            total = np.minimum(apart, without[:, None]).sum(axis=0)
            total[chosen] = np.inf
            if total.min() < best[0]:
                best = (float(total.min()), place, int(total.argmin()))
        if best[1] < 0:
            return np.sort(np.array(chosen, dtype=np.int64))
        cost, place, item = best
        chosen[place] = item


@dataclass(frozen=True, slots=True, eq=False)
class SizeDetector:
    """What sizes and averages of a graph tell, without its structure and without any model.

    Attributes:
        centre, unit: of each statistic among the training graphs.
        directions: of the averaged features; None where there are none that vary.
        known: what the training graphs look like.
    """

    centre: Floats
    unit: Floats
    directions: PCA | None
    known: Known

    @classmethod
    def fit(cls, graph: Graph, train: Ints, features: Floats) -> SizeDetector:
        """From the training graphs, a mean a class and one shrunk covariance: what the prototypes know as well.

        Args:
            graph: many graphs.
            train: ids of the labelled training graphs, int64 [n].
            features: of every node, [N, d].
        """
        means = _means(graph, features)[train]
        varied = min(DIRECTIONS, means.shape[1], len(train) - 1)
        directions = PCA(varied, svd_solver="full").fit(means) if varied > 0 and means.std() > 0 else None
        rows = _rows(graph, features, directions)[train]
        centre, unit = rows.mean(axis=0), rows.std(axis=0)
        unit[unit < FLOOR] = 1.0
        return cls(centre, unit, directions, known_from((rows - centre) / unit, graph.y.numpy()[train]))

    def scores(self, graph: Graph, positions: Ints, features: Floats) -> Floats:
        """Minus the squared Mahalanobis distance to the nearest class mean, [m]."""
        rows = (_rows(graph, features, self.directions)[positions] - self.centre) / self.unit
        return self.known.scores(rows)["mahalanobis"]


def _rows(graph: Graph, features: Floats, directions: PCA | None) -> Floats:
    """Logarithms of nodes and of edges, mean degree, averaged features in some directions, [B, k]."""
    assert graph.batch is not None
    batch, keys = graph.batch.numpy(), graph.pair_keys().numpy()
    nodes = np.bincount(batch, minlength=graph.num_items).astype(np.float64)
    edges = np.bincount(batch[keys // graph.num_nodes], minlength=graph.num_items).astype(np.float64)
    rows = np.stack([np.log(nodes), np.log1p(edges), 2 * edges / nodes], axis=1)
    return rows if directions is None else np.c_[rows, directions.transform(_means(graph, features))]


def _means(graph: Graph, features: Floats) -> Floats:
    assert graph.batch is not None
    batch = graph.batch.numpy()
    nodes = np.bincount(batch, minlength=graph.num_items).astype(np.float64)
    sums = np.stack([np.bincount(batch, weights=column, minlength=graph.num_items) for column in features.T], axis=1)
    found: Floats = sums / nodes[:, None]
    return found
