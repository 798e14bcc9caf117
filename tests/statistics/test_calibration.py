import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import log_loss

from auditor.statistics import calibration as cal


def test_hand_numbers_of_ece_and_sce():
    confidence, correct = np.array([0.95, 0.85, 0.65, 0.55]), np.array([1.0, 0, 1, 1])
    assert cal.ece(confidence, correct, cal.equal_width_bins(confidence)) == pytest.approx(0.425, abs=1e-12)
    assert cal.sce(confidence, correct) == pytest.approx(0.0, abs=1e-12)


def test_bins_are_half_open_and_reach_both_ends():
    bins = cal.equal_width_bins(np.array([0.0, 0.1, 0.1001, 1.0]), 10)
    assert bins.index.tolist() == [0, 0, 1, 9]


def test_equal_mass_bins_keep_ties_together_and_are_equal_without_ties():
    tied = cal.equal_mass_bins(np.array([0.5] * 10 + [0.9] * 5), 3)
    assert len(set(tied.index[:10])) == 1
    assert np.bincount(cal.equal_mass_bins(np.linspace(0, 1, 45), 15).index).tolist() == [3] * 15


def test_ece_is_at_least_the_signed_error(rng):
    confidence = rng.random(300)
    correct = (rng.random(300) < 0.3).astype(float)
    for bins in (cal.equal_width_bins(confidence), cal.equal_mass_bins(confidence)):
        assert cal.ece(confidence, correct, bins) >= abs(cal.sce(confidence, correct)) - 1e-12


def test_nll_and_brier_agree_with_scikit_learn(rng):
    p, y = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    assert cal.negative_log_likelihood(np.log(p), y) == pytest.approx(log_loss(y, p, labels=range(4)), abs=1e-12)
    one_hot = np.eye(4)[y]
    assert cal.brier(p, y) == pytest.approx(((p - one_hot) ** 2).sum(1).mean(), abs=1e-12)


def test_prr_is_one_for_a_perfect_order_and_zero_for_a_random_one(rng):
    correct = (rng.random(100_000) < 0.7).astype(float)
    assert cal.prediction_rejection_ratio(correct + 0.0, correct) == pytest.approx(1.0, abs=1e-9)
    assert abs(cal.prediction_rejection_ratio(rng.random(100_000), correct)) < 0.02
    assert cal.prediction_rejection_ratio(1 - correct, correct) < -0.9


def test_prr_is_undefined_without_errors():
    assert cal.prediction_rejection_ratio(np.array([0.5, 0.6]), np.ones(2)) is None


def test_rejection_does_not_depend_on_the_order_of_ties():
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.5]), np.array([1.0, 0, 1, 0])
    turn = np.array([1, 0, 2, 3])
    assert cal.aurc(confidence, correct) == cal.aurc(confidence[turn], correct[turn])
    # Hand: error 1/3 inside the tie: 1/3, 1/3, 1/3, then 2/4.
    assert cal.aurc(confidence, correct) == pytest.approx((3 * (1 / 3) + 0.5) / 4)


@pytest.mark.parametrize("n", [30, 178, 1000])
def test_noise_floor_is_the_mean_absolute_deviation_of_a_binomial(n, rng):
    """Equal confidences fill one bin, where ECE of a redrawn model is |X / n − c| with X binomial."""
    confidence = np.full(n, 0.8)
    hits = np.arange(n + 1)
    exact = (binom.pmf(hits, n, 0.8) * np.abs(hits / n - 0.8)).sum()
    floor = cal.ece_noise_floor(confidence, cal.equal_width_bins(confidence), rng=rng, repeats=3000)
    assert floor == pytest.approx(exact, rel=0.06)
