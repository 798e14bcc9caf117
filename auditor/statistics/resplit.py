"""How many test items would have a twin in train, had the same items been split at random?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def twins_across(groups: Ids, is_train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which items are tested and have a member of their group in train, bool [n].

    Args:
        groups: int64 [n] from 0; equal for items that are the same.
        is_train: bool [n]; every other item is tested.
    """
    trained = np.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=np.bool_)
    trained[groups[is_train]] = True
    return trained[groups] & ~is_train if len(groups) else is_train.copy()


def resplit_counts(
    groups: Ids, is_train: NDArray[np.bool_], strata: Ids, *, rng: np.random.Generator, draws: int
) -> Ids:
    """`twins_across(…).sum()` of random splits with as many train and test items in each stratum, int64 [draws].

    Under a split that was drawn at random, or at random inside classes, the true count is exchangeable with these.

    Args:
        groups: int64 [n] from 0.
        is_train: bool [n].
        strata: int64 [n], the class of each item.
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
    counts = np.zeros(draws, dtype=np.int64)
    for draw in range(draws if len(drawn) else 0):
        for place, size, train in zip(places, sizes, trained, strict=True):
            drawn[position[place]] = rng.choice(size, len(place), replace=False) < train
        counts[draw] = twins_across(compact, drawn).sum()
    return counts


def excess_p(seen: int, counts: Ids) -> float:
    """One-sided p of "no more than at random": (1 + #{draw >= seen}) / (draws + 1)."""
    return float((1 + (counts >= seen).sum()) / (len(counts) + 1))
