"""Severity, confidence, limits, multiplicity, claims, artefacts and the sentence of a finding."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.audit import Interval, Limit
from auditor.errors import EvaluationError
from auditor.policy import Policy, judge
from auditor.policy.bands import BANDS, Bands, rank
from tests.policy.samples import TARGET, TODAY, cell, measurement, row, seeds


def finding(cells, policy=None, validity=()):
    (only,) = judge(cells, validity, TARGET, policy or Policy(), as_of=TODAY)
    return only


@pytest.mark.parametrize(
    ("scale", "edges"),
    [
        ("auc", (0.0, 0.10, 0.25, 0.40)),
        ("accuracy", (0.0, 0.10, 0.25, 0.40)),
        ("gap", (0.0, 0.10, 0.25, 0.40)),
        ("tpr", (0.0, 0.03, 0.10, 0.25)),
        ("calibration", (0.05, 0.10, 0.25, None)),
    ],
)
def test_bands_are_those_of_the_table(scale: str, edges: tuple[float | None, ...]) -> None:
    names = ("low", "medium", "high", "critical")
    for name, edge, below in zip(names, edges, ("none", *names), strict=False):
        if edge is None:
            assert BANDS[scale].severity(1.0) == below
            continue
        assert BANDS[scale].severity(edge + 1e-9) == name
        assert BANDS[scale].severity(edge) == (below if edge == 0 else name)
        assert BANDS[scale].severity(edge - 1e-9) == below


def test_thresholds_must_rise() -> None:
    with pytest.raises(ValueError, match=r"high = 0\.2 is not above medium = 0\.3"):
        Bands(low=0.0, medium=0.3, high=0.2)


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
def test_severity_is_the_lower_bound_and_confidence_the_bands_between(lo, hi, severity, upper, confidence) -> None:
    mid = (lo + hi) / 2
    both = finding([cell(measurement(mid, lo, hi), seed=s) for s in (0, 1)])  # equal seeds: the join changes nothing
    assert (both.severity, both.severity_upper, both.confidence) == (severity, upper, confidence)


def test_one_seed_is_at_most_medium_confidence_and_says_so() -> None:
    judged = finding([cell(measurement(0.3, 0.27, 0.33))])
    assert judged.confidence == "medium"
    assert "one seed" in judged.reason
    assert finding(seeds([(0.3, 0.27, 0.33)] * 2)).confidence == "high"


def test_failed_row_means_low_confidence_and_a_warning_one_step() -> None:
    cells = seeds([(0.3, 0.27, 0.33)] * 2)
    assert finding(cells, validity=[row("warn", "warning")]).confidence == "medium"
    assert finding(cells, validity=[row("warn", "strength")]).confidence == "medium"
    assert finding(cells, validity=[row("fail", "warning")]).confidence == "medium"
    broken = finding(cells, validity=[row("fail", "strength")])
    assert (broken.confidence, broken.status, broken.untrusted) == ("low", "fail", False)
    assert finding(cells, validity=[row("not_checked")]).confidence == "high"


@pytest.mark.parametrize(
    ("touches", "hit"),
    [
        (("all",), True),
        (("privacy",), True),
        (("posterior-similarity",), True),
        (("privacy-link-stealing",), True),
        (("auc",), True),
        (("adversarial", "shift"), False),
        (("structure-evasion",), False),
        (("a word nobody knows",), True),  # a typing error fails closed
    ],
)
def test_a_failed_row_spoils_what_it_touches_only(touches: tuple[str, ...], hit: bool) -> None:
    cells = [cell(measurement(0.0, -0.1, 0.01), probe="posterior-similarity:metric=cosine")]
    judged = finding(cells, validity=[row("fail", "strength", "gradient", *touches)])
    assert judged.untrusted is hit
    assert (judged.status == "inconclusive") is hit


def test_rows_of_a_cell_spoil_that_cell_only() -> None:
    spoiled = cell(measurement(0.0, -0.1, 0.01), validity=(row(),))
    other = cell(measurement(0.0, -0.1, 0.01, finding="shift-gap", scale="gap"), probe="corruption", family="shift")
    for general in ((), spoiled.validity):  # also where a caller lists the cell's rows among the target's
        first, second = judge([spoiled, other], general, TARGET, Policy(), as_of=TODAY)
        assert (first.untrusted, second.untrusted) == (True, False)


def test_min_confidence_drops_a_weak_fail_but_not_a_check_that_failed() -> None:
    wide = seeds([(0.6, 0.41, 0.8)] * 2)
    assert finding(wide, Policy.named("lenient")).status == "fail"
    wider = seeds([(0.3, 0.02, 0.6)] * 2)
    policy = Policy(fail_on="low", min_confidence="medium")
    dropped = finding(wider, policy)
    assert (dropped.status, dropped.untrusted) == ("inconclusive", False)
    assert "below the policy's medium" in dropped.reason
    broken = finding(wide, Policy.named("lenient"), [row("fail", "strength")])
    assert (broken.status, broken.untrusted) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("lo", "hi", "status"), [(0.3, None, "fail"), (None, 0.1, "pass"), (None, 0.3, "inconclusive")]
)
def test_an_open_interval_is_judged_by_its_closed_end(lo, hi, status) -> None:
    assert finding([cell(measurement(0.05 if lo is None else 0.5, lo, hi))]).status == status


def test_an_interval_open_above_never_passes() -> None:
    judged = finding([cell(measurement(-0.3, -0.5, None))])
    assert judged.status == "inconclusive"
    assert judged.severity_upper == "critical"


def test_a_primary_without_advantage_is_no_verdict() -> None:
    judged = finding([cell(measurement(None))])
    assert (judged.status, judged.untrusted) == ("inconclusive", True)
    mixed = finding([cell(measurement(0.0, -0.1, 0.1)), cell(measurement(None), seed=1)])
    assert (mixed.status, mixed.untrusted) == ("inconclusive", True)


def test_only_primary_measurements_become_findings() -> None:
    assert judge([cell(measurement(0.9, 0.8, 1.0, primary=False))], (), TARGET, Policy(), as_of=TODAY) == ()


def test_a_cell_that_did_not_finish_gives_no_finding() -> None:
    assert judge([cell(measurement(), status="timeout")], (), TARGET, Policy(), as_of=TODAY) == ()


def test_one_thing_measured_twice_in_a_cell_is_refused() -> None:
    with pytest.raises(EvaluationError, match="twice for one seed"):
        judge([cell(measurement(), measurement())], (), TARGET, Policy(), as_of=TODAY)


GAP = {"finding": "shift-gap", "scale": "gap", "limit": Limit(name="max_gap_pt", value=0.10)}


def test_a_named_limit_replaces_the_band_as_threshold() -> None:
    judged = finding([cell(measurement(0.15, 0.12, 0.18, p_adjusted=0.001, **GAP))])
    assert (judged.status, judged.severity, judged.threshold) == ("fail", "medium", 0.10)
    assert "max_gap_pt" in judged.reason
    assert finding([cell(measurement(0.05, 0.02, 0.08, p_adjusted=0.9, **GAP))]).status == "pass"


def test_a_limit_with_holm_needs_the_p_value_too() -> None:
    judged = finding([cell(measurement(0.15, 0.12, 0.18, p_adjusted=0.026, **GAP))])
    assert judged.status == "inconclusive"
    assert "correction for several tests" in judged.reason


def test_another_limit_than_the_harness_corrected_for_ignores_its_p_value() -> None:
    policy = Policy.from_tables({"max_gap_pt": 5}, {}, ())
    one = finding([cell(measurement(0.09, 0.07, 0.11, p_adjusted=1.0, **GAP))], policy)
    assert (one.status, one.threshold) == ("fail", 0.05)
    few = [cell(measurement(0.09, 0.052, 0.13, p_adjusted=1.0, **GAP))]
    many = [cell(*(measurement(0.09, 0.052, 0.13, p_adjusted=1.0, subset=str(i), **GAP) for i in range(40)))]
    assert finding(few, policy).status == "fail"
    assert {f.status for f in judge(many, (), TARGET, policy, as_of=TODAY)} == {"inconclusive"}


def test_a_limit_switched_off_leaves_the_band() -> None:
    policy = Policy.from_tables({"max_gap_pt": False}, {}, ())
    below = [cell(measurement(0.08, 0.05, 0.11, p_adjusted=1.0, **GAP))]  # p is about 0.10, the threshold now is 0
    assert finding(below, policy.model_copy(update={"fail_on": "low"})).status == "fail"
    assert finding([cell(measurement(0.15, 0.12, 0.18, p_adjusted=0.001, **GAP))], policy).status == "pass"


def test_a_floor_on_the_raw_value_is_turned_into_an_advantage() -> None:
    limit = Limit(name="min_auroc", value=0.6)
    policy = Policy.from_tables({"min_auroc": 0.6}, {}, ())
    # AUROC .52 [.50, .54] against .5 by chance: advantage .5 − AUROC
    low = measurement(-0.02, -0.04, 0.0, finding="shift-silent-failure")
    low = low.model_copy(update={"value": 0.52, "limit": limit})
    assert finding([cell(low)], policy).status == "fail"
    high = measurement(-0.2, -0.22, -0.18, finding="shift-silent-failure").model_copy(
        update={"value": 0.7, "limit": limit}
    )
    assert finding([cell(high)], policy).status == "pass"


def test_numbers_judged_against_zero_are_widened_by_bonferroni() -> None:
    def many(m: int) -> set[str]:
        rows = [measurement(0.1, 0.02, 0.18, subset=str(i)) for i in range(m)]
        return {f.status for f in judge([cell(*rows)], (), TARGET, Policy.named("strict"), as_of=TODAY)}

    assert many(1) == {"fail"}  # lo = .10 − .08
    assert many(2) == {"fail"}  # factor 1.144: .10 − .0915
    assert many(40) == {"inconclusive"}  # factor 1.65: .10 − .132


def test_widening_factor_at_forty_is_the_one_of_the_spec() -> None:
    rows = [measurement(0.5, 0.3, 0.7, subset=str(i)) for i in range(40)]
    judged = judge([cell(*rows)], (), TARGET, Policy.named("strict"), as_of=TODAY)
    assert "[0.17, 0.83]" in judged[0].reason  # .5 ± .2 · 1.65
    assert judged[0].advantage.ci == Interval(lo=0.3, hi=0.7)  # what is shown stays the 95 % interval


def test_no_widening_away_from_zero() -> None:
    rows = [measurement(0.3, 0.26, 0.34, subset=str(i)) for i in range(40)]
    assert {f.status for f in judge([cell(*rows)], (), TARGET, Policy(), as_of=TODAY)} == {"fail"}


@pytest.mark.parametrize(
    ("words", "status", "severity"),
    [
        (["VIOLATED"], "fail", "critical"),
        (["CONSISTENT"], "pass", "none"),
        (["UNDERPOWERED"], "inconclusive", "low"),
        (["CONSISTENT", "VIOLATED"], "fail", "critical"),
        (["CONSISTENT", "UNDERPOWERED"], "inconclusive", "low"),
        (["CONSISTENT", "no such word"], "inconclusive", "low"),
    ],
)
def test_claims_carry_their_own_verdict(words, status, severity) -> None:
    cells = [
        cell(
            measurement(finding="dp-claim", scale="claim", notes={"verdict": word}),
            family="dp",
            probe="dp-claim",
            seed=s,
        )
        for s, word in enumerate(words)
    ]
    judged = finding(cells, Policy.named("lenient"))
    assert (judged.status, judged.severity) == (status, severity)


def test_artefact_severity_is_fixed_by_its_id_or_given() -> None:
    def scanned(value, finding_id="artifact-odd-archive", **more):
        row_ = measurement(None, finding=finding_id, scale="artifact", **more).model_copy(update={"value": value})
        return finding([cell(row_, family="artifact", probe="scan")])

    assert (scanned(1.0).severity, scanned(1.0).status) == ("medium", "pass")
    assert (scanned(0.0).severity, scanned(0.0).status) == ("none", "pass")
    assert scanned(1.0, "artifact-unsafe-pickle").status == "fail"
    assert scanned(1.0, notes={"severity": "critical"}).status == "fail"
    assert scanned(None).untrusted


def test_a_scale_without_bands_or_limit_cannot_pass() -> None:
    assert finding([cell(measurement(0.0, -0.1, 0.1, scale="other"))]).status == "inconclusive"


def test_sentence_says_what_band_threshold_and_status() -> None:
    text = "link stealing from posteriors recovers edges 0.09 AUC [0.06, 0.12] better than features and labels alone"
    judged = finding([cell(measurement(0.09, 0.06, 0.12, text=text))])
    assert judged.reason.startswith(f"{text}: low (≤ medium), below high (0.25): pass")
    bare = finding(seeds([(0.09, 0.06, 0.12)] * 2))
    assert "posterior-similarity from posteriors: auc is 0.59, 0.09 [0.06, 0.12] AUC worse than features" in bare.reason


def test_sentence_of_an_inconclusive_says_what_would_settle_it() -> None:
    judged = finding([cell(measurement(0.20, 0.10, 0.30))])
    # half-width .10, distance .05: four times the items, three times 1000 more
    assert "about 3 000 more items" in judged.reason


def test_finding_carries_access_ids_and_cells() -> None:
    judged = finding(seeds([(0.3, 0.27, 0.33)] * 2))
    assert judged.access == ("posteriors",)
    assert "AML.T0024.001" in judged.ids
    assert len(judged.cells) == 2


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
