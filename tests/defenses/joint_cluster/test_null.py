"""Nothing is claimed where there is nothing: joint against itself gains nothing, a random table leaks no edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from auditor.compare.gain import score_arm
from auditor.data.edits import EdgeSpace
from auditor.outcomes import FlipSet
from auditor.policy.differences import over_seeds, under_edits
from tests.defenses.joint_cluster.fits import fitted, islands, leak
from tests.toys import toy_target

FITS, SEEDS, COMPARISONS = 24, 5, 200
MOST = int(binom.ppf(0.99, COMPARISONS, 0.05))


@pytest.fixture(scope="module")
def robust() -> np.ndarray:
    """Worst-case accuracy of the arm `joint` over equal edits, one number a seed of the fit."""
    base = toy_target(epochs=20)
    space, rng = EdgeSpace.of(base.graph), np.random.default_rng(0)
    flips = [FlipSet(18, space.sample(18, rng)) for _ in range(10)]
    fits = (fitted(seed, base) for seed in range(FITS))
    return np.array([score_arm(target, flips).worst[18].mean() for target in fits])


def supported(robust: np.ndarray, planted_gain: float = 0.0) -> int:
    """How many of the resampled comparisons of five fits with five others say that the defence helps."""
    rng, count = np.random.default_rng(1), 0
    for _ in range(COMPARISONS):
        drawn = rng.permutation(FITS)[: 2 * SEEDS]
        gains = robust[drawn[:SEEDS]] + planted_gain - robust[drawn[SEEDS:]]
        difference = over_seeds("ce", gains.tolist())
        count += under_edits("robustness", {"ce": difference}, ["ce"], "every").status == "helps"
    return count


@pytest.mark.slow
def test_joint_against_itself_with_other_seeds_is_no_gain(robust: np.ndarray) -> None:
    assert robust.std() > 0.005  # seeds differ, or the comparison would say that they are one sample
    assert supported(robust) <= MOST


@pytest.mark.slow
def test_a_planted_gain_of_that_size_is_supported(robust: np.ndarray) -> None:
    assert supported(robust, 4 * float(robust.std())) > COMPARISONS * 0.8


@pytest.mark.parametrize(("partition", "seeds"), [pytest.param("random", 12, marks=pytest.mark.slow), ("bfs", 4)])
def test_a_random_table_leaks_no_edge_and_one_made_from_edges_does(partition: str, seeds: int) -> None:
    base, _ = islands()
    found = []
    for seed in range(seeds):
        excess = leak(fitted(seed, base, partition=partition, clusters=8, min_occupancy=1), seed).excess
        assert excess is not None
        assert excess.lo is not None
        assert excess.hi is not None
        found.append((excess.lo <= 0 <= excess.hi, excess.lo > 0))
    holds_zero, proven = np.sum(found, axis=0)
    if partition == "bfs":
        assert proven == seeds
    else:
        assert holds_zero >= binom.ppf(0.01, seeds, 0.95)


@pytest.mark.slow
def test_seeds_of_the_fit_are_what_makes_the_comparison_vary(robust: np.ndarray) -> None:
    assert len(np.unique(robust)) > 3
    assert not torch.equal(fitted(0).model.prototypes, fitted(1).model.prototypes)
