"""How good claims about a column are, beside each other on the same nodes and the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.data.sensitive import Kind
from auditor.document import Estimate
from auditor.statistics.grouped_ranking import GroupedRanking
from auditor.statistics.shares import paired, share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Reached = Callable[[Floats], Floats]
Z = 1.96


def claim(predicted: Floats, kind: Kind) -> Floats:
    """What is claimed of each node, [n]: a score for a binary column, a class, or a number."""
    return np.asarray(predicted.argmax(axis=1) if kind == "classes" else predicted[:, -1], dtype=np.float64)


def constant(values: Floats, kind: Kind, fold: Ints) -> Floats:
    """The claim of whoever looks at no node: the commonest class, or the mean, of the nodes outside its fold."""
    found = np.zeros(len(values))
    for k in np.unique(fold):
        told = values[fold != k]
        found[fold == k] = np.bincount(told.astype(np.int64)).argmax() if kind == "classes" else told.mean()
    return np.zeros(len(values)) if kind == "binary" else found


def compared(
    claims: Sequence[Floats], values: Floats, kind: Kind, fold: Ints, *, rng: np.random.Generator, replicates: int
) -> tuple[list[Estimate], list[Estimate]]:
    """What each claim reaches, and the first less each of the others, paired by node.

    Of a binary column the area under the ROC curve over pairs of one fold, since each fold has predictors of its own;
    of classes the share that is named; of numbers R², the share of their variance that is explained.

    Returns:
        as many estimates as claims, and one difference fewer.
    """
    if kind == "classes":
        right = [each == values for each in claims]
        return [share(each) for each in right], [paired(right[0], each) for each in right[1:]]
    n, reached = len(values), _areas(claims, values, fold) if kind == "binary" else _explained(claims, values)
    value, drawn = reached(np.ones(n)), np.empty((replicates, len(claims)))
    for j in range(replicates):
        drawn[j] = reached(rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64))

    def estimate(at: float, around: Floats, least: float, most: float) -> Estimate:
        half = Z * float(np.nanstd(around, ddof=1))
        return Estimate(value=at, lo=max(least, at - half), hi=min(most, at + half), n=n)

    # R² has no least value, nor has a difference of two.
    own, less = ((0.0, 1.0), (-1.0, 1.0)) if kind == "binary" else ((-np.inf, 1.0), (-np.inf, np.inf))
    single = [estimate(float(value[k]), drawn[:, k], *own) for k in range(len(claims))]
    apart = [estimate(float(value[0] - value[k]), drawn[:, 0] - drawn[:, k], *less) for k in range(1, len(claims))]
    return single, apart


def _areas(claims: Sequence[Floats], values: Floats, fold: Ints) -> Reached:
    ranked = [GroupedRanking(each, values > 0, fold) for each in claims]
    return lambda weights: np.array([each.auc(weights) for each in ranked])


def _explained(claims: Sequence[Floats], values: Floats) -> Reached:
    errors = np.stack([(values - each) ** 2 for each in claims])

    def reached(weights: Floats) -> Floats:
        mean = float(weights @ values / weights.sum())
        return np.asarray(1 - errors @ weights / float(weights @ (values - mean) ** 2))

    return reached
