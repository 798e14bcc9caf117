"""The protocol, in order: account, power, pre-registration, run, reach twin, verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass

from auditor.document import CellRow, Measured, ValidityRow
from auditor.document.audit import CellStatus
from auditor.evaluate.dp_claim import rows, verdict
from auditor.evaluate.dp_claim.plan import PROBE
from auditor.evaluate.dp_claim.power import Power, power_of
from auditor.evaluate.dp_claim.question import Question
from auditor.evaluate.dp_claim.rows import Seen
from auditor.evaluate.dp_claim.verdict import Verdict

FAMILY = "dp"


@dataclass(frozen=True, slots=True)
class Answer:
    """One cell: its row, and the numbers it gave; none unless it is `ok`."""

    row: CellRow
    measured: tuple[Measured, ...] = ()


def judged_before(question: Question) -> tuple[Verdict | None, Power | None]:
    """The verdict that needs no run, and the power of the plan; nothing is trained."""
    refuted = verdict.by_account(question.claim, question.account)
    if question.plan is None:
        return refuted or verdict.account_only(), None
    power = power_of(question.plan)
    return refuted or verdict.without_power(power), power


def pending(question: Question, power: Power | None, reason: str) -> tuple[Answer, ...]:
    """The cells before anything is run: they hold the pre-registration."""
    return tuple(Answer(_cell(question, seed, power, "skipped", reason)) for seed in question.seeds)


def answered(question: Question, found: Verdict, power: Power | None) -> tuple[Answer, ...]:
    """The cells of a verdict that needs no run."""
    return tuple(_done(question, Seen(found, power, promised=question.planned, seed=seed)) for seed in question.seeds)


def run(question: Question, power: Power | None, seed: int) -> Answer:
    """The cell of the run with that seed.

    Raises:
        SkippedError, CapabilityError: the mechanism does not apply.
        AuditorError: it could not be run.
    """
    plan, runs = question.plan, question.runs
    assert plan is not None
    assert runs is not None
    start = time.perf_counter()
    promised = question.promised(seed)
    own, twin = runs.audited(plan, seed)
    done = _done(question, Seen(verdict.by_audit(own, twin), power, own, twin, promised, seed))
    return Answer(done.row.model_copy(update={"seconds": time.perf_counter() - start}), done.measured)


def _done(question: Question, seen: Seen) -> Answer:
    row = _cell(question, seen.seed, seen.power, "ok", validity=rows.validity(question, seen))
    return Answer(row, rows.numbers(question, seen))


def _cell(
    question: Question,
    seed: int,
    power: Power | None,
    status: CellStatus,
    reason: str = "",
    validity: tuple[ValidityRow, ...] = (),
) -> CellRow:
    """One cell; its params hold what must be known before anything runs, as plain values."""
    plan, planned, account = question.plan, question.planned, question.account
    params = {
        "preregistration": None if plan is None else plan.record(),
        "power": None if power is None else power.record(),
        "account": None if account is None else account.record().model_dump(mode="json"),
        "mechanism": None if planned is None else planned.model_dump(mode="json"),
        **question.extra,
    }
    return CellRow(
        key=question.key(seed),
        probe=PROBE,
        family=FAMILY,
        arm=question.defense,
        seed=seed,
        status=status,
        reason=reason,
        params={name: value for name, value in params.items() if value is not None},
        validity=validity,
    )
