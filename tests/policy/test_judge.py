"""Severity, confidence, limits, multiplicity, claims and facts of a judged result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from auditor.document import Limit, Measured, Metric
from auditor.document import codes as why
from auditor.document.facts import Decorrelation, Severity, Shipped
from auditor.document.results import Question
from auditor.policy import Policy, judge
from auditor.policy.bands import BANDS, LEVELS, NOTHING, Bands, rank, reaches
from auditor.policy.rules import FLOORS, LIMITS
from auditor.runner.finished import Finished
from auditor.statistics.intervals import Z95
from tests.policy.samples import (
    AUC,
    METRICS,
    TARGET,
    TODAY,
    cell,
    claim,
    finding,
    judged_by,
    measurement,
    row,
    rows_of,
    seeds,
)


def statuses(cells: Sequence[Finished], policy: Policy | None = None) -> set[str]:
    return {result.judgement.status for result in judged_by(cells, policy) if result.judgement is not None}


@pytest.mark.parametrize(
    ("question", "edges"),
    [
        ("ranking", (0.0, 0.10, 0.25, 0.50)),
        ("low-fpr", (0.0, 0.03, 0.10, 0.25)),
        ("accuracy", (0.0, 0.10, 0.25, 0.40)),
        ("robustness", (0.0, 0.10, 0.25, 0.40)),
        ("edge-free", (None, None, 0.0, 0.40)),
        ("over-confidence", (0.0, 0.05, 0.10, 0.25)),
        ("under-confidence", (0.0, None, None, None)),
        ("damage", (0.0, 0.05, 0.10, 0.25)),
        ("held-out", (0.0, 0.05, 0.10, 0.25)),
        ("worst-group", (0.0, 0.10, 0.25, 0.40)),
    ],
)
def test_bands_are_those_of_the_table(question: Question, edges: tuple[float | None, ...]) -> None:
    bands, below = BANDS[question], "none"
    for name, edge in zip(("low", "medium", "high", "critical"), edges, strict=True):
        assert bands.edge(name) == edge  # type: ignore[arg-type]
        if edge is None:
            continue
        assert bands.severity(edge + 1e-9) == name
        assert bands.severity(edge) == (below if edge == 0 else name)
        assert bands.severity(edge - 1e-9) == below
        below = name
    assert bands.severity(1.0) == below  # whatever its size


HIGH, NEVER = "high", None
TABLE: dict[str, dict[str, tuple[float | None, str]]] = {
    # question: where it fails from under lenient, standard and strict, and what that comes from
    "ranking": {"lenient": (0.50, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "low-fpr": {"lenient": (0.25, "critical"), "standard": (0.10, HIGH), "strict": (0.0, "low")},
    "accuracy": {"lenient": (0.40, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "robustness": {"lenient": (0.40, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "edge-free": {"lenient": (0.40, "critical"), "standard": (0.0, HIGH), "strict": (0.0, "low")},
    "over-confidence": {"lenient": (0.25, "critical"), "standard": (0.10, "standard"), "strict": (0.0, "low")},
    "under-confidence": {"lenient": (NEVER, "critical"), "standard": (NEVER, HIGH), "strict": (0.0, "low")},
    "damage": {"lenient": (0.25, "critical"), "standard": (0.05, "standard"), "strict": (0.0, "low")},
    "held-out": {"lenient": (0.25, "critical"), "standard": (0.10, "standard"), "strict": (0.0, "low")},
    "worst-group": {"lenient": (0.40, "critical"), "standard": (0.10, "standard"), "strict": (0.0, "low")},
    "silent-failure": {"lenient": (0.40, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "inverted-confidence": {"lenient": (0.40, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "non-finite": {"lenient": (0.40, "critical"), "standard": (0.25, HIGH), "strict": (0.0, "low")},
    "defense-cost": {"lenient": (0.40, "critical"), "standard": (0.01, "standard"), "strict": (0.0, "low")},
    "worst-case-loss": {"lenient": (0.40, "critical"), "standard": (0.10, "standard"), "strict": (0.0, "low")},
    "harm": {"lenient": (0.40, "critical"), "standard": (0.01, "standard"), "strict": (0.0, "low")},
}


@pytest.mark.parametrize("policy", ["lenient", "standard", "strict"])
@pytest.mark.parametrize("question", BANDS)
def test_every_question_under_every_policy_with_a_bound_on_either_side(question: Question, policy: str) -> None:
    threshold, against = TABLE[question][policy]
    rules = Policy.named(policy)
    # The lower bound decides what fails, the upper one what passes: each just short of T, on it and just beyond.
    for lo, hi, status in _positions(threshold):
        found = finding(seeds([((lo + hi) / 2, lo, hi)] * 2, metric=METRICS[question]), rules)
        assert (found.status, found.threshold, found.against) == (status, threshold, against), (lo, hi)
        assert (found.set_by, found.floor) == ("policy" if against == "standard" else "level", None)


def _positions(threshold: float | None) -> list[tuple[float, float, str]]:
    if threshold is None:  # nothing fails, whatever its size
        return [(-0.2, -0.1, "pass"), (-0.1, 0.1, "pass"), (0.4, 0.5, "pass"), (0.9, 1.0, "pass")]
    if threshold == 0:
        return [
            (-0.2, -0.1, "pass"),
            (-0.2, 0.0, "pass"),
            (-0.1, 0.001, "inconclusive"),
            (0.0, 0.1, "inconclusive"),
            (0.001, 0.1, "fail"),
        ]
    short, beyond = threshold - 0.001, threshold + 0.001
    return [
        (-0.2, -0.1, "pass"),
        (short - 0.001, short, "pass"),
        (short, threshold, "inconclusive"),
        (short, beyond, "inconclusive"),
        (threshold, beyond, "fail"),
        (beyond, beyond + 0.001, "fail"),
    ]


@pytest.mark.parametrize("question", BANDS)
def test_a_level_from_the_command_line_holds_for_every_question(question: Question) -> None:
    gate = {"fails_from": {question: 0.9}, **dict.fromkeys(LIMITS, 0.5)}
    for level in LEVELS:
        policy = Policy.from_tables(gate, {}, (), fail_on=level)
        found = finding(seeds([(0.04, 0.03, 0.05)] * 2, metric=METRICS[question]), policy)
        edge = BANDS[question].threshold(level)
        assert (found.threshold, found.against, found.set_by) == (edge, level, "level")


@pytest.mark.parametrize(("name", "question"), LIMITS.items())
def test_a_named_limit_overrides_its_own_question_alone(name: str, question: Question) -> None:
    value = 0.7 if name in FLOORS else 30
    policy = Policy.from_tables({name: value, "fails_from": {question: 0.9}}, {}, ())
    for asked in BANDS:
        metric = Metric("auc", "auc", "lower", asked)  # AUROC .3 beside chance: an excess of .2
        found = finding(seeds([(0.2, 0.19, 0.21)] * 2, metric=metric), policy)
        if asked == question:
            floor = (pytest.approx(-0.2), 0.7, "fail")  # .5 by chance is .2 below a floor of .7
            assert (found.threshold, found.floor, found.status) == (floor if name in FLOORS else (0.3, None, "pass"))
            assert (found.against, found.set_by) == (name, "limit")
        else:
            assert found.set_by != "limit"
            assert found.threshold == TABLE[asked]["standard"][0]


def test_a_question_may_fail_from_another_level_or_number() -> None:
    policy = Policy.from_tables({"fails_from": {"robustness": "medium", "ranking": 0.3}}, {}, ())
    found = finding(seeds([(0.15, 0.12, 0.18)] * 2, metric=METRICS["robustness"]), policy)
    assert (found.status, found.threshold, found.against, found.set_by) == ("fail", 0.10, "medium", "level")
    own = finding(seeds([(0.35, 0.29, 0.41)] * 2), policy)
    assert (own.status, own.threshold, own.against, own.set_by) == ("inconclusive", 0.3, "standard", "policy")
    zero = finding(seeds([(0.1, 0.02, 0.18)] * 2), Policy.from_tables({"fails_from": {"ranking": 0}}, {}, ()))
    assert (zero.status, zero.threshold) == ("fail", 0.0)


def test_thresholds_must_rise() -> None:
    with pytest.raises(ValueError, match=r"high = 0\.2 is not above medium = 0\.3"):
        Bands(low=0.0, medium=0.3, high=0.2)


@pytest.mark.parametrize("noise", [0.0, 2e-16, -2e-16, NOTHING / 2])
def test_an_effect_that_is_only_rounding_is_none(noise: float) -> None:
    """0.1 + 0.2 − 0.3 is 5.6e−17: a bound like that proves nothing and keeps nothing from passing."""
    assert not reaches(noise, 0.0)
    proven = finding(seeds([(0.05, noise, 0.08)] * 2), Policy.named("strict"))
    assert (proven.status, proven.severity) == ("inconclusive", "none")
    cleared = finding(seeds([(-0.05, -0.08, noise)] * 2), Policy.named("strict"))
    assert (cleared.status, cleared.severity, cleared.severity_upper) == ("pass", "none", "none")


def test_an_effect_beyond_rounding_counts() -> None:
    assert reaches(2 * NOTHING, 0.0)
    assert finding(seeds([(0.05, 1e-9, 0.08)] * 2), Policy.named("strict")).status == "fail"
    assert reaches(0.1, 0.1)  # other edges belong to their band


@pytest.mark.parametrize(
    ("lo", "hi", "severity", "upper", "confidence"),
    [
        (0.26, 0.39, "high", "high", "high"),
        (0.24, 0.30, "medium", "high", "medium"),
        (0.05, 0.30, "low", "high", "low"),
        (-0.2, -0.1, "none", "none", "high"),
        (-0.1, 0.5, "none", "critical", "low"),
    ],
)
def test_severity_is_the_lower_bound_and_confidence_the_bands_between(
    lo: float, hi: float, severity: str, upper: str, confidence: str
) -> None:
    both = finding(seeds([((lo + hi) / 2, lo, hi)] * 2))  # equal seeds: the join changes nothing
    assert (both.severity, both.severity_upper, both.confidence) == (severity, upper, confidence)


def test_a_lower_value_that_is_worse_is_judged_by_the_same_excess() -> None:
    metric = Metric("accuracy", "share", "lower", "robustness")
    for bounds in ((0.3, 0.27, 0.33), (0.0, -0.1, 0.05), (0.2, 0.1, 0.3)):
        own, other = finding([cell(measurement(*bounds, metric=metric))]), finding([cell(measurement(*bounds))])
        assert own == other


def test_one_seed_is_at_most_medium_confidence_and_says_so() -> None:
    judged = finding([cell(measurement(0.3, 0.27, 0.33))])
    assert judged.confidence == "medium"
    assert judged.has(why.OneSeed)
    several = finding(seeds([(0.3, 0.27, 0.33)] * 2))
    assert several.confidence == "high"
    assert not several.has(why.OneSeed)


def test_a_probe_that_draws_nothing_needs_no_second_seed() -> None:
    judged = finding([cell(measurement(0.3, 0.27, 0.33), fixed=True)])
    assert judged.confidence == "high"
    assert not judged.has(why.OneSeed)
    refitted = finding([cell(measurement(0.3, 0.27, 0.33), fixed=True, arm="l2r")])  # another seed: another model
    assert refitted.confidence == "medium"
    assert refitted.has(why.OneSeed)


def test_failed_row_means_low_confidence_and_a_warning_one_step() -> None:
    cells = seeds([(0.3, 0.27, 0.33)] * 2)
    assert finding(cells, validity=[row("warn", "warning")]).confidence == "medium"
    assert finding(cells, validity=[row("warn", "strength")]).confidence == "medium"
    assert finding(cells, validity=[row("fail", "warning")]).confidence == "medium"
    broken = finding(cells, validity=[row("fail", "strength")])
    assert (broken.confidence, broken.status, broken.untrusted) == ("low", "fail", False)
    assert broken.codes[-1] == why.StandsAnyway(checks=("deterministic",))
    assert finding(cells, validity=[row("not_checked")]).confidence == "high"


@pytest.mark.parametrize(
    ("touches", "hit"),
    [
        ((), True),
        (("posterior-similarity",), True),
        (("graphmi", "posterior-similarity"), True),
        (("structure-evasion",), False),
    ],
)
def test_a_failed_row_spoils_what_it_touches_only(touches: tuple[str, ...], hit: bool) -> None:
    cells = [cell(measurement(0.0, -0.1, 0.01), probe="posterior-similarity:metric=cosine")]
    judged = finding(cells, validity=[row("fail", "strength", "gradient", *touches)])
    assert judged.untrusted is hit
    assert (judged.status == "inconclusive") is hit
    assert ((why.Untrusted(checks=("gradient",))) in judged.codes) is hit


def test_a_row_that_touches_no_probe_spoils_nothing() -> None:
    none = row("fail").model_copy(update={"touches": ()})
    assert finding([cell(measurement(0.0, -0.1, 0.01))], validity=[none]).status == "pass"


def test_rows_of_a_cell_spoil_that_cell_only() -> None:
    spoiled = cell(measurement(0.0, -0.1, 0.01), validity=(row(),))
    other = cell(measurement(0.0, -0.1, 0.01, finding="shift-gap"), probe="corruption", family="shift")
    first, second = (result.judgement for result in judged_by([spoiled, other]))
    assert first is not None
    assert second is not None
    assert (first.untrusted, second.untrusted) == (True, False)


def test_a_row_of_a_cell_spoils_only_what_needs_what_it_is_about() -> None:
    weak = row("fail", "strength").model_copy(update={"holding": "references"})
    alone = measurement(0.0, -0.1, 0.01).model_copy(update={"access": ("labels", "posteriors")})
    beside = measurement(0.0, -0.1, 0.01, subset="lira").model_copy(update={"access": ("posteriors", "references")})
    both = cell(alone, beside, access=("labels", "posteriors", "references"), validity=(weak,))
    first, second = judged_by([both])
    assert (first.access, second.access) == (("labels", "posteriors"), ("posteriors", "references"))
    assert first.judgement is not None
    assert second.judgement is not None
    assert (first.judgement.untrusted, second.judgement.untrusted) == (False, True)


def test_a_row_of_one_seed_spoils_what_is_joined_from_it() -> None:
    cells = [cell(measurement(0.0, -0.1, 0.01)), cell(measurement(0.0, -0.1, 0.01), seed=1, validity=(row(),))]
    assert finding(cells).untrusted


def test_min_confidence_drops_a_weak_fail_but_not_a_check_that_failed() -> None:
    wide = seeds([(0.7, 0.51, 0.9)] * 2)
    assert finding(wide, Policy.named("lenient")).status == "fail"
    wider = seeds([(0.3, 0.02, 0.6)] * 2)
    policy = Policy(fail_on="low", min_confidence="medium")
    dropped = finding(wider, policy)
    assert (dropped.status, dropped.untrusted) == ("inconclusive", False)
    assert dropped.codes == (why.TooUncertain(confidence="low", needed="medium"),)
    broken = finding(wide, Policy.named("lenient"), [row("fail", "strength")])
    assert (broken.status, broken.untrusted) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("lo", "hi", "status"), [(0.3, None, "fail"), (None, 0.1, "pass"), (None, 0.3, "inconclusive")]
)
def test_an_open_interval_is_judged_by_its_closed_end(lo: float | None, hi: float | None, status: str) -> None:
    assert finding([cell(measurement(0.05 if lo is None else 0.5, lo, hi))]).status == status


def test_an_interval_open_above_never_passes() -> None:
    judged = finding([cell(measurement(-0.3, -0.5, None))])
    assert judged.status == "inconclusive"
    assert judged.severity_upper == "critical"
    assert judged.has(why.OpenInterval)


def test_a_judged_number_without_a_difference_is_no_verdict() -> None:
    judged = finding([cell(measurement(None))])
    assert (judged.status, judged.untrusted) == ("inconclusive", True)
    assert judged.has(why.NotMeasured)
    mixed = finding([cell(measurement(0.0, -0.1, 0.1)), cell(measurement(None), seed=1)])
    assert (mixed.status, mixed.untrusted) == ("inconclusive", True)


def test_a_shown_number_is_not_judged() -> None:
    (shown,) = judged_by([cell(measurement(0.9, 0.8, 1.0, judged=False))])
    assert shown.judgement is None


def test_a_cell_that_did_not_finish_gives_no_result() -> None:
    assert judged_by([cell(measurement(), status="timeout")]) == ()


def gap(value: float, lo: float, hi: float, p: float, subset: str = "", p_for: float | None = 0.05) -> Measured:
    metric = METRICS["damage"]
    return measurement(
        value, lo, hi, p_adjusted=p, p_for=p_for, subset=subset, finding="shift-gap", metric=metric, judged=True
    )


def test_a_number_of_the_policy_replaces_the_band_as_threshold() -> None:
    judged = finding([cell(gap(0.08, 0.06, 0.095, 0.001))])
    assert (judged.status, judged.severity) == ("fail", "medium")
    assert (judged.threshold, judged.against) == (0.05, "standard")
    assert finding([cell(gap(0.03, 0.02, 0.04, 0.9))]).status == "pass"


def test_a_threshold_with_holm_needs_the_p_value_too() -> None:
    judged = finding([cell(gap(0.08, 0.06, 0.10, 0.026))])
    assert judged.status == "inconclusive"
    assert why.NotSignificant(p=0.026, alpha=0.025) in judged.codes


def test_a_p_value_answers_for_the_threshold_that_it_tests() -> None:
    policy = Policy.from_tables({"max_gap_pt": 7}, {}, ())
    one = finding([cell(gap(0.09, 0.075, 0.11, 1.0))], policy)
    assert (one.status, one.threshold) == ("fail", 0.07)  # it tests 5 points, not 7
    few = [cell(gap(0.09, 0.072, 0.13, 1.0))]
    many = [cell(*(gap(0.09, 0.072, 0.13, 1.0, str(i)) for i in range(40)))]
    assert finding(few, policy).status == "fail"
    assert statuses(many, policy) == {"inconclusive"}  # so that they are widened together instead
    # A permutation p of "no worse than random groups" holds at every threshold.
    everywhere = finding([cell(gap(0.09, 0.075, 0.11, 0.3, p_for=None))], policy)
    assert everywhere.status == "inconclusive"
    assert everywhere.has(why.NotSignificant)


def test_a_limit_switched_off_leaves_the_table() -> None:
    policy = Policy.from_tables({"max_gap_pt": 20}, {"own": {"max_gap_pt": False}}, (), name="own")
    below = [cell(gap(0.08, 0.06, 0.11, 1.0))]  # p is about 5 points, the threshold now is 0
    assert finding(below, Policy.named("strict")).status == "fail"
    assert finding([cell(gap(0.15, 0.12, 0.18, 0.001))], policy).threshold == 0.05


def test_a_harness_brings_its_own_limit_for_a_question_of_its_own() -> None:
    metric, limit = METRICS["other"], Limit(name="max_prototype_flips", value=1.0)
    for bounds, status in (((0.8, 0.7, 0.9), "pass"), ((1.5, 1.1, 1.9), "fail"), ((1.0, 0.7, 1.3), "inconclusive")):
        found = finding(seeds([bounds] * 2, metric=metric, limit=limit))
        assert (found.status, found.threshold, found.against) == (status, 1.0, "max_prototype_flips")
        assert found.set_by == "limit"


def test_a_floor_under_the_value_is_turned_into_an_excess() -> None:
    metric = Metric("auroc", "auc", "lower", "silent-failure")
    policy = Policy.from_tables({"min_auroc": 0.6}, {}, ())
    # AUROC .52 [.50, .54] against .5 by chance
    low = measurement(-0.02, -0.04, 0.0, metric=metric)
    assert low.estimate.value == pytest.approx(0.52)
    judged = finding([cell(low)], policy)
    assert (judged.status, judged.against, judged.floor) == ("fail", "min_auroc", 0.6)
    assert judged.threshold == pytest.approx(-0.1)
    high = measurement(-0.2, -0.22, -0.18, metric=metric)
    assert finding([cell(high)], policy).status == "pass"
    alone = high.model_copy(update={"controls": (), "contrast": None})  # nothing to turn it with
    assert finding([cell(alone)], policy).untrusted


def test_numbers_judged_against_zero_are_widened_by_bonferroni() -> None:
    def many(m: int) -> set[str]:
        numbers = [measurement(0.1, 0.02, 0.18, subset=str(i)) for i in range(m)]
        return statuses([cell(*numbers)], Policy.named("strict"))

    assert many(1) == {"fail"}  # lo = .10 − .08
    assert many(2) == {"fail"}  # factor 1.144: .10 − .0915
    assert many(40) == {"inconclusive"}  # factor 1.65: .10 − .132


def test_widening_factor_at_forty() -> None:
    numbers = [measurement(0.5, 0.3, 0.7, subset=str(i)) for i in range(40)]
    first = judged_by([cell(*numbers)], Policy.named("strict"))[0]
    assert first.judgement is not None
    (widened,) = (code for code in first.judgement.codes if isinstance(code, why.Widened))
    assert (widened.together, widened.lo, widened.hi) == (
        40,
        pytest.approx(0.17, abs=5e-3),
        pytest.approx(0.83, abs=5e-3),
    )
    assert first.excess is not None
    assert (first.excess.lo, first.excess.hi) == (0.3, 0.7)  # what is shown stays the 95 % interval


@pytest.mark.parametrize(
    ("unit", "worse_when", "ends", "said"),
    [
        ("share", "higher", (-0.9, 0.9), (-1.0, 1.0)),
        ("share", "lower", (-0.9, 0.9), (-1.0, 1.0)),
        ("share", "higher", (-0.2, 0.95), (-0.33, 1.0)),
        ("errors", "higher", (-0.9, 0.9), (-1.48, 1.0)),  # a guess may have many times the errors of another
        ("epsilon", "higher", (-0.9, 0.9), (-1.48, 1.48)),
    ],
)
def test_a_widened_interval_ends_where_its_number_does(unit, worse_when, ends, said) -> None:
    """The difference of two shares is not below −1."""
    value = 0.0 if ends[0] + ends[1] == 0 else 0.1
    metric = replace(AUC, unit=unit, worse_when=worse_when)
    numbers = [measurement(value, *ends, metric=metric, subset=str(i)) for i in range(40)]
    first = judged_by([cell(*numbers)], Policy.named("strict"))[0]
    assert first.judgement is not None
    (widened,) = (code for code in first.judgement.codes if isinstance(code, why.Widened))
    assert (widened.lo, widened.hi) == pytest.approx(said, abs=0.07)
    assert widened.lo >= -1 or unit != "share"


def test_no_widening_away_from_zero() -> None:
    numbers = [measurement(0.3, 0.26, 0.34, subset=str(i)) for i in range(40)]
    assert statuses([cell(*numbers)]) == {"fail"}
    assert not any(r.judgement is not None and r.judgement.has(why.Widened) for r in judged_by([cell(*numbers)]))


@pytest.mark.parametrize(
    ("words", "status", "severity", "upper"),
    [
        (["VIOLATED"], "fail", "critical", "critical"),
        (["CONSISTENT"], "pass", "none", "none"),
        (["UNDERPOWERED"], "inconclusive", "low", "critical"),
        (["CONSISTENT", "VIOLATED"], "fail", "critical", "critical"),
        (["CONSISTENT", "UNDERPOWERED"], "inconclusive", "low", "critical"),
        ([None], "inconclusive", "low", "critical"),
        (["CONSISTENT", None], "inconclusive", "low", "critical"),
    ],
)
def test_claims_carry_their_own_verdict(words: list[str | None], status: str, severity: str, upper: str) -> None:
    def number(word: str | None) -> Measured:
        facts = None if word is None else claim(word)
        return measurement(finding="dp-claim", metric=METRICS["claim"], facts=facts)

    cells = [cell(number(word), family="dp", probe="dp-claim", seed=s) for s, word in enumerate(words)]
    judged = finding(cells, Policy.named("lenient"))
    assert (judged.status, judged.severity, judged.severity_upper) == (status, severity, upper)
    assert not judged.has(why.OneSeed)


@pytest.mark.parametrize(
    ("value", "stated", "severity", "status"),
    [
        (1.0, "medium", "medium", "pass"),
        (1.0, "high", "high", "fail"),
        (1.0, "critical", "critical", "fail"),
        (3.0, "low", "low", "pass"),
        (0.0, "critical", "none", "pass"),  # none was found
        (1.0, None, "high", "fail"),  # nobody says how bad: no reason to pass
    ],
)
def test_a_fact_is_as_severe_as_it_says_where_it_is_there(
    value: float, stated: Severity | None, severity: str, status: str
) -> None:
    facts = None if stated is None else Shipped(severity=stated, count=1, of=3)
    judged = finding([shipped(value, facts)])
    assert (judged.severity, judged.severity_upper, judged.status, judged.confidence) == (
        severity,
        severity,
        status,
        "high",
    )
    assert not judged.has(why.OneSeed)


def shipped(value: float | None, facts: Shipped | Decorrelation | None) -> Finished:
    number = measurement(None, raw=value, finding="joint-small-prototype", metric=METRICS["artifact"], facts=facts)
    return cell(number, probe="prototype-membership")


def test_a_fact_that_was_not_looked_for_is_no_verdict() -> None:
    judged = finding([shipped(None, Shipped(severity="low", count=0, of=0))])
    assert (judged.status, judged.untrusted) == ("inconclusive", True)
    assert judged.has(why.NotMeasured)


def test_nothing_to_decorrelate_is_low() -> None:
    judged = finding([shipped(1.0, Decorrelation(permuted_share=0.9, ratio=0.9, ratio_permuted=1.0, ess=0.8))])
    assert (judged.severity, judged.status) == ("low", "pass")


def test_a_question_without_bands_or_limit_cannot_pass() -> None:
    judged = finding([cell(measurement(0.0, -0.1, 0.1, metric=METRICS["other"]))])
    assert judged.status == "inconclusive"
    assert judged.has(why.NoThreshold)


def test_result_carries_access_ids_and_cells() -> None:
    (judged,) = judged_by(seeds([(0.3, 0.27, 0.33)] * 2))
    assert judged.access == ("posteriors",)
    assert "AML.T0024.001" in judged.taxonomy
    assert len(judged.cells) == 2


def test_an_earlier_judgement_is_replaced() -> None:
    cells = [cell(measurement(0.3, 0.26, 0.34))]
    once = judged_by(cells)
    again = judge(once, rows_of(cells), (), TARGET, Policy.named("lenient"), as_of=TODAY)
    assert [r.judgement.status for r in (*once, *again) if r.judgement is not None] == ["fail", "pass"]


def test_widening_never_decides_and_raising_the_lower_bound_never_lowers_severity() -> None:
    rng = np.random.default_rng(7)
    for _ in range(400):
        lo, hi = sorted(rng.uniform(-0.3, 0.7, 2))
        value, fail_on = rng.uniform(lo, hi), rng.choice(["low", "medium", "high", "critical"])
        policy = Policy(fail_on=fail_on)
        before = finding([cell(measurement(value, lo, hi))], policy)
        wide = finding([cell(measurement(value, lo - rng.exponential(0.1), hi + rng.exponential(0.1)))], policy)
        assert wide.status in (before.status, "inconclusive")
        if before.status == "inconclusive":
            assert wide.status == "inconclusive"
        raised = lo + rng.uniform(0, 1) * (hi - lo)
        narrow = finding([cell(measurement(max(value, raised), raised, hi))], policy)
        assert rank(narrow.severity) >= rank(before.severity)


def test_numbers_of_nothing_rarely_fail_together() -> None:
    """Ten null numbers in each of 40 audits; without the widening a fifth of them would fail."""
    rng, error = np.random.default_rng(11), 0.02
    plain = failed = 0
    for _ in range(40):
        values = rng.normal(0, error, 10)
        numbers = [
            measurement(float(v), float(v - Z95 * error), float(v + Z95 * error), subset=str(i))
            for i, v in enumerate(values)
        ]
        failed += "fail" in statuses([cell(*numbers)], Policy.named("strict"))
        plain += bool((values > Z95 * error).any())
    assert plain / 40 == pytest.approx(1 - math.pow(0.975, 10), abs=0.15)
    assert failed <= 4


def test_a_drop_inside_what_the_order_of_nodes_changes_is_inconclusive() -> None:
    ties = row("warn", "warning", "ties").model_copy(update={"noise_floor": 0.35})
    cells = seeds([(0.3, 0.27, 0.33)] * 2, metric=METRICS["damage"])
    assert finding(cells).status == "fail"
    inside = finding(cells, validity=[ties])
    assert inside.status == "inconclusive"
    assert why.InsideNoise(floor=0.35) in inside.codes
    assert finding(cells, validity=[ties.model_copy(update={"noise_floor": 0.1})]).status == "fail"
    assert finding(seeds([(0.3, 0.27, 0.33)] * 2), validity=[ties]).status == "fail"  # pairs, not labels
