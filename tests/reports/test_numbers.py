"""The one formatter: one denominator, no signs, ranges in words, one plural rule."""

from __future__ import annotations

from typing import Any

import pytest

from auditor.document import Estimate
from auditor.document.facts import LowFpr
from auditor.document.results import Unit
from reports.sentences import numbers
from reports.sentences.briefs.privacy import accused, beside_outsiders
from reports.sentences.guesses import few_alarms
from reports.sentences.numbers import Differences, Shares


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (2708, 0, "2,708"),
        (0.05, 1, "0.1"),
        (-0.02, 1, "0.0"),
        (-1.5, 1, "−1.5"),
        (None, 1, "–"),
        (1234.5, 2, "1,234.50"),
    ],
)
def test_digits(value: float | None, places: int, text: str) -> None:
    assert numbers.digits(value, places) == text


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (1, "node", "1 node"), (0, "node", "0 nodes"), (2708, "node", "2,708 nodes"), (3, "class", "3 classes"),
        (2, "query", "2 queries"), (2, "way", "2 ways"), (2, "guess", "2 guesses"),
        (38, "more test node", "38 more test nodes"),
        (1, "class", "1 class"),
    ],
)  # fmt: skip
def test_one_plural_rule(n: int, noun: str, text: str) -> None:
    assert numbers.count(n, noun) == text


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [
        (0.0, 1, "none of 1 node is"), (1.0, 1, "all 1 node is"), (0.2, 5, "1 of 5 nodes is"),
        (0.4, 5, "2 of 5 nodes are"), (0.0, 5, "none of 5 nodes are"), (0.01, 0, "1 in 100 nodes is"),
        (0.1, 0, "10 in 100 nodes are"), (None, 0, "– are"),
    ],
)  # fmt: skip
def test_a_verb_agrees_with_what_is_counted_or_with_the_only_one_there_is(
    value: float | None, n: int, text: str
) -> None:
    assert Shares.comparing(value, n=n).are(value, "node") == text


@pytest.mark.parametrize(
    ("values", "n", "texts"),
    [
        ((0.6, 0.81), 0, ("60 in 100", "81 in 100")),
        ((135 / 905, 78 / 905), 905, ("135 of 905", "78 of 905")),
        ((0.0, 1.0), 905, ("none of 905", "all 905")),
        ((0.1234, 0.5), 905, ("12 in 100", "50 in 100")),  # no counts of 905
        ((135 / 1905, 78 / 1905), 1905, ("7 in 100", "4 in 100")),  # more than 1,000 items
        ((0.0048, 0.35), 0, ("5 in 1,000", "350 in 1,000")),
        ((0.00048, 0.35), 0, ("5 in 10,000", "3,500 in 10,000")),
        ((0.8149, 0.8148), 0, ("81.49 in 100", "81.48 in 100")),  # different values look different
        ((0.9996, 0.5), 0, ("99.96 in 100", "50.00 in 100")),  # not all
        ((None, 0.5), 0, ("–", "50 in 100")),
    ],
)
def test_shares_have_one_denominator(values: Any, n: int, texts: tuple[str, str]) -> None:
    share = Shares.comparing(*values, n=n)
    assert tuple(share(value) for value in values) == texts


def test_shares_with_a_noun_and_a_range() -> None:
    share = Shares.comparing(0.6)
    assert share(0.6, "node") == "60 in 100 nodes"
    assert Shares.comparing(1.0, n=1)(1.0, "node") == "all 1 node"
    assert share.between(Estimate(value=0.6, lo=0.57, hi=0.63)) == "between 57 and 63"
    assert share.between(Estimate(value=0.6, lo=0.57)) == "at least 57"
    assert share.between(Estimate(value=0.6, hi=0.63)) == "at most 63"
    assert share.between(Estimate(value=0.6)) == ""


@pytest.mark.parametrize(
    ("ends", "said", "between", "to"),
    [
        ((0.193, 0.136, 0.256), "19.3 points worse", "between 13.6 and 25.6", "13.6 to 25.6 worse"),
        ((-0.02, -0.03, -0.01), "2.0 points better", "between 1.0 and 3.0", "1.0 to 3.0 better"),
        ((0.02, -0.012, 0.054), "2.0 points worse", "between 1.2 better and 5.4 worse", "1.2 better to 5.4 worse"),
        ((0.1, 0.05, None), "10.0 points worse", "at least 5.0 worse", "at least 5.0 worse"),
        ((0.1, -0.05, None), "10.0 points worse", "at most 5.0 better", "at most 5.0 better"),
        ((0.1, None, 0.2), "10.0 points worse", "at most 20.0 worse", "at most 20.0 worse"),
        ((-0.3, None, -0.2), "30.0 points better", "at least 20.0 better", "at least 20.0 better"),
        ((0.0, None, None), "no difference", "", ""),
        ((0.0004, 0.0002, 0.06), "0.04 points worse", "between 0.02 and 6.00", "0.02 to 6.00 worse"),  # not 0
        ((0.2, 0.09996, 0.3), "20.000 points worse", "between 9.996 and 30.000", "9.996 to 30.000 worse"),  # not 10
        ((0.2, 0.0, 0.3), "20.0 points worse", "between 0.0 and 30.0", "0.0 to 30.0 worse"),
        ((1e-9, -1e-8, 0.3), "no difference", "between 0.0 and 30.0", "0.0 to 30.0 worse"),  # rounding alone
        ((-1e-9, -1e-9, -1e-9), "no difference", "between 0.0 and 0.0", "0.0 to 0.0"),
    ],
)
def test_differences_have_no_signs(ends: tuple[Any, Any, Any], said: str, between: str, to: str) -> None:
    estimate = Estimate(value=ends[0], lo=ends[1], hi=ends[2])
    write = Differences.of("share", estimate, limit=0.1)
    assert (write.said(estimate.value or 0.0), write.between(estimate), write.between(estimate, to=True)) == (
        said,
        between,
        to,
    )


