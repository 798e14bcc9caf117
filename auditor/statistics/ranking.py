"""Ranking metrics of a weighted binary problem, with ties counted as their expectation under random order.

One object serves them all: `Ranking` sorts a score once, `Ranking.curve(weights)` is the weighted ROC curve, and each
metric is a function of a curve. A bootstrap replicate is then a new set of weights, never a new sort; replicates whose
weights are whole numbers are added up several at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
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
LARGEST = 255  # that a byte holds


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
        """Curves of J weightings by whole numbers, `counts` of the positives and of the negatives; exact."""
        return Curve(self._negatives.running_counts(negative), self._positives.running_counts(positive))


def counts(times: Tensor) -> Tensor:
    """Whole numbers [n, J] in the form that `Ranking.curves_of` adds up fastest.

    Returns:
        float32 [n, J] where a number is above 255. Else uint8 [n, J + 8]: of each row the numbers, then a factor of 1
        and an offset of 0 in float32, as torch's sums of quantised rows read them. A quarter of the memory is what
        makes them fast: rows are read in the order of the scores, which is none.
    """
    if times.numel() and int(times.max()) > LARGEST:
        return times.float()
    lanes = times.shape[1]
    rows = torch.zeros(times.shape[0], lanes + 8, dtype=torch.uint8)
    rows[:, :lanes] = times
    rows[:, lanes : lanes + 4] = torch.ones(1).view(torch.uint8)
    return rows


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

    def running_counts(self, rows: Tensor) -> Floats:
        """Weight up to each bin of J weightings, from their `counts`: float64 [J, 1 + bins].

        float32 holds whole numbers up to 2^24; where a total is larger, all is added up again in float64.
        """
        found = _running(self._sums_of(rows))
        if found[:, -1].max(initial=0.0) >= EXACT:
            found = _running(embedding_bag(self._order, _plain(rows).double(), self._starts, mode="sum"))
        return found

    def _sums_of(self, rows: Tensor) -> Tensor:
        """Weight of each bin, float32 [bins, J]."""
        if rows.dtype == torch.uint8:
            sums: Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(rows, self._order, self._starts)
            return sums
        return embedding_bag(self._order, rows, self._starts, mode="sum")


def _plain(rows: Tensor) -> Tensor:
    """The whole numbers behind `counts`, [n, J]."""
    return rows[:, :-8] if rows.dtype == torch.uint8 else rows


def _running(sums: Tensor) -> Floats:
    """Cumulative sums [J, 1 + bins] of [bins, J], from 0."""
    corners = torch.empty(sums.shape[1], 1 + sums.shape[0], dtype=torch.float64)
    corners[:, 0] = 0
    corners[:, 1:] = sums.T
    found: Floats = corners.cumsum_(dim=1).numpy()
    return found


def _corners(sums: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(sums)])


def mid_ranks(values: Floats) -> Floats:
    """Rank of each value from 1, equal ones at the mean of their ranks, [n]; infinities are values."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def auc(curve: Curve) -> Floats:
    """Area under the ROC curve, [...]; a tie counts one half. NaN when a class has no weight."""
    # einsum, not np.dot: BLAS would wake its threads for each of thousands of short vectors.
    step = np.diff(curve.fp)
    area = sum(np.einsum("...k,...k->...", step, side) for side in (curve.tp[..., 1:], curve.tp[..., :-1])) / 2
    return _where_defined(curve, area, curve.fp[..., -1] * curve.tp[..., -1])


def tpr_at(curve: Curve, fpr: float | Floats) -> Floats:
    """True-positive rate at a false-positive rate in (0, 1], linear inside a tie block, [...].

    Of many curves at one rate, or at one for each of them.

    The strict rule (only thresholds that stay below `fpr`) gives 0 to every score with ties at the top, such as
    `y_u = y_v`: a weak control, and a leak that is not there.
    """
    # At a vertical step the upper end counts: those positives cost no false positive.
    reached = _at(fpr * curve.fp[..., -1], (curve.fp,), curve.tp)
    return np.minimum(_where_defined(curve, reached, curve.tp[..., -1]), 1.0)


def tpr_points(curve: Curve, fprs: Floats) -> Floats:
    """`tpr_at` of one curve for many rates, [R]."""
    rows = (len(fprs), curve.fp.shape[-1])
    return tpr_at(Curve(np.broadcast_to(curve.fp, rows), np.broadcast_to(curve.tp, rows)), fprs)


def average_precision(curve: Curve) -> Floats:
    """Average precision, [...]: sum of (recall step) · (precision after the tie block), as scikit-learn computes it."""
    step = curve.tp[..., 1:] - curve.tp[..., :-1]
    predicted = curve.tp[..., 1:] + curve.fp[..., 1:]
    precision = np.divide(curve.tp[..., 1:], predicted, out=np.zeros_like(predicted), where=predicted > 0)
    return _where_defined(curve, (step * precision).sum(axis=-1), curve.tp[..., -1])


def precision_at_positives(curve: Curve) -> Floats:
    """Precision among as many top items, by weight, as there are positives, [...]; linear inside a tie block."""
    total = curve.tp[..., -1]
    return _where_defined(curve, _at(total, (curve.tp, curve.fp), curve.tp), total)


def _at(level: Floats, parts: Sequence[Floats], y: Floats) -> Floats:
    """Y [...] where the ascending sum of the parts [..., K] reaches `level` [...], straight from corner to corner.

    Of equal corners the last one counts. All rows are searched at once, by halving.
    """
    size = y.shape[-1]
    flat, sides, wanted = y.reshape(-1, size), [part.reshape(-1, size) for part in parts], np.ravel(level)
    row = np.arange(flat.shape[0])

    def x(place: Ints) -> Floats:
        return np.asarray(sum(side[row, place] for side in sides))

    at, beyond = np.zeros_like(row), np.full_like(row, size)
    for _ in range(size.bit_length()):
        middle = (at + beyond) // 2
        reached = x(middle) <= wanted
        at, beyond = np.where(reached, middle, at), np.where(reached, beyond, middle)
    after = np.minimum(at + 1, size - 1)
    start, width = x(at), x(after) - x(at)
    share = np.divide(wanted - start, width, out=np.zeros_like(width), where=width > 0)
    return np.reshape(flat[row, at] + share * (flat[row, after] - flat[row, at]), np.shape(level))


def _where_defined(curve: Curve, value: Floats, total: Floats) -> Floats:
    """Value / total; NaN where a class has no weight."""
    defined = curve.is_defined
    found: Floats = np.divide(value, total, out=np.full(defined.shape, np.nan), where=defined)
    return found[()]


def balanced(curve: Curve) -> Curve:
    """The same curve with the negatives weighed down (or up) to the weight of the positives."""
    return Curve(curve.fp * (curve.tp[-1] / curve.fp[-1]), curve.tp) if curve.is_defined else curve
