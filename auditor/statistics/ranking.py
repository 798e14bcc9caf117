"""Ranking metrics of a weighted binary problem, with ties counted as their expectation under random order.

One object serves them all: `Ranking` sorts a score once, `Ranking.curve(weights)` is the weighted ROC curve, and each
metric is a function of a curve. A bootstrap replicate is then a new set of weights, never a new sort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Cumulative weights from the largest score down, at the corners of the ROC curve.

    Attributes:
        fp: weight of the negatives so far, [K], from 0 to their total.
        tp: weight of the positives so far, [K], from 0 to their total.

    Between two corners the curve is straight: there lies a tie block, or a run of negatives between two positives.
    """

    fp: Floats
    tp: Floats

    @property
    def is_defined(self) -> bool:
        """Whether both classes have weight."""
        return bool(self.fp[-1] > 0 and self.tp[-1] > 0)


class Ranking:
    """One score of P items, sorted once.

    Negatives are binned between the distinct values of the positives: the ROC curve has no other corners, so that a
    curve costs one pass over the weights, whatever they are.

    Args:
        scores: [P], finite, larger = likelier positive.
        positive: bool [P].

    Raises:
        ValueError: shapes differ, a score is not finite, or one class is empty.
    """

    __slots__ = ("_bins", "_negative", "_negative_bin", "_positive", "_positive_bin")

    def __init__(self, scores: ArrayLike, positive: ArrayLike) -> None:
        values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
        if values.ndim != 1 or values.shape != truth.shape:
            raise ValueError(f"scores {values.shape} and truth {truth.shape} must be equal one-dimensional shapes")
        if not np.isfinite(values).all():
            raise ValueError("a score is not finite")
        if truth.all() or not truth.any():
            raise ValueError("both classes must be present")
        self._positive: Ints = np.flatnonzero(truth)
        self._negative: Ints = np.flatnonzero(~truth)
        distinct, place = np.unique(-values[self._positive], return_inverse=True)  # descending scores
        self._bins = 2 * distinct.shape[0] + 1
        self._positive_bin: Ints = 2 * place.reshape(-1).astype(np.intp) + 1
        key = -values[self._negative]
        left = np.searchsorted(distinct, key, side="left")
        tied = np.searchsorted(distinct, key, side="right") > left
        self._negative_bin: Ints = (2 * left + tied).astype(np.intp)  # even: a run between positives, odd: a tie block

    def curve(self, weights: Floats | None = None) -> Curve:
        """The weighted ROC curve; `weights` [P] in the order of the scores, None for 1 each."""
        if weights is None:
            positive, negative = None, None
        else:
            positive, negative = weights[self._positive], weights[self._negative]
        return self.curve_of(positive, negative)

    def curve_of(self, positive: Floats | None, negative: Floats | None) -> Curve:
        """The same from the weights of the positives and of the negatives, each in their own order."""
        corners = np.zeros((2, self._bins + 1))
        np.cumsum(np.bincount(self._negative_bin, negative, self._bins), out=corners[0, 1:])
        np.cumsum(np.bincount(self._positive_bin, positive, self._bins), out=corners[1, 1:])
        return Curve(corners[0], corners[1])


def auc(curve: Curve) -> float:
    """Area under the ROC curve; a tie counts one half. NaN when a class has no weight."""
    if not curve.is_defined:
        return float("nan")
    # Sums, not np.dot: BLAS would wake its threads for each of thousands of short vectors.
    area = float(((curve.fp[1:] - curve.fp[:-1]) * (curve.tp[1:] + curve.tp[:-1])).sum()) / 2
    return area / float(curve.fp[-1] * curve.tp[-1])


def tpr_at(curve: Curve, fpr: float) -> float:
    """True-positive rate at a false-positive rate in (0, 1], linear inside a tie block.

    The strict rule (only thresholds that stay below `fpr`) gives 0 to every score with ties at the top, such as
    `y_u = y_v`: a weak control, and a leak that is not there.
    """
    return float(tpr_points(curve, np.array([fpr]))[0])


def tpr_points(curve: Curve, fprs: Floats) -> Floats:
    """`tpr_at` for many rates, [K]."""
    if not curve.is_defined:
        return np.full(fprs.shape, np.nan)
    level = fprs * curve.fp[-1]
    # At a vertical step the upper end counts: those positives cost no false positive.
    at = np.minimum(np.searchsorted(curve.fp, level, side="right") - 1, curve.fp.shape[0] - 1)
    after = np.minimum(at + 1, curve.fp.shape[0] - 1)
    width = curve.fp[after] - curve.fp[at]
    share = np.divide(level - curve.fp[at], width, out=np.zeros_like(level), where=width > 0)
    points: Floats = (curve.tp[at] + share * (curve.tp[after] - curve.tp[at])) / curve.tp[-1]
    return np.minimum(points, 1.0)


def average_precision(curve: Curve) -> float:
    """Average precision: sum of (recall step) · (precision after the tie block), as scikit-learn computes it."""
    if not curve.is_defined:
        return float("nan")
    step = curve.tp[1:] - curve.tp[:-1]
    predicted = curve.tp[1:] + curve.fp[1:]
    precision = np.divide(curve.tp[1:], predicted, out=np.zeros_like(predicted), where=predicted > 0)
    return float((step * precision).sum() / curve.tp[-1])


def precision_at_positives(curve: Curve) -> float:
    """Precision among as many top items, by weight, as there are positives; linear inside a tie block."""
    if not curve.is_defined:
        return float("nan")
    total = float(curve.tp[-1])
    return float(np.interp(total, curve.tp + curve.fp, curve.tp)) / total


def balanced(curve: Curve) -> Curve:
    """The same curve with the negatives weighed down (or up) to the weight of the positives."""
    return Curve(curve.fp * (curve.tp[-1] / curve.fp[-1]), curve.tp) if curve.is_defined else curve
