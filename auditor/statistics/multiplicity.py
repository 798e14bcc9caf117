"""Holm's correction and the bootstrap p-value it is fed with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given: reject at level a where the adjusted value is <= a.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]


def holm_levels(p_values: Sequence[float], level: float = 0.05) -> list[float]:
    """The level at which each comparison's own interval may be read, in the order given.

    Step by step from the smallest p value: level / m, level / (m − 1), …. One that is not significant at its step stops
    the procedure: it and all less significant ones are read at that level.

    Source: as `holm`.
    """
    m, levels = len(p_values), [level] * len(p_values)
    stopped = 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        step = stopped or level / (m - rank)
        if p_values[i] > step:
            stopped = step
        levels[i] = step
    return levels


def bootstrap_p(replicates: NDArray[np.float64], threshold: float) -> float:
    """One-sided p of "the true value is at most `threshold`": (1 + #{replicate <= threshold}) / (B + 1)."""
    return float((1 + (replicates <= threshold).sum()) / (len(replicates) + 1))


def replicates_for(gates: int) -> int:
    """B = max(1000, 80 m): with fewer, no p-value of m gates could survive Holm at .025."""
    return max(1000, 80 * gates)
