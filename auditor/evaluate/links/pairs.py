"""The pairs that link probes are judged on: all edges or a sample, against uniform non-edges, and subsets of both."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.statistics.pair_scores import PairScore

Ints = NDArray[np.int64]
MAX_POSITIVES = 200_000
MIN_POSITIVES = 10  # below, a subset says nothing


class Readings:
    """What was read off one set of pairs, by score and way of reading, for as long as the score is there."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[PairScore, dict[Hashable, NDArray[np.float64]]] = WeakKeyDictionary()

    def once(self, score: PairScore, way: Hashable, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """What `make` gives; made once where the score can be referred to weakly, as every function can."""
        try:
            known = self._known.setdefault(score, {})
        except TypeError:
            return make()
        if way not in known:
            known[way] = make()
        return known[way]


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Pairs u < v with the truth, drawn once a run and never shown to an attack.

    Attributes:
        subset: its name in the document (`prior`, `prior/intra-class`).
        pairs: int64 [2, P].
        is_edge: bool [P].
        inclusion: inverse inclusion weight, float64 [P]: what one sampled pair stands for.
        whole: the set that it is part of; None for a set of its own.
        places: where its pairs are in the whole, int64 [P].
        known: what was read off the pairs of a whole set, [P] each.
    """

    subset: str
    pairs: Ints
    is_edge: NDArray[np.bool_]
    inclusion: NDArray[np.float64]
    whole: PairSet | None = field(default=None, repr=False)
    places: Ints | None = field(default=None, repr=False)
    known: Readings = field(default_factory=Readings, repr=False)

    @property
    def size(self) -> int:
        """P."""
        return int(self.is_edge.size)

    @property
    def positives(self) -> int:
        """Number of edges."""
        return int(self.is_edge.sum())

    @property
    def negatives(self) -> int:
        """Number of non-edges."""
        return int((~self.is_edge).sum())

    @property
    def tensor(self) -> Tensor:
        """The pairs as a tensor, int64 [2, P]."""
        return torch.from_numpy(self.pairs)

    def keep(self, mask: NDArray[np.bool_], subset: str) -> PairSet:
        """The pairs under `mask` [P], under another name."""
        whole, places = (self, np.arange(self.size)) if self.whole is None else (self.whole, self.places)
        assert places is not None
        part = (self.pairs[:, mask], self.is_edge[mask], self.inclusion[mask])
        return PairSet(subset, *part, whole=whole, places=places[mask])

    def once(
        self, score: PairScore, make: Callable[[PairSet], NDArray[np.float64]], *, way: Hashable = None
    ) -> NDArray[np.float64]:
        """What follows from the score of each pair in this way, [P]: made for the whole set, read off for its parts."""
        whole = self if self.whole is None else self.whole
        found = whole.known.once(score, way, lambda: make(whole))
        return found if self.places is None else found[self.places]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """E: the private edges, undirected, without loops, as sorted keys u * N + v with u < v.

    Attributes:
        keys: of the edges.
        num_nodes: N.
        ends: ids ascending, where it is about the pairs with an end among them alone; None for all pairs.
    """

    keys: Ints
    num_nodes: int
    ends: Ints | None = None

    @classmethod
    def of(cls, graph: Graph) -> Truth:
        """E of a graph.

        Raises:
            SkippedError: the graph has no edge; or more than half of all pairs are edges, so that there are too few
                negatives to rank.
        """
        keys, n = graph.pair_keys().numpy().astype(np.int64), graph.num_nodes
        if keys.size == 0:
            raise SkippedError(f"{graph.name} has no edge besides self-loops; a link probe needs edges to look for.")
        if keys.size > n * (n - 1) // 4:
            raise SkippedError(
                f"{keys.size} of {n * (n - 1) // 2} pairs are edges: above half there are too few non-edges to rank."
            )
        return cls(keys, n)

    def near(self, ends: Ints) -> Truth:
        """The same of the pairs that have an end among `ends`, ids ascending."""
        mine = np.isin(self.pairs, ends).any(axis=0)
        return Truth(self.keys[mine], self.num_nodes, ends)

    @property
    def num_pairs(self) -> int:
        """Pairs that it is about, edges or not."""
        n = self.num_nodes
        others = 0 if self.ends is None else n - self.ends.size
        return n * (n - 1) // 2 - others * (others - 1) // 2

    def covers(self, pairs: Ints) -> NDArray[np.bool_]:
        """Which of `pairs` it is about, bool [P]."""
        if self.ends is None:
            return np.ones(pairs.shape[1], dtype=np.bool_)
        return np.asarray(np.isin(pairs, self.ends).any(axis=0))

    @property
    def pairs(self) -> Ints:
        """The edges as [2, |E|]."""
        return np.stack([self.keys // self.num_nodes, self.keys % self.num_nodes])

    def holds(self, pairs: Ints) -> NDArray[np.bool_]:
        """Which pairs u < v are edges, bool [P]."""
        return contains(self.keys, pairs[0] * self.num_nodes + pairs[1])

    def degrees(self) -> Ints:
        """Degree of each node, [N]."""
        return np.bincount(self.pairs.reshape(-1), minlength=self.num_nodes)


def contains(sorted_keys: Ints, keys: Ints) -> NDArray[np.bool_]:
    """Which of `keys` are among `sorted_keys`."""
    if sorted_keys.size == 0:
        return np.zeros(keys.shape, dtype=np.bool_)
    at = np.minimum(np.searchsorted(sorted_keys, keys), sorted_keys.size - 1)
    return np.asarray(sorted_keys[at] == keys)


def prior_pairs(truth: Truth, negatives: int, rng: np.random.Generator) -> PairSet:
    """PRIOR: every edge (or 200,000 of them) against `negatives` uniform non-edges (all, if there are fewer)."""
    every = truth.num_pairs - truth.keys.size
    positive = truth.keys
    if positive.size > MAX_POSITIVES:
        positive = np.sort(rng.choice(positive, MAX_POSITIVES, replace=False))
    negative = _non_edges(truth, max(negatives, min(positive.size, MAX_POSITIVES)), rng)
    return _assemble("prior", truth, positive, negative, truth.keys.size, every)


def intra_class_pairs(truth: Truth, y: Ints, negatives: int, rng: np.random.Generator) -> PairSet | None:
    """Pairs of one class, with negatives of their own; None with too few of either side.

    An average over all pairs flatters an attack through class homophily; here the class tells nothing.
    """
    pairs = truth.pairs
    inside = y[pairs[0]] == y[pairs[1]]
    positive = truth.keys[inside]
    every = _pairs_of_classes(truth, y) - positive.size
    if positive.size < MIN_POSITIVES or every < MIN_POSITIVES:
        return None
    if positive.size > MAX_POSITIVES:
        positive = np.sort(rng.choice(positive, MAX_POSITIVES, replace=False))
    negative = _intra_class_non_edges(truth, y, min(negatives, every), every, rng)
    return _assemble("prior/intra-class", truth, positive, negative, int(inside.sum()), every)


def balanced_of(prior: PairSet, rng: np.random.Generator) -> PairSet:
    """BAL: the edges of PRIOR and as many of its non-edges (all of them, where there are fewer)."""
    negative = np.flatnonzero(~prior.is_edge)
    chosen = np.sort(rng.choice(negative, min(prior.positives, negative.size), replace=False))
    mask = prior.is_edge.copy()
    mask[chosen] = True
    part = prior.keep(mask, "balanced")
    return replace(part, inclusion=np.ones(part.is_edge.shape))


def degree_subsets(prior: PairSet, truth: Truth) -> list[PairSet]:
    """Pairs whose smaller degree is in the lowest or the highest quartile of that of the edges."""
    degrees = truth.degrees()
    least = np.minimum(degrees[prior.pairs[0]], degrees[prior.pairs[1]])
    low, high = np.quantile(least[prior.is_edge], (0.25, 0.75))
    parts = [prior.keep(least <= low, "prior/low-degree"), prior.keep(least >= high, "prior/high-degree")]
    return [part for part in parts if is_enough(part)]


def same_component_of(prior: PairSet, truth: Truth) -> PairSet | None:
    """Pairs inside one connected component, when there are more than 20 (between molecules a non-edge is trivial)."""
    from scipy.sparse import coo_array  # scipy is slow to import; only this subset needs it
    from scipy.sparse.csgraph import connected_components

    u, v = truth.pairs
    matrix = coo_array((np.ones(u.size), (u, v)), shape=(truth.num_nodes, truth.num_nodes)).tocsr()
    count, member = connected_components(matrix, directed=False)
    if count <= 20:
        return None
    part = prior.keep(member[prior.pairs[0]] == member[prior.pairs[1]], "prior/same-component")
    return part if is_enough(part) else None


def pairs_inside(nodes: Ints, truth: Truth, subset: str) -> PairSet:
    """Every pair u < v of `nodes`: those that the paper protocol attacks."""
    ids = np.sort(nodes)
    u, v = np.triu_indices(ids.size, 1)
    pairs = np.stack([ids[u], ids[v]])
    return PairSet(subset, pairs, truth.holds(pairs), np.ones(pairs.shape[1]))


def is_enough(pairs: PairSet) -> bool:
    """Whether both sides have at least ten pairs."""
    return min(pairs.positives, pairs.negatives) >= MIN_POSITIVES


def _assemble(subset: str, truth: Truth, positive: Ints, negative: Ints, edges: int, non_edges: int) -> PairSet:
    keys = np.concatenate([positive, negative])
    is_edge = np.arange(keys.size) < positive.size
    weight = np.where(is_edge, edges / max(1, positive.size), non_edges / max(1, negative.size))
    return PairSet(subset, np.stack([keys // truth.num_nodes, keys % truth.num_nodes]), is_edge, weight)


def _non_edges(truth: Truth, count: int, rng: np.random.Generator) -> Ints:
    """`count` distinct uniform non-edges in random order, as keys; all of them when there are no more."""
    n, ends = truth.num_nodes, truth.ends
    every = truth.num_pairs - truth.keys.size
    if every <= 2 * count and n * n <= 50 * MAX_POSITIVES:  # nearly all: list them, at most 10^7
        u, v = np.triu_indices(n, 1)
        keys = (u * n + v).astype(np.int64)[truth.covers(np.stack([u, v]))]
        keys = keys[~contains(truth.keys, keys)]
        return keys if every <= count else np.asarray(rng.choice(keys, count, replace=False))

    def draw(size: int) -> Ints:
        u = rng.integers(0, n, size) if ends is None else rng.choice(ends, size)
        v = rng.integers(0, n - 1, size)
        v = v + (v >= u)
        return _keys_once(u, v, truth)

    return _distinct_non_edges(truth, draw, min(count, every))


def _intra_class_non_edges(truth: Truth, y: Ints, count: int, every: int, rng: np.random.Generator) -> Ints:
    """`count` distinct uniform non-edges inside classes, as keys."""
    n = truth.num_nodes
    order, sizes = np.argsort(y, kind="stable"), np.bincount(y)
    if every <= 2 * count:  # nearly all: list them class by class
        parts = []
        for ids in np.split(order, np.cumsum(sizes)[:-1]):
            a, b = np.triu_indices(ids.size, 1)
            parts.append(np.minimum(ids[a], ids[b]) * n + np.maximum(ids[a], ids[b]))
        keys = np.concatenate(parts).astype(np.int64)
        keys = keys[truth.covers(np.stack([keys // n, keys % n]))]
        keys = keys[~contains(truth.keys, keys)]
        return keys if every <= count else np.asarray(rng.choice(keys, count, replace=False))
    start = np.cumsum(sizes) - sizes
    by_class = sizes * (sizes - 1.0)
    place = np.argsort(order) - start[y]  # of each node in its class

    def draw(size: int) -> Ints:
        if truth.ends is None:
            c = rng.choice(sizes.size, size, p=by_class / by_class.sum())
            a = rng.integers(0, sizes[c])
        else:
            others = sizes[y[truth.ends]] - 1.0
            u = rng.choice(truth.ends, size, p=others / others.sum())
            c, a = y[u], place[u]
        b = rng.integers(0, np.maximum(sizes[c] - 1, 1))
        b = b + (b >= a)
        return _keys_once(order[start[c] + a], order[start[c] + b], truth)

    return _distinct_non_edges(truth, draw, count)


def _keys_once(u: Ints, v: Ints, truth: Truth) -> Ints:
    """Keys of pairs of which u was drawn among the ends; a pair of two ends, drawn either way, is kept one way."""
    keys = np.minimum(u, v) * truth.num_nodes + np.maximum(u, v)
    return keys if truth.ends is None else keys[(u < v) | ~np.isin(v, truth.ends)]


def _pairs_of_classes(truth: Truth, y: Ints) -> int:
    """Pairs of one class that the truth is about, edges or not."""
    sizes = np.bincount(y)
    others = sizes if truth.ends is None else sizes - np.bincount(y[truth.ends], minlength=sizes.size)
    every = sizes * (sizes - 1) // 2
    return int((every if truth.ends is None else every - others * (others - 1) // 2).sum())


def uniform_near(truth: Truth, count: int, rng: np.random.Generator) -> Ints:
    """Uniform pairs that a truth with ends is about, with replacement, int64 [2, about count]; edges are not read."""
    assert truth.ends is not None
    u, v = rng.choice(truth.ends, count), rng.integers(0, truth.num_nodes - 1, count)
    keys = _keys_once(u, v + (v >= u), truth)
    return np.stack([keys // truth.num_nodes, keys % truth.num_nodes])


def _distinct_non_edges(truth: Truth, draw: Callable[[int], Ints], count: int) -> Ints:
    """Rejection: draws keys until `count` distinct non-edges are there, in the order they came (a random order)."""
    found = np.empty(0, dtype=np.int64)
    while found.size < count:
        new = draw(int(1.2 * (count - found.size)) + 64)
        new = new[~contains(truth.keys, new)]
        merged = np.concatenate([found, new])
        _, first = np.unique(merged, return_index=True)
        found = merged[np.sort(first)]
    return found[:count]
