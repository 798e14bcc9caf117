"""What an open result would need to be settled, and what is too blunt to pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scipy import stats

from auditor.document import codes as why
from auditor.document.facts import Group
from auditor.policy import Policy
from auditor.runner.finished import Finished
from tests.policy.samples import (
    METRICS,
    cell,
    finding,
    measurement,
    seeds,
)


def settled_by(cells: Sequence[Finished], policy: Policy | None = None) -> why.Settle:
    (code,) = (code for code in finding(cells, policy).codes if isinstance(code, why.Settle))
    return code


def test_an_open_result_says_how_many_more_items_would_settle_it() -> None:
    # half-width .10, distance .05: four times the items, three times 1000 more; one seed has no spread to average out
    one = settled_by([cell(measurement(0.20, 0.10, 0.30))])
    assert (one.items, one.there, one.seeds) == (3000, 1000, None)
    assert settled_by(seeds([(0.20, 0.10, 0.30)] * 3)) == one  # equal seeds: nor has a mean of them
    assert settled_by([cell(measurement(0.20, 0.10, 0.30), fixed=True)]) == one
    assert settled_by([cell(measurement(0.25, 0.10, 0.40))]).items is None  # on the threshold


def test_that_many_items_do_settle_it_and_half_as_many_do_not() -> None:
    for value, half in ((0.20, 0.10), (0.22, 0.08), (0.35, 0.12), (0.1, 0.4)):
        more = settled_by([cell(measurement(value, value - half, value + half))]).items
        assert more is not None
        for items, settles in ((more, True), (more // 2, False)):
            own = half * math.sqrt(1000 / (1000 + items))
            status = finding([cell(measurement(value, value - own + 1e-9, value + own - 1e-9))]).status
            assert (status != "inconclusive") is settles, (value, half, items)


def test_seeds_that_differ_more_than_their_items_explain_are_settled_by_seeds_alone() -> None:
    # t(1) = 12.7: two seeds .18 and .22 are joined to .20 +- .26; with 5 they are .20 +- .035 of spread
    apart = settled_by(seeds([(0.18, 0.17, 0.19), (0.22, 0.21, 0.23)]))
    assert apart.items is None  # the items are not what makes it wide
    sd = math.sqrt(2) * 0.02
    spread = [stats.t.ppf(0.975, k - 1) * sd / math.sqrt(k) for k in range(2, 21)]
    enough = next(k for k, each in enumerate(spread, 2) if each**2 + 0.01**2 < 0.05**2)
    assert apart.seeds == enough == 4
    both = settled_by(seeds([(0.19, 0.145, 0.235), (0.20, 0.155, 0.245), (0.21, 0.165, 0.255)]))
    assert both.items == math.ceil(1000 * (0.045**2 / (0.05**2 - (stats.t.ppf(0.975, 2) * 0.01) ** 2 / 3) - 1))
    assert both.seeds == 4


def test_items_are_those_that_the_difference_was_measured_over() -> None:
    open_ = measurement(0.20, 0.10, 0.30)
    (control,) = open_.controls
    assert control.contrast is not None
    assert open_.contrast is not None
    fewer = open_.model_copy(update={"contrast": open_.contrast.model_copy(update={"n": 50})})
    assert settled_by([cell(fewer)]).there == 50  # nodes that are resampled, not the pairs of the number itself


def worst(value: float, lo: float, hi: float, detectable: float | None) -> list[Finished]:
    facts = Group(cut_by="degree", group="2-3", members=40, groups=9, detectable=detectable)
    number = measurement(value, lo, hi, metric=METRICS["worst-group"], finding="shift-worst-group", facts=facts)
    return [cell(number, probe="strata", family="shift")]


@pytest.mark.parametrize(
    ("bounds", "detectable", "status"),
    [
        ((0.0, -0.05, 0.05), 0.08, "pass"),
        ((0.0, -0.05, 0.05), 0.10, "pass"),  # as large as the limit: seen
        ((0.0, -0.05, 0.05), 0.101, "inconclusive"),
        ((-0.2, -0.3, -0.1), 0.101, "inconclusive"),
        ((0.05, -0.1, 0.2), 0.101, "inconclusive"),
        ((0.05, -0.1, 0.2), 0.08, "inconclusive"),
        ((0.15, 0.02, 0.2), 0.3, "inconclusive"),
        ((0.2, 0.1, 0.3), 0.3, "fail"),  # what is proven is proven
        ((0.0, -0.05, 0.05), None, "pass"),
    ],
)
def test_what_could_go_unseen_never_passes(
    bounds: tuple[float, float, float], detectable: float | None, status: str
) -> None:
    judged = finding(worst(*bounds, detectable))
    assert (judged.status, judged.threshold, judged.untrusted) == (status, 0.10, False)
    is_blunt = status == "inconclusive" and detectable is not None and detectable > 0.10 and bounds[0] < 0.10
    assert judged.has(why.TooBlunt) is is_blunt


def test_a_blunt_result_needs_items_until_it_sees_an_excess_of_the_size_of_its_limit() -> None:
    blunt = settled_by(worst(0.0, -0.05, 0.05, 0.2))
    assert (blunt.items, blunt.seeds) == (3000, None)  # twice too blunt: four times the items
    wide = settled_by(worst(0.05, -0.15, 0.25, 0.2))
    assert wide.items == 15_000  # the interval wants more: half-width .20, distance .05
    assert settled_by(worst(0.0, -0.05, 0.05, 0.2), Policy.named("strict")).items is None
