import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditor.statistics import detection as det

ID, SHIFTED = np.array([3.0, 2, 2, 1]), np.array([2.0, 1, 0])


def test_hand_numbers():
    assert det.auroc(ID, SHIFTED) == pytest.approx(0.791667, abs=1e-6)
    assert det.aupr(ID, SHIFTED) == pytest.approx(0.791667, abs=1e-6)
    assert det.fpr95(ID, SHIFTED) == pytest.approx(2 / 3)


def test_infinite_scores_rank_last():
    assert det.auroc(np.array([1.0, 2.0]), np.array([-np.inf, -np.inf])) == 1.0


def test_weighted_replicates_agree_with_scikit_learn(rng):
    first, second = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 30).astype(float)
    w, v = rng.integers(0, 3, (5, 40)).astype(float), rng.integers(0, 3, (5, 30)).astype(float)
    truth = np.r_[np.ones(40), np.zeros(30)]
    found = det.auroc_replicates(first, second, iter([w[:2], w[2:]]), iter([v[:2], v[2:]]))
    expected = [
        roc_auc_score(truth, np.r_[first, second], sample_weight=np.r_[a, b]) for a, b in zip(w, v, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_replicate_without_weight_on_one_side_has_no_value():
    found = det.auroc_replicates(ID, SHIFTED, iter([np.zeros((1, 4))]), iter([np.ones((1, 3))]))
    assert np.isnan(found).all()
