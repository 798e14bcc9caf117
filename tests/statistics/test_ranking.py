import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from auditor.statistics.ranking import (
    Ranking,
    auc,
    average_precision,
    balanced,
    counts,
    mid_ranks,
    precision_at_positives,
    tpr_at,
    tpr_points,
)


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_and_average_precision_equal_scikit_learn_with_ties_and_weights(decimals, weighted):
    rng = np.random.default_rng(decimals)
    truth = rng.random(400) < 0.2
    scores = np.round(rng.normal(size=400) + truth, decimals)
    weights = rng.integers(0, 4, 400).astype(float) if weighted else None
    curve = Ranking(scores, truth).curve(weights)
    assert auc(curve) == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12)
    assert average_precision(curve) == pytest.approx(
        average_precision_score(truth, scores, sample_weight=weights), abs=1e-12
    )


def test_integer_weights_equal_repeated_items():
    rng = np.random.default_rng(1)
    truth, scores, times = rng.random(80) < 0.4, np.round(rng.normal(size=80), 1), rng.integers(0, 4, 80)
    weighted = Ranking(scores, truth).curve(times.astype(float))
    repeated = Ranking(np.repeat(scores, times), np.repeat(truth, times)).curve()
    for metric in (auc, average_precision, precision_at_positives, lambda c: tpr_at(c, 0.07)):
        assert metric(weighted) == pytest.approx(metric(repeated), abs=1e-12)


def test_tpr_is_linear_inside_a_tie_block():
    # 80 % of the edges and 20 % of the non-edges score 1: at FPR 0.01 a twentieth of the block, so 0.04.
    truth = np.r_[np.ones(100, bool), np.zeros(1000, bool)]
    scores = np.r_[np.ones(80), np.zeros(20), np.ones(200), np.zeros(800)]
    curve = Ranking(scores, truth).curve()
    assert tpr_at(curve, 0.01) == pytest.approx(0.04)
    assert tpr_at(curve, 0.2) == pytest.approx(0.8)
    assert tpr_at(curve, 1.0) == pytest.approx(1.0)


def test_tpr_is_the_expectation_under_random_order_of_ties():
    rng = np.random.default_rng(2)
    truth = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + truth, 0)
    expected = []
    for _ in range(400):
        jitter = scores + rng.random(300) * 1e-6
        expected.append(tpr_at(Ranking(jitter, truth).curve(), 0.1))
    assert tpr_at(Ranking(scores, truth).curve(), 0.1) == pytest.approx(np.mean(expected), abs=0.01)


def test_positives_above_every_negative_cost_no_false_positive():
    curve = Ranking([3.0, 2.0, 1.0, 0.0], [True, True, False, False]).curve()
    assert tpr_at(curve, 1e-6) == pytest.approx(1.0)
    assert auc(curve) == 1.0
    assert precision_at_positives(curve) == 1.0


def test_precision_counts_weights_and_splits_the_last_block():
    # Two positives: the first item is one, the second place is a block of one positive among four.
    curve = Ranking([5, 1, 1, 1, 1, 0], [True, True, False, False, False, False]).curve()
    assert precision_at_positives(curve) == pytest.approx((1 + 0.25) / 2)


def test_balanced_curve_has_equal_weights_and_the_same_auc():
    truth = np.r_[np.ones(10, bool), np.zeros(200, bool)]
    curve = Ranking(np.random.default_rng(3).normal(size=210) + truth, truth).curve()
    even = balanced(curve)
    assert even.fp[-1] == pytest.approx(even.tp[-1])
    assert auc(even) == pytest.approx(auc(curve))


def test_points_rise_with_the_rate():
    rng = np.random.default_rng(4)
    truth = rng.random(500) < 0.1
    curve, rates = Ranking(rng.normal(size=500), truth).curve(), np.linspace(0.001, 1, 50)
    points = tpr_points(curve, rates)
    assert points.tolist() == [tpr_at(curve, rate) for rate in rates]
    assert (np.diff(points) >= 0).all()
    assert points[-1] == 1.0


@pytest.mark.parametrize(("most", "kind"), [(9, torch.uint8), (300, torch.float32), (2**23, torch.float32)])
def test_curves_of_whole_numbers_are_exact_whatever_holds_them(most, kind):
    rng = np.random.default_rng(5)
    truth = np.r_[np.ones(20, bool), np.zeros(300, bool)]
    ranking = Ranking(rng.integers(0, 30, 320) + truth, truth)
    times = rng.integers(0, most + 1, (320, 5))
    times[0] = most
    as_given = torch.from_numpy(times.astype(np.uint8) if most < 256 else times.astype(np.float32))
    rows = [counts(as_given[torch.from_numpy(side)]) for side in (truth, ~truth)]
    assert rows[0].dtype == kind
    curves = ranking.curves_of(*rows)
    expected = [ranking.curve(times[:, lane].astype(np.float64)) for lane in range(5)]
    assert curves.negatives.tolist() == [float(one.negatives) for one in expected]
    assert curves.positives.tolist() == [float(one.positives) for one in expected]
    # Products of such totals pass what float64 holds exactly.
    np.testing.assert_allclose(curves.right(), [float(one.right()) for one in expected], rtol=1e-14)


METRICS = (
    auc,
    average_precision,
    precision_at_positives,
    lambda curve: tpr_at(curve, 0.003),
    lambda curve: tpr_at(curve, 0.3),
    lambda curve: tpr_at(curve, 1.0),
)


@pytest.mark.parametrize("apart", [0.0, 1.0, 20.0])
@pytest.mark.parametrize(("share", "size"), [(0.02, 700), (0.5, 30), (0.5, 20_000), (0.95, 3_000)])
@pytest.mark.parametrize("decimals", [0, 2, 9])
def test_metrics_of_many_weightings_are_those_of_each_curve(decimals, share, size, apart):
    """Blocks and chunks, runs of one class, tie blocks, positives that stand for more, a class without weight."""
    rng = np.random.default_rng((decimals, size))
    truth = rng.random(size) < share
    truth[:2] = True, False
    scores = np.round(rng.normal(size=size) + apart * truth, decimals)
    times = rng.poisson(1.0, (size, 4))
    times[truth, 3] = 0
    odds, ranking = 0.37, Ranking(scores, truth)
    curves = ranking.curves_of(*(counts(torch.from_numpy(times[side])) for side in (truth, ~truth)), odds=odds)
    each = [ranking.curve(lane * np.where(truth, odds, 1.0)) for lane in times.T]
    for metric in METRICS:
        np.testing.assert_allclose(metric(curves), [metric(curve) for curve in each], rtol=0, atol=1e-12)
        assert np.isnan(metric(curves)[3])


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        ([1.0, np.nan], [True, False]),
        ([1.0, 2.0], [True, True]),
        ([1.0], [True, False]),
        ([1.0, np.inf], [True, False]),
    ],
)
def test_bad_input_is_refused(scores, truth):
    with pytest.raises(ValueError, match=r"finite|classes|shapes"):
        Ranking(scores, truth)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_mid_ranks_are_those_of_scipy_with_ties_and_infinities(decimals):
    values = np.round(np.random.default_rng(decimals).normal(size=200), decimals)
    values[::17], values[::19] = np.inf, -np.inf
    assert np.array_equal(mid_ranks(values), rankdata(values))
