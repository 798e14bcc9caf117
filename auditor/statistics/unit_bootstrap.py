"""Intervals for items of two kinds that are independent of each other: members and others are resampled apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from auditor.statistics.node_bootstrap import Metric, Replicates
from auditor.statistics.ranking import Bools, Floats, Ranking

Measure = Callable[[Floats], Floats]
"""Numbers [K metrics, S scores] from a weight for each item, [n]."""


def unit_bootstrap(positive: Bools, measure: Measure, *, rng: np.random.Generator, replicates: int) -> Replicates:
    """What `measure` gives, and its replicates over resampled items; every score of one replicate has the same weights.

    Units are resampled, not pairs: there is no noise of single pairs to take off.

    Args:
        positive: bool [n]; each of the two kinds keeps its size in every replicate.
        measure: of all items and of each resample.
        rng: two calls with generators in the same state draw the same weights.
        replicates: of the items.
    """
    sides = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    value = measure(np.ones(positive.shape[0]))
    resampled = np.empty((replicates, *value.shape))
    for j in range(replicates):
        weights = np.zeros(positive.shape[0])
        for side in sides:
            weights[side] = rng.multinomial(len(side), np.full(len(side), 1 / len(side)))
        resampled[j] = measure(weights)
    return Replicates(value, resampled, np.zeros((10, *value.shape)))


def ranked(scores: Sequence[Floats], positive: Bools, metrics: Sequence[Metric]) -> Measure:
    """Metrics of ROC curves of scores [n] each, as `unit_bootstrap` asks for them."""
    rankings = [Ranking(score, positive) for score in scores]

    def measure(weights: Floats) -> Floats:
        curves = [ranking.curve(weights) for ranking in rankings]
        return np.array([[metric(curve) for curve in curves] for metric in metrics])

    return measure
