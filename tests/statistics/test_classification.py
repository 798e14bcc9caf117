import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef, recall_score

from auditor.statistics import classification as cls


def test_a_pure_class_mix_shift_leaves_no_adjusted_gap():
    recalls, before, after = np.array([0.9, 0.7]), np.array([0.5, 0.5]), np.array([0.1, 0.9])
    assert recalls @ before - recalls @ after == pytest.approx(0.08)
    assert cls.prior_adjusted_gap(recalls, recalls, before) == pytest.approx(0.0, abs=1e-15)


def test_classes_absent_from_one_side_are_left_out():
    assert cls.prior_adjusted_gap(
        np.array([0.9, 0.8, np.nan]), np.array([0.5, np.nan, 0.1]), np.array([0.5, 0.5, 0.0])
    ) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="both"):
        cls.prior_adjusted_gap(np.array([0.9, np.nan]), np.array([np.nan, 0.1]), np.array([1.0, 0.0]))


def test_recalls_agree_with_scikit_learn(rng):
    y, predicted = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    np.testing.assert_allclose(cls.recalls(y, predicted, 5), recall_score(y, predicted, average=None), atol=1e-12)
    assert cls.balanced_accuracy(y, predicted, 5) == pytest.approx(balanced_accuracy_score(y, predicted), abs=1e-12)


def test_a_prediction_of_no_class_is_wrong():
    assert cls.recalls(np.array([0, 0, 1]), np.array([0, -1, 1]), 2).tolist() == [0.5, 1.0]


@pytest.mark.filterwarnings("ignore:A single label")
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_matthews_is_that_of_scikit_learn_to_the_bit(classes):
    rng = np.random.default_rng(classes)
    for n in (1, 5, 200):
        y = rng.integers(0, classes, n)
        for said in (y, rng.integers(-1, classes, n), np.where(rng.random(n) < 0.6, y, 0), np.full(n, -1)):
            assert cls.matthews(y, said) == matthews_corrcoef(y, said)
