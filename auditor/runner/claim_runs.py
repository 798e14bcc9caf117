"""Audits a claim in the order of its protocol: the document is written before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from auditor.document import Audit
from auditor.document.codes import PowerOnly
from auditor.errors import ConfigError
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.executor import Executor
from auditor.runner.finished import Finished
from auditor.runner.observer import Observer
from auditor.runner.record import Claimed, Described, Record
from auditor.runner.running import carried_out
from auditor.stopping import exit_code_of


def run_claim(
    executor: Executor,
    described: Described,
    settings: RunSettings,
    *,
    write: Callable[[Audit], object],
    observer: Observer,
    record: Record,
    kept: Mapping[str, Finished] | None = None,
    notify: Callable[[Claimed], object] = lambda _claim: None,
    power_only: bool = False,
    allow_inconclusive: bool = False,
) -> Audit:
    """The audit; `write` gets the document with the pre-registration before any run.

    `notify` gets what the runs will take before the first of them.

    Raises:
        ConfigError: a repeat says that the claim cannot be audited so.
    """
    clock, claim = time.perf_counter(), described.claim
    assert claim is not None

    def document(done: Sequence[Finished], *, interrupted: int = 0, only: PowerOnly | None = None) -> Audit:
        return assemble_audit(
            described.target,
            done,
            settings,
            validity=(),
            planned=len(described.cells),
            named={cell.id for cell in described.cells},
            seconds=time.perf_counter() - clock,
            interrupted=interrupted,
            environment=described.environment,
            allow_inconclusive=allow_inconclusive,
            power=only,
        )

    if claim.refused:
        return document(claim.answered)
    if claim.registered:
        write(document(claim.pending))
        if not claim.answered and claim.runs is not None:
            notify(claim)
    if power_only and not claim.refuted:
        nothing = "power analysis only: nothing was run, nothing is judged"
        rows = [Finished(each.row.model_copy(update={"reason": nothing}), each.access) for each in claim.pending]
        return document(rows, only=PowerOnly(possible=claim.possible))
    if claim.answered:
        return document(claim.answered)
    registered, finished = {each.row.key: each for each in claim.pending}, dict(kept or {})
    observer.planned(described.cells)
    interrupted = 0
    try:
        left = [cell for cell in described.cells if cell.key not in finished]
        for done in carried_out(executor, left, observer, record):  # one at a time: an interrupt keeps what is finished
            if done.misfit:
                raise ConfigError(done.row.reason)
            finished[done.row.key] = done
    except KeyboardInterrupt as stop:
        interrupted = exit_code_of(stop)
    rows = [_with_plan(finished[key], registered[key]) for key in registered if key in finished]
    return document(rows, interrupted=interrupted)


def _with_plan(done: Finished, registered: Finished) -> Finished:
    """A repeat that gave no number says what was planned all the same."""
    if done.row.status == "ok":
        return done
    how = {"status": done.row.status, "reason": done.row.reason, "seconds": done.row.seconds}
    return Finished(registered.row.model_copy(update=how), registered.access)
