"""Joining seeds: hand numbers, coverage, the adversary's worst seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.audit import Interval
from auditor.joined import fingerprint, join_cells
from auditor.statistics.intervals import Z95, join_seeds
from tests.policy.samples import TARGET, cell, measurement, seeds


def test_join_formula_against_hand_numbers() -> None:
    value, lo, hi = join_seeds([0.10, 0.20, 0.30], [(0.05, 0.15), (0.15, 0.25), (0.25, 0.40)])
    t, variance = 4.302652729911275, 0.01  # Student .975 with 2 degrees; sample variance of .1, .2, .3
    assert value == pytest.approx(0.2)
    assert lo == pytest.approx(0.2 - math.sqrt(0.0025 + t * t * variance / 3))  # −.0534
    assert hi == pytest.approx(0.2 + math.sqrt((0.0025 + 0.0025 + 0.01) / 3 + t * t * variance / 3))
    assert lo == pytest.approx(-0.0534, abs=5e-5)


def test_seeds_that_agree_keep_the_data_interval() -> None:
    (joined,) = join_cells(seeds([(0.2, 0.1, 0.4)] * 5), TARGET)
    assert joined.advantage is not None
    assert joined.advantage.value == pytest.approx(0.2)
    assert (joined.advantage.ci.lo, joined.advantage.ci.hi) == (pytest.approx(0.1), pytest.approx(0.4))


@pytest.mark.parametrize("k", [3, 5])
def test_joined_interval_covers_the_truth_when_seeds_share_their_items(k: int) -> None:
    rng, truth, n, hits = np.random.default_rng(5), 0.3, 400, 0
    for _ in range(500):
        items = rng.normal(truth, 1.0, n)  # one sample of items, seen by every seed
        values = [float(items.mean() + rng.normal(0, 0.02)) for _ in range(k)]
        half = Z95 * float(items.std(ddof=1)) / math.sqrt(n)
        _, lo, hi = join_seeds(values, [(v - half, v + half) for v in values])
        hits += lo <= truth <= hi
    assert 0.92 <= hits / 500 <= 0.98


def test_averaging_the_data_part_away_would_not_cover() -> None:
    """The trap that the formula avoids: dividing by k as if every seed had new items."""
    rng, truth, n, k, hits = np.random.default_rng(5), 0.3, 400, 5, 0
    for _ in range(500):
        items = rng.normal(truth, 1.0, n)
        half = Z95 * float(items.std(ddof=1)) / math.sqrt(n * k)
        hits += abs(items.mean() - truth) <= half
    assert hits / 500 < 0.75


def test_worst_seed_of_one_adversary_is_the_result_and_the_spread_is_kept() -> None:
    tries = [(0.20, 0.15, 0.25), (0.30, 0.25, 0.35), (0.25, 0.2, 0.3)]
    (joined,) = join_cells(
        seeds(tries, family="adversarial", probe="structure-evasion", finding="robustness-structure"), TARGET
    )
    assert joined.advantage is not None
    assert (joined.advantage.value, joined.advantage.ci) == (0.30, Interval(lo=0.25, hi=0.35))
    assert (joined.worst_seed, joined.spread) == (1, (0.20, 0.25, 0.30))


def test_refitted_defences_and_poisoned_trainings_are_averaged() -> None:
    tries = [(0.20, 0.15, 0.25), (0.30, 0.25, 0.35)]
    for more in (
        {"defense": "l2r", "finding": "robustness-structure"},
        {"finding": "robustness-poisoning"},
    ):
        (joined,) = join_cells(seeds(tries, family="adversarial", probe="x", **more), TARGET)
        assert joined.worst_seed is None
        assert joined.advantage is not None
        assert joined.advantage.value == pytest.approx(0.25)


def test_an_end_open_in_one_seed_is_open_in_the_join() -> None:
    cells = [cell(measurement(0.3, 0.2, None)), cell(measurement(0.3, 0.2, 0.4), seed=1)]
    (joined,) = join_cells(cells, TARGET)
    assert joined.advantage is not None
    assert joined.advantage.ci.hi is None
    assert joined.advantage.ci.lo == pytest.approx(0.2)


def test_text_is_of_the_seed_nearest_the_joined_value() -> None:
    cells = [cell(measurement(v, v - 0.1, v + 0.1, text=f"seed {s}"), seed=s) for s, v in enumerate((0.1, 0.5, 0.35))]
    (joined,) = join_cells(cells, TARGET)
    assert joined.text == "seed 2"


def test_fingerprint_holds_no_measured_value_and_separates_its_words() -> None:
    (a,) = join_cells([cell(measurement(0.1, 0.0, 0.2))], TARGET)
    (b,) = join_cells([cell(measurement(0.9, 0.8, 1.0), seed=4, key="other")], TARGET)
    assert a.fingerprint == b.fingerprint
    words = ("id", TARGET, "none", "probe", "auc", "prior")
    assert len({fingerprint(*words[:i], "else", *words[i + 1 :]) for i in range(6)} | {fingerprint(*words)}) == 7
    assert fingerprint("ab", "c", "", "", "", "") != fingerprint("a", "bc", "", "", "", "")
