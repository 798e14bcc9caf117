"""Members and others resampled apart: several resamples at once are the same numbers as one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import LANES
from auditor.statistics.unit_bootstrap import one_by_one, ranked, unit_bootstrap

METRICS = (ranking.auc, partial(ranking.tpr_at, fpr=0.1))


@pytest.mark.parametrize("replicates", [0, 1, LANES, 2 * LANES + 5])
def test_resamples_at_once_are_those_one_by_one(replicates: int) -> None:
    rng, member = np.random.default_rng(0), np.arange(90) % 3 == 0
    scores = [rng.normal(size=90) + member, np.round(rng.normal(size=90), 0)]  # the second has ties

    def measure(weights: ranking.Floats) -> ranking.Floats:
        curves = [ranking.Ranking(score, member).curve(weights) for score in scores]
        return np.array([[metric(curve) for curve in curves] for metric in METRICS])

    at_once, singly = (
        unit_bootstrap(member, how, rng=np.random.default_rng(1), replicates=replicates)
        for how in (ranked(scores, member, METRICS), one_by_one(measure))
    )
    assert np.array_equal(at_once.value, singly.value)
    assert at_once.node.shape == (replicates, 2, 2)
    # A place inside a tie block is found from its middle at once and from its start singly.
    np.testing.assert_allclose(at_once.node, singly.node, rtol=0, atol=1e-14)
