"""The mathematics of noisy copies: numbers worked out by hand, every classifier of eight bits, and the bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from auditor.evaluate.certificate.smoothing import Noise, lower_bound, upper_bound
from auditor.statistics.binomial import binomial_sum


@pytest.mark.parametrize(
    ("additions", "deletions", "rho"),
    [(1, 0, 0.6), (0, 1, 0.9835), (1, 1, 0.6), (3, 0, 0.505455), (0, 5, 0.877702), (2, 2, 0.36678)],
)
def test_rho_by_hand(additions: int, deletions: int, rho: float) -> None:
    assert Noise(0.01, 0.6).rho(0.99, additions, deletions) == pytest.approx(rho, abs=5e-7)


def test_rho_of_symmetric_noise_by_hand() -> None:
    assert Noise(0.1, 0.1).rho(0.99, 1, 0) == pytest.approx(0.91)
    assert Noise(0.1, 0.1).rho(0.99, 2, 0) == pytest.approx(0.19)


@pytest.mark.parametrize("seed", range(5))
def test_rho_is_what_the_worst_of_all_classifiers_of_eight_bits_leaves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plus, minus = rng.uniform(0.01, 0.4), rng.uniform(0.01, 0.55)
    x = rng.integers(0, 2, 8)
    turned = rng.permutation(8)[: rng.integers(1, 5)]
    other = x.copy()
    other[turned] = 1 - other[turned]
    copies = np.array(list(itertools.product((0, 1), repeat=8)))

    def likelihood(of: np.ndarray) -> np.ndarray:
        one = np.where(of == 1, 1 - minus, plus)  # of a 1 in each place
        return np.where(copies == 1, one, 1 - one).prod(axis=1)

    before, after = likelihood(x), likelihood(other)
    p_low = rng.uniform(0.5, 1)
    left, worst = p_low, 0.0
    for place in np.argsort(-before / after, kind="stable"):  # the class where it says least of the other input
        taken = min(before[place], left)
        worst += after[place] * taken / before[place]
        left -= taken
    additions = int((x[turned] == 0).sum())
    assert Noise(plus, minus).rho(p_low, additions, len(turned) - additions) == pytest.approx(worst, abs=1e-9)


def test_edits_of_any_kind_are_certified_by_the_weakest_kind() -> None:
    noise = Noise(0.001, 0.4)
    assert noise.certifies(0.95, 0, 1)
    assert not noise.certifies(0.95, 1, 0)
    assert not noise.certifies_flips(0.95, 1)
    assert noise.rho(0.999, 1, 0) == pytest.approx(0.4)
    assert noise.certifies_flips(0.9999, 1)


def test_more_edits_are_never_easier() -> None:
    noise = Noise(0.01, 0.4)
    for p_low in (0.9, 0.999):
        left = [noise.rho(p_low, r, 0) for r in range(6)]
        assert left == sorted(left, reverse=True)
        assert left[0] == pytest.approx(p_low)


@pytest.mark.parametrize(("plus", "minus"), [(0.0, 0.5), (0.5, 0.5), (0.2, 0.9), (0.1, 1.0)])
def test_noise_that_proves_nothing_is_refused(plus: float, minus: float) -> None:
    with pytest.raises(ValueError, match="sum below 1"):
        Noise(plus, minus)


def test_bounds_of_clopper_and_pearson() -> None:
    assert float(lower_bound(np.array([1000]), 1000, 0.01)[0]) == pytest.approx(0.9954054, abs=1e-7)
    counts = np.array([0, 1, 40, 99, 100])
    for found, k in zip(lower_bound(counts, 100, 0.02), counts, strict=True):
        wanted = stats.binomtest(int(k), 100).proportion_ci(0.96, method="exact")  # two sides of .02
        assert found == pytest.approx(wanted.low)
    for found, k in zip(upper_bound(counts, 100, 0.02), counts, strict=True):
        assert found == pytest.approx(stats.binomtest(int(k), 100).proportion_ci(0.96, method="exact").high)


def test_sum_of_two_binomials() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.binomial(4, 0.3, 400_000) + rng.binomial(3, 0.8, 400_000)
    found = binomial_sum((4, 0.3), (3, 0.8))
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(drawn, minlength=8) / 400_000, found, atol=3e-3)
    assert binomial_sum((0, 0.3), (0, 0.8)).tolist() == [1.0]
