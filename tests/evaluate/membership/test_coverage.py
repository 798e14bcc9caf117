"""Intervals over members and others hold the true number as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from auditor.statistics import ranking
from auditor.statistics.unit_bootstrap import ranked, unit_bootstrap

SHIFT, SHARED = 1.0, 0.5
METRICS = (ranking.auc, lambda curve: ranking.tpr_at(curve, 0.1))
TRUTH = (float(norm.cdf(SHIFT / np.sqrt(2))), float(norm.sf(norm.isf(0.1) - SHIFT)))


def covered(draws: int, replicates: int) -> np.ndarray:
    """How often AUC, TPR and their difference to a weaker, correlated score lie inside, of so many draws, [2, 2]."""
    rng, hits = np.random.default_rng(7), np.zeros((2, 2))
    member = np.arange(600) < 250
    weak = (float(norm.cdf(SHARED / np.sqrt(2))), float(norm.sf(norm.isf(0.1) - SHARED)))
    for draw in range(draws):
        common, own = rng.normal(size=(2, 600))
        first = np.sqrt(0.5) * (common + own) + SHIFT * member
        second = np.sqrt(0.5) * (common + rng.normal(size=600)) + SHARED * member
        found = unit_bootstrap(
            member, ranked([first, second], member, METRICS), rng=np.random.default_rng(draw), replicates=replicates
        )
        for k, (truth, other) in enumerate(zip(TRUTH, weak, strict=True)):
            _, lo, hi = found.interval(k, np.array([1.0, 0.0]), logit=k == 0, least=1e-5)
            hits[0, k] += lo <= truth <= hi
            _, lo, hi = found.difference(k, np.array([1.0, -1.0]))
            hits[1, k] += lo <= truth - other <= hi
    return hits


def test_intervals_hold_the_truth_in_most_draws() -> None:
    assert (covered(60, 100) >= 52).all()


@pytest.mark.slow
def test_coverage_is_not_distinguishable_from_95_percent() -> None:
    for hits in covered(600, 300).ravel():
        observed = binomtest(int(hits), 600).proportion_ci(0.95)
        assert observed.low <= 0.95 <= observed.high, hits
