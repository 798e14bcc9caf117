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
from numpy.typing import NDArray
from scipy import stats

from auditor.statistics.ranking import Bools, Curve, Floats, Ranking

Metric = Callable[[Curve], float]
Memo = MutableMapping[bytes, tuple[Floats, Floats, Floats]]
"""By what a column of replicates depends on: its values [K], node replicates [J, K], pair replicates [J', K]."""
Z = 1.96
# Poisson(1) at 65,536 equally likely quantiles: twenty times faster than drawing, moments right to 1e-4.
POISSON: Floats = stats.poisson.ppf((np.arange(2**16) + 0.5) / 2**16, 1.0)


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
    return Z * float(stats.norm.ppf(1 - 0.025 / choices) / stats.norm.ppf(0.975)) if choices > 1 else Z


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
        inclusion: b, [P], inverse inclusion weight of each sampled pair.
        scores: S arrays [P]; the first is the attack's by habit.
        metrics: functions of a weighted ROC curve.
        num_nodes: N; nodes are drawn from Multinomial(N; 1/N).
        rng: two calls with generators in the same state draw the same node multiplicities, so that pair sets of one
            graph share their replicates.
        node_replicates: J.
        pair_replicates: J'.
        memo: columns of scores that were measured before on the same pairs, metrics and draws: the controls of a
            comparison are the same for every arm. Is filled.

    One vector of multiplicities exists at a time: nothing of size J × N or J × P is allocated.
    """
    keys: list[bytes] = []
    if memo is not None:
        word = _word(rng, (num_nodes, node_replicates, pair_replicates), metrics, pairs, positive, inclusion)
        keys = [word + hashlib.sha256(np.ascontiguousarray(score).tobytes()).digest() for score in scores]
    new = [s for s in range(len(scores)) if memo is None or keys[s] not in memo]
    rankings = [Ranking(scores[s], positive) for s in new]
    places = (np.flatnonzero(positive), np.flatnonzero(~positive))
    sides = [(pairs[0, at], pairs[1, at], inclusion[at]) for at in places]
    node = np.empty((node_replicates, len(metrics), len(new)))
    pair = np.empty((pair_replicates, len(metrics), len(new)))
    for j in range(node_replicates):
        times = np.bincount(rng.integers(0, num_nodes, num_nodes), minlength=num_nodes).astype(np.float64)
        _measure(rankings, metrics, [b * times[u] * times[v] for u, v, b in sides], node[j])
    for j in range(pair_replicates):
        draws = [rng.integers(0, POISSON.shape[0], b.shape[0], dtype=np.uint16) for _, _, b in sides]
        _measure(rankings, metrics, [b * POISSON[d] for (_, _, b), d in zip(sides, draws, strict=True)], pair[j])
    value = np.empty((len(metrics), len(new)))
    _measure(rankings, metrics, [b for _, _, b in sides], value)
    if memo is None:
        return Replicates(value, node, pair)
    for place, s in enumerate(new):
        memo[keys[s]] = value[..., place].copy(), node[..., place].copy(), pair[..., place].copy()
    stacked = [np.stack([memo[key][part] for key in keys], axis=-1) for part in range(3)]
    return Replicates(*stacked)


def _word(
    rng: np.random.Generator, sizes: tuple[int, ...], metrics: Sequence[Metric], *arrays: NDArray[np.generic]
) -> bytes:
    """Sha256 of everything that a column depends on but its score: draws, metrics, pairs."""
    sha = hashlib.sha256(repr((rng.bit_generator.state, sizes, list(metrics))).encode())
    for array in arrays:
        sha.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return sha.digest()


def _measure(rankings: list[Ranking], metrics: Sequence[Metric], weights: list[Floats], out: Floats) -> None:
    for s, ranking in enumerate(rankings):
        curve = ranking.curve_of(weights[0], weights[1])
        for k, metric in enumerate(metrics):
            out[k, s] = metric(curve)
