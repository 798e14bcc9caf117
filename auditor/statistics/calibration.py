"""Calibration and rejection: does the confidence of a classifier say how often it is right?

`confidence` is the largest posterior, float64 [n]; `correct` is 0 or 1, float64 [n]. Ties in confidence never depend
on the order of the items: inside a tie every item gets the tie's mean correctness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """The bin of each item, int64 [n] in [0, count)."""

    index: Ints
    count: int

    def sums(self, values: Floats) -> Floats:
        """Sum of `values` [n] in each bin, [count]."""
        return np.bincount(self.index, weights=values, minlength=self.count).astype(np.float64)


def equal_width_bins(confidence: Floats, count: int = BINS) -> Bins:
    """Bins (k/count, (k+1)/count] of the unit interval, the usual ones of the expected calibration error."""
    index = np.ceil(confidence * count).astype(np.int64) - 1
    return Bins(np.clip(index, 0, count - 1), count)


def equal_mass_bins(confidence: Floats, count: int = BINS) -> Bins:
    """Bins of as equal size as ties allow: an item's bin is read off its confidence's first rank."""
    order = np.sort(confidence)
    first = np.searchsorted(order, confidence, side="left")
    return Bins((first * count // max(len(confidence), 1)).astype(np.int64), count)


def ece(confidence: Floats, correct: Floats, bins: Bins) -> float:
    """Expected calibration error: sum over bins of |sum(confidence − correct)| / n, in [0, 1].

    Source: Naeini et al. 2015; Guo et al., "On calibration of modern neural networks", 2017 (15 bins).
    """
    return float(np.abs(bins.sums(confidence - correct)).sum() / len(confidence))


def sce(confidence: Floats, correct: Floats) -> float:
    """Signed calibration error, mean confidence − accuracy; above 0 is over-confident."""
    return float((confidence - correct).mean())


def ece_noise_floor(confidence: Floats, bins: Bins, *, rng: np.random.Generator, repeats: int = 200) -> float:
    """Mean ECE of a perfectly calibrated model with these confidences: correctness is redrawn from them."""
    totals = []
    for _ in range(repeats):
        drawn = (rng.random(len(confidence)) < confidence).astype(np.float64)
        totals.append(ece(confidence, drawn, bins))
    return float(np.mean(totals))


def brier(probabilities: Floats, y: Ints) -> float:
    """Mean squared distance between the posterior [n, C] and the one-hot label, in [0, 2]."""
    target = np.zeros_like(probabilities)
    target[np.arange(len(y)), y] = 1.0
    return float(((probabilities - target) ** 2).sum(axis=1).mean())


def negative_log_likelihood(log_probabilities: Floats, y: Ints) -> float:
    """Mean −log p(y), nats."""
    return float(-log_probabilities[np.arange(len(y)), y].mean())


def aurc(confidence: Floats, correct: Floats) -> float:
    """Area under the risk–coverage curve: mean error rate of the k most confident items, k = 1..n.

    Source: Geifman and El-Yaniv, "Selective classification for deep neural networks", 2017.
    """
    errors = np.cumsum(_errors_by_confidence(confidence, correct))
    return float((errors / np.arange(1, len(errors) + 1)).mean())


def prediction_rejection_ratio(confidence: Floats, correct: Floats) -> float | None:
    """PRR = (A_random − A_model) / (A_random − A_oracle) of the rejection curve; None without errors (or only errors).

    A is the area under (errors kept) / n against the share kept: 1 for a perfect order, 0 for a random one.

    Source: Malinin et al., "Ensemble distribution distillation", 2020 (appendix).
    """
    n, wrong = len(correct), float(len(correct) - correct.sum())
    if wrong in (0.0, float(n)):
        return None
    model = _kept_area(_errors_by_confidence(confidence, correct))
    oracle = _kept_area(np.sort(1.0 - correct))
    random = _kept_area(np.full(n, wrong / n))
    return (random - model) / (random - oracle)


def _kept_area(errors: Floats) -> float:
    """Trapezoid area under the cumulated errors, from nothing kept to everything kept."""
    kept = np.concatenate([[0.0], np.cumsum(errors)]) / len(errors)
    return float(((kept[1:] + kept[:-1]) / 2).mean())


def _errors_by_confidence(confidence: Floats, correct: Floats) -> Floats:
    """Errors from the most confident item down; inside a tie its mean error."""
    _, tie = np.unique(-confidence, return_inverse=True)
    size = np.bincount(tie)
    error = np.bincount(tie, weights=1.0 - correct) / size
    return np.repeat(error, size).astype(np.float64)
