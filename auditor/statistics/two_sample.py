"""Do two samples come from one distribution? Kolmogorov–Smirnov with a permutation p-value, and a rank sum by stratum.

Ties are allowed in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.statistics.ranking import mid_ranks

Floats = NDArray[np.float64]


def ks_distance(first: Floats, second: Floats) -> float:
    """Largest distance between the two empirical distribution functions, in [0, 1]; infinities are values."""
    order, last = _pooled(first, second)
    return float(_distance(order < len(first), last))


def ks_permutation_p(first: Floats, second: Floats, *, rng: np.random.Generator, repeats: int = 200) -> float:
    """Share of random relabellings at least as far apart, (1 + #) / (repeats + 1): exact whatever the ties."""
    order, last = _pooled(first, second)
    member = order < len(first)
    seen = _distance(member, last)
    hits = sum(_distance(rng.permutation(member), last) >= seen - 1e-12 for _ in range(repeats))
    return (1 + hits) / (repeats + 1)


def rank_sum_z(
    first: Floats, second: Floats, strata_first: NDArray[np.int64], strata_second: NDArray[np.int64]
) -> float:
    """How far `second` lies above `first` inside the strata, in standard deviations of the rank sum under equality.

    Average ranks, variance corrected for ties; 0 where nothing can be compared. Source: van Elteren, 1960, with equal
    weights (the sum of Wilcoxon's statistics over the strata).
    """
    excess, variance = 0.0, 0.0
    for stratum in np.intersect1d(strata_first, strata_second):
        a, b = first[strata_first == stratum], second[strata_second == stratum]
        ranks = mid_ranks(np.concatenate([a, b]))
        n, m, total = len(a), len(b), len(a) + len(b)
        excess += ranks[n:].sum() - m * (total + 1) / 2
        ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
        variance += n * m / 12 * ((total + 1) - (ties**3 - ties).sum() / (total * (total - 1)))
    return float(excess / np.sqrt(variance)) if variance > 0 else 0.0


def _pooled(first: Floats, second: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Order of the pooled values, and where a run of ties ends."""
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.append(ordered[1:] != ordered[:-1], True)


def _distance(member: NDArray[np.bool_], last: NDArray[np.bool_]) -> float:
    first = np.cumsum(member) / member.sum()
    second = np.cumsum(~member) / (~member).sum()
    return float(np.abs(first - second)[last].max())
