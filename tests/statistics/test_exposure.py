"""Positives by how much sooner one score names them than another."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.statistics.exposure import most_exposed

# Negatives score 0 to 9; positives stand behind them.
NEGATIVE = np.arange(10.0)
POSITIVE = np.arange(14) >= 10


def test_shares_are_counted_by_hand_and_the_largest_ratio_comes_first() -> None:
    own = np.concatenate([NEGATIVE, [20.0, 8.5, 9.0, 20.0]])
    other = np.concatenate([NEGATIVE, [9.5, 4.5, 9.0, 2.5]])
    found = most_exposed([own], [other], POSITIVE, 10)
    assert found.places.tolist() == [13, 11], "10 and 12 are named no sooner than without the model"
    assert found.own == pytest.approx([0.0, 0.1])
    assert found.other == pytest.approx([0.7, 0.5])
    assert most_exposed([own], [other], POSITIVE, 1).places.tolist() == [13]


def test_a_tie_counts_one_half_and_of_equal_ones_the_first_comes_first() -> None:
    own = np.concatenate([NEGATIVE, [9.0, 9.0, 9.0, -1.0]])
    found = most_exposed([own], None, POSITIVE, 10)
    assert found.places.tolist() == [10, 11, 12]
    assert found.own == pytest.approx([0.05] * 3)
    assert found.other == pytest.approx([0.5] * 3), "chance names half of the negatives first"


def test_draws_are_averaged() -> None:
    draws = [np.concatenate([NEGATIVE, [20.0, 0.5, 0.5, 0.5]]), np.concatenate([NEGATIVE, [7.5, 0.5, 0.5, 0.5]])]
    assert most_exposed(draws, None, POSITIVE, 10).own == pytest.approx([0.1])
