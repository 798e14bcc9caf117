"""Baseline and suppress: expiry, worse than accepted, stale, coverage lost, and what they cannot silence."""

from __future__ import annotations

import datetime
import json

import pytest

from auditor.document import Judgement
from auditor.document import codes as why
from auditor.errors import UsageError
from auditor.policy import Policy, gate, gates
from auditor.policy.baseline import Baseline, accept, read_baseline, to_bytes
from auditor.runner.finished import Finished
from tests.policy.samples import TARGET, TODAY, audit_of, cell, measurement, row

DAY = datetime.timedelta(days=1)
LAST = datetime.date(2027, 1, 31)


def accepted_of(cells: list[Finished], policy: Policy | None = None, expires: datetime.date = LAST) -> Baseline:
    policy = policy or Policy()
    judged = gate(audit_of(cells), policy, as_of=TODAY)
    failing = [result for result in judged.results if gates(result, policy)]
    return accept(judged, failing, reason="known, ticket 12", by="Ada", created=TODAY, expires=expires)


LEAK = [cell(measurement(0.3, 0.26, 0.34)), cell(measurement(0.0, -0.1, 0.05), probe="strata", family="shift")]


def first(
    cells: list[Finished], policy: Policy | None = None, baseline: Baseline | None = None, day: datetime.date = TODAY
) -> Judgement:
    judgement = gate(audit_of(cells), policy or Policy(), baseline, as_of=day).results[0].judgement
    assert judgement is not None
    return judgement


def test_accepted_until_the_last_day_and_not_after() -> None:
    baseline = accepted_of(LEAK)
    for day, code in ((TODAY, 0), (LAST, 0), (LAST + DAY, 1)):
        judged = gate(audit_of(LEAK), Policy(), baseline, as_of=day)
        assert judged.verdict.exit_code == code, day
    stale = why.StaleAcceptance(source="baseline", finding="privacy-link-stealing", why="expired", until=LAST)
    assert stale in judged.verdict.codes
    assert why.AcceptanceExpired(until=LAST) in first(LEAK, None, baseline, LAST + DAY).codes


def test_accepted_results_stay_in_the_document_with_their_reason() -> None:
    judged = gate(audit_of(LEAK), Policy(), accepted_of(LEAK), as_of=TODAY)
    judgement = judged.results[0].judgement
    assert judgement is not None
    assert judgement.status == "accepted"
    assert judgement.codes[-1] == why.Accepted(source="baseline", reason="known, ticket 12", by="Ada", until=LAST)
    assert judged.verdict.counts["accepted"] == 1
    assert judged.results[0].excess == audit_of(LEAK).results[0].excess


def test_worse_than_accepted_fails_and_says_what_was_accepted() -> None:
    worse = [cell(measurement(0.38, 0.35, 0.39)), LEAK[1]]
    assert gate(audit_of(worse), Policy(), accepted_of(LEAK), as_of=TODAY).verdict.exit_code == 1
    (code,) = (c for c in first(worse, None, accepted_of(LEAK)).codes if isinstance(c, why.WorseThanAccepted))
    assert (code.hi, code.severity) == (pytest.approx(0.34), "high")
    band = [cell(measurement(0.52, 0.50, 0.54)), LEAK[1]]  # lower bound inside the accepted interval, band above
    known = accepted_of([cell(measurement(0.5, 0.49, 0.51)), LEAK[1]])
    judged = first(band, None, known)
    assert (judged.status, judged.severity) == ("fail", "critical")
    assert [c.severity for c in judged.codes if isinstance(c, why.WorseThanAccepted)] == ["high"]


def test_retraining_does_not_lose_the_acceptance() -> None:
    again = [cell(measurement(0.29, 0.255, 0.325), seed=7, key="another"), LEAK[1]]
    assert gate(audit_of(again), Policy(), accepted_of(LEAK), as_of=TODAY).verdict.exit_code == 0


def test_another_target_is_not_accepted() -> None:
    judged = gate(audit_of(LEAK, target="other"), Policy(), accepted_of(LEAK), as_of=TODAY)
    assert judged.verdict.exit_code == 1


@pytest.mark.parametrize("status", ["skipped", "error", "timeout", None])
def test_a_cell_that_the_baseline_has_and_this_run_lost_is_no_verdict(status: str | None) -> None:
    fine = [cell(measurement(0.0, -0.1, 0.05)), LEAK[1]]
    baseline = accepted_of(fine)
    assert baseline.accepted == ()
    broken = cell(probe="strata", family="shift", status=status or "ok", reason="gone")
    lost = [fine[0]] if status is None else [fine[0], broken]
    judged = gate(audit_of(lost), Policy(), baseline, as_of=TODAY)
    assert judged.verdict.exit_code == 3
    assert why.CoverageLost(probe="strata", arm="none") in judged.verdict.codes
    assert gate(audit_of(fine), Policy(), baseline, as_of=TODAY).verdict.exit_code == 0
    if status == "skipped":  # without the baseline nobody would have noticed
        assert gate(audit_of(lost), Policy(), as_of=TODAY).verdict.exit_code == 0


