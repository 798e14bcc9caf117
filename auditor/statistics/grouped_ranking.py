"""AUC over the pairs of one group each: what ranks items inside their group, whatever tells the groups apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.statistics.ranking import Floats, Ranking, auc


class GroupedRanking:
    """A score of n items in groups, sorted once; positives are compared with negatives of their own group only.

    Groups are stacked above one another, so that the plain AUC counts every pair of two groups one way for sure; those
    pairs are known from the groups' weights alone and are taken off again.

    Args:
        scores: [n], finite, larger = likelier positive.
        positive: bool [n].
        group: whole numbers [n].

    Raises:
        ValueError: as `Ranking`.
    """

    __slots__ = ("_count", "_group", "_positive", "_ranking")

    def __init__(self, scores: ArrayLike, positive: ArrayLike, group: ArrayLike) -> None:
        distinct, place = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
        names, index = np.unique(np.asarray(group), return_inverse=True)
        self._group: NDArray[np.intp] = index.reshape(-1)
        self._count = int(names.shape[0])
        self._positive: NDArray[np.bool_] = np.asarray(positive, dtype=np.bool_)
        self._ranking = Ranking(place.reshape(-1) + self._group * distinct.shape[0], self._positive)

    def auc(self, weights: Floats | None = None) -> float:
        """The weighted share of same-group pairs ranked right, ties one half; NaN when no such pair has weight."""
        given = np.ones(self._group.shape[0]) if weights is None else weights
        tp = np.bincount(self._group, given * self._positive, self._count)
        fp = np.bincount(self._group, given * ~self._positive, self._count)
        pairs = float((tp * fp).sum())
        if pairs == 0:
            return float("nan")
        right = float(auc(self._ranking.curve(weights))) * float(tp.sum() * fp.sum())
        below = np.concatenate([[0.0], np.cumsum(fp)[:-1]])
        return (right - float((tp * below).sum())) / pairs
