"""What noise costs in (ε, δ): Gaussian releases exactly, Poisson DP-SGD by two accountants, nodes by multi-term RDP.

Noise multipliers are in units of what they protect: σ of the clip norm, `noise` of the node mechanism of 2·M·C.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from auditor.errors import ConfigError, nearest

ACCOUNTANTS = ("pure", "gaussian-exact", "prv+pld", "multi-term-rdp")
PRV_LIMIT = 300.0
"""Above this ε Opacus' PRV overflows (e^ε) and PLD stands alone; six times past the last ε that means anything."""
_ORDERS = np.concatenate([np.geomspace(1e-3, 0.2, 60) + 1, np.arange(11, 100) / 10, np.arange(10.0, 64.0)])


@dataclass(frozen=True, slots=True)
class Account:
    """ε of a Poisson-subsampled Gaussian by two accountants; `epsilon` is the larger one."""

    epsilon: float
    delta: float
    prv: float | None
    """None above `PRV_LIMIT`."""
    pld: float
    disagreement: float | None
    """|PRV − PLD| / max(PLD, .05); above .02 neither may be believed. PRV counts its own numerical error as ε: .5 %, at
    least .001."""
    accountant: str = "prv+pld"
    """Or `gaussian-exact` at q = 1, `pld` above `PRV_LIMIT`."""


