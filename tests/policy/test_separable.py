"""Without a twin no more than a moderate leak is proven: what would fail above that is not settled, and it says why."""

import pytest

from auditor.document import Control, Estimate, Judgement, Metric, measured
from auditor.document.codes import NotSeparable, Settle, Widened
from auditor.policy.rules import Policy
from tests.policy.samples import cell, judged_by, measurement

RANKING = Metric("headroom", "errors", "higher", "ranking")
LARGE = (0.45, 0.4, 0.55)


def judged(policy: Policy, bounds: tuple[float, float, float], at_most: str | None) -> Judgement:
    (result,) = judged_by([cell(measurement(*bounds, metric=RANKING, at_most=at_most))], policy)
    assert result.judgement is not None
    return result.judgement


def test_a_large_leak_fails_with_a_twin_and_is_not_settled_without() -> None:
    standard = Policy.named("standard")
    assert judged(standard, LARGE, None).status == "fail"
    found = judged(standard, LARGE, "medium")
    assert (found.status, found.severity, found.severity_upper) == ("inconclusive", "medium", "critical")
    assert found.has(NotSeparable)
    assert not found.has(Settle)  # no number of pairs would settle it
    assert not found.untrusted


@pytest.mark.parametrize(("lo", "hi", "status"), [(0.01, 0.2, "pass"), (0.1, 0.3, "inconclusive")])
def test_what_lies_below_the_bound_is_judged_as_ever(lo: float, hi: float, status: str) -> None:
    assert judged(Policy.named("standard"), ((lo + hi) / 2, lo, hi), "medium").status == status


def test_a_policy_that_fails_within_the_bound_still_fails() -> None:
    assert judged(Policy.named("strict"), LARGE, "medium").status == "fail"


def of_two(twin: tuple[float, float, float], plain: tuple[float, float, float], policy: Policy) -> Judgement:
    """Lower end by a twin, upper end by the best guess without a model."""
    sides = [(name, Estimate(value=v, lo=lo, hi=hi, n=100)) for name, (v, lo, hi) in (("twin", twin), ("plain", plain))]
    controls = [
        Control(name=name, estimate=Estimate(value=0.0), contrast=h, own=h, twin=name == "twin") for name, h in sides
    ]
    number = measured(RANKING, sides[1][1], finding="privacy-link-stealing", controls=controls, judged=True)
    (result,) = judged_by([cell(number)], policy)
    assert result.judgement is not None
    return result.judgement


def settled_by(judgement: Judgement) -> int | None:
    (code,) = (code for code in judgement.codes if isinstance(code, Settle))
    return code.items


def test_what_settles_is_reckoned_from_the_control_that_each_end_is_against() -> None:
    standard = Policy.named("standard")
    # Both below the limit: the upper end decides, half-width .07 at a distance of .05.
    assert settled_by(of_two((0.1, 0.0, 0.2), (0.2, 0.13, 0.27), standard)) == 96  # 100 (.07² / .05² − 1)
    # Both above: the lower end decides, half-width .1 at a distance of .05.
    assert settled_by(of_two((0.3, 0.2, 0.4), (0.5, 0.45, 0.55), standard)) == 300
    # One on either side: no number of items is enough.
    assert settled_by(of_two((0.2, 0.15, 0.25), (0.4, 0.35, 0.45), standard)) is None


def test_bounds_are_widened_around_the_number_they_belong_to() -> None:
    alone = of_two((0.1, 0.05, 0.15), (0.4, 0.35, 0.45), Policy.named("strict"))
    assert alone.status == "fail"
    number = measurement(0.0, -0.1, 0.1, metric=RANKING, subset="x")
    strict, controls = Policy.named("strict"), []
    for name, (v, lo, hi) in (("twin", (0.1, 0.05, 0.15)), ("plain", (0.4, 0.35, 0.45))):
        h = Estimate(value=v, lo=lo, hi=hi, n=100)
        controls.append(Control(name=name, estimate=Estimate(value=0.0), contrast=h, own=h, twin=name == "twin"))
    both = measured(RANKING, controls[1].own, finding="privacy-link-stealing", controls=controls, judged=True)
    wide = next(
        code for code in judged_by([cell(both, number)], strict)[0].judgement.codes if isinstance(code, Widened)
    )
    stretch = 2.2414 / 1.96
    assert (wide.lo, wide.hi) == pytest.approx((0.1 - 0.05 * stretch, 0.4 + 0.05 * stretch), abs=1e-4)


def test_arms_are_models_of_their_own_and_judged_apart() -> None:
    barely = measurement(0.02, 0.001, 0.039, metric=RANKING)
    one = judged_by([cell(barely)], Policy.named("strict"))[0].judgement
    two = judged_by([cell(barely), cell(barely, arm="recipe")], Policy.named("strict"))
    assert one is not None
    assert {result.judgement.status for result in two} == {one.status} == {"fail"}
