import numpy as np
import pytest

from auditor.statistics import clustered as clu
from auditor.statistics.calibration import ece, equal_width_bins
from auditor.statistics.detection import auroc, auroc_replicates


def item_resamples(n, rng, replicates=400):
    return clu.Resamples.draw(np.arange(n), rng=rng, replicates=replicates)


def test_design_effect_by_hand():
    # Blocks {0,1}, {2,3}: residual sums 1 and -1, four residuals of 1/2: (1 + 1) / 1 = 2.
    residuals = np.array([0.5, 0.5, -0.5, -0.5])
    assert clu.design_effect(residuals, np.array([0, 0, 1, 1])) == 2.0
    assert clu.design_effect(residuals, np.arange(4)) == 1.0
    assert clu.design_effect(residuals, np.array([0, 1, 0, 1])) == 1.0  # cancels: never below 1
    assert clu.design_effect(np.zeros(4), np.arange(4)) == 1.0


def test_thirty_of_thirty_right_is_not_a_point(rng):
    lo, hi = clu.accuracy_interval(np.ones(30), item_resamples(30, rng))
    assert lo == pytest.approx(0.886, abs=1e-3)
    assert hi == 1.0


def test_a_gap_without_any_change_has_a_width(rng):
    clean = (rng.random(100) < 0.8).astype(float)
    lo, hi = clu.paired_gap_interval(clean, np.stack([clean, clean]), np.zeros(400))
    assert lo < 0 < hi
    assert hi - lo > 0.01


def test_a_resample_is_the_same_for_every_statistic(rng):
    blocks = np.array([0, 0, 1, 1, 1, 2])
    resamples = clu.Resamples.draw(blocks, rng=rng, replicates=50)
    values = rng.random(6)
    items = np.concatenate(list(resamples.item_weights(block=7)))
    np.testing.assert_allclose(resamples.totals(values), items @ values, atol=1e-12)
    np.testing.assert_allclose(resamples.means(values), items @ values / items.sum(1), atol=1e-12)
    assert (resamples.weights.sum(1) == 3).all()
    draws = rng.random((2, 6))
    picks = rng.integers(0, 2, 50)
    expected = np.array([items[b] @ draws[picks[b]] / items[b].sum() for b in range(50)])
    np.testing.assert_allclose(resamples.means_of_draws(draws, picks), expected, atol=1e-12)


def test_absolute_interval():
    assert clu.absolute((-0.1, 0.3)) == (0.0, 0.3)
    assert clu.absolute((-0.3, -0.1)) == (0.1, 0.3)


def correlated(rng, blocks, size, accuracy, within):
    """0/1 values with `within` of the variance shared inside a block: deff = 1 + (size − 1) · within."""
    shared = rng.random(blocks) < accuracy
    own = rng.random((blocks, size)) < accuracy
    copy = rng.random((blocks, size)) < np.sqrt(within)
    return np.where(copy, shared[:, None], own).astype(float).ravel()


def test_block_intervals_cover_where_independent_ones_fail(rng):
    """Planted deff 4: blocks of 10, a third of the variance shared."""
    blocks, hits_block, hits_item = np.repeat(np.arange(100), 10), 0, 0
    for _ in range(200):
        correct = correlated(rng, 100, 10, 0.8, 1 / 3)
        lo, hi = clu.accuracy_interval(correct, clu.Resamples.draw(blocks, rng=rng, replicates=300))
        hits_block += lo <= 0.8 <= hi
        lo, hi = clu.accuracy_interval(correct, item_resamples(1000, rng, 300))
        hits_item += lo <= 0.8 <= hi
    assert hits_block >= 180
    assert hits_item < 170


@pytest.mark.slow
@pytest.mark.parametrize(("n", "lowest", "highest"), [(1000, 0.92, 0.98), (100, 0.90, 1.0)])
def test_coverage_of_every_interval(n, lowest, highest, rng):
    """500 simulated classifiers: accuracy, paired gap, SCE, AUROC."""
    hits = np.zeros(4)
    for _ in range(500):
        confidence = rng.uniform(0.5, 1.0, n)
        truth = np.clip(confidence - 0.05, 0, 1)  # 5 pt over-confident
        clean = (rng.random(n) < truth).astype(float)
        flip = rng.random(n) < 0.1
        shifted = np.where(flip, 0.0, clean)
        resamples = item_resamples(n, rng)
        lo, hi = clu.accuracy_interval(clean, resamples)
        hits[0] += lo <= 0.7 <= hi
        picks = np.zeros(resamples.replicates, dtype=int)
        gaps = resamples.means_of_draws((clean - shifted)[None], picks)
        lo, hi = clu.paired_gap_interval(clean, shifted[None], gaps)
        hits[1] += lo <= 0.07 <= hi
        lo, hi = clu.sce_interval(confidence, clean, resamples)
        hits[2] += lo <= 0.05 <= hi
        a, b = rng.normal(1, 1, n), rng.normal(0, 1, n)
        weights = resamples.item_weights(), item_resamples(n, rng).item_weights()
        lo, hi = clu.percentile(auroc_replicates(a, b, *weights))
        hits[3] += lo <= 0.7602499 <= hi  # Phi(1 / sqrt 2)
        assert lo <= auroc(a, b) <= hi
    assert (hits / 500 >= lowest).all(), hits / 500
    assert (hits / 500 <= highest).all(), hits / 500


def test_ece_rule_covers_a_calibrated_model_where_the_percentile_never_does(rng):
    ours = plain = 0
    for _ in range(150):
        confidence = rng.uniform(0.5, 1.0, 300)
        correct = (rng.random(300) < confidence).astype(float)  # calibrated: the true ECE is 0
        bins, resamples = equal_width_bins(confidence), item_resamples(300, rng, 200)
        signed = clu.sce_interval(confidence, correct, resamples)
        lo, hi = clu.ece_interval(confidence - correct, bins, resamples, signed)
        assert lo <= ece(confidence, correct, bins) <= hi
        ours += lo <= 0.0
        spread = np.zeros((300, 15))
        spread[np.arange(300), bins.index] = confidence - correct
        replicates = np.abs(resamples.totals(spread)).sum(1) / 300
        plain += np.quantile(replicates, 0.025) <= 0.0
    assert ours >= 0.9 * 150
    assert plain < 0.2 * 150


def test_ece_rule_covers_a_miscalibrated_model(rng):
    hits = 0
    for _ in range(150):
        confidence = rng.uniform(0.6, 1.0, 300)
        correct = (rng.random(300) < confidence - 0.1).astype(float)  # the true ECE is .1
        bins, resamples = equal_width_bins(confidence), item_resamples(300, rng, 200)
        lo, hi = clu.ece_interval(
            confidence - correct, bins, resamples, clu.sce_interval(confidence, correct, resamples)
        )
        hits += lo <= 0.1 <= hi
    assert hits >= 0.9 * 150