def test_differences_of_other_units_are_plain() -> None:
    estimate = Estimate(value=0.72, lo=0.5, hi=0.94)
    write = Differences.of("ratio", estimate, limit=1.0)
    assert (write.said(0.72), write.between(estimate, noun=True), write.limit(1.0)) == (
        "0.72 worse",
        "between 0.50 and 0.94",
        "1",
    )
    points = Differences.of("auc", estimate)
    assert (points.limit(0.1), points.limit(0.01), points.limit(0.025)) == ("10 points", "1 point", "2.5 points")
    assert points.between(estimate, noun=True) == "between 50.0 and 94.0 points"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.6, "share", "60.0 %"),
        (0.00031, "share", "0.03 %"),
        (1.0, "share", "100.0 %"),
        (0.9999, "share", "99.99 %"),
        (0.956, "auc", "0.956"),
        (3.0, "count", "3"),
        (2.5, "count", "2.5"),
        (3.98, "epsilon", "3.98"),
        (-0.1, "ratio", "0.100 below 0"),
        (-0.232, "share", "23.2 % below 0"),
        (0.232, "share", "23.2 %"),
        (None, "share", "–"),
    ],
)
def test_cells_of_tables(value: float | None, unit: Unit, text: str) -> None:
    assert numbers.value_cell(value, unit) == text


@pytest.mark.parametrize(
    ("estimate", "unit", "text"),
    [
        (Estimate(value=0.6, lo=0.57, hi=0.63), "share", "57.0 to 63.0 %"),
        (Estimate(value=0.95, lo=0.944), "auc", "at least 0.944"),
        (Estimate(value=-0.2, lo=-0.27, hi=-0.18), "share", "27.0 % below 0 to 18.0 % below 0"),
        (Estimate(value=0.0, lo=-0.02, hi=0.03), "share", "2.0 % below 0 to 3.0 %"),
        (Estimate(value=0.2, lo=0.18, hi=0.27), "share", "18.0 to 27.0 %"),
        (Estimate(value=0.2), "share", ""),
    ],
)
def test_intervals_of_tables(estimate: Estimate, unit: Unit, text: str) -> None:
    assert numbers.interval_cell(estimate, unit) == text


def test_edits_times_and_days() -> None:
    assert numbers.rate(263, 877, "node") == "0.3 per node"
    assert numbers.rate(45, 900, "node") == "1 edit per 20 nodes"
    assert numbers.moment("2026-11-28T11:26:00+00:00") == "28 November 2026, 11:26 UTC"
    assert (numbers.moment(None), numbers.moment("<b>")) == ("", "<b>")
    assert [numbers.duration(s) for s in (None, 0.42, 12, 420, 7560)] == ["–", "0.4 s", "12 s", "7 min", "2.1 h"]
    assert [numbers.listed(list(words)) for words in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert numbers.closed("we see: a") == "We see: a."


@pytest.mark.parametrize(
    ("found", "without", "level", "said"),
    [
        (
            0.138,
            0.142,
            0.1,
            ("if 10 in 100 outsiders are", "without the model 14.2, blindly 10", "13.8"),
        ),
        (0.14, 0.1, 0.1, ("if 10 in 100 outsiders are", "without the model 10, blindly 10", "14")),
        (
            0.0136,
            0.0142,
            0.01,
            ("if 1 in 100 outsiders is", "without the model 1.42, blindly 1", "1.36"),
        ),
        (
            0.3,
            0.301,
            0.025,
            ("if 2.5 in 100 outsiders are", "without the model 30.1, blindly 2.5", "30.0"),
        ),
    ],
)
def test_a_level_that_was_set_has_no_more_decimals_than_it_has(
    found: float, without: float, level: float, said: tuple[str, str, str]
) -> None:
    """What is measured has the decimals that tell it apart."""
    low = LowFpr(fpr=level, attack=Estimate(value=found), control=Estimate(value=without), chance=level)
    share, compared = beside_outsiders(low)
    assert (accused(share, low), compared, share.bare(found)) == (f"{said[0]} falsely accused", *said[1:])
    links = few_alarms(low)
    assert links.among == f"{said[0].replace('outsiders', 'unlinked pairs')} falsely named"
    assert links.compared("without the model") == said[1]
