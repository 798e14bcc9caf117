"""Carries out the plan of an audit and makes its document; what another run has finished is not run again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from auditor.document import Audit
from auditor.policy.baseline import Baseline
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.executor import Executor
from auditor.runner.finished import Finished, row_of
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Record
from auditor.stopping import exit_code_of


def run_audit(
    executor: Executor,
    described: Described,
    settings: RunSettings,
    *,
    observer: Observer,
    record: Record,
    kept: Mapping[str, Finished] | None = None,
    chosen: Sequence[PlannedCell] | None = None,
    baseline: Baseline | None = None,
) -> Audit:
    """Runs the plan and judges it.

    Args:
        executor: what carries the cells out.
        described: what it said of the target, and the plan.
        settings: what is asked for besides.
        observer: watches.
        record: gets every cell as it is finished.
        kept: cells that need not run again, by key.
        chosen: the cells of the plan that are run here; None for all of them.
        baseline: accepted results.

    Interrupted, it gives what is finished as an INCOMPLETE audit, whose exit code is that of the signal.
    """
    clock, stopped = time.perf_counter(), 0
    cells = described.cells if chosen is None else chosen
    finished = dict(kept or {})
    observer.planned(cells)
    try:
        for cell in cells:
            if cell.key in finished:
                observer.finished(finished[cell.key].row)
        for done in carried_out(executor, [cell for cell in cells if cell.key not in finished], observer, record):
            finished[done.row.key] = done
    except KeyboardInterrupt as stop:
        stopped = exit_code_of(stop)
    return assembled(
        described, finished, settings, seconds=time.perf_counter() - clock, interrupted=stopped, baseline=baseline
    )


def assembled(
    described: Described,
    finished: Mapping[str, Finished],
    settings: RunSettings,
    *,
    seconds: float,
    interrupted: int = 0,
    baseline: Baseline | None = None,
) -> Audit:
    """The document of the finished cells (by key), in the order of the plan, whoever carried them out and when."""
    return assemble_audit(
        described.target,
        [finished[cell.key] for cell in described.cells if cell.key in finished],
        settings,
        validity=described.validity,
        planned=len(described.cells),
        named={cell.id for cell in described.cells if cell.named},
        seconds=seconds,
        interrupted=interrupted,
        environment=described.environment,
        keys=[cell.key for cell in described.cells],
        baseline=baseline,
    )


def carried_out(
    executor: Executor, cells: Sequence[PlannedCell], observer: Observer, record: Record
) -> Iterator[Finished]:
    """Cells as they finish, each in the record before it is given; one that is skipped needs no executor.

    What is shown as done survives an interrupt: the observer hears of a cell once the caller holds it.
    """
    skipped = (Finished(row_of(cell, "skipped", cell.skip)) for cell in cells if cell.skip)
    for done in chain(skipped, executor.run([cell for cell in cells if not cell.skip], observer, record)):
        record.add(done)
        yield done
        observer.finished(done.row)
