"""Coverage and the order of checks behind the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from auditor.document import Verdict
from auditor.document import codes as why
from auditor.policy import Policy, coverage_of, gate, verdict_of
from auditor.runner.finished import Finished
from tests.policy.samples import METRICS, TODAY, audit_of, cell, claim, judged_by, measurement, row, rows_of

SAFE = cell(measurement(0.0, -0.1, 0.05))
LEAK = cell(measurement(0.3, 0.26, 0.34))
SKIPPED = cell(probe="graphmi", status="skipped", reason="needs GRAD_EDGE")
CRASHED = cell(probe="graphmi", status="error", reason="ValueError: boom")
UNJUDGED = cell(measurement(0.1, None, None, judged=False), probe="graphmi")
BOUND = cell(measurement(0.1, None, None, judged=False), probe="certificate")
LATE = cell(probe="graphmi", status="timeout", reason="600 s")


def verdict(
    cells: Sequence[Finished], *, planned: int | None = None, policy: Policy | None = None, **more: Any
) -> Verdict:
    policy, rows = policy or Policy(), rows_of(cells)
    results = judged_by(cells, policy, more.pop("validity", ()))
    return verdict_of(results, rows, coverage_of(rows, planned or len(rows)), policy, **more)


@pytest.mark.parametrize(
    ("cells", "more", "code"),
    [
        ([SAFE], {}, 0),
        ([SAFE, SKIPPED], {}, 0),
        ([SAFE, SKIPPED], {"named": {"graphmi"}}, 3),
        ([SAFE, SKIPPED], {"named": {"strata"}}, 0),
        ([SAFE, CRASHED], {}, 3),
        ([SAFE, LATE], {}, 3),
        ([SAFE], {"planned": 2}, 3),
        ([SKIPPED], {}, 3),
        ([UNJUDGED], {}, 3),  # numbers without an interval prove nothing
        ([SAFE, UNJUDGED], {}, 0),
        ([SAFE, UNJUDGED], {"named": {"graphmi"}}, 3),
        ([LEAK, UNJUDGED], {"named": {"graphmi"}}, 1),
        ([SAFE, BOUND], {"named": {"certificate"}}, 0),  # a probe that has bounds alone was asked for to be read
        ([BOUND], {"named": {"certificate"}}, 3),
        ([LEAK], {}, 1),
        ([LEAK, CRASHED], {}, 1),  # a breach stays a breach when something else broke
        ([LEAK, SKIPPED], {"named": {"graphmi"}}, 1),
        ([LEAK], {"exit_zero": True}, 0),
        ([LEAK, CRASHED], {"exit_zero": True}, 0),
        ([SAFE, CRASHED], {"exit_zero": True}, 3),
    ],
)
def test_first_check_that_holds_decides(cells: list[Finished], more: dict[str, Any], code: int) -> None:
    assert verdict(cells, **more).exit_code == code


def on(arm: str, lo: float, hi: float) -> Finished:
    return cell(measurement((lo + hi) / 2, lo, hi), arm=arm)


@pytest.mark.parametrize(
    ("failing", "code", "counts"),
    [
        ((), 0, (0, 0)),
        (("ce",), 0, (0, 1)),
        (("ce", "random"), 0, (0, 2)),
        (("none",), 1, (1, 0)),
        (("defended",), 1, (1, 0)),
        (("none", "ce", "random"), 1, (1, 2)),
    ],
)
def test_what_fails_on_a_control_is_counted_and_decides_nothing(
    failing: tuple[str, ...], code: int, counts: tuple[int, int]
) -> None:
    arms = ("none", "defended", "ce", "random")
    cells = [on(arm, *((0.3, 0.4) if arm in failing else (-0.1, 0.05))) for arm in arms]
    found = verdict(cells, controls={"ce", "random"})
    assert (found.exit_code, found.status) == (code, "FAILED" if code else "PASSED")
    assert (found.counts["fail"], found.counts["on_controls"]) == counts
    assert sum(found.counts[word] for word in ("pass", "fail", "inconclusive", "accepted")) == 2
    everywhere = verdict(cells)  # no comparison: every arm counts
    assert everywhere.exit_code == (1 if failing else 0)


def test_a_control_that_does_not_count_or_is_open_keeps_nobody_from_a_verdict() -> None:
    spoiled = cell(measurement(0.0, -0.1, 0.05), arm="ce", validity=(row("fail"),))
    assert verdict([SAFE, spoiled]).exit_code == 3
    assert verdict([SAFE, spoiled], controls={"ce"}).exit_code == 0
    open_ = on("ce", 0.1, 0.4)
    strictest = Policy(inconclusive="fail")
    assert verdict([SAFE, open_], policy=strictest).exit_code == 1
    assert verdict([SAFE, open_], policy=strictest, controls={"ce"}).exit_code == 0
    broken = cell(arm="ce", status="error", reason="boom")
    assert verdict([SAFE, broken], controls={"ce"}).exit_code == 3  # nothing to compare with is no verdict


def test_exit_zero_keeps_the_word_failed() -> None:
    assert verdict([LEAK], exit_zero=True).status == "FAILED"


def test_a_named_probe_with_parameters_counts_as_named() -> None:
    skipped = replace(SKIPPED, row=SKIPPED.row.model_copy(update={"probe": "graphmi:protocol=paper"}))
    assert verdict([SAFE, skipped], named={"graphmi"}).exit_code == 3
    assert verdict([SAFE, skipped], named={"graphmi:protocol=paper"}).exit_code == 3


def test_an_underpowered_claim_is_no_verdict_unless_allowed() -> None:
    number = measurement(finding="dp-claim", metric=METRICS["claim"], facts=claim("UNDERPOWERED"))
    asked = cell(number, probe="dp-claim", family="dp")
    assert verdict([asked]).exit_code == 3
    assert verdict([asked], policy=Policy(inconclusive="fail")).exit_code == 3
    assert verdict([asked], allow_inconclusive=True).exit_code == 0
    (result,) = judged_by([asked])
    assert verdict([asked]).codes == (why.ClaimUnsettled(fingerprint=result.fingerprint),)


def test_verdict_counts_what_was_judged_and_by_what() -> None:
    found = verdict([LEAK, SKIPPED], policy=Policy(inconclusive="fail"))
    assert found.counts == {
        "pass": 0, "fail": 1, "inconclusive": 0, "accepted": 0, "untrusted": 0, "on_controls": 0,
    }  # fmt: skip
    assert (found.fail_on, found.policy, found.inconclusive) == ("high", "standard", "fail")
    assert found.codes == ()
    broken = verdict([SAFE], validity=[row()])
    assert broken.counts == {"pass": 0, "fail": 0, "inconclusive": 1, "accepted": 0, "untrusted": 1, "on_controls": 0}


def test_codes_name_everything_that_keeps_from_a_verdict() -> None:
    open_ = cell(measurement(0.2, 0.1, 0.3), probe="strata")
    cells = [SAFE, CRASHED, replace(LATE, row=LATE.row.model_copy(update={"arm": "l2r", "seed": 2})), SKIPPED, open_]
    found = verdict(cells, planned=7, named={"graphmi"}, policy=Policy(inconclusive="incomplete"))
    open_result = judged_by(cells)[-1]
    assert found.codes == (
        why.BrokeOff(probe="graphmi", arm="none", seed=0, status="error", reason="ValueError: boom"),
        why.BrokeOff(probe="graphmi", arm="l2r", seed=2, status="timeout", reason="600 s"),
        why.NeverFinished(cells=2, planned=7),
        why.NamedAndSkipped(probe="graphmi", arm="none", seed=0, reason="needs GRAD_EDGE"),
        why.OpenAndMustNot(fingerprint=open_result.fingerprint),
    )


def test_codes_of_an_audit_without_numbers() -> None:
    assert verdict([SKIPPED]).codes == (why.NothingMeasured(),)
    assert verdict([UNJUDGED]).codes == (why.NothingJudged(probe="graphmi"),)
    (broken,) = judged_by([SAFE], validity=[row()])
    assert verdict([SAFE], validity=[row()]).codes == (why.ResultUntrusted(fingerprint=broken.fingerprint),)


def test_coverage_counts_how_cells_ended() -> None:
    coverage = coverage_of(rows_of([SAFE, SKIPPED, CRASHED, LATE]), 6)
    assert (coverage.planned, coverage.ok, coverage.skipped, coverage.error, coverage.timeout) == (6, 1, 1, 1, 1)
    assert coverage_of(rows_of([SAFE, SKIPPED]), 0).planned == 2


def test_gate_is_pure_and_judges_by_the_new_policy() -> None:
    audit = audit_of([LEAK, SKIPPED], planned=2, config={"only": "posterior-similarity,graphmi"})
    before = audit.model_dump_json()
    strict, lenient = (gate(audit, Policy.named(name), as_of=TODAY) for name in ("strict", "lenient"))
    assert audit.model_dump_json() == before
    assert (strict.verdict.exit_code, strict.verdict.policy) == (1, "strict")
    assert lenient.verdict.exit_code == 3  # graphmi was asked for by name in the recorded config, and skipped
    assert gate(audit, Policy.named("lenient"), as_of=TODAY, named=()).verdict.exit_code == 0
    assert lenient.cells == audit.cells
    assert lenient.digest != strict.digest


def test_a_cut_run_stays_incomplete_when_judged_again() -> None:
    assert gate(audit_of([SAFE], planned=5), Policy(), as_of=TODAY).verdict.exit_code == 3
