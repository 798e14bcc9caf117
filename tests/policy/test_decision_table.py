"""Every position of an interval against every fail_on, trust state, inconclusive mode and baseline state."""

from __future__ import annotations

import datetime
import itertools

import pytest

from auditor.document import Judgement, ValidityRow, fingerprint
from auditor.document import codes as why
from auditor.policy import Policy, coverage_of, verdict_of
from auditor.policy.baseline import Accepted, Baseline
from auditor.runner.finished import Finished
from tests.policy.samples import TARGET, TODAY, cell, judged_by, measurement, row, rows_of

EDGE = {"low": 0.0, "medium": 0.10, "high": 0.25, "critical": 0.50}
POINTS = (-0.1, 0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6)
TRUST: dict[str, tuple[ValidityRow, ...]] = {
    "sound": (row("pass"),),
    "warned": (row("warn", "warning"),),
    "strength": (row("fail", "strength", "gradient"),),
    "integrity": (row("fail", "integrity"),),
}


def hand_status(lo: float, hi: float, fail_on: str, trust: str) -> tuple[str, bool]:
    """Status and untrusted, written out by hand from the rules."""
    edge = EDGE[fail_on]
    if fail_on == "low":
        status = "fail" if lo > 0 else "pass" if hi <= 0 else "inconclusive"
    else:
        status = "fail" if lo >= edge else "pass" if hi < edge else "inconclusive"
    if trust == "integrity":
        return "inconclusive", True
    if trust == "strength" and status != "fail":
        return "inconclusive", True
    return status, False


def one(lo: float, hi: float) -> list[Finished]:
    return [cell(measurement((lo + hi) / 2, lo, hi))]


def judgement(lo: float, hi: float, policy: Policy, trust: str, known: Baseline | None = None) -> Judgement:
    (result,) = judged_by(one(lo, hi), policy, TRUST[trust], baseline=known)
    assert result.judgement is not None
    return result.judgement


POSITIONS = [(lo, hi) for lo, hi in itertools.product(POINTS, POINTS) if lo <= hi]


@pytest.mark.parametrize("trust", TRUST)
@pytest.mark.parametrize("fail_on", EDGE)
def test_status_of_every_interval_position(fail_on: str, trust: str) -> None:
    for lo, hi in POSITIONS:
        found = judgement(lo, hi, Policy(fail_on=fail_on), trust)
        assert (found.status, found.untrusted) == hand_status(lo, hi, fail_on, trust), (lo, hi)
        assert (found.threshold, found.against) == (EDGE[fail_on], fail_on)


@pytest.mark.parametrize("mode", ["report", "incomplete", "fail"])
@pytest.mark.parametrize("trust", TRUST)
@pytest.mark.parametrize("fail_on", EDGE)
def test_exit_code_of_every_interval_position(fail_on: str, trust: str, mode: str) -> None:
    policy = Policy(fail_on=fail_on, inconclusive=mode)  # type: ignore[arg-type]
    for lo, hi in POSITIONS:
        results, cells = judged_by(one(lo, hi), policy, TRUST[trust]), rows_of(one(lo, hi))
        verdict = verdict_of(results, cells, coverage_of(cells, 1), policy)
        status, untrusted = hand_status(lo, hi, fail_on, trust)
        straddles = {"report": 0, "incomplete": 3, "fail": 1}[mode]
        expected = 3 if untrusted else {"fail": 1, "pass": 0, "inconclusive": straddles}[status]
        assert verdict.exit_code == expected, (lo, hi)
        assert verdict.status == {0: "PASSED", 1: "FAILED", 3: "INCOMPLETE"}[expected]
        hushed = verdict_of(results, cells, coverage_of(cells, 1), policy, exit_zero=True)
        assert hushed.exit_code == (0 if expected == 1 else expected)


def baseline(hi: float | None, severity: str, expires: datetime.date) -> Baseline:
    entry = Accepted(
        fingerprint=fingerprint("privacy-link-stealing", TARGET, "none", "posterior-similarity", "auc", ""),
        id="privacy-link-stealing",
        severity=severity,  # type: ignore[arg-type]
        hi=hi,
        reason="known, ticket 12",
        by="Ada",
        created=TODAY,
        expires=expires,
    )
    return Baseline(policy="standard", fail_on="high", accepted=(entry,), cells=())


BASELINES = {
    "none": None,
    "accepted": baseline(0.9, "critical", TODAY),
    "expired": baseline(0.9, "critical", TODAY - datetime.timedelta(days=1)),
    "tighter bound": baseline(-0.2, "critical", TODAY),
    "lower band": baseline(0.9, "none", TODAY),
    "open bound": baseline(None, "critical", TODAY),
}


@pytest.mark.parametrize("mode", ["report", "fail"])
@pytest.mark.parametrize("state", BASELINES)
@pytest.mark.parametrize("trust", TRUST)
def test_baseline_accepts_only_what_gates_and_is_not_worse(trust: str, state: str, mode: str) -> None:
    policy = Policy(fail_on="medium", inconclusive=mode)  # type: ignore[arg-type]
    for lo, hi in POSITIONS:
        found = judgement(lo, hi, policy, trust, BASELINES[state])
        status, untrusted = hand_status(lo, hi, "medium", trust)
        gating = status == "fail" or (status == "inconclusive" and mode == "fail" and not untrusted)
        severe = lo > 0
        stands = state in ("accepted", "open bound") or (state == "lower band" and not severe)
        accepted = [code for code in found.codes if isinstance(code, why.Accepted)]
        if gating and stands:
            assert found.status == "accepted", (lo, hi)
            assert [(code.source, code.reason, code.by) for code in accepted] == [
                ("baseline", "known, ticket 12", "Ada")
            ]
        else:
            assert found.status == status, (lo, hi)
            assert not accepted
        assert found.has(why.AcceptanceExpired) == (gating and state == "expired")
        refused = gating and state in ("tighter bound", "lower band") and not stands
        assert found.has(why.WorseThanAccepted) == refused
        if untrusted:  # nothing silences a missing verdict
            results = judged_by(one(lo, hi), policy, TRUST[trust], baseline=BASELINES[state])
            cells = rows_of(one(lo, hi))
            verdict = verdict_of(results, cells, coverage_of(cells, 1), policy, baseline=BASELINES[state])
            assert verdict.exit_code == 3
