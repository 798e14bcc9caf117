"""Shares of right items with their intervals, and the paired difference of two on the same items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.statistics.estimate import Estimate
from auditor.statistics.intervals import agresti_min, wilson

Bools = NDArray[np.bool_]


def share(right: Bools) -> Estimate:
    """Share of right items with Wilson's interval; no number without items."""
    if not len(right):
        return Estimate(value=None)
    lo, hi = wilson(float(right.sum()), len(right))
    return Estimate(value=float(right.mean()), lo=lo, hi=hi, n=len(right))


def paired(own: Bools, other: Bools) -> Estimate:
    """Own − other in the share of right items, with Agresti and Min's interval; no number without items."""
    if not len(own):
        return Estimate(value=None)
    n, gained = len(own), float(own.mean() - other.mean())
    both, only_own, only_other = (float(at.sum()) for at in (own & other, own & ~other, other & ~own))
    lo, hi = agresti_min(both, only_own, only_other, n - both - only_own - only_other)
    return Estimate(value=gained, lo=min(lo, gained), hi=max(hi, gained), n=n)
