"""What every judgement asks of an interval: how wide it must be, how many seeds it needs, what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats

from auditor.document.codes import OpenInterval, Settle

ALPHA: Final = 0.025
"""One-sided level of a 95 % interval's end."""
SEEDS_FOR_A_CLAIM: Final = 5
"""Independent fits below which nothing is said of a defence."""
SEEDS_FOR_A_FIRM_CLAIM: Final = 10
"""Below this many a reweighting's word is an indication."""
MOST_ITEMS: Final = 1000
"""Times the items there are, beyond which more items are no way to settle anything."""


def has_spread(values: Sequence[float]) -> bool:
    """Whether an interval over seeds exists: two values at least, and not all equal (no width proves nothing)."""
    return len(values) > 1 and max(values) > min(values)


def widened(
    value: float, lo: float, hi: float, together: int, *, averaged: Sequence[float] = ()
) -> tuple[float, float]:
    """A 95 % interval stretched around its value so that `together` of them hold at once (Bonferroni).

    The part that comes from the data grows by z(1 − .025/m) / z(.975). The part that comes from the spread of k seeds
    is a Student quantile and grows by its own ratio: stretched by the normal one, 40 null numbers over three seeds
    that differ ten times as much as their items would explain raise a false alarm in 30 % of audits.
    """
    tail = 1 - ALPHA / together
    factor = float(stats.norm.ppf(tail) / stats.norm.ppf(1 - ALPHA))
    before = after = 0.0
    if k := len(averaged):
        error = float(np.std(averaged, ddof=1)) / math.sqrt(k)
        before, after = (float(stats.t.ppf(q, k - 1)) * error for q in (1 - ALPHA, tail))

    def stretch(half: float) -> float:
        data = math.sqrt(max(half * half - before * before, 0.0))
        return math.hypot(factor * data, after)

    return min(lo, value - stretch(value - lo)), max(hi, value + stretch(hi - value))


def settling(
    n: int, value: float, lo: float, hi: float, threshold: float, *, seeds: int | None
) -> tuple[Settle | OpenInterval, ...]:
    """What would settle an interval that holds its threshold; nothing where it does not.

    The half-width falls with the root of the number of items, so (half-width / distance)² times as many are needed.

    Args:
        n: items behind the number.
        value: the number.
        lo: lower end of its interval.
        hi: upper end.
        threshold: T.
        seeds: how many were run; None where seeds change nothing.
    """
    half = (value - lo) if value >= threshold else (hi - value)
    distance = abs(value - threshold)
    more_seeds = seeds is not None and seeds <= 2
    if not math.isfinite(half):
        return (OpenInterval(),)
    if distance == 0 or not math.isfinite(distance) or (half / distance) ** 2 > MOST_ITEMS:
        return (Settle(items=None, there=n, seeds=more_seeds),)
    needed = math.ceil(n * ((half / distance) ** 2 - 1))
    return () if needed <= 0 else (Settle(items=needed, there=n, seeds=more_seeds),)
