"""`measured`, the one builder of numbers: which control is the strongest, and what the joint contrast is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from auditor.document import Control, Estimate, Judgement, Limit, Measured, Metric, Result, excess_of, measured
from auditor.document import codes as why
from auditor.document.facts import Named

HIGHER = Metric("auc", "auc", "higher", "ranking")
LOWER = Metric("accuracy", "share", "lower", "robustness")

Bounds = tuple[float | None, float | None, float | None]


def control(name: str, value: float, lo: float | None, hi: float | None, *, twin: bool = False) -> Control:
    """A control that the number exceeds by value [lo, hi]."""
    contrast = Estimate(value=value, lo=lo, hi=hi, n=50)
    return Control(name=name, estimate=Estimate(value=0.9 - value), contrast=contrast, twin=twin)


def number(*controls: Control, metric: Metric = HIGHER) -> Measured:
    if metric.worse_when == "lower":
        controls = tuple(_turned(each) for each in controls)
    return measured(metric, Estimate(value=0.9, lo=0.85, hi=0.95, n=80), finding="f", controls=controls)


def _turned(each: Control) -> Control:
    assert each.contrast is not None
    assert each.contrast.value is not None
    estimate = Estimate(value=0.9 + each.contrast.value)
    return each.model_copy(update={"estimate": estimate, "contrast": each.contrast.negated()})


def bounds(estimate: Estimate | None) -> Bounds:
    assert estimate is not None
    return estimate.value, estimate.lo, estimate.hi


def test_words_come_from_the_metric_and_the_rest_is_kept() -> None:
    limit, facts = Limit(name="max_flips", value=0.1), Named(words={"a": "b"})
    made = measured(
        LOWER,
        Estimate(value=0.5),
        finding="shift-gap",
        subset="x",
        judged=True,
        limit=limit,
        p_adjusted=0.2,
        p_for=0.05,
        facts=facts,
    )
    assert (made.metric, made.unit, made.worse_when, made.question) == ("accuracy", "share", "lower", "robustness")
    assert (made.finding, made.subset, made.judged) == ("shift-gap", "x", True)
    assert (made.p_adjusted, made.p_for) == (0.2, 0.05)
    assert (made.limit, made.facts, made.estimate) == (limit, facts, Estimate(value=0.5))


@pytest.mark.parametrize("metric", [HIGHER, LOWER])
def test_without_a_control_there_is_no_contrast(metric: Metric) -> None:
    made = measured(metric, Estimate(value=0.5), finding="f")
    assert (made.contrast, made.control, made.excess) == (None, None, None)


def test_a_control_that_is_only_shown_is_compared_with_nothing() -> None:
    shown = Control(name="majority", estimate=Estimate(value=0.3))
    made = measured(HIGHER, Estimate(value=0.5), finding="f", controls=[shown])
    assert (made.contrast, made.excess, made.control) == (None, None, shown)
    both = number(shown, control("features", 0.2, 0.1, 0.3))
    assert both.contrast is not None
    assert (both.contrast.to, len(both.controls)) == ("features", 2)


def test_one_control_is_the_contrast() -> None:
    made = number(control("features", 0.2, 0.1, 0.3))
    assert made.contrast is not None
    assert (bounds(made.contrast), made.contrast.n, made.contrast.to) == ((0.2, 0.1, 0.3), 50, "features")
    assert made.control == made.controls[0]


def test_a_difference_that_is_not_defined_is_none() -> None:
    nothing = Control(name="labels", estimate=Estimate(value=None), contrast=Estimate(value=None))
    assert number(nothing).contrast is None
    with_other = number(nothing, control("features", 0.2, 0.1, 0.3)).contrast
    assert with_other is not None
    assert with_other.to == "features"


CASES = {
    "value and upper end of the strongest, lower end of all": (
        [control("a", 0.3, 0.05, 0.5), control("b", 0.2, 0.1, 0.25)],
        ("b", (0.2, 0.05, 0.25)),
    ),
    "the first of two equal ones": (
        [control("a", 0.2, 0.1, 0.3), control("b", 0.2, 0.15, 0.4)],
        ("a", (0.2, 0.1, 0.3)),
    ),
    "below every control": ([control("a", -0.1, -0.2, 0.0), control("b", 0.2, 0.1, 0.3)], ("a", (-0.1, -0.2, 0.0))),
    "a twin lowers what is proven and clears nothing": (
        [control("a", 0.3, 0.2, 0.4), control("twin", 0.1, 0.05, 0.15, twin=True)],
        ("twin", (0.1, 0.05, 0.4)),
    ),
    "the upper end is that of the strongest that is no twin": (
        [control("a", 0.3, 0.2, 0.4), control("b", 0.25, 0.2, 0.28), control("twin", 0.1, 0.0, 0.2, twin=True)],
        ("twin", (0.1, 0.0, 0.28)),
    ),
    "a twin that reaches higher raises no upper end": (
        [control("a", 0.3, 0.2, 0.4), control("twin", 0.1, -0.3, 0.5, twin=True)],
        ("twin", (0.1, -0.3, 0.4)),
    ),
    "a weaker twin still counts for the lower end": (
        [control("a", 0.1, 0.05, 0.2), control("twin", 0.3, 0.0, 0.6, twin=True)],
        ("a", (0.1, 0.0, 0.2)),
    ),
    "twins alone": (
        [control("t", 0.3, 0.2, 0.4, twin=True), control("u", 0.1, 0.0, 0.2, twin=True)],
        ("u", (0.1, 0.0, 0.2)),
    ),
    "a lower end that is open anywhere is open": (
        [control("a", 0.3, None, 0.4), control("b", 0.2, 0.1, 0.3)],
        ("b", (0.2, None, 0.3)),
    ),
    "an upper end of another control may be open": (
        [control("a", 0.3, 0.2, None), control("b", 0.2, 0.1, 0.3)],
        ("b", (0.2, 0.1, 0.3)),
    ),
    "an upper end of the strongest may not": (
        [control("a", 0.3, 0.2, 0.4), control("b", 0.2, 0.1, None)],
        ("b", (0.2, 0.1, None)),
    ),
    "nor of the strongest that is no twin": (
        [control("a", 0.3, 0.2, None), control("twin", 0.2, 0.1, 0.3, twin=True)],
        ("twin", (0.2, 0.1, None)),
    ),
    "that of a twin may": (
        [control("a", 0.3, 0.2, 0.4), control("twin", 0.2, 0.1, None, twin=True)],
        ("twin", (0.2, 0.1, 0.4)),
    ),
    "no interval at all": ([control("a", 0.3, None, None), control("b", 0.2, None, None)], ("b", (0.2, None, None))),
}


@pytest.mark.parametrize("metric", [HIGHER, LOWER], ids=lambda metric: metric.worse_when)
@pytest.mark.parametrize(("controls", "expected"), CASES.values(), ids=CASES)
def test_joint_contrast_of_several_controls(
    metric: Metric, controls: list[Control], expected: tuple[str, Bounds]
) -> None:
    made = number(*controls, metric=metric)
    assert made.contrast is not None
    assert (made.contrast.to, bounds(made.excess)) == expected
    sign = -1 if metric is LOWER else 1
    assert made.contrast.value == sign * (expected[1][0] or 0)
    own = made.control
    assert own is not None
    assert own.estimate.value is not None
    assert made.contrast.value == pytest.approx(0.9 - own.estimate.value)  # own − other, in the metric's own sign


def test_excess_turns_the_sign_where_lower_is_worse() -> None:
    contrast = Estimate(value=-0.2, lo=-0.3, hi=0.1)
    assert excess_of(contrast, "higher") == contrast
    assert bounds(excess_of(contrast, "lower")) == (0.2, -0.1, 0.3)


def test_excess_is_never_stored() -> None:
    assert "excess" not in number(control("a", 0.2, 0.1, 0.3)).model_dump()
    assert "excess" not in Result.model_fields


def test_a_result_needs_a_seed() -> None:
    words = {"finding": "f", "metric": "auc", "unit": "auc", "worse_when": "higher", "family": "privacy"}
    with pytest.raises(ValidationError, match="by_seed"):
        Result(estimate=Estimate(value=0.5), fingerprint="p", probe="p", seeds=(), by_seed=(), **words)  # type: ignore[arg-type]


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValidationError, match="worse_when"):
        measured(Metric("auc", "auc", "sideways"), Estimate(value=0.5), finding="f")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="unit"):
        measured(Metric("auc", "furlong", "lower"), Estimate(value=0.5), finding="f")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="question"):
        measured(Metric("auc", "auc", "higher", "auc"), Estimate(value=0.5), finding="f")  # type: ignore[arg-type]


def test_a_judgement_knows_its_codes() -> None:
    judgement = Judgement(
        status="pass", severity="none", severity_upper="low", confidence="low", codes=(why.OneSeed(),)
    )
    assert judgement.has(why.OneSeed)
    assert not judgement.has(why.Settle)


def test_ends_say_which_control_they_are_against_and_the_strongest_may_be_named() -> None:
    controls = [control("a", 0.3, 0.2, 0.4), control("b", 0.25, 0.2, 0.28), control("t", 0.1, 0.0, 0.2, twin=True)]
    for metric, ends in ((HIGHER, ("", "b")), (LOWER, ("b", ""))):
        made = number(*controls, metric=metric).contrast
        assert made is not None
        assert (made.to, made.lo_to, made.hi_to) == ("t", *ends)
    named = measured(HIGHER, Estimate(value=0.9), finding="f", controls=controls[:2], strongest="a").contrast
    assert named is not None
    assert (named.to, named.value, named.hi, named.hi_to) == ("b", 0.25, 0.4, "a")
