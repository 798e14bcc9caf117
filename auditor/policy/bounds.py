"""What every judgement asks of an interval: how wide it must be, how many seeds it needs, what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit  # not scipy.stats: a gate would wait for it longer than for all else

from auditor.document.codes import OpenInterval, Settle

ALPHA: Final = 0.025
"""One-sided level of a 95 % interval's end."""
SEEDS_FOR_A_CLAIM: Final = 5
"""Independent fits below which nothing is said of a defence."""
SEEDS_FOR_A_FIRM_CLAIM: Final = 10
"""Below this many a reweighting's word is an indication."""
MOST_ITEMS: Final = 1000
"""Times the items there are, beyond which more items are no way to settle anything."""
MOST_SEEDS: Final = 20
"""Seeds beyond which more of them are no way either."""


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
    factor = float(ndtri(tail) / ndtri(1 - ALPHA))
    before = after = 0.0
    if k := len(averaged):
        error = float(np.std(averaged, ddof=1)) / math.sqrt(k)
        before, after = (float(stdtrit(k - 1, q)) * error for q in (1 - ALPHA, tail))

    def stretch(half: float) -> float:
        data = math.sqrt(max(half * half - before * before, 0.0))
        return math.hypot(factor * data, after)

    return min(lo, value - stretch(value - lo)), max(hi, value + stretch(hi - value))


def settling(
    n: int,
    value: float,
    lo: float,
    hi: float,
    threshold: float,
    *,
    averaged: Sequence[float] = (),
    together: int = 1,
    detectable: float | None = None,
) -> tuple[Settle | OpenInterval, ...]:
    """What would settle an interval that holds its threshold, or one that is too blunt; nothing where neither is so.

    half² = data² + seeds². The part that comes from the data falls with the root of the number of items, the one that
    comes from k averaged seeds, t(k − 1) s / √k, with the seeds. Each is grown alone until the whole is shorter than
    the distance to the threshold; where the other part alone is longer, no number is enough. One seed has no part of
    its own: more of them never narrow the interval.

    Args:
        n: items behind the number.
        value: the number.
        lo: lower end of its interval.
        hi: upper end.
        threshold: T.
        averaged: the number at every seed that the mean was taken over; empty for one.
        together: numbers that the ends were widened for.
        detectable: least excess that the data could show; it falls with the root of the items, too.
    """
    half = (value - lo) if value >= threshold else (hi - value)
    distance = abs(value - threshold)
    if not math.isfinite(half):
        return (OpenInterval(),)
    k = len(averaged)
    error = float(np.std(averaged, ddof=1)) if k > 1 else 0.0

    def of_seeds(count: int) -> float:
        return float(stdtrit(count - 1, 1 - ALPHA / together)) ** 2 * error**2 / count if error else 0.0

    data = max(half**2 - of_seeds(k), 0.0)
    room = distance**2 - of_seeds(k)
    growth = data / room if room > 0 else math.inf
    seeds = next((s for s in range(k + 1, MOST_SEEDS + 1) if data + of_seeds(s) < distance**2), None) if error else None
    if detectable is not None and value < threshold and detectable > threshold:
        growth, seeds = max(growth, (detectable / threshold) ** 2 if threshold > 0 else math.inf), None
    if growth < 1:
        return ()
    items = None if growth > MOST_ITEMS else max(math.ceil(round(n * (growth - 1), 6)), 1)
    return (Settle(items=items, there=n, seeds=seeds),)
