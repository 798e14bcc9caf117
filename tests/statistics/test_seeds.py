"""Joining seeds: hand numbers, open ends, and coverage where seeds share their items."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.statistics.estimate import COUNTS, SHARES, Contrast, Estimate, Range
from auditor.statistics.intervals import Z95, join_seeds
from auditor.statistics.seeds import joined, joined_contrast

T2 = 4.302652729911275
"""Student's .975 quantile with 2 degrees of freedom."""


def test_join_formula_against_hand_numbers() -> None:
    value, lo, hi = join_seeds([0.10, 0.20, 0.30], [(0.05, 0.15), (0.15, 0.25), (0.25, 0.40)])
    variance = 0.01  # sample variance of .1, .2, .3
    assert value == pytest.approx(0.2)
    assert lo == pytest.approx(0.2 - math.sqrt(0.0025 + T2 * T2 * variance / 3))  # −.0534
    assert hi == pytest.approx(0.2 + math.sqrt((0.0025 + 0.0025 + 0.01) / 3 + T2 * T2 * variance / 3))
    assert lo == pytest.approx(-0.0534, abs=5e-5)


def test_estimates_are_joined_by_that_formula() -> None:
    parts = [Estimate(value=v, lo=lo, hi=hi, n=n) for v, lo, hi, n in ((0.1, 0.05, 0.15, 9), (0.2, 0.15, 0.25, 11))]
    found = joined(parts)
    assert (found.value, found.lo, found.hi) == join_seeds([0.1, 0.2], [(0.05, 0.15), (0.15, 0.25)])
    assert found.n == 11


def test_one_seed_is_itself() -> None:
    contrast = Contrast(value=0.1, lo=0.0, hi=0.2, n=4, to="random")
    assert joined([contrast]) == Estimate(value=0.1, lo=0.0, hi=0.2, n=4)
    assert joined_contrast([contrast]) == contrast


def test_seeds_that_agree_keep_the_data_interval() -> None:
    found = joined([Estimate(value=0.2, lo=0.1, hi=0.4)] * 5)
    assert (found.value, found.lo, found.hi) == (pytest.approx(0.2), pytest.approx(0.1), pytest.approx(0.4))


def test_an_end_open_in_one_seed_is_open_in_the_join() -> None:
    found = joined([Estimate(value=0.3, lo=0.2), Estimate(value=0.3, lo=0.2, hi=0.4)])
    assert found.hi is None
    assert found.lo == pytest.approx(0.2)
    none = joined([Estimate(value=0.3), Estimate(value=0.5, lo=0.2, hi=0.6)])
    assert (none.value, none.has_interval) == (pytest.approx(0.4), False)


def test_a_number_that_one_seed_lacks_is_lacking() -> None:
    assert joined([Estimate(value=0.3, lo=0.2, hi=0.4, n=5), Estimate(value=None)]) == Estimate(value=None, n=5)


def test_an_end_past_what_the_number_can_be_is_cut() -> None:
    parts = [Estimate(value=v, lo=v - 0.02, hi=v + 0.02) for v in (0.03, 0.4, 0.97)]
    plain, cut = joined(parts), joined(parts, SHARES)
    assert plain.lo is not None
    assert plain.hi is not None
    assert plain.lo < 0 < 1 < plain.hi
    assert (cut.value, cut.lo, cut.hi) == (plain.value, 0.0, 1.0)
    assert (joined(parts, COUNTS).lo, joined(parts, COUNTS).hi) == (0.0, plain.hi)
    assert joined(parts, SHARES.of_differences) == plain.model_copy(update={"hi": min(plain.hi, 1.0)})
    contrast = joined_contrast([Contrast(**each.model_dump(), to="random") for each in parts], SHARES)
    assert (contrast.lo, contrast.hi, contrast.to) == (0.0, 1.0, "random")


def test_nothing_is_cut_where_a_seed_lies_outside_already() -> None:
    parts = [Estimate(value=v, lo=v - 0.02, hi=v + 0.02) for v in (-0.5, 0.4, 0.9)]
    plain, cut = joined(parts), joined(parts, SHARES)
    assert (cut.lo, cut.hi) == (plain.lo, 1.0)


def test_ranges_of_differences() -> None:
    assert SHARES.of_differences == Range(-1.0, 1.0)
    assert SHARES.of_differences.of_differences == Range(-2.0, 2.0)
    assert COUNTS.of_differences == Range(None, None)


def test_a_joined_contrast_names_every_other_side_once() -> None:
    parts = [Contrast(value=0.1, to=to) for to in ("a", "b", "a")]
    assert joined_contrast(parts).to == "a / b"
    assert joined_contrast(parts[::2]).to == "a"


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
