"""The protocol, in order: account, power, pre-registration, run, reach twin, verdict."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from auditor.audit import CellRow, Measurement
from auditor.errors import AuditorError, CapabilityError, SkippedError
from auditor.evaluate.dp_claim import rows, verdict
from auditor.evaluate.dp_claim.claim import Claim
from auditor.evaluate.dp_claim.plan import PROBE, Plan
from auditor.evaluate.dp_claim.power import Power, power_of
from auditor.evaluate.dp_claim.static import Account
from auditor.evaluate.dp_claim.subject import Observation, Subject, observe
from auditor.evaluate.dp_claim.testing import Audited, multi_run, one_run
from auditor.evaluate.dp_claim.verdict import Verdict
from auditor.guarantee import Guarantee

FAMILY = "dp"


class Runs(Protocol):
    """What is run once the plan is fixed."""

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """The run and its reach twin, None where there is none."""
        ...

    def cost(self, plan: Plan) -> str:
        """What the plan will take, in words."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SubjectRuns:
    """Runs a subject: once with all canaries, or many times with one."""

    subject: Subject
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """See `Runs`."""
        self.tick(0.0, "running the mechanism")
        run = self._at(plan, seed, 1.0)
        if self.subject.twin_scale is None:
            return run, None
        self.tick(0.5, "running its reach twin")
        return run, self._at(plan, seed, self.subject.twin_scale)

    def cost(self, plan: Plan) -> str:
        """See `Runs`."""
        runs = plan.runs * (2 if plan.mode == "multi-run" else 1) * (1 if self.subject.twin_scale is None else 2)
        seconds = self.subject.seconds()
        shown = "an unknown time" if seconds is None else f"about {max(1.0, runs * seconds):,.0f} s"
        return f"{runs:,} runs of the mechanism, reach twins included: {shown}"

    def _at(self, plan: Plan, seed: int, scale: float) -> Audited:
        if plan.mode == "one-run":
            return one_run(observe(self.subject, seed, scale), plan, seed)

        def score(included: bool, own_seed: int) -> float:
            return float(self.subject.scores(np.array([included]), own_seed, scale)[0])

        return multi_run(score, plan)


@dataclass(frozen=True, slots=True, eq=False)
class GivenScores:
    """Scores that exist already."""

    run: Observation
    twin: Observation | None

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """See `Runs`."""
        return one_run(self.run, plan, seed), None if self.twin is None else one_run(self.twin, plan, seed)

    def cost(self, plan: Plan) -> str:
        """See `Runs`."""
        return f"{len(self.run.scores):,} scores are given: nothing is trained"

    def digest(self) -> str:
        """Sha256 over bits and scores, the twin's too."""
        parts = [self.run] if self.twin is None else [self.run, self.twin]
        sha = hashlib.sha256()
        for part in parts:
            for array in (part.included, part.scores):
                sha.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One claim about one mechanism.

    Attributes:
        claim: what is audited.
        name: of the target, part of every cell's key.
        digest: of the target, or of what stands in its place.
        defense: canonical form of the defence; `none` without one.
        planned: the Guarantee that the mechanism itself would carry.
        account: epsilon recomputed from parameters.
        units: what delta is judged by.
        plan: fixed before anything runs; None for a static check.
        runs: what is run; None for a static check and for `--power-only`.
        registered: how the plan was fixed; None when scores came before it.
        audited: seed -> the Guarantee of the audited run, where canaries change the mechanism's own numbers.
    """

    claim: Claim
    name: str
    digest: str
    defense: str = "none"
    planned: Guarantee | None = None
    account: Account | None = None
    units: int | None = None
    plan: Plan | None = None
    runs: Runs | None = None
    registered: str | None = "fixed in the document before anything was run"
    extra: dict[str, Any] = field(default_factory=dict)
    audited: Callable[[int], Guarantee] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the cells."""
        return (0,) if self.plan is None else self.plan.seeds


def judged_before(question: Question) -> tuple[Verdict | None, Power | None]:
    """The verdict that needs no run, and the power of the plan; nothing is trained."""
    refuted = verdict.by_account(question.claim, question.account)
    if question.plan is None:
        assert question.account is not None
        return refuted or verdict.account_only(question.claim, question.account), None
    power = power_of(question.plan)
    return refuted or verdict.without_power(question.plan, power), power