def test_stale_entries_are_named() -> None:
    mended = [cell(measurement(0.0, -0.1, 0.05)), LEAK[1]]
    for cells, reason in ((mended, "passes"), ([LEAK[1]], "absent")):
        codes = gate(audit_of(cells), Policy(), accepted_of(LEAK), as_of=TODAY).verdict.codes
        stale = [code for code in codes if isinstance(code, why.StaleAcceptance)]
        assert stale == [
            why.StaleAcceptance(source="baseline", finding="privacy-link-stealing", why=reason)  # type: ignore[arg-type]
        ]


def suppressing(pattern: str = "privacy-link-*", expires: datetime.date = LAST, **more: str) -> Policy:
    rule = {"id": pattern, "target": TARGET, "reason": "known", "expires": expires, **more}
    return Policy.from_tables({}, {}, [rule], as_of=TODAY)


def test_suppress_accepts_by_pattern_until_its_last_day() -> None:
    for day, code in ((LAST, 0), (LAST + DAY, 1)):
        judged = gate(audit_of(LEAK), suppressing(), as_of=day)
        assert judged.verdict.exit_code == code
    assert why.AcceptanceExpired(until=LAST) in first(LEAK, suppressing(), day=LAST + DAY).codes
    accepted = why.Accepted(source="suppress", rule="privacy-link-*", reason="known", until=LAST)
    assert first(LEAK, suppressing()).codes[-1] == accepted
    assert gate(audit_of(LEAK), suppressing("shift-*"), as_of=TODAY).verdict.exit_code == 1
    assert gate(audit_of(LEAK), suppressing(defense="l2r"), as_of=TODAY).verdict.exit_code == 1
    assert gate(audit_of(LEAK, target="x"), suppressing(), as_of=TODAY).verdict.exit_code == 1


def test_a_suppress_that_matches_nothing_is_stale() -> None:
    for day, reason, until in ((TODAY, "absent", None), (LAST + DAY, "expired", LAST)):
        codes = gate(audit_of(LEAK), suppressing("shift-gap"), as_of=day).verdict.codes
        assert codes == (
            why.StaleAcceptance(source="suppress", finding="shift-gap", target=TARGET, why=reason, until=until),  # type: ignore[arg-type]
        )


def test_suppress_cannot_silence_a_missing_verdict() -> None:
    broken = audit_of([cell(measurement(0.0, -0.1, 0.05))], validity=[row("fail", "strength")])
    assert gate(broken, suppressing(), as_of=TODAY).verdict.exit_code == 3
    crashed = audit_of([*LEAK, cell(probe="graphmi", status="error", reason="out of memory")])
    judged = gate(crashed, suppressing(), as_of=TODAY)
    assert judged.verdict.counts["accepted"] == 1
    assert judged.verdict.exit_code == 3


def test_baseline_file_survives_a_round_trip() -> None:
    baseline = accepted_of(LEAK)
    assert read_baseline(to_bytes(baseline)) == baseline
    assert to_bytes(read_baseline(to_bytes(baseline))) == to_bytes(baseline)


def _twice(document: dict) -> None:
    document["accepted"] *= 2


def _no_reason(document: dict) -> None:
    del document["accepted"][0]["reason"]


def _other_kind(document: dict) -> None:
    document["kind"] = "audit"


def _next_major(document: dict) -> None:
    document["schema_version"] = "3.0"


def _before(document: dict) -> None:
    document["schema_version"] = "1.0"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_twice, "twice"),
        (_no_reason, "reason: Field required"),
        (_other_kind, "not a baseline"),
        (_next_major, r"has schema 3\.0, this auditor reads 2\.x"),
        (_before, r"has schema 1\.0"),
    ],
)
def test_bad_baselines_are_refused_in_words(spoil, message: str) -> None:
    document = json.loads(to_bytes(accepted_of(LEAK)))
    spoil(document)
    with pytest.raises(UsageError, match=message):
        read_baseline(json.dumps(document).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe"])
def test_what_is_not_json_is_no_baseline(raw: bytes) -> None:
    with pytest.raises(UsageError):
        read_baseline(raw)


def test_a_result_that_is_open_above_is_accepted_up_to_what_was_seen() -> None:
    seen = [cell(measurement(0.3, 0.26, None))]
    baseline = read_baseline(to_bytes(accepted_of(seen)))
    assert [entry.hi for entry in baseline.accepted] == [0.3]
    assert gate(audit_of(seen), Policy(), baseline, as_of=TODAY).verdict.exit_code == 0
    worse = [cell(measurement(0.4, 0.32, None))]
    assert gate(audit_of(worse), Policy(), baseline, as_of=TODAY).verdict.exit_code == 1
