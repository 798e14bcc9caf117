"""Items that share nothing with others: what a model does on each side, resampled apart, and how far the two lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditor.document import Estimate
from auditor.evaluate.shift.reference import Answers, within
from auditor.statistics import classification
from auditor.statistics.clustered import Resamples, accuracy_interval, design_effect, hull, percentile
from auditor.statistics.intervals import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Side:
    """Answers about n items, with resamples of their own.

    Attributes:
        y: labels, int64 [n].
        answers: of the model.
        resamples: of the same items.
        classes: C.
    """

    y: Ints
    answers: Answers
    resamples: Resamples
    classes: int

    @property
    def accuracy(self) -> Estimate:
        """Share of right answers."""
        correct = self.answers.correct
        return within(float(correct.mean()), accuracy_interval(correct, self.resamples), len(correct))

    @property
    def balanced(self) -> Estimate:
        """Mean recall over the classes that are there."""
        value = float(np.nanmean(self.recalls))
        with np.errstate(invalid="ignore"):
            replicates = np.nanmean(self.recall_replicates, axis=1)
        half = self.slack(np.where(np.isnan(self.recalls), 0, 1) / self.present)
        return within(value, _at_least(percentile(replicates), value, half, (0.0, 1.0)), len(self.y))

    @property
    def matthews(self) -> Estimate:
        """Matthews correlation coefficient; without an interval where every resample gives the same."""
        value = classification.matthews(self.y, self.answers.predicted)
        lo, hi = hull(percentile(self._matthews_replicates()), (value, value))
        return Estimate(value=value, n=len(self.y)) if lo == hi else within(value, (lo, hi), len(self.y))

    @cached_property
    def recalls(self) -> Floats:
        """Of each class, [C]; NaN for one that is not there."""
        return classification.recalls(self.y, self.answers.predicted, self.classes)

    @cached_property
    def priors(self) -> Floats:
        """Share of each class, [C]."""
        return classification.priors(self.y, self.classes)

    @property
    def present(self) -> int:
        """Classes that are there."""
        return int((self.priors > 0).sum())

    @cached_property
    def class_totals(self) -> Floats:
        """Resampled number of items of each class, [B, C]."""
        return self.resamples.totals(np.eye(self.classes)[self.y])

    @cached_property
    def recall_replicates(self) -> Floats:
        """Resampled recall of each class, [B, C]; NaN where none of it was drawn."""
        right = self.resamples.totals(np.eye(self.classes)[self.y] * self.answers.correct[:, None])
        out: Floats = np.full(right.shape, np.nan)
        np.divide(right, self.class_totals, out=out, where=self.class_totals > 0)
        return out

    def slack(self, weights: Floats) -> tuple[float, float]:
        """Least distances below and above a sum of recalls with these weights [C]: Wilson's at n / deff of each."""
        deff = design_effect(self.answers.correct - self.answers.correct.mean(), self.resamples.blocks)
        below = above = 0.0
        for c in np.flatnonzero((weights > 0) & (self.priors > 0)):
            n, recall = float((self.y == c).sum()) / deff, float(self.recalls[c])
            lo, hi = wilson(recall * n, n)
            below += (weights[c] * (recall - lo)) ** 2
            above += (weights[c] * (hi - recall)) ** 2
        return math.sqrt(below), math.sqrt(above)

    def _matthews_replicates(self) -> Floats:
        """The multi-class coefficient of every resample, from its table of labels and answers, [B]."""
        columns = self.classes + 1  # the last one for an answer that is no class
        answered = np.where(self.answers.predicted < 0, self.classes, self.answers.predicted)
        cells = self.classes * columns
        code = self.resamples.blocks * cells + self.y * columns + answered
        blocks = self.resamples.weights.shape[1]
        by_block = np.bincount(code, minlength=blocks * cells).reshape(blocks, cells).astype(np.float64)
        table = (self.resamples.weights @ by_block).reshape(-1, self.classes, columns)
        total, right = table.sum(axis=(1, 2)), np.trace(table[:, :, :-1], axis1=1, axis2=2)
        true, said = table.sum(axis=2), table.sum(axis=1)
        true = np.concatenate([true, np.zeros((len(true), 1))], axis=1)
        spread = (total**2 - (said**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1))
        out: Floats = np.zeros(len(total))
        np.divide(right * total - (true * said).sum(axis=1), np.sqrt(spread), out=out, where=spread > 0)
        return out


def apart(
    inside: Side, outside: Side, of: Callable[[Side], Estimate], replicates: Callable[[Side], Floats]
) -> Estimate:
    """Inside − outside in a number of both; wide enough for the ends of either (Newcombe's method 10).

    Args:
        inside: one side.
        outside: the other.
        of: the number of a side, with its interval.
        replicates: its resamples, [B].
    """
    first, second = of(inside), of(outside)
    assert first.value is not None
    assert second.value is not None
    value = first.value - second.value
    ends = [(each.value - each.lo, each.hi - each.value) for each in (first, second)]  # type: ignore[operator]
    floor = math.hypot(ends[0][0], ends[1][1]), math.hypot(ends[0][1], ends[1][0])
    bounds = percentile(replicates(inside) - replicates(outside))
    return within(value, _at_least(bounds, value, floor, (-1.0, 1.0)), len(outside.y))


def adjusted_gap(inside: Side, outside: Side) -> Estimate | None:
    """Inside − outside in recall at the class mix of the inside; None where they share no class."""
    try:
        value = classification.prior_adjusted_gap(inside.recalls, outside.recalls, inside.priors)
    except ValueError:
        return None
    shared = (inside.class_totals > 0) & (outside.class_totals > 0)
    weight = inside.class_totals * shared
    some = weight.sum(axis=1) > 0
    weight[some] /= weight[some].sum(axis=1, keepdims=True)
    difference = np.where(shared, inside.recall_replicates - outside.recall_replicates, 0.0)
    replicates = np.where(some, (weight * difference).sum(axis=1), np.nan)
    mix = np.where((inside.priors > 0) & (outside.priors > 0), inside.priors, 0.0)
    own, other = (side.slack(mix / mix.sum()) for side in (inside, outside))
    floor = math.hypot(own[0], other[1]), math.hypot(own[1], other[0])
    return within(value, _at_least(percentile(replicates), value, floor, (-1.0, 1.0)), len(outside.y))


def balanced_replicates(side: Side) -> Floats:
    """Mean recall of every resample, [B]."""
    found: Floats = np.nanmean(side.recall_replicates, axis=1)
    return found


def accuracy_replicates(side: Side) -> Floats:
    """Accuracy of every resample, [B]."""
    return side.resamples.means(side.answers.correct)


def _at_least(bounds: Bounds, value: float, slack: tuple[float, float], ends: Bounds) -> Bounds:
    """The interval, no nearer to the value than the slack on either side, inside the ends."""
    lo, hi = hull(bounds, (value - slack[0], value + slack[1]))
    return max(ends[0], lo), min(ends[1], hi)
