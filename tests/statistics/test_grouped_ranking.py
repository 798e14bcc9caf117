"""AUC inside groups against counting every pair."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditor.statistics.grouped_ranking import GroupedRanking


def counted(scores, positive, group, weights) -> float:
    right = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive & (group == group[i])):
            w = weights[i] * weights[j]
            right += w * (float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j]))
            total += w
    return right / total


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_count_of_pairs_with_ties_and_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, group = rng.integers(0, 6, 60).astype(float), rng.integers(-1, 4, 60)
    positive, weights = rng.random(60) < 0.3, rng.integers(0, 4, 60).astype(float)
    ranking = GroupedRanking(scores, positive, group)
    assert ranking.auc() == pytest.approx(counted(scores, positive, group, np.ones(60)), abs=1e-12)
    assert ranking.auc(weights) == pytest.approx(counted(scores, positive, group, weights), abs=1e-12)


def test_one_group_is_the_plain_auc_and_a_shift_of_a_group_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=80), rng.random(80) < 0.4
    assert GroupedRanking(scores, positive, np.zeros(80)).auc() == pytest.approx(roc_auc_score(positive, scores))
    group = rng.integers(0, 3, 80)
    shifted = GroupedRanking(scores + 10.0 * group, positive, group).auc()
    assert shifted == pytest.approx(GroupedRanking(scores, positive, group).auc())


def test_without_a_pair_there_is_no_number() -> None:
    assert np.isnan(GroupedRanking([0.0, 1.0], [True, False], [0, 1]).auc())