def mu_of(epsilon: float, delta: float) -> float:
    """The μ for which a Gaussian mechanism (sensitivity / std = μ) is exactly (ε, δ)-DP.

    Raises:
        ConfigError: ε < 0 or δ outside (0, 1).

    Source: Dong, Roth and Su, "Gaussian differential privacy", 2022, corollary 2.13; Balle and Wang 2018, theorem 8.
    """
    _require(math.isfinite(epsilon) and epsilon >= 0, "epsilon", epsilon, "finite and at least 0")
    _require(0 < delta < 1, "delta", delta, "between 0 and 1, since no Gaussian mechanism has delta = 0")
    target, lo, hi = math.log(delta), -1.0, 1.0
    while _log_delta(epsilon, math.exp(lo)) > target:
        lo -= 1
    while _log_delta(epsilon, math.exp(hi)) < target:
        hi += 1
    return math.exp(optimize.brentq(lambda x: _log_delta(epsilon, math.exp(x)) - target, lo, hi, xtol=1e-14))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The exact ε at δ of a μ-GDP mechanism: the inverse of `mu_of`; 0 where δ alone covers it.

    Raises:
        ConfigError: μ < 0 or δ outside (0, 1).
    """
    _require(math.isfinite(mu) and mu >= 0, "mu", mu, "finite and at least 0")
    _require(0 < delta < 1, "delta", delta, "between 0 and 1, since no Gaussian mechanism has delta = 0")
    target = math.log(delta)
    if mu == 0 or _log_delta(0.0, mu) <= target:
        return 0.0
    above = mu * (mu / 2 - float(special.ndtri(delta)))  # there the first term alone equals δ
    if mu > 1e6:  # past what floats can subtract; `above` is off by about 1 in 5e11
        return above
    return float(optimize.brentq(lambda epsilon: _log_delta(epsilon, mu) - target, 0.0, above, xtol=1e-12))


def _log_delta(epsilon: float, mu: float) -> float:
    """Log of δ of a μ-GDP mechanism at ε: log(Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ))."""
    first = float(special.log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(special.log_ndtr(-mu / 2 - epsilon / mu))
    return first + math.log(-math.expm1(second - first)) if second < first else -math.inf


def gaussian_noise_for(epsilon: float, delta: float, sensitivity: float) -> float:
    """Standard deviation of one Gaussian release of the given L2 sensitivity; K releases have sensitivity · √K."""
    return sensitivity / mu_of(epsilon, delta)


def default_delta(units: int) -> float:
    """Largest power of ten at or below 1 / (10 units)."""
    _require(units >= 1, "units", units, "at least 1")
    return 10.0 ** -len(str(10 * units - 1))


def check_delta(delta: float, units: int | None) -> None:
    """Refuses a δ that promises nothing.

    Raises:
        ConfigError: δ outside (0, 1), or δ >= 1/units: publishing one unit in full would already be allowed.
    """
    _require(0 < delta < 1, "delta", delta, "between 0 and 1")
    if units is not None and delta >= 1 / units:
        raise ConfigError(
            f"delta = {delta:g} allows one of {units} units to be published in full: it must be below 1/{units} = "
            f"{1 / units:.3g}. Use {default_delta(units):g}."
        )


def accountant_id(text: str) -> str:
    """The accountant of that name.

    Raises:
        ConfigError: unknown, or `gdp`: a central limit is no bound.
    """
    if text in ACCOUNTANTS:
        return text
    if text == "gdp":
        raise ConfigError(
            'accountant = "gdp" is refused: Opacus takes a central limit for the composition of subsampled steps, and '
            'that is no bound (11 % below PLD in one setting, 2.3 times above in another). Use "prv+pld", or '
            '"gaussian-exact" for releases without subsampling.'
        )
    raise ConfigError(f'accountant = "{text}" is unknown. {nearest(text, ACCOUNTANTS)}')


def subsampled_gaussian(q: float, sigma: float, steps: int, delta: float) -> Account:
    """ε of `steps` Gaussian releases, each of a Poisson sample: max of Opacus PRV and dp-accounting PLD.

    Add-or-remove-one relation. The mechanism must really sample each unit independently with probability q: shuffled
    batches of fixed size are another mechanism. With q = 1 nothing is sampled and ε is exact. Seconds; cached.

    Args:
        q: probability that a unit is in the batch, in (0, 1].
        sigma: noise std / clip norm.
        steps: T >= 1, empty batches counted.
        delta: in (0, 1).

    Raises:
        ConfigError: outside those ranges, or so little noise that no accountant can hold the loss.

    Source: Gopi, Lee and Wutschitz 2021 (PRV); Koskela et al. 2020, Doroshenko et al. 2022 (PLD).
    """
    _check_sampled(q, steps, delta)
    _require(0 < sigma <= 1e6, "sigma", sigma, "above 0 and at most a million")
    _require(
        q * steps / sigma / sigma <= 1e8,
        "sigma",
        sigma,
        f"larger at q = {q:g} and {steps} steps: its epsilon is beyond computing, and beyond meaning anything",
    )
    return _account(float(q), float(sigma), int(steps), float(delta))


@cache
def _account(q: float, sigma: float, steps: int, delta: float) -> Account:
    pld = _pld(q, sigma, steps, delta)
    prv = _prv(q, sigma, steps, delta, error=min(0.01, max(0.001, 0.005 * pld))) if pld <= PRV_LIMIT else None
    gap = None if prv is None else abs(prv - pld) / max(pld, 0.05)
    if q == 1:
        return Account(epsilon_of_mu(math.sqrt(steps) / sigma, delta), delta, prv, pld, gap, "gaussian-exact")
    return Account(pld, delta, None, pld, None, "pld") if prv is None else Account(max(pld, prv), delta, prv, pld, gap)


def _pld(q: float, sigma: float, steps: int, delta: float) -> float:
    import dp_accounting  # here, so that the command line starts without it
    from dp_accounting.pld import pld_privacy_accountant

    interval = max(1e-4, 1e-6 * q * steps / sigma**2)  # a grid of constant size when the loss is huge
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = pld_privacy_accountant.PLDAccountant(relation, interval)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma)), steps)
    return float(accountant.get_epsilon(delta))


def _prv(q: float, sigma: float, steps: int, delta: float, error: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # log(0) at q = 1 and the RDP orders that it sizes its grid with
        from opacus.accountants import PRVAccountant  # imports torch

        accountant = PRVAccountant()
        accountant.history = [(sigma, q, steps)]
        return float(accountant.get_epsilon(delta, eps_error=error))


def sigma_for(epsilon: float, q: float, steps: int, delta: float) -> float:
    """Smallest noise multiplier, to 1e-3 relative and rounded up, whose `subsampled_gaussian(...).epsilon` is <= ε.

    Raises:
        ConfigError: ε <= 0 or above `PRV_LIMIT`, or q, steps, δ out of range.
    """
    _check_sampled(q, steps, delta)
    _require(
        0.01 <= epsilon <= PRV_LIMIT, "epsilon", epsilon, f"between .01 and {PRV_LIMIT:g}, where both accountants hold"
    )

    def excess(log_sigma: float) -> float:
        spent = subsampled_gaussian(q, math.exp(log_sigma), steps, delta).epsilon
        return math.log(max(spent, 1e-9) / epsilon)  # nearly linear, so that few accounts are needed

    clt = mu_of(epsilon, delta) / (q * math.sqrt(steps))  # a central limit is no bound, but close enough to start at
    lo = hi = -0.5 * math.log(math.log1p(clt**2))
    stride = 0.03
    while excess(hi) > 0:
        lo, hi, stride = hi, hi + stride, 2 * stride
    while excess(lo) <= 0:
        lo, hi, stride = lo - stride, lo, 2 * stride
    found = float(optimize.brentq(excess, lo, hi, xtol=2.5e-4))
    while excess(found) > 0:
        found += 2.5e-4
    return math.exp(found)


def multi_term_epsilon(population: int, drawn: int, terms: int, noise: float, steps: int, delta: float) -> float:
    """ε of node-level DP-SGD where one node enters the subgraphs of at most M roots: an upper bound, not tight.

    ε = min_a T·RDP_a + ln(1 − 1/a) − ln(δ a)/(a − 1) with, for ρ ~ Hypergeometric(N, M, b),
    RDP_a = ln E exp(a(a − 1) ρ² / (2 noise² M²)) / (a − 1).
    Holds for b roots drawn *without replacement in batches of fixed size*, never for Poisson batches.

    Args:
        population: N training roots.
        drawn: b roots a step.
        terms: M = Σ_{i=0..r} K^i roots that one node can reach (K per hop, r hops).
        noise: noise std per coordinate of the sum of clipped gradients / (2·M·C).
        steps: T.
        delta: in (0, 1).

    Raises:
        ConfigError: outside 1 <= M <= N, 1 <= b <= N, noise > 0, T >= 1, or δ outside (0, 1).

    Source: Daigavane et al., "Node-level differentially private graph neural networks", 2021, (arXiv 2111.15521);
    the log-spaced orders near 1 keep the bound usable at little noise.
    """
    from scipy import stats  # here, so that a worker starts without it

    _require(0 < delta < 1, "delta", delta, "between 0 and 1")
    _require(population >= 1, "population", population, "at least 1")
    _require(1 <= drawn <= population, "drawn", drawn, f"between 1 and the population, {population}")
    _require(1 <= terms <= population, "terms", terms, f"between 1 and the population, {population}")
    _require(noise > 0 and math.isfinite(noise), "noise", noise, "finite and above 0")
    _require(steps >= 1, "steps", steps, "at least 1")
    reached = np.arange(max(0, drawn + terms - population), min(drawn, terms) + 1)
    log_p = stats.hypergeom.logpmf(reached, population, terms, drawn)
    order: NDArray[np.float64] = _ORDERS[:, None]
    with np.errstate(over="ignore"):  # so little noise that ε is infinite
        loss = order * (order - 1) * (reached / (noise * terms)) ** 2 / 2
        rdp = special.logsumexp(log_p + loss, axis=1) / (_ORDERS - 1)
    epsilon = steps * rdp + np.log1p(-1 / _ORDERS) - np.log(delta * _ORDERS) / (_ORDERS - 1)
    return max(0.0, float(epsilon.min()))


def noise_for_multi_term(epsilon: float, population: int, drawn: int, terms: int, steps: int, delta: float) -> float:
    """Smallest `noise`, to 1e-3 relative and rounded up, for which `multi_term_epsilon` is at most ε.

    Raises:
        ConfigError: ε <= 0, or as `multi_term_epsilon`; or ε so small that no noise reaches it at these orders.
    """
    _require(0 < epsilon < math.inf, "epsilon", epsilon, "finite and above 0")

    def spent(noise: float) -> float:
        return multi_term_epsilon(population, drawn, terms, noise, steps, delta)

    floor = spent(1e9)
    _require(epsilon > floor, "epsilon", epsilon, f"above {floor:.3g}, which this bound costs at any noise")
    lo = hi = 1.0
    while spent(hi) > epsilon:
        hi *= 2
    while spent(lo) <= epsilon:
        lo /= 2
    while hi / lo > 1.001:
        middle = math.sqrt(lo * hi)
        lo, hi = (middle, hi) if spent(middle) > epsilon else (lo, middle)
    return hi


def _check_sampled(q: float, steps: int, delta: float) -> None:
    _require(0 < q <= 1, "q", q, "above 0 and at most 1")
    _require(steps >= 1 and int(steps) == steps, "steps", steps, "a whole number, at least 1")
    _require(0 < delta < 1, "delta", delta, "between 0 and 1")


def _require(holds: bool, name: str, value: float, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} = {value:g} must be {expected}.")
