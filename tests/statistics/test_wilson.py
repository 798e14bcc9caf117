"""Wilson's interval: published numbers, and that it holds the rate it is about."""

from __future__ import annotations

import pytest

from auditor.statistics.intervals import wilson


@pytest.mark.parametrize(
    ("right", "n", "lo", "hi"), [(538, 1000, 0.50701, 0.56870), (21, 40, 0.37497, 0.67065), (0, 10, 0.0, 0.27753)]
)
def test_known_intervals(right: int, n: int, lo: float, hi: float) -> None:
    assert wilson(right, n) == (pytest.approx(lo, abs=5e-6), pytest.approx(hi, abs=5e-6))


def test_no_rounding_leaves_the_rate_out() -> None:
    for n in range(1, 500):
        assert wilson(n, n)[1] == 1.0
        assert wilson(0, n)[0] == 0.0
        lo, hi = wilson(n // 3, n)
        assert lo <= (n // 3) / n <= hi
