"""What a vote over noisy copies proves: sparsity-aware randomised smoothing of bits, here of the edges of a graph.

Noise turns an absent edge into an edge with p+ and an edge into none with p−. Let x and x~ differ in r_a bits that are
0 in x (additions) and r_d that are 1 (deletions), and q count those of them at which a noisy copy is as x~ is. Then
q ~ Bin(r_a, p+) + Bin(r_d, p−) from x and ~ Bin(r_a, 1 − p−) + Bin(r_d, 1 − p+) from x~, and the likelihood ratio of a
noisy copy depends on q alone and falls with it. So of all classifiers that say class c of x with probability p, the
one that says it where q is least says it of x~ least often: with rho. Where rho > 1/2, c stays the class most copies
of x~ get.

Source: Bojchevski, Klicpera and Günnemann, "Efficient Robustness Certificates for Discrete Data: Sparsity-Aware
Randomized Smoothing for Graphs, Images and More", ICML 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from auditor.statistics.binomial import binomial_sum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EVERY = 1 - 1e-12
"""A sum of probabilities that is 1 but for rounding."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How noise turns bits.

    Attributes:
        plus: probability that a 0 becomes a 1.
        minus: that a 1 becomes a 0; the two together below 1, else the ratio rises.
    """

    plus: float
    minus: float

    def __post_init__(self) -> None:
        if not (0 < self.plus < 1 and 0 < self.minus < 1 and self.plus + self.minus < 1):
            raise ValueError(f"noise of {self.plus} and {self.minus}: both must be in (0, 1) and their sum below 1")

    def regions(self, additions: int, deletions: int) -> tuple[Floats, Floats]:
        """P[q] from x and from x~ for q = 0..r_a + r_d, [r_a + r_d + 1] each."""
        before = binomial_sum((additions, self.plus), (deletions, self.minus))
        after = binomial_sum((additions, 1 - self.minus), (deletions, 1 - self.plus))
        return before, after

    def rho(self, p_low: float, additions: int, deletions: int) -> float:
        """The least probability of a class after these edits, where it had at least `p_low` before."""
        before, after = self.regions(additions, deletions)
        left, found = p_low, 0.0
        for here, there in zip(before, after, strict=True):
            taken = min(here, left)
            found += there * (taken / here if here > 0 else 0.0)
            left -= taken
            if left <= 0:
                break
        return found

    def certifies(self, p_low: float, additions: int, deletions: int) -> bool:
        """Whether the class stays after these edits; more than a half by more than rounding."""
        return self.rho(p_low, additions, deletions) > 0.5 + (1 - EVERY)

    def certifies_flips(self, p_low: float, flips: int) -> bool:
        """The same for so many edits, whichever of them add and whichever remove."""
        return all(self.certifies(p_low, added, flips - added) for added in range(flips + 1))


def lower_bound(successes: Ints, n: int, alpha: float) -> Floats:
    """One-sided Clopper–Pearson bound: the probability is at least this but for `alpha`; 0 for no success."""
    k = np.asarray(successes, dtype=np.float64)
    return np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, alpha), 0.0)


def upper_bound(successes: Ints, n: int, alpha: float) -> Floats:
    """The same from above."""
    return 1 - lower_bound(n - np.asarray(successes), n, alpha)
