"""Intervals for rates, paired differences and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # the quantiles of scipy.stats, without the second that its import takes

Floats = NDArray[np.float64]
Z95 = float(ndtri(0.975))


def wilson(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a rate; `n` may be an effective sample size.

    Raises:
        ValueError: n <= 0, or successes outside [0, n].

    Source: Wilson 1927; Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", 2001.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a rate")
    z = float(ndtri(0.5 + confidence / 2))
    p, shrink = successes / n, 1 + z * z / n
    center = (p + z * z / (2 * n)) / shrink
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    # The rate itself is never left out by a rounding: of n successes in n the upper end is 1.
    return max(0.0, min(p, center - half)), min(1.0, max(p, center + half))


def agresti_min(
    both: float, only_first: float, only_second: float, neither: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the paired difference first − second of two rates: half a count is added to each cell.

    Never of zero width, even when nothing changed.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", 2005.
    """
    a, b, c, d = (count + 0.5 for count in (both, only_first, only_second, neither))
    n = a + b + c + d
    difference = (b - c) / n
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt(max(b + c - (b - c) ** 2 / n, 0.0)) / n
    return max(-1.0, difference - half), min(1.0, difference + half)


def paired_bootstrap(
    statistic: Callable[[Floats], float], n: int, *, rng: np.random.Generator, replicates: int = 1000
) -> tuple[float, float]:
    """Percentile interval of `statistic(weights [n])` over multinomial resamples of n items.

    The statistic sees weights, not indices: everything it computes from one call shares the resample.
    """
    values = np.array([statistic(rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64)) for _ in range(replicates)])
    lo, hi = np.quantile(values, (0.025, 0.975))
    return float(lo), float(hi)


def student_t(values: Sequence[float], *, choices: int = 1) -> tuple[float, float]:
    """T interval of the mean over independent retrainings; wider where the best of `choices` was taken (Bonferroni).

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("a t interval needs at least two values")
    array = np.asarray(values, dtype=np.float64)
    half = float(stdtrit(len(values) - 1, 1 - 0.025 / choices) * array.std(ddof=1) / math.sqrt(len(values)))
    mean = float(array.mean())
    return mean - half, mean + half


def join_seeds(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """(value, lo, hi) over seeds that share their items; the intervals' mean squared half-widths, and seeds on top.

    half = sqrt(mean of (v_j − lo_j)² + t² s² / k), with s the deviation of the k values and t Student's quantile at
    k − 1; likewise above. The data part is not divided by k: averaging it away is the common way to false precision.
    See docs/methods/intervals-and-seeds.md.
    """
    k = len(values)
    if k == 1:
        return values[0], *intervals[0]
    v = np.asarray(values, dtype=np.float64)
    t = float(stdtrit(k - 1, 0.975))
    seeds = t * t * float(v.var(ddof=1)) / k
    lo = np.array([v_j - bounds[0] for v_j, bounds in zip(v, intervals, strict=True)])
    hi = np.array([bounds[1] - v_j for v_j, bounds in zip(v, intervals, strict=True)])
    mean = float(v.mean())
    return mean, mean - math.sqrt(float((lo**2).mean()) + seeds), mean + math.sqrt(float((hi**2).mean()) + seeds)
