import numpy as np
import pytest
from scipy.stats import ks_2samp, mannwhitneyu, norm

from auditor.statistics.two_sample import ks_distance, ks_permutation_p, rank_sum_z


def test_distance_agrees_with_scipy_with_ties(rng):
    a, b = rng.integers(0, 5, 50).astype(float), rng.integers(1, 7, 70).astype(float)
    assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)


def test_infinities_are_values():
    assert ks_distance(np.array([1.0, np.inf]), np.array([1.0, 1.0])) == 0.5


def test_p_finds_a_shift_and_leaves_equal_samples_alone(rng):
    assert ks_permutation_p(rng.random(80), rng.random(80) + 0.5, rng=rng) == pytest.approx(1 / 201)
    p = [
        ks_permutation_p(rng.integers(0, 4, 40).astype(float), rng.integers(0, 4, 60).astype(float), rng=rng)
        for _ in range(100)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.12


def test_rank_sum_agrees_with_scipy_in_one_stratum(rng):
    a, b = rng.integers(0, 9, 40).astype(float), rng.integers(2, 11, 60).astype(float)
    zeros = (np.zeros(40, dtype=np.int64), np.zeros(60, dtype=np.int64))
    expected = mannwhitneyu(b, a, method="asymptotic", use_continuity=False).pvalue
    assert 2 * norm.sf(abs(rank_sum_z(a, b, *zeros))) == pytest.approx(expected, abs=1e-12)


def test_rank_sum_is_blind_to_differences_between_strata(rng):
    strata_a, strata_b = np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [20, 80])
    a, b = rng.random(100) + 5 * strata_a, rng.random(100) + 5 * strata_b
    assert abs(rank_sum_z(a, b, strata_a, strata_b)) < 4
    assert rank_sum_z(a, b + 1, strata_a, strata_b) > 8
    assert rank_sum_z(np.ones(3), np.ones(4), np.zeros(3, dtype=np.int64), np.zeros(4, dtype=np.int64)) == 0
