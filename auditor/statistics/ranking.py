"""Ranking metrics of a weighted binary problem, with ties counted as their expectation under random order.

One object serves them all: `Ranking` sorts a score once, `Ranking.curve(weights)` is the weighted ROC curve, and each
metric is a function of a curve. A bootstrap replicate is then a new set of weights, never a new sort; replicates whose
weights are whole numbers are added up several at a time.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from auditor.statistics.curves import Bools, Curve, Curves, Cut, Floats, Ints, counts

__all__ = [
    "Bools",
    "Curve",
    "Curves",
    "Floats",
    "Ints",
    "Ranking",
    "auc",
    "average_precision",
    "balanced",
    "counts",
    "mid_ranks",
    "precision_at_positives",
    "tpr_at",
    "tpr_points",
]


class Ranking:
    """One score of P items, sorted once.

    Negatives are binned between the distinct values of the positives: the ROC curve has no other corners, so that a
    curve costs one pass over the weights, whatever they are. Of many weightings at once, see `Curves`, positives with
    no negative between them are one step.

    Args:
        scores: [P], finite, larger = likelier positive.
        positive: bool [P].

    Raises:
        ValueError: shapes differ, a score is not finite, or one class is empty.
    """

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
        order = np.argsort(other)
        above, until = (np.searchsorted(other[order], distinct, side=side) for side in ("left", "right"))
        # Bin 2 i + 1 holds the i-th value and what ties with it, bin 2 i the negatives between it and the one before.
        behind = np.repeat(np.cumsum(np.pad(count, (1, 0))), 2)[1:], np.full(2 * distinct.shape[0] + 1, order.shape[0])
        behind[1][0:-1:2], behind[1][1::2] = above, until
        self._orders, self._ends = (np.argsort(key), order), behind
        self._bins = [_bins(*side) for side in zip(self._orders, self._ends, strict=True)]

    def curve(self, weights: Floats | None = None) -> Curve:
        """The weighted ROC curve; `weights` [P] in the order of the scores, None for 1 each."""
        if weights is None:
            positive, negative = None, None
        else:
            positive, negative = weights[self._positive], weights[self._negative]
        return self.curve_of(positive, negative)

    def curve_of(self, positive: Floats | None, negative: Floats | None) -> Curve:
        """The same from the weights of the positives and of the negatives, each in their own order."""
        tp, fp = (
            np.bincount(bins, weights, ends.shape[0]).astype(np.float64)
            for bins, weights, ends in zip(self._bins, (positive, negative), self._ends, strict=True)
        )
        return Curve(_corners(fp), _corners(tp))

    def curves_of(self, positive: Tensor, negative: Tensor, *, odds: float = 1.0) -> Curves:
        """Curves of J weightings by whole numbers, `counts` of the positives and of the negatives; exact.

        A positive stands for as many items as `odds` says.
        """
        return Curves(self._runs, self._by_value, positive, negative, odds=odds)

    @cached_property
    def _runs(self) -> Cut:
        """Every run of positives with the run of negatives behind it, and every tie block."""
        sizes = [np.diff(ends, prepend=0) for ends in self._ends]
        held = np.flatnonzero(sizes[0] + sizes[1])
        has_positive, has_negative = (size[held] > 0 for size in sizes)
        tied = has_positive & has_negative
        # A step ends before a tie block, behind one, and where positives follow on negatives.
        last = np.append(tied[1:] | tied[:-1] | (has_negative[:-1] & has_positive[1:]), True)
        return self._cut(held[last], tied[last])

    @cached_property
    def _by_value(self) -> Cut:
        """Every value that a positive has, with the negatives from there up to the value before; then the rest."""
        bins = np.append(np.arange(1, self._ends[0].shape[0], 2), self._ends[0].shape[0] - 1)
        return self._cut(bins, np.zeros(bins.shape[0], dtype=np.bool_))

    def _cut(self, bins: Ints, tied: Bools) -> Cut:
        """Steps that end with these bins."""
        positive, negative = ((order, ends[bins]) for order, ends in zip(self._orders, self._ends, strict=True))
        return Cut.of(positive, negative, tied)


def _bins(order: Ints, ends: Ints) -> Ints:
    """The bin of each item, [n]; `ends`: the place behind the last item of each bin."""
    found = np.empty(order.shape[0], dtype=np.intp)
    found[order] = np.repeat(np.arange(ends.shape[0]), np.diff(ends, prepend=0))
    return found


def _corners(sums: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(sums)])


def mid_ranks(values: Floats) -> Floats:
    """Rank of each value from 1, equal ones at the mean of their ranks, [n]; infinities are values."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def auc(curve: Curve | Curves) -> Floats:
    """Area under the ROC curve, [...]; a tie counts one half. NaN when a class has no weight."""
    return _share(curve, curve.right(), curve.negatives * curve.positives)


def tpr_at(curve: Curve | Curves, fpr: float | Floats) -> Floats:
    """True-positive rate at a false-positive rate in (0, 1], linear inside a tie block, [...].

    Of many curves at one rate, or at one for each of them.

    The strict rule (only thresholds that stay below `fpr`) gives 0 to every score with ties at the top, such as
    `y_u = y_v`: a weak control, and a leak that is not there.
    """
    # At a vertical step the upper end counts: those positives cost no false positive.
    return np.minimum(_share(curve, curve.tp_where(fpr * curve.negatives), curve.positives), 1.0)


def tpr_points(curve: Curve, fprs: Floats) -> Floats:
    """`tpr_at` of one curve for many rates, [R]."""
    rows = (len(fprs), curve.fp.shape[-1])
    return tpr_at(Curve(np.broadcast_to(curve.fp, rows), np.broadcast_to(curve.tp, rows)), fprs)


def average_precision(curve: Curve | Curves) -> Floats:
    """Average precision, [...]: sum of (recall step) · (precision after the tie block), as scikit-learn computes it."""
    return _share(curve, curve.precisions(), curve.positives)


def precision_at_positives(curve: Curve | Curves) -> Floats:
    """Precision among as many top items, by weight, as there are positives, [...]; linear inside a tie block."""
    return _share(curve, curve.tp_where(curve.positives, counted=True), curve.positives)


def _share(curve: Curve | Curves, value: Floats, total: Floats) -> Floats:
    """Value / total; NaN where a class has no weight."""
    defined = np.asarray((curve.negatives > 0) & (curve.positives > 0))
    found: Floats = np.divide(value, total, out=np.full(defined.shape, np.nan), where=defined)
    return found[()]


def balanced(curve: Curve) -> Curve:
    """The same curve with the negatives weighed down (or up) to the weight of the positives."""
    defined = curve.negatives > 0 and curve.positives > 0
    return Curve(curve.fp * (curve.positives / curve.negatives), curve.tp) if defined else curve
