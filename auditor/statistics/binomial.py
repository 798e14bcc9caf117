"""The distribution of a sum of two independent binomial counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy


def binomial_sum(first: tuple[int, float], second: tuple[int, float]) -> NDArray[np.float64]:
    """P[X + Y = q] of X ~ Bin(n1, p1) and Y ~ Bin(n2, p2), for q = 0..n1 + n2.

    Args:
        first: n1 and p1.
        second: n2 and p2.
    """
    return np.convolve(_probabilities(*first), _probabilities(*second))


def _probabilities(n: int, p: float) -> NDArray[np.float64]:
    k = np.arange(n + 1)
    log_ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    found: NDArray[np.float64] = np.exp(log_ways + xlogy(k, p) + xlog1py(n - k, -p))
    return found
