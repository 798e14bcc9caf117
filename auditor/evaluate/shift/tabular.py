"""What features alone tell: gradient boosted trees, which see no edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from auditor.evaluate.attribute.predictors import Known

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
LEAVES = (1, 5, 20)
"""Least items in a leaf that are tried: trees of 20 items a leaf cannot split a few dozen labels."""


def tabular_answers(x: NDArray[np.float32], y: Ints, train: Mask, val: Mask, *, seed: int) -> Ints:
    """The class that boosted trees give every item, int64 [n].

    They learn from the training items; of several sizes of leaves the best on the validation items is taken, as a
    recipe takes its checkpoint there, and without any the middle one. Of many columns trees see the leading directions.

    Args:
        x: features, [n, F].
        y: labels, read of training and validation items alone.
        train: what is learned from.
        val: what chooses.
        seed: of the directions and the trees.

    Source: Friedman, "Greedy function approximation: a gradient boosting machine", 2001 (scikit-learn's histograms).
    """
    columns = Known.of(x, np.zeros((len(y), 0)), seed=seed).trees()
    if columns.shape[1] == 0 or len(np.unique(y[train])) == 1:
        return np.full(len(y), int(np.bincount(y[train]).argmax()), dtype=np.int64)
    leaves = LEAVES if val.any() else LEAVES[1:2]
    made = [
        HistGradientBoostingClassifier(min_samples_leaf=leaf, random_state=seed, early_stopping=False)
        .fit(columns[train], y[train])
        .predict(columns)
        .astype(np.int64)
        for leaf in leaves
    ]
    right = [float((answers[val] == y[val]).mean()) if val.any() else 0.0 for answers in made]
    best: Ints = made[int(np.argmax(right))]
    return best
