"""A column of replicates that was measured before is the same one; other pairs, draws or metrics make another."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.statistics.node_bootstrap import Memo, node_bootstrap
from auditor.statistics.ranking import auc, average_precision

RNG = np.random.default_rng(0)
PAIRS = RNG.integers(0, 40, (2, 300))
POSITIVE = RNG.random(300) < 0.3
SCORES = [RNG.random(300) + 0.2 * POSITIVE for _ in range(4)]


def replicates(scores, memo: Memo | None, *, seed: int = 1, metrics=(auc, average_precision), weight: float = 1.0):
    return node_bootstrap(
        PAIRS,
        POSITIVE,
        np.full(300, weight),
        scores,
        list(metrics),
        num_nodes=40,
        rng=np.random.default_rng(seed),
        node_replicates=20,
        pair_replicates=10,
        memo=memo,
    )


def test_columns_from_the_memo_are_those_measured_alone() -> None:
    memo: Memo = {}
    replicates(SCORES[:3], memo)
    assert len(memo) == 3
    mixed, alone = (
        replicates([SCORES[3], SCORES[1], SCORES[0]], memo),
        replicates([SCORES[3], SCORES[1], SCORES[0]], None),
    )
    assert len(memo) == 4
    for name in ("value", "node", "pair"):
        assert np.array_equal(getattr(mixed, name), getattr(alone, name))
    again = replicates([SCORES[3], SCORES[1], SCORES[0]], memo)  # nothing is left to measure
    assert len(memo) == 4
    assert np.array_equal(again.node, alone.node)


@pytest.mark.parametrize("change", [{"seed": 2}, {"metrics": (auc,)}, {"weight": 2.0}])
def test_other_draws_metrics_or_weights_are_not_mixed_up(change) -> None:
    memo: Memo = {}
    replicates(SCORES[:1], memo)
    found = replicates(SCORES[:1], memo, **change)
    assert len(memo) == 2
    assert np.array_equal(found.node, replicates(SCORES[:1], None, **change).node)
