"""Ranking metrics of a weighted binary problem, with ties counted as their expectation under random order.

One object serves them all: `Ranking` sorts a score once, `Ranking.curve(weights)` is the weighted ROC curve, and each
metric is a function of a curve. A bootstrap replicate is then a new set of weights, never a new sort; replicates whose
weights are whole numbers are added up several at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
EXACT = 2**24  # float32 holds every whole number below


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Cumulative weights from the largest score down, at the corners of the ROC curve; or those of many weightings.

    Attributes:
        fp: weight of the negatives so far, [..., K], from 0 to their total.
        tp: weight of the positives so far, [..., K], from 0 to their total.

    Between two corners the curve is straight: there lies a tie block, or a run of negatives between two positives.
    """

    fp: Floats
    tp: Floats

    @property
    def is_defined(self) -> Bools:
        """Whether both classes have weight, [...]."""
        return np.asarray((self.fp[..., -1] > 0) & (self.tp[..., -1] > 0))


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

    __slots__ = ("_negative", "_negatives", "_positive", "_positives")

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
        key, other = -values[self._positive], -values[self._negative]  # ascending keys are descending scores
        distinct, count = np.unique(key, return_counts=True)
        ends = np.zeros(2 * distinct.shape[0] + 1, dtype=np.int64)  # bin 2 i + 1 holds the i-th value, others none
        ends[1::2] = count
        self._positives = _Side(np.argsort(key), np.cumsum(ends))
        order = np.argsort(other)
        ends = np.full(2 * distinct.shape[0] + 1, order.shape[0])  # even bins: runs between positives, odd: tie blocks
        ends[0:-1:2] = np.searchsorted(other[order], distinct, side="left")
        ends[1::2] = np.searchsorted(other[order], distinct, side="right")
        self._negatives = _Side(order, ends)

    def curve(self, weights: Floats | None = None) -> Curve:
        """The weighted ROC curve; `weights` [P] in the order of the scores, None for 1 each."""
        if weights is None:
            positive, negative = None, None
        else:
            positive, negative = weights[self._positive], weights[self._negative]
        return self.curve_of(positive, negative)

    def curve_of(self, positive: Floats | None, negative: Floats | None) -> Curve:
        """The same from the weights of the positives and of the negatives, each in their own order."""
        return Curve(_corners(self._negatives.sums(negative)), _corners(self._positives.sums(positive)))

    def curves_of(self, positive: Tensor, negative: Tensor) -> Curve:
        """Curves of J weightings by whole numbers, float32 [positives, J] and [negatives, J]; exact."""
        return Curve(self._negatives.running_counts(negative), self._positives.running_counts(positive))


class _Side:
    """Items of one class from the largest score down, in bins.

    Args:
        order: the items, int64 [n].
        ends: place behind the last item of each bin, int64 [bins].
    """

    __slots__ = ("_bin", "_ends", "_order", "_starts")

    def __init__(self, order: Ints, ends: Ints) -> None:
        self._ends = ends
        self._bin: Ints = np.empty(order.shape[0], dtype=np.intp)
        self._bin[order] = np.repeat(np.arange(ends.shape[0]), np.diff(ends, prepend=0))
        self._order = torch.from_numpy(order.astype(np.int32))  # half the memory to read of int64
        self._starts = torch.from_numpy(np.concatenate([[0], ends[:-1]]).astype(np.int32))

    def sums(self, weights: Floats | None) -> Floats:
        """Weight of each bin, [bins]; of 1 each where there are none."""
        return np.bincount(self._bin, weights, self._ends.shape[0]).astype(np.float64)

    def running_counts(self, weights: Tensor) -> Floats:
        """Weight up to each bin of J weightings by whole numbers, float32 [n, J] -> float64 [J, 1 + bins].

        float32 holds whole numbers up to 2^24; a bin that has more is added up again in float64.
        """
        sums = embedding_bag(self._order, weights, self._starts, mode="sum")
        if float(sums.max()) >= EXACT:
            sums = embedding_bag(self._order, weights.double(), self._starts, mode="sum")
        corners = torch.zeros(sums.shape[1], 1 + sums.shape[0], dtype=torch.float64)
        corners[:, 1:] = sums.T
        found: Floats = corners.cumsum_(dim=1).numpy()
        return found


def _corners(sums: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(sums)])


def auc(curve: Curve) -> Floats:
    """Area under the ROC curve, [...]; a tie counts one half. NaN when a class has no weight."""
    # Sums, not np.dot: BLAS would wake its threads for each of thousands of short vectors.
    area = ((curve.fp[..., 1:] - curve.fp[..., :-1]) * (curve.tp[..., 1:] + curve.tp[..., :-1])).sum(axis=-1) / 2
    return _where_defined(curve, area, curve.fp[..., -1] * curve.tp[..., -1])


def tpr_at(curve: Curve, fpr: float) -> Floats:
    """True-positive rate at a false-positive rate in (0, 1], linear inside a tie block, [...].

    The strict rule (only thresholds that stay below `fpr`) gives 0 to every score with ties at the top, such as
    `y_u = y_v`: a weak control, and a leak that is not there.
    """
    # At a vertical step the upper end counts: those positives cost no false positive.
    reached = _at(fpr * curve.fp[..., -1], curve.fp, curve.tp)
    return np.minimum(_where_defined(curve, reached, curve.tp[..., -1]), 1.0)


def tpr_points(curve: Curve, fprs: Floats) -> Floats:
    """`tpr_at` of one curve for many rates, [R]."""
    return np.array([tpr_at(curve, fpr) for fpr in fprs])


def average_precision(curve: Curve) -> Floats:
    """Average precision, [...]: sum of (recall step) · (precision after the tie block), as scikit-learn computes it."""
    step = curve.tp[..., 1:] - curve.tp[..., :-1]
    predicted = curve.tp[..., 1:] + curve.fp[..., 1:]
    precision = np.divide(curve.tp[..., 1:], predicted, out=np.zeros_like(predicted), where=predicted > 0)
    return _where_defined(curve, (step * precision).sum(axis=-1), curve.tp[..., -1])


def precision_at_positives(curve: Curve) -> Floats:
    """Precision among as many top items, by weight, as there are positives, [...]; linear inside a tie block."""
    total = curve.tp[..., -1]
    return _where_defined(curve, _at(total, curve.tp + curve.fp, curve.tp), total)


def _at(level: Floats, x: Floats, y: Floats) -> Floats:
    """Y [...] where the ascending x [..., K] reaches `level` [...], straight from corner to corner.

    Of equal corners the last one counts.
    """
    corners = zip(np.ravel(level), x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), strict=True)
    return np.reshape([_reached(*each) for each in corners], np.shape(level))


def _reached(level: float, x: Floats, y: Floats) -> float:
    at = max(int(x.searchsorted(level, side="right")) - 1, 0)
    after = min(at + 1, x.shape[0] - 1)
    width = x[after] - x[at]
    return float(y[at] + (level - x[at]) / width * (y[after] - y[at]) if width > 0 else y[at])


def _where_defined(curve: Curve, value: Floats, total: Floats) -> Floats:
    """Value / total; NaN where a class has no weight."""
    defined = curve.is_defined
    found: Floats = np.divide(value, total, out=np.full(defined.shape, np.nan), where=defined)
    return found[()]


def balanced(curve: Curve) -> Curve:
    """The same curve with the negatives weighed down (or up) to the weight of the positives."""
    return Curve(curve.fp * (curve.tp[-1] / curve.fp[-1]), curve.tp) if curve.is_defined else curve
