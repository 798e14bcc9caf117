"""Lower bounds on ε from an audit, and what an audit of a given size could have seen.

m canaries are in or out by independent fair coins, r of them are guessed, v guesses are right. Three tests:

- `one-run`: any (ε, δ)-DP mechanism; its δ term grows with m.
- `A`: any (ε, δ)-DP mechanism through its trade-off curve; survives where one-run's δ term kills it.
- `G`: sharper, "given a Gaussian-shaped mechanism".

Every bound holds with confidence 1 − α for *one* guess size chosen before the scores were seen; share α among several.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditor.statistics.accounting import epsilon_of_mu, mu_of

OneRunTest = Literal["one-run", "A", "G"]
InverseTradeOff = Callable[[float], float]
_NORMAL_QUANTILE = NormalDist().inv_cdf
_ROOT2 = math.sqrt(2)
_TOLERANCE = 1e-8


def one_run_p_value(epsilon: float, m: int, r: int, v: int, delta: float) -> float:
    """P-value of "the mechanism is (ε, δ)-DP" when v of r guesses about m canaries are right.

    P[B >= v] + 2 m δ · max_{1 <= i <= v} P[v − i <= B < v] / i with B ~ Bin(r, 1 / (1 + e^−ε)), at most 1.

    Raises:
        ValueError: not 0 <= v <= r <= m with m >= 1, ε < 0, or δ outside [0, 1).

    Source: Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023 (arXiv 2305.08846),
    the p-value of its (ε, δ) theorem.
    """
    _check(m, r, v, 0.5)
    if not (epsilon >= 0 and 0 <= delta < 1):
        raise ValueError(f"epsilon = {epsilon}, delta = {delta}: expected epsilon >= 0 and 0 <= delta < 1")
    from scipy import stats  # here, so that a worker starts without it

    q = float(special.expit(epsilon))
    p = float(stats.binom.sf(v - 1, r, q))
    if delta > 0 and v > 0:
        below = np.cumsum(stats.binom.pmf(np.arange(v - 1, -1, -1), r, q))
        p += 2 * m * delta * float((below / np.arange(1, v + 1)).max())
    return min(1.0, p)


def one_run_lower_bound(m: int, r: int, v: int, delta: float, alpha: float) -> float:
    """The ε where `one_run_p_value` rises through α; 0 when nothing is shown."""
    _check(m, r, v, alpha)
    if v == 0:
        return 0.0
    pure = max(0.0, float(special.logit(special.betaincinv(v, r - v + 1, alpha))))  # P[B >= v] = α: Clopper-Pearson
    if delta == 0 or pure == 0:
        return pure
    return _largest_rejected(lambda epsilon: one_run_p_value(epsilon, m, r, v, delta) <= alpha, pure)


class TradeOff:
    """Inverse trade-off curves h = g⁻¹(R) for `f_dp_rejects`."""

    @staticmethod
    def gaussian(mu: float) -> InverseTradeOff:
        """Φ(Φ⁻¹(R) − μ): exact for one Gaussian release, an assumption for anything else."""

        def inverse(rate: float) -> float:
            return 1.0 if rate >= 1 else 0.5 * math.erfc((mu - _NORMAL_QUANTILE(rate)) / _ROOT2)

        return inverse

    @staticmethod
    def approximate(epsilon: float, delta: float) -> InverseTradeOff:
        """max(0, (R − δ) e^−ε, 1 − δ − (1 − R) e^ε): every (ε, δ)-DP mechanism, no assumption."""
        shrink, grow = math.exp(-epsilon), math.exp(min(epsilon, 700.0))

        def inverse(rate: float) -> float:
            return max(0.0, (rate - delta) * shrink, 1 - delta - (1 - rate) * grow)

        return inverse


def f_dp_rejects(inverse_g: InverseTradeOff, m: int, r: int, v: int, alpha: float) -> bool:
    """Whether v of r right guesses about m canaries are too many, at level α, for the trade-off curve.

    R and H bound the probabilities of a right and a wrong guess at v or more right ones; one pass down from v, which
    stops once nothing grows or the answer is known.

    Raises:
        ValueError: not 0 <= v <= r <= m with m >= 1, or α outside (0, 1).

    Source: Mahloujifar, Melis and Chaudhuri, "Auditing f-differential privacy in one run", 2024 (arXiv 2410.22235).
    """
    _check(m, r, v, alpha)
    right, wrong, limit = alpha * v / m, alpha * (r - v) / m, r / m
    for i in range(v - 1, -1, -1):
        grown = inverse_g(right)
        if grown <= wrong:
            break
        right = min(1.0, right + (grown - wrong) * i / (r - i))
        wrong = grown
        if right + wrong > limit:
            return True
    return right + wrong > limit


def g_lower_bound(m: int, r: int, v: int, delta: float, alpha: float) -> float:
    """ε at δ of the largest rejected μ: a lower bound given a Gaussian-shaped mechanism.

    Raises:
        ConfigError: δ = 0, which no Gaussian mechanism has.
    """
    mu = _largest_rejected(lambda mu: f_dp_rejects(TradeOff.gaussian(mu), m, r, v, alpha))
    return epsilon_of_mu(mu, delta)


def a_lower_bound(m: int, r: int, v: int, delta: float, alpha: float) -> float:
    """The largest rejected ε at δ, for any mechanism."""
    return _largest_rejected(lambda epsilon: f_dp_rejects(TradeOff.approximate(epsilon, delta), m, r, v, alpha))


def lower_bound(test: OneRunTest, m: int, r: int, v: int, delta: float, alpha: float) -> float:
    """The lower bound on ε by that test."""
    return {"one-run": one_run_lower_bound, "A": a_lower_bound, "G": g_lower_bound}[test](m, r, v, delta, alpha)


def universal(delta: float) -> OneRunTest:
    """The test that assumes nothing about the mechanism, fixed by δ alone."""
    return "one-run" if delta == 0 else "A"


def rejects_claim(
    test: OneRunTest, claim_epsilon: float, claim_delta: float, m: int, r: int, v: int, alpha: float
) -> bool:
    """Whether that test rejects "(ε, δ)-DP" at its share α; never when α <= δ.

    With α <= δ no audit means anything: (ε, δ)-DP may open every record with probability δ.
    """
    if alpha <= claim_delta:
        return False
    if test == "one-run":
        return one_run_p_value(claim_epsilon, m, r, v, claim_delta) <= alpha
    curve = (
        TradeOff.approximate(claim_epsilon, claim_delta)
        if test == "A"
        else TradeOff.gaussian(mu_of(claim_epsilon, claim_delta))
    )
    return f_dp_rejects(curve, m, r, v, alpha)


def correct_guesses(
    included: NDArray[np.bool_], scores: NDArray[np.float64], r: int, *, rng: np.random.Generator
) -> int:
    """v: right guesses when the r/2 highest scores are called "in" and the r/2 lowest "out"; ties by coin.

    With r = m and scores of two values each canary's guess is its value itself (no half is forced on a coin's ties).

    Args:
        included: bits of the m canaries, bool [m].
        scores: higher = "in", float [m].
        r: guesses, 2 <= r <= m; odd r calls one more "in".
        rng: breaks ties.

    Raises:
        ValueError: shapes differ, r outside 2..m, or a score is not finite.
    """
    m = len(scores)
    if included.shape != (m,) or scores.shape != (m,) or not 2 <= r <= m or not np.isfinite(scores).all():
        raise ValueError(f"bits {included.shape}, scores {scores.shape}, r = {r}: expected [m], finite [m], 2 to m")
    if r == m and len(np.unique(scores)) == 2:
        return int(((scores == scores.max()) == included).sum())
    order = np.lexsort((rng.random(m), scores))
    return int(included[order[m - (r + 1) // 2 :]].sum() + (~included[order[: r // 2]]).sum())


def multi_run_lower_bound(tp: int, fn: int, fp: int, tn: int, delta: float, alpha: float) -> float:
    """ε from many trainings with and without one canary, threshold fixed beforehand; any mechanism.

    max(ln((TPR_lo − δ) / FPR_hi), ln((TNR_lo − δ) / FNR_hi), 0), each rate by Clopper-Pearson at α/4.

    Args:
        tp: trainings with the canary that were called "in".
        fn: the other ones with it.
        fp: trainings without it that were called "in".
        tn: the other ones without it.
        delta: in [0, 1).
        alpha: level of the whole bound.

    Raises:
        ValueError: no training with, or none without.

    Source: Jagielski, Ullman and Oprea, "Auditing differentially private machine learning", NeurIPS 2020.
    """
    ratios = (
        (_rate_bound(tp, fn, alpha / 4, lower=True) - delta, _rate_bound(fp, tn, alpha / 4, lower=False)),
        (_rate_bound(tn, fp, alpha / 4, lower=True) - delta, _rate_bound(fn, tp, alpha / 4, lower=False)),
    )
    return max(0.0, *(math.log(low / high) for low, high in ratios if low > 0))


def multi_run_gaussian_lower_bound(tp: int, fn: int, fp: int, tn: int, delta: float, alpha: float) -> float:
    """ε at δ of μ = Φ⁻¹(1 − FPR_hi) − Φ⁻¹(FNR_hi) on the same rates, given a Gaussian-shaped mechanism.

    Source: Nasr et al., "Tight auditing of differentially private machine learning", USENIX Security 2023.
    """
    fpr, fnr = _rate_bound(fp, tn, alpha / 4, lower=False), _rate_bound(fn, tp, alpha / 4, lower=False)
    return epsilon_of_mu(max(0.0, -float(special.ndtri(fpr)) - float(special.ndtri(fnr))), delta)


def ceiling(test: OneRunTest, m: int, r: int, delta: float, alpha: float) -> float:
    """The lower bound if every guess were right: no audit of this size can show more."""
    return lower_bound(test, m, r, r, delta, alpha)


def smallest_rejecting(
    test: OneRunTest, claim_epsilon: float, claim_delta: float, m: int, r: int, alpha: float
) -> int | None:
    """v*: the fewest right guesses of r that reject the claim; None when even r would not."""

    def rejects(v: int) -> bool:
        return rejects_claim(test, claim_epsilon, claim_delta, m, r, v, alpha)

    if not rejects(r):
        return None
    lo, hi = -1, r
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if rejects(middle) else (middle, hi)
    return hi


def power(true_epsilon: float, r: int, v_star: int) -> float:
    """Probability of at least v* right guesses at a true ε, at best: randomised response, every guess at its limit."""
    from scipy import stats  # here, so that a worker starts without it

    return float(stats.binom.sf(v_star - 1, r, special.expit(true_epsilon)))


def gaussian_power(mu: float, m: int, r: int, v_star: int, *, rng: np.random.Generator, draws: int = 200) -> float:
    """Share of simulated audits with at least v* right guesses: scores N(μ, 1) when in, N(0, 1) when out."""
    hits = 0
    for _ in range(draws):
        included = rng.random(m) < 0.5
        hits += correct_guesses(included, rng.standard_normal(m) + mu * included, r, rng=rng) >= v_star
    return hits / draws


def detectable_epsilon(r: int, v_star: int, probability: float = 0.8) -> float:
    """The smallest true ε that reaches v* of r with that probability, at best (`power`)."""
    return max(0.0, float(special.logit(special.betaincinv(v_star, r - v_star + 1, probability))))


def enough_canaries(
    test: OneRunTest,
    claim_epsilon: float,
    claim_delta: float,
    share: float,
    alpha: float,
    *,
    true_epsilon: float | None = None,
    probability: float = 0.8,
    limit: int = 1_000_000,
) -> int | None:
    """The m from which an audit with r = share · m guesses could reject the claim; None if none up to `limit` can.

    Args:
        test: which test has to reject.
        claim_epsilon: the claim's ε.
        claim_delta: the claim's δ.
        share: r / m, in (0, 1].
        alpha: the test's share of α.
        true_epsilon: when given, the claim must be rejected with that `probability` at this true ε (`power`); otherwise
            only if every guess is right.
        probability: see `true_epsilon`.
        limit: largest m tried.
    """

    def enough(m: int) -> bool:
        r = max(1, round(share * m))
        if true_epsilon is None:
            return rejects_claim(test, claim_epsilon, claim_delta, m, r, r, alpha)
        v_star = smallest_rejecting(test, claim_epsilon, claim_delta, m, r, alpha)
        return v_star is not None and power(true_epsilon, r, v_star) >= probability

    lo, hi = 0, 1
    while not enough(hi):
        if hi >= limit:
            return None
        lo, hi = hi, min(2 * hi, limit)  # never further: under one-run's δ term too many canaries fail as well
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if enough(middle) else (middle, hi)
    return hi


def _check(m: int, r: int, v: int, alpha: float) -> None:
    if not (m >= 1 and 0 <= v <= r <= m):
        raise ValueError(f"{v} right of {r} guesses about {m} canaries is not an audit")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha} is not a level: expected between 0 and 1")


def _rate_bound(hits: int, misses: int, alpha: float, *, lower: bool) -> float:
    """One-sided Clopper-Pearson bound of hits / (hits + misses)."""
    if hits < 0 or misses < 0 or hits + misses == 0:
        raise ValueError(f"{hits} of {hits + misses} is not a rate")
    if lower:
        return 0.0 if hits == 0 else float(special.betaincinv(hits, misses + 1, alpha))
    return 1.0 if misses == 0 else float(special.betaincinv(hits + 1, misses, 1 - alpha))


def _largest_rejected(rejects: Callable[[float], bool], hi: float | None = None) -> float:
    """The largest parameter that is still rejected, to `_TOLERANCE`, or 0; `hi` is known not to be."""
    if not rejects(0.0):
        return 0.0
    lo = 0.0
    if hi is None:
        hi = 1.0
        while rejects(hi):
            lo, hi = hi, 2 * hi
    while hi - lo > _TOLERANCE:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if rejects(middle) else (lo, middle)
    return lo
