"""Intervals for metrics of node pairs: the paired node bootstrap, corrected for counting pair noise three times.

Pairs that share a node are not independent, so nodes are resampled and a pair weighs the product of its nodes'
multiplicities. Products count the noise of single pairs three times; a second bootstrap over pairs measures that noise
and two of the three counts are taken off again: V = max(V_node − 2 V_pair, V_pair).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special  # not scipy.stats: every worker that starts would wait most of a second for it
from torch import Tensor

from auditor.statistics.ranking import Bools, Curve, Curves, Floats, Ranking, counts

Metric = Callable[[Curve | Curves], Floats]
Memo = MutableMapping[bytes, tuple[Floats, Floats, Floats]]
"""By what a column of replicates depends on: its values [K], node replicates [J, K], pair replicates [J', K]."""
Z = 1.96
LANES = 56  # replicates that are added up together: as many as fill a line of the cache with what belongs to them
MOST = 15  # times that a node may be drawn for the number of times of a pair to fit into a byte
# Poisson(1) at 65,536 equally likely quantiles: twenty times faster than drawing, moments right to 1e-4.
POISSON: Floats = np.searchsorted(special.pdtr(np.arange(20), 1.0), (np.arange(2**16) + 0.5) / 2**16).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Metrics of several scores on one set of pairs, and their replicates.

    Attributes:
        value: [K metrics, S scores], the estimates.
        node: [J, K, S], node replicates; every score of one replicate saw the same weights.
        pair: [J', K, S], pair replicates.
    """

    value: Floats
    node: Floats
    pair: Floats

    def estimate(self, metric: int, contrast: Floats) -> float:
        """Value of a linear combination of the scores' metrics; `contrast` [S]."""
        return float(self.value[metric] @ contrast)

    def variance(self, metric: int, contrast: Floats, transform: Callable[[Floats], Floats] | None = None) -> float:
        """V of that combination, after `transform`; NaN when fewer than 10 replicates are defined."""
        return self._variance(metric, lambda values: values @ contrast, transform)

    def _variance(
        self,
        metric: int,
        of: Callable[[Floats], Floats],
        transform: Callable[[Floats], Floats] | None = None,
    ) -> float:
        """V of a number that follows from the scores' metrics, [replicates, S] → [replicates]."""

        def spread(replicates: Floats) -> float:
            numbers = of(replicates[:, metric])
            numbers = numbers[np.isfinite(numbers)]
            if numbers.shape[0] < 10:
                return float("nan")
            return float(np.var(numbers if transform is None else transform(numbers), ddof=1))

        v_node, v_pair = spread(self.node), spread(self.pair)
        return max(v_node - 2 * v_pair, v_pair)

    def difference(self, metric: int, contrast: Floats, *, choices: int = 1) -> tuple[float, float, float]:
        """(value, lo, hi) of a difference of scores, clipped to [-1, 1]; `choices` as for `reach`."""
        value, half = self.estimate(metric, contrast), reach(choices) * math.sqrt(self.variance(metric, contrast))
        return value, max(-1.0, value - half), min(1.0, value + half)

    def errors_avoided(
        self, metric: int, own: Floats, other: Floats, *, least: float, choices: int = 1
    ) -> tuple[float, float, float]:
        """(value, lo, hi) of (a − c) / (1 − c), with a and c what two combinations of the scores reach.

        The share of the errors of `other` that `own` avoids is 1 less a ratio of error rates; its interval is symmetric
        on the logarithm of that ratio, so that it stays below 1. `least` is the smallest error rate that the items can
        tell from none, about 1 / (positives · negatives): there is no room above a control without errors.
        """

        def log_ratio(values: Floats) -> Floats:
            mine, theirs = (np.maximum(1 - values @ side, least) for side in (own, other))
            return np.asarray(np.log(mine / theirs))

        center = float(log_ratio(self.value[metric]))
        half = reach(choices) * math.sqrt(self._variance(metric, log_ratio))
        value, lo, hi = (1 - math.exp(center + sign * half) for sign in (0, 1, -1))
        return value, lo, hi

    def interval(
        self, metric: int, contrast: Floats, *, logit: bool, least: float = 1e-9, choices: int = 1
    ) -> tuple[float, float, float]:
        """(value, lo, hi) of a rate or an area in [0, 1]; `logit`: symmetric on the logit scale, as an AUC wants.

        `least` is the distance from 0 and 1 at which the logit is cut, about 1 / (positives · negatives); `choices` as
        for `reach`.
        """
        value = self.estimate(metric, contrast)
        if not logit:
            half = reach(choices) * math.sqrt(self.variance(metric, contrast))
            return value, max(0.0, value - half), min(1.0, value + half)

        def to_logit(p: Floats) -> Floats:
            q = np.clip(p, least, 1 - least)
            return np.asarray(np.log(q / (1 - q)))

        center = float(to_logit(np.array([value]))[0])
        half = reach(choices) * math.sqrt(self.variance(metric, contrast, to_logit))
        lo, hi = (1 / (1 + math.exp(-(center + sign * half))) for sign in (-1, 1))
        return value, min(lo, value), max(hi, value)


def reach(choices: int) -> float:
    """Half-width of a 95 % interval in standard deviations, where the best of `choices` scores was taken (Bonferroni).

    The sign of a score is such a choice.
    """
    return Z * float(special.ndtri(1 - 0.025 / choices) / special.ndtri(0.975)) if choices > 1 else Z


def node_bootstrap(
    pairs: NDArray[np.int64],
    positive: Bools,
    inclusion: Floats,
    scores: Sequence[Floats],
    metrics: Sequence[Metric],
    *,
    num_nodes: int,
    rng: np.random.Generator,
    node_replicates: int = 1000,
    pair_replicates: int = 200,
    memo: Memo | None = None,
) -> Replicates:
    """Metrics of every score and their node and pair replicates.

    Args:
        pairs: [2, P], the two nodes of each pair.
        positive: bool [P], both classes present.
        inclusion: b, [P], inverse inclusion weight of each sampled pair; one number for all pairs of a class.
        scores: S arrays [P]; the first is the attack's by habit.
        metrics: functions of a weighted ROC curve.
        num_nodes: N; nodes are drawn from Multinomial(N; 1/N).
        rng: two calls with generators in the same state draw the same node multiplicities, so that pair sets of one
            graph share their replicates.
        node_replicates: J.
        pair_replicates: J'.
        memo: columns of scores that were measured before on the same pairs, metrics and draws: the controls of a
            comparison are the same for every arm. Is filled.

    Raises:
        ValueError: pairs of one class stand for different numbers of pairs.

    A pair's weight is b times a whole number, so that whole numbers are added up, `LANES` replicates at a time and
    exactly: nothing of size J × N or J × P is allocated, and no order of summation is in the result.
    """
    keys: list[bytes] = []
    if memo is not None:
        word = _word(rng, (num_nodes, node_replicates, pair_replicates), metrics, pairs, positive, inclusion)
        keys = [word + hashlib.sha256(np.ascontiguousarray(score).tobytes()).digest() for score in scores]
    new = [s for s in range(len(scores)) if memo is None or keys[s] not in memo]
    sample = _Sample.of(pairs, positive, inclusion, num_nodes)
    rankings = [Ranking(scores[s], positive) for s in new]
    node = np.empty((node_replicates, len(metrics), len(new)))
    pair = np.empty((pair_replicates, len(metrics), len(new)))
    value = np.empty((1, len(metrics), len(new)))
    if new:
        for rows in _lanes(node):
            _measure(rankings, metrics, sample, sample.by_nodes(rows.shape[0], rng), rows)
        for rows in _lanes(pair):
            _measure(rankings, metrics, sample, sample.by_pairs(rows.shape[0], rng), rows)
        _measure(rankings, metrics, sample, sample.ones(), value)
    if memo is None:
        return Replicates(value[0], node, pair)
    for place, s in enumerate(new):
        memo[keys[s]] = value[0, :, place].copy(), node[..., place].copy(), pair[..., place].copy()
    stacked = [np.stack([memo[key][part] for key in keys], axis=-1) for part in range(3)]
    return Replicates(*stacked)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Pairs of one class after the other, the positives first.

    Attributes:
        ends: the two nodes of each pair, int64 [pairs] each.
        odds: what a positive stands for, in negatives.
        num_nodes: N.
    """

    ends: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    odds: float
    num_nodes: int

    @classmethod
    def of(cls, pairs: NDArray[np.int64], positive: Bools, inclusion: Floats, num_nodes: int) -> _Sample:
        first, second = (torch.from_numpy(pairs[:, side]) for side in (positive, ~positive))
        by_class = [inclusion[side] for side in (positive, ~positive)]
        if any((each != each[:1]).any() for each in by_class):
            raise ValueError("pairs of one class have different inclusion weights; expected one for each class")
        odds = float(by_class[0][0] / by_class[1][0])
        return cls(((first[0], first[1]), (second[0], second[1])), odds, num_nodes)

    def by_nodes(self, replicates: int, rng: np.random.Generator) -> list[Tensor]:
        """How often each pair is there when N nodes are drawn with replacement, `counts` of [pairs, replicates]."""
        n = self.num_nodes
        drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(replicates)], axis=1)
        times = torch.from_numpy(drawn.astype(np.uint8 if drawn.max() <= MOST else np.float32))
        return [counts(times.index_select(0, u).mul_(times.index_select(0, v))) for u, v in self.ends]

    def by_pairs(self, replicates: int, rng: np.random.Generator) -> list[Tensor]:
        """How often each pair is there when pairs are drawn, Poisson(1), `counts` of [pairs, replicates]."""
        sizes = [u.shape[0] for u, _ in self.ends]
        drawn = [
            [rng.integers(0, POISSON.shape[0], size, dtype=np.uint16) for size in sizes] for _ in range(replicates)
        ]
        times = POISSON.astype(np.uint8)
        return [counts(torch.from_numpy(times[np.stack(side, axis=1)])) for side in zip(*drawn, strict=True)]

    def ones(self) -> list[Tensor]:
        """Every pair once, `counts` of [pairs, 1]."""
        return [counts(torch.ones(u.shape[0], 1, dtype=torch.uint8)) for u, _ in self.ends]


def _lanes(rows: Floats) -> list[Floats]:
    """The rows in groups of `LANES`, as views."""
    return [rows[start : start + LANES] for start in range(0, rows.shape[0], LANES)]


def _word(
    rng: np.random.Generator, sizes: tuple[int, ...], metrics: Sequence[Metric], *arrays: NDArray[np.generic]
) -> bytes:
    """Sha256 of everything that a column depends on but its score: draws, metrics, pairs."""
    sha = hashlib.sha256(repr((rng.bit_generator.state, sizes, list(metrics))).encode())
    for array in arrays:
        sha.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return sha.digest()


def _measure(
    rankings: list[Ranking], metrics: Sequence[Metric], sample: _Sample, times: list[Tensor], out: Floats
) -> None:
    """Every metric of every score under each of J weightings, into `out` [J, metrics, scores].

    Negatives stay whole numbers: a rate of false alarms on a corner of the curve is never missed by rounding.
    """
    for s, ranking in enumerate(rankings):
        curves = ranking.curves_of(times[0], times[1], odds=sample.odds)
        for k, metric in enumerate(metrics):
            out[:, k, s] = metric(curves)
