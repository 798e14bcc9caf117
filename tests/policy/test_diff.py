"""Diff of two audits: worse and better only where the intervals say so."""

from __future__ import annotations

import math
from typing import Any

import pytest

from auditor.document import Audit, Metric
from auditor.policy.diff import CHANGES, diff
from tests.policy.samples import audit_of, cell, measurement


def audit(value: float | None, half: float = 0.03, profile: str = "quick", **more: Any) -> Audit:
    lo, hi = (None, None) if value is None else (value - half, value + half)
    return audit_of([cell(measurement(value, lo, hi), **more)], profile=profile)


@pytest.mark.parametrize(
    ("old", "new", "change", "code"),
    [(0.2, 0.3, "worse", 1), (0.3, 0.2, "better", 0), (0.2, 0.24, "same", 0), (0.2, 0.2, "same", 0)],
)
def test_a_change_counts_only_beyond_the_joint_half_width(old, new, change, code) -> None:
    found = diff(audit(old), audit(new))
    (row,) = found.rows
    assert (row.change, found.exit_code) == (change, code)
    assert row.difference == pytest.approx(new - old)
    assert row.half_width == pytest.approx(0.03 * math.sqrt(2))  # .0424


def test_overlapping_intervals_can_still_be_a_change() -> None:
    (row,) = diff(audit(0.20), audit(0.25)).rows  # [.17, .23] and [.22, .28] overlap, .05 > .0424
    assert row.change == "worse"


def test_new_and_gone() -> None:
    old, new = audit(0.2), audit(0.2, probe="strata")
    found = diff(old, new)
    assert {row.change for row in found.rows} == {"new", "gone"}
    assert found.exit_code == 3
    assert diff(audit_of([]), new).exit_code == 0


def test_worse_comes_before_gone() -> None:
    old = audit_of([cell(measurement(0.1, 0.09, 0.11)), cell(measurement(0.1, 0.0, 0.2), probe="strata")])
    assert diff(old, audit(0.3, 0.01)).exit_code == 1


def test_a_shown_number_that_got_worse_does_not_fail() -> None:
    old, new = (audit_of([cell(measurement(v, v - 0.01, v + 0.01, judged=False))]) for v in (0.1, 0.5))
    found = diff(old, new)
    assert (found.rows[0].change, found.exit_code) == ("worse", 0)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"params": {"attack": {"graphmi": {"steps": 9}}}}, "attack"),
        ({"params": {"controls": ["labels"]}}, "controls"),
        ({"access": ("posteriors", "features")}, "access"),
    ],
)
def test_what_was_measured_in_another_way_is_never_compared(more, word: str) -> None:
    found = diff(audit(0.2), audit(0.9, **more))
    assert (found.rows[0].change, found.exit_code) == ("redefined", 0)
    assert found.rows[0].why == (word,)


def test_another_profile_is_another_measurement() -> None:
    (row,) = diff(audit(0.2), audit(0.9, profile="full")).rows
    assert (row.change, row.why) == ("redefined", ("profile",))
    (row,) = diff(audit(0.2), audit(0.9, profile="full", params={"draws": 3})).rows
    assert row.why == ("profile", "draws")


def test_what_came_out_on_the_way_defines_nothing() -> None:
    old, new = audit(0.2, params={"notes": {"loss": 1.0}}), audit(0.9, params={"notes": {"loss": 2.0}, "pairs": 7})
    assert diff(old, new).rows[0].change == "worse"


def test_open_intervals_prove_no_change() -> None:
    old = audit_of([cell(measurement(0.1, 0.05, None))])
    (row,) = diff(old, audit(0.5)).rows
    assert (row.change, row.why, row.difference) == ("same", ("open",), None)


def test_a_lost_control_is_redefined() -> None:
    (row,) = diff(audit(0.2), audit(None)).rows
    assert (row.change, row.why) == ("redefined", ("one-control",))
    (row,) = diff(audit(None), audit(None)).rows
    assert (row.change, row.why) == ("same", ("no-control",))


def test_a_fall_of_what_should_be_high_is_worse() -> None:
    metric = Metric("accuracy", "share", "lower", "robustness")
    old, new = (audit_of([cell(measurement(v, v - 0.03, v + 0.03, metric=metric))]) for v in (0.1, 0.3))
    (row,) = diff(old, new).rows
    assert (row.change, row.difference) == ("worse", pytest.approx(0.2))


def test_regressions_come_first_and_judged_before_shown() -> None:
    def numbers(**values: float) -> Audit:
        shown = [measurement(v, v - 0.01, v + 0.01, subset=name, judged=name != "shown") for name, v in values.items()]
        return audit_of([cell(*shown)])

    old, new = numbers(same=0.2, better=0.3, shown=0.1, worse=0.1), numbers(same=0.2, better=0.1, shown=0.3, worse=0.3)
    found = diff(old, new)
    assert [(row.subset, row.change) for row in found.rows] == [
        ("worse", "worse"),
        ("shown", "worse"),
        ("better", "better"),
        ("same", "same"),
    ]
    assert found.counts == {**dict.fromkeys(CHANGES, 0), "worse": 2, "better": 1, "same": 1}


def test_seeds_are_joined_before_they_are_compared() -> None:
    old = audit_of([cell(measurement(v, v - 0.01, v + 0.01), seed=s) for s, v in enumerate((0.1, 0.3))])
    new = audit_of([cell(measurement(v, v - 0.01, v + 0.01), seed=s) for s, v in enumerate((0.2, 0.4))])
    (row,) = diff(old, new).rows
    assert row.difference == pytest.approx(0.1)
    assert row.change == "same"  # two seeds .2 apart prove nothing


def both_sides(error: float) -> Audit:
    """Mean confidence less accuracy, asked about from both sides."""
    numbers = [
        measurement(value, value - 0.05, value + 0.05, metric=Metric(name, "share", "higher", question))
        for name, question, value in (
            ("over_confidence", "over-confidence", error),
            ("under_confidence", "under-confidence", -error),
        )
    ]
    return audit_of([cell(*numbers)])


@pytest.mark.parametrize(
    ("old", "new", "over", "under"),
    [
        (-0.4, -0.1, "same", "better"),
        (-0.1, -0.4, "same", "worse"),
        (0.1, 0.4, "worse", "same"),
        (0.4, -0.4, "better", "worse"),
        (-0.4, 0.4, "worse", "better"),
        (-0.4, 0.02, "same", "better"),
    ],
)
def test_too_little_confidence_is_no_better_than_none_too_much(old: float, new: float, over: str, under: str) -> None:
    found = {row.metric: row for row in diff(both_sides(old), both_sides(new)).rows}
    assert (found["over_confidence"].change, found["under_confidence"].change) == (over, under)
    for row, sign in ((found["over_confidence"], 1), (found["under_confidence"], -1)):
        assert row.old is not None
        assert (row.old.value, row.difference) == (
            pytest.approx(max(sign * old, 0.0)),
            pytest.approx(max(sign * new, 0.0) - max(sign * old, 0.0)),
        )


def test_a_model_that_is_better_calibrated_is_no_regression() -> None:
    assert diff(both_sides(-0.4), both_sides(-0.1)).exit_code == 0
    assert diff(both_sides(-0.1), both_sides(-0.4)).exit_code == 1
