"""Accuracy by other names, when the class mix moves: balanced accuracy, MCC, the prior-adjusted gap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def recalls(y: Ints, predicted: Ints, classes: int) -> Floats:
    """Recall of each class, [C]; NaN for a class absent from `y`. A prediction of −1 is always wrong."""
    present = np.bincount(y, minlength=classes).astype(np.float64)
    out: Floats = np.full(classes, np.nan)
    np.divide(np.bincount(y[y == predicted], minlength=classes), present, out=out, where=present > 0)
    return out


def priors(y: Ints, classes: int) -> Floats:
    """Share of each class, [C]."""
    return (np.bincount(y, minlength=classes) / len(y)).astype(np.float64)


def balanced_accuracy(y: Ints, predicted: Ints, classes: int) -> float:
    """Mean recall over the classes that are present."""
    return float(np.nanmean(recalls(y, predicted, classes)))


def matthews(y: Ints, predicted: Ints) -> float:
    """Matthews correlation coefficient (multi-class form of Gorodkin 2004); 0 where one side is all of one class.

    That of scikit-learn to the bit, without the second that its import takes every worker that starts.
    """
    labels, codes = np.unique(np.concatenate([y, predicted]), return_inverse=True)
    own, said = codes[: len(y)], codes[len(y) :]
    true, told = (np.bincount(part, minlength=len(labels)).astype(np.float64) for part in (own, said))
    n, right = float(len(y)), float((own == said).sum())
    spread = (n * n - told @ told) * (n * n - true @ true)
    return float((right * n - true @ told) / np.sqrt(spread)) if spread else 0.0


def prior_adjusted_gap(recalls_id: Floats, recalls_shift: Floats, priors_id: Floats) -> float:
    """What is left of a gap when the class mix is held fixed: sum_c prior_ID(c) (recall_ID(c) − recall_shift(c)).

    Over the classes present in both sets (recall not NaN); priors are renormalised over them.

    Raises:
        ValueError: no class is present in both.
    """
    both = ~(np.isnan(recalls_id) | np.isnan(recalls_shift)) & (priors_id > 0)
    if not both.any():
        raise ValueError("no class is present in both sets")
    weight = priors_id[both] / priors_id[both].sum()
    return float((weight * (recalls_id[both] - recalls_shift[both])).sum())
