"""Coverage and the order of checks behind the exit code."""

from __future__ import annotations

import pytest

from auditor.policy import Policy, coverage_of, gate, judge, verdict_of
from tests.policy.samples import TARGET, TODAY, audit_of, cell, measurement

SAFE = cell(measurement(0.0, -0.1, 0.05))
LEAK = cell(measurement(0.3, 0.26, 0.34))
SKIPPED = cell(probe="graphmi", status="skipped", reason="needs GRAD_EDGE")
CRASHED = cell(probe="graphmi", status="error", reason="ValueError: boom")
UNJUDGED = cell(measurement(0.1, None, None, primary=False), probe="graphmi")
LATE = cell(probe="graphmi", status="timeout", reason="600 s")


def verdict(cells, *, planned=None, policy=None, **more):
    policy = policy or Policy()
    findings = judge(cells, (), TARGET, policy, as_of=TODAY)
    return verdict_of(findings, cells, coverage_of(cells, planned or len(cells)), policy, **more)


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
        ([LEAK], {}, 1),
        ([LEAK, CRASHED], {}, 1),  # a breach stays a breach when something else broke
        ([LEAK, SKIPPED], {"named": {"graphmi"}}, 1),
        ([LEAK], {"exit_zero": True}, 0),
        ([LEAK, CRASHED], {"exit_zero": True}, 0),
        ([SAFE, CRASHED], {"exit_zero": True}, 3),
    ],
)
def test_first_check_that_holds_decides(cells, more, code) -> None:
    assert verdict(cells, **more).exit_code == code


def test_exit_zero_keeps_the_word_failed() -> None:
    assert verdict([LEAK], exit_zero=True).status == "FAILED"


def test_a_named_probe_with_parameters_counts_as_named() -> None:
    skipped = SKIPPED.model_copy(update={"probe": "graphmi:protocol=paper"})
    assert verdict([SAFE, skipped], named={"graphmi"}).exit_code == 3
    assert verdict([SAFE, skipped], named={"graphmi:protocol=paper"}).exit_code == 3


def test_an_underpowered_claim_is_no_verdict_unless_allowed() -> None:
    claim = cell(measurement(finding="dp-claim", scale="claim", notes={"verdict": "UNDERPOWERED"}), probe="dp-claim")
    assert verdict([claim]).exit_code == 3
    assert verdict([claim], policy=Policy(inconclusive="fail")).exit_code == 3
    assert verdict([claim], allow_inconclusive=True).exit_code == 0


def test_headline_counts_and_never_promises() -> None:
    lines = verdict([LEAK, SKIPPED]).lines
    assert lines[0] == "FAILED  1 finding at or above high or beyond a named limit · 1 of 2 cells"
    passed = verdict([SAFE]).lines
    assert passed[0].startswith("PASSED  no finding at or above high")
    for word in ("secure", "safe", "private"):
        assert word not in " ".join(passed)


def test_coverage_names_what_is_missing_and_why() -> None:
    coverage = coverage_of([SAFE, SKIPPED, CRASHED, LATE], 6)
    assert (coverage.planned, coverage.ok, coverage.skipped, coverage.error, coverage.timeout) == (6, 1, 1, 1, 1)
    assert "graphmi seed 0: skipped: needs GRAD_EDGE" in coverage.missing
    assert "2 of 6 planned cells never finished" in coverage.missing


def test_gate_is_pure_and_judges_by_the_new_policy() -> None:
    audit = audit_of([LEAK, SKIPPED], planned=2, config={"only": "posterior-similarity,graphmi"})
    before = audit.model_dump_json()
    strict, lenient = (gate(audit, Policy.named(name), as_of=TODAY) for name in ("strict", "lenient"))
    assert audit.model_dump_json() == before
    assert (strict.verdict.exit_code, strict.verdict.policy) == (1, "strict")
    assert lenient.verdict.exit_code == 3  # graphmi was asked for by name in the recorded config, and skipped
    assert gate(audit, Policy.named("lenient"), as_of=TODAY, named=()).verdict.exit_code == 0
    assert lenient.cells == audit.cells


def test_a_cut_run_stays_incomplete_when_judged_again() -> None:
    assert gate(audit_of([SAFE], planned=5), Policy(), as_of=TODAY).verdict.exit_code == 3
