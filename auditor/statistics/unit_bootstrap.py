"""Intervals for items of two kinds that are independent of each other: members and others are resampled apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.statistics.node_bootstrap import LANES, Metric, Replicates
from auditor.statistics.ranking import Bools, Floats, Ranking, counts

Times = NDArray[np.int64]
Measure = Callable[[Times], Floats]
"""Numbers [J, K metrics, S scores] of J resamples, from how often each item is in each of them, [n, J]."""


def unit_bootstrap(positive: Bools, measure: Measure, *, rng: np.random.Generator, replicates: int) -> Replicates:
    """What `measure` gives, and its replicates over resampled items; every score of one replicate has the same weights.

    Units are resampled, not pairs: there is no noise of single pairs to take off.

    Args:
        positive: bool [n]; each of the two kinds keeps its size in every replicate.
        measure: of all items and of each resample.
        rng: two calls with generators in the same state draw the same weights.
        replicates: of the items.
    """
    n = positive.shape[0]
    sides = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    value = measure(np.ones((n, 1), dtype=np.int64))[0]
    resampled = np.empty((replicates, *value.shape))
    for start in range(0, replicates, LANES):
        rows = resampled[start : start + LANES]
        times = np.zeros((n, rows.shape[0]), dtype=np.int64)
        for lane in range(rows.shape[0]):
            for side in sides:
                times[side, lane] = rng.multinomial(len(side), np.full(len(side), 1 / len(side)))
        rows[...] = measure(times)
    return Replicates(value, resampled, np.zeros((10, *value.shape)))


def ranked(scores: Sequence[Floats], positive: Bools, metrics: Sequence[Metric]) -> Measure:
    """Metrics of ROC curves of scores [n] each, as `unit_bootstrap` asks for them: exact, several resamples at once."""
    rankings = [Ranking(score, positive) for score in scores]

    def measure(times: Times) -> Floats:
        sides = [counts(torch.from_numpy(times[side])) for side in (positive, ~positive)]
        curves = [ranking.curves_of(*sides) for ranking in rankings]
        return np.stack([np.stack([metric(curve) for curve in curves], axis=-1) for metric in metrics], axis=1)

    return measure


def one_by_one(measure: Callable[[Floats], Floats]) -> Measure:
    """Numbers [K, S] of one resample, from a weight for each item, as `unit_bootstrap` asks for them."""
    return lambda times: np.stack([measure(weights) for weights in times.T.astype(np.float64)])
