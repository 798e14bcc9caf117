import numpy as np
import pytest
from scipy.stats import ks_2samp

from auditor.statistics.two_sample import ks_distance, ks_permutation_p


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
