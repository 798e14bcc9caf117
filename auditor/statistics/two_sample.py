"""Do two samples come from one distribution? Kolmogorov–Smirnov with a permutation p-value (ties allowed)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
