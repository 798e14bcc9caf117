"""Worst-group accuracy against the winner's curse: the worst of many groups is low by chance alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from auditor.statistics.clustered import effective_items, effective_wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PARTITIONS = 200


@dataclass(frozen=True, slots=True, eq=False)
class WorstGroup:
    """The worst of S groups and what chance gives.

    Attributes:
        index: which group it is.
        value: its accuracy.
        bounds: Wilson's interval at n / deff and level 1 − .05 / S.
        lowest: the least lower end of such an interval over all S groups: they hold together, so that no group is
            worse than this.
        by_items: median worst group of random partitions with the same sizes, items assigned one by one.
        by_blocks: that median when whole blocks are, None where blocks are not modelled.
        p: share of random partitions whose worst group is at most as good, (1 + #) / (R + 1), the larger of both kinds.
        items: independent items of every group, n / deff, [S].
        confidence: level of the intervals, 1 − .05 / S.
    """

    index: int
    value: float
    bounds: tuple[float, float]
    lowest: float
    by_items: float
    by_blocks: float | None
    p: float
    items: Floats
    confidence: float

    @property
    def chance(self) -> float:
        """What the worst of random groups has: the lower of the two medians."""
        return self.by_items if self.by_blocks is None else min(self.by_items, self.by_blocks)

    @property
    def detectable(self) -> float:
        """Least fall below `chance` at which the interval of every group lies below it: what is less may go unseen.

        The upper end of Wilson's interval is c at p = c − z √(c (1 − c) / n). The group with the fewest independent
        items sees least.
        """
        z = float(ndtri(0.5 + self.confidence / 2))
        return z * math.sqrt(max(self.chance * (1 - self.chance), 0.0) / float(self.items.min()))


def worst_group(
    correct: Floats,
    partitions: list[list[NDArray[np.bool_]]],
    blocks: Ints | None,
    *,
    items_as_blocks: Ints,
    rng: np.random.Generator,
    repeats: int = PARTITIONS,
) -> WorstGroup:
    """The worst group over all `partitions` of n items, against random partitions of the same sizes.

    Args:
        correct: 0 or 1, [n].
        partitions: for each property the groups it cuts the items into, bool [n] each.
        blocks: block of each item; None: no partition into whole blocks (graph task, or too few blocks).
        items_as_blocks: blocks for the design effect, [n].
        rng: of the random partitions.
        repeats: R.

    Items one by one: correctness is permuted over the items, which keeps every overlap between properties. Whole
    blocks: blocks in random order are filled into groups of the given sizes, for each property anew.
    """
    groups = [group for partition in partitions for group in partition]
    means = np.array([correct[group].mean() for group in groups])
    index = int(means.argmin())
    confidence = 1 - 0.05 / len(groups)
    intervals = [effective_wilson(correct[own], items_as_blocks[own], confidence=confidence) for own in groups]
    members = np.stack(groups, axis=1).astype(np.float64)
    members /= members.sum(axis=0)
    shuffled = rng.permuted(np.tile(correct, (repeats, 1)), axis=1)
    by_items = (shuffled @ members).min(axis=1)
    nulls = [by_items]
    if blocks is not None:
        sizes = [np.array([int(group.sum()) for group in partition]) for partition in partitions]
        nulls.append(np.array([_worst_of_blocks(correct, sizes, blocks, rng) for _ in range(repeats)]))
    medians = [float(np.median(null)) for null in nulls]
    value = float(means[index])
    return WorstGroup(
        index=index,
        value=value,
        bounds=intervals[index],
        lowest=min(lo for lo, _ in intervals),
        by_items=medians[0],
        by_blocks=medians[1] if blocks is not None else None,
        p=max(float((1 + (null <= value + 1e-12).sum()) / (repeats + 1)) for null in nulls),
        items=np.array([effective_items(correct[own], items_as_blocks[own]) for own in groups]),
        confidence=confidence,
    )


def _worst_of_blocks(correct: Floats, sizes: list[Ints], blocks: Ints, rng: np.random.Generator) -> float:
    count = int(blocks.max()) + 1
    worst = 1.0
    for partition in sizes:
        order = np.argsort(rng.permutation(count)[blocks], kind="stable")
        turn = rng.permutation(len(partition))
        ends = np.cumsum(partition[turn])
        # Items outside every group (none for our properties) are what is left at the end.
        sums = np.add.reduceat(correct[order][: ends[-1]], ends - partition[turn])
        worst = min(worst, float((sums / partition[turn]).min()))
    return worst