def pending(question: Question, power: Power | None, reason: str) -> tuple[CellRow, ...]:
    """The cells before anything is run: they hold the pre-registration."""
    return tuple(
        _cell(question, seed, power).model_copy(update={"status": "skipped", "reason": reason})
        for seed in question.seeds
    )


def answered(question: Question, found: Verdict, power: Power | None) -> tuple[CellRow, ...]:
    """The cells of a verdict that needs no run."""
    made = rows.measurements(
        question.claim,
        found,
        plan=question.plan,
        account=question.account,
        sigma=rows.sigma_of(question.planned),
    )
    return tuple(_done(question, seed, power, found, made) for seed in question.seeds)


def run(question: Question, power: Power | None) -> Iterator[CellRow]:
    """The cells of the runs, one per seed, as they finish; an error while running is a row with that status."""
    plan, runs = question.plan, question.runs
    assert plan is not None
    assert runs is not None
    for seed in plan.seeds:
        start = time.perf_counter()
        try:
            mechanism = question.planned if question.audited is None else question.audited(seed)
            own, twin = runs.audited(plan, seed)
        except (SkippedError, CapabilityError) as reason:
            yield _cell(question, seed, power).model_copy(update={"status": "skipped", "reason": str(reason)})
            continue
        except AuditorError as error:
            if error.exit_code == 2:
                raise
            yield _cell(question, seed, power).model_copy(update={"status": "error", "reason": str(error)})
            continue
        found = verdict.by_audit(plan, own, twin)
        made = rows.measurements(
            question.claim,
            found,
            plan=plan,
            account=question.account,
            run=own,
            twin=twin,
            sigma=rows.sigma_of(mechanism),
        )
        row = _done(question, seed, power, found, made, own=own, twin=twin)
        if question.planned is not None and mechanism is not None and mechanism.mechanism != question.planned.mechanism:
            row = row.model_copy(update={"params": {**row.params, "audited": _grown(question.planned, mechanism)}})
        yield row.model_copy(update={"seconds": time.perf_counter() - start})


def _grown(planned: Guarantee, audited: Guarantee) -> dict[str, Any]:
    """What the audited run had in place of the planned numbers."""
    changed = {key: value for key, value in audited.mechanism.items() if planned.mechanism.get(key) != value}
    numbers = ", ".join(f"{key} = {value:.4g}" for key, value in changed.items() if isinstance(value, int | float))
    text = (
        f"its canaries make it {audited.units:,} units in place of {planned.units:,}: this run had {numbers}, "
        f"at the same δ = {audited.delta:g} and ε = {audited.epsilon:.2f}"
    )
    return {"text": text, "units": audited.units, "mechanism": audited.mechanism}


def _done(
    question: Question,
    seed: int,
    power: Power | None,
    found: Verdict,
    made: tuple[Measurement, ...],
    *,
    own: Audited | None = None,
    twin: Audited | None = None,
) -> CellRow:
    row = _cell(question, seed, power)
    params = {"verdict": found.word, "reason": found.reason, "text": found.sentence}
    if own is not None:
        params["bounds"] = [bound.record() for bound in own.bounds]  # type: ignore[assignment]
        params["beside"] = [bound.record() for bound in own.shown]  # type: ignore[assignment]
        params["reach_twin"] = None if twin is None else [bound.record() for bound in twin.bounds]  # type: ignore[assignment]
    checks = rows.validity(
        question.claim,
        account=question.account,
        units=question.units,
        registered="" if question.plan is None else question.registered,
        twin=twin,
        ran=own is not None,
    )
    update = {"status": "ok", "params": {**row.params, **params}, "measurements": made, "validity": checks}
    return row.model_copy(update=update)


def _cell(question: Question, seed: int, power: Power | None) -> CellRow:
    claim, plan = question.claim, question.plan
    record = None if plan is None else plan.record()
    words = [question.name, question.digest, question.defense, claim.record(), record, seed]
    return CellRow(
        key=hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest(),
        probe=PROBE,
        family=FAMILY,
        defense=question.defense,
        seed=seed,
        status="ok",
        access=() if claim.access == "parameters" else (claim.access,),
        params={
            "claim": {**claim.record(), "text": claim.headline()},
            "account": None if question.account is None else {"text": question.account.line()},
            "preregistration": record,
            "power": None if power is None or plan is None else {**power.record(), "text": power.sentence(plan)},
            **question.extra,
        },
        guarantee=question.planned,
    )
