"""Which of the positives a score finds that another one does not: by how many fewer negatives are named before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.statistics.ranking import Bools, Floats, Ints

CHANCE = 0.5
"""Share of the negatives that are named before any one positive where everything is named in a random order."""


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Positives by how much sooner one score names them than the other, the largest ratio first.

    Attributes:
        places: of the positives among all items, [k].
        own, other: share of the negatives that each score names before them, [k].
    """

    places: Ints
    own: Floats
    other: Floats


def most_exposed(own: Sequence[Floats], other: Sequence[Floats] | None, positive: Bools, count: int) -> Exposure:
    """The `count` positives of the largest ratio f_other / f_own; those that `own` names no sooner are left out.

    f is the share of the negatives that are named before a positive, half of those level with it counted. It is the
    false-positive rate at which the positive is found. Half a negative is added to both, so that the ratio is finite:
    of two positives that no negative is named before, the one that the other score names later is more exposed.

    Args:
        own: scores of all items for each draw, [n]; f is the mean over draws.
        other: likewise; None for chance.
        positive: bool [n].
        count: how many.
    """
    places = np.flatnonzero(positive)
    mine = _before(own, positive)
    theirs = np.full(places.shape, CHANCE) if other is None else _before(other, positive)
    half = 0.5 / int((~positive).sum())
    ratio = (theirs + half) / (mine + half)
    order = np.lexsort((places, -ratio))[:count]  # of equal ones the first in the data
    kept = order[ratio[order] > 1]
    return Exposure(places[kept], mine[kept], theirs[kept])


def _before(draws: Sequence[Floats], positive: Bools) -> Floats:
    """Share of the negatives that are named before each positive, [positives]."""
    found = []
    for score in draws:
        negative = np.sort(score[~positive])
        below, upto = (np.searchsorted(negative, score[positive], side=side) for side in ("left", "right"))
        found.append(1 - (below + upto) / (2 * negative.size))
    return np.asarray(np.mean(found, axis=0))
