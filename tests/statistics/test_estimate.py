"""Estimate and Contrast: a number inside its interval, its sign turned, its distance from 0."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from auditor.statistics.estimate import ROUNDING, Contrast, Estimate


def test_a_reversed_interval_is_refused() -> None:
    with pytest.raises(ValidationError, match="reversed"):
        Estimate(value=None, lo=1.0, hi=0.0)


@pytest.mark.parametrize(("value", "lo", "hi"), [(0.5, 0.6, 0.7), (0.5, 0.3, 0.4), (0.5, 0.6, None), (0.5, None, 0.4)])
def test_a_value_outside_its_interval_is_refused(value: float, lo: float | None, hi: float | None) -> None:
    with pytest.raises(ValidationError, match="outside its interval"):
        Estimate(value=value, lo=lo, hi=hi)


def test_a_value_at_an_end_may_be_off_by_rounding() -> None:
    assert Estimate(value=0.3, lo=0.3 + ROUNDING / 2, hi=0.5).value == 0.3
    assert Estimate(value=0.5 + ROUNDING / 2, lo=0.3, hi=0.5).hi == 0.5


def test_nan_and_infinities_are_no_numbers() -> None:
    open_ = Estimate(value=0.5, lo=-math.inf, hi=math.nan)
    assert (open_.value, open_.lo, open_.hi) == (0.5, None, None)
    assert Estimate(value=math.nan).value is None


def test_both_ends_open_is_no_interval() -> None:
    assert not Estimate(value=0.5).has_interval
    assert Estimate(value=0.5, lo=0.4).has_interval
    assert Estimate(value=0.5, hi=0.6).has_interval


def test_half_width_needs_both_ends() -> None:
    assert Estimate(value=0.5, lo=0.3, hi=0.6).half_width == pytest.approx(0.15)
    assert Estimate(value=0.5, lo=0.3).half_width is None
    assert Estimate(value=0.5, hi=0.6).half_width is None


def test_negated_swaps_the_ends_and_keeps_what_is_open() -> None:
    assert Estimate(value=0.2, lo=0.1, hi=0.4, n=7).negated() == Estimate(value=-0.2, lo=-0.4, hi=-0.1, n=7)
    assert Estimate(value=0.2, lo=0.1).negated() == Estimate(value=-0.2, hi=-0.1)
    assert Estimate(value=None, n=3).negated() == Estimate(value=None, n=3)


def test_negated_zero_has_no_sign() -> None:
    turned = Estimate(value=0.0, lo=-0.1, hi=0.0).negated()
    assert [math.copysign(1, end) for end in (turned.value or 0.0, turned.lo or 0.0)] == [1, 1]


def test_a_contrast_says_what_it_is_to() -> None:
    contrast = Contrast(value=-0.2, lo=-0.4, hi=-0.1, to="random")
    assert contrast.to == "random"
    with pytest.raises(ValidationError, match="to"):
        Contrast(value=0.1)  # type: ignore[call-arg]


def test_an_estimate_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Estimate(value=0.1).value = 0.2  # type: ignore[misc]
