"""How many test items would have a twin in train, had the same items been split at random?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


def twins_across(groups: Ids, is_train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which items are tested and have a member of their group in train, bool [n].

    Args:
        groups: int64 [n] from 0; equal for items that are the same.
        is_train: bool [n]; every other item is tested.
    """
    trained = np.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=np.bool_)
    trained[groups[is_train]] = True
    return trained[groups] & ~is_train if len(groups) else is_train.copy()


def resplit_totals(
    groups: Ids, is_train: NDArray[np.bool_], strata: Ids, weights: Floats, *, rng: np.random.Generator, draws: int
) -> Floats:
    """Sums of weights over the items of `twins_across(…)` in random splits, float64 [draws, k].

    Under a split that was drawn at random, or at random inside classes, the true sums are exchangeable with these,
    whatever the weights are, as long as they do not look at the split.

    Args:
        groups: int64 [n] from 0.
        is_train: bool [n].
        strata: int64 [n], the class of each item.
        weights: [n, k].
        rng: the only source of randomness.
        draws: how many splits.
    """
    shared = np.bincount(groups)[groups] > 1  # an item without a twin anywhere adds nothing, wherever it is
    kinds = np.unique(strata[shared])
    places = [np.flatnonzero(shared & (strata == kind)) for kind in kinds]
    sizes = [int((strata == kind).sum()) for kind in kinds]
    trained = [int(is_train[strata == kind].sum()) for kind in kinds]
    _, compact = np.unique(groups[shared], return_inverse=True)
    position = np.cumsum(shared) - 1
    drawn = np.zeros(int(shared.sum()), dtype=np.bool_)
    totals = np.zeros((draws, weights.shape[1]))
    for draw in range(draws if len(drawn) else 0):
        for place, size, train in zip(places, sizes, trained, strict=True):
            drawn[position[place]] = rng.choice(size, len(place), replace=False) < train
        totals[draw] = weights[shared][twins_across(compact, drawn)].sum(axis=0)
    return totals


def excess_p(seen: float, totals: Ids | Floats) -> float:
    """One-sided p of "no more than at random": (1 + #{draw >= seen}) / (draws + 1)."""
    return float((1 + (totals >= seen).sum()) / (len(totals) + 1))
