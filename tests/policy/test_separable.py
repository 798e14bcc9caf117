"""Without a twin no more than a moderate leak is proven: what would fail above that is not settled, and it says why."""

import pytest

from auditor.document import Judgement, Metric
from auditor.document.codes import NotSeparable, Settle
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
