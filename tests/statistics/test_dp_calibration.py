"""Honest mechanisms are audited 2000 times: no test may cry "violated" more often than its level allows."""

import math

import numpy as np
import pytest
from scipy.special import expit

from auditor.statistics import dp
from auditor.statistics.accounting import mu_of

AUDITS, M = 2000, 1000


def allowed(alpha):
    return AUDITS * (alpha + 3 * math.sqrt(alpha * (1 - alpha) / AUDITS))


def edge_rand(epsilon, rng):
    """Right guesses of 2000 audits of randomised response: every canary's released bit is the guess."""
    included = rng.random((AUDITS, M)) < 0.5
    released = included ^ (rng.random((AUDITS, M)) < expit(-epsilon))
    return np.array(
        [dp.correct_guesses(*pair, M, rng=rng) for pair in zip(included, released.astype(float), strict=True)]
    )


def gaussian(mu, r, rng):
    """Right guesses of 2000 audits of one Gaussian release per canary."""
    included = rng.random((AUDITS, M)) < 0.5
    scores = rng.standard_normal((AUDITS, M)) + mu * included
    return np.array([dp.correct_guesses(*pair, r, rng=rng) for pair in zip(included, scores, strict=True)])


@pytest.mark.parametrize("claim", [1.0, 4.0])
def test_honest_edge_rand_is_rarely_accused(claim, rng):
    right = edge_rand(claim, rng)
    for alpha in (0.05, 1e-3):
        for test, delta in (("one-run", 0.0), ("one-run", 1e-6), ("A", 0.0), ("A", 1e-6)):
            v_star = dp.smallest_rejecting(test, claim, delta, M, M, alpha)
            assert (right >= v_star).sum() <= allowed(alpha), (test, delta, alpha)
    tight = dp.smallest_rejecting("one-run", claim, 0.0, M, M, 0.05)
    assert (right >= tight).sum() > 0.01 * AUDITS  # the check has teeth: the level is spent, not left unused


@pytest.mark.parametrize("claim", [1.0, 4.0])
@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_honest_gaussian_is_rarely_accused(claim, share, rng):
    delta, r = 1e-5, int(share * M)
    right = gaussian(mu_of(claim, delta), r, rng)
    for alpha in (0.05, 1e-3):
        for test in ("one-run", "A", "G"):
            v_star = dp.smallest_rejecting(test, claim, delta, M, r, alpha)
            if v_star is not None:  # None: this size can accuse nobody
                assert (right >= v_star).sum() <= allowed(alpha), (test, alpha)


def test_dishonest_mechanisms_are_accused(rng):
    """Half the flip rate at claim 4, and a quarter of the noise at claim 1."""
    v_star = dp.smallest_rejecting("one-run", 4.0, 0.0, M, M, 0.05)
    half_flips = math.log(1 / (expit(-4.0) / 2) - 1)
    assert (edge_rand(half_flips, rng) >= v_star).mean() > 0.5
    v_star = dp.smallest_rejecting("G", 1.0, 1e-5, M, 200, 1e-3)
    assert (gaussian(4 * mu_of(1.0, 1e-5), 200, rng) >= v_star).mean() > 0.9


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_multi_run_bounds_of_honest_mechanisms(epsilon, rng):
    """Randomised response for the bound of any mechanism, a Gaussian release cut at μ/2 for the Gaussian form."""
    n, delta, mu = 4000, 1e-5, mu_of(epsilon, 1e-5)
    for bound, miss in ((dp.multi_run_lower_bound, expit(-epsilon)), (dp.multi_run_gaussian_lower_bound, None)):
        rate = miss if miss is not None else 0.5 * math.erfc(mu / 2 / math.sqrt(2))
        fn, fp = rng.binomial(n, rate, AUDITS), rng.binomial(n, rate, AUDITS)
        found = [bound(n - a, a, b, n - b, delta, 0.05) for a, b in zip(fn.tolist(), fp.tolist(), strict=True)]
        assert (np.array(found) > epsilon).sum() <= allowed(0.05)
        assert np.median(found) > 0.5 * epsilon
