"""Runs planned cells one after another, each isolated: a crash becomes one row with status `error`.

Randomness derives from the seed and fixed names, so that results depend neither on order nor on what else runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from auditor import registry
from auditor.data.graph import Graph
from auditor.document import CellRow
from auditor.document.audit import CellStatus
from auditor.errors import AuditorError, CapabilityError, SkippedError
from auditor.outcomes import FlipSet
from auditor.probe import Cell, CellResult
from auditor.runner.joining import Finished
from auditor.runner.plan import PlannedCell
from auditor.shared import Shared
from auditor.statistics.node_bootstrap import Memo
from auditor.targets.target import Target
from auditor.view import SideKnowledge


class Observer(Protocol):
    """Watches a run; the core knows no progress bar."""

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """The plan, before the first cell."""

    def started(self, cell: PlannedCell) -> None:
        """One cell begins."""

    def tick(self, fraction: float | None, note: str) -> None:
        """The running cell is that far."""

    def finished(self, row: CellRow) -> None:
        """One cell is done, whatever its status."""


def run_cells(
    target: Target,
    cells: Sequence[PlannedCell],
    *,
    side: SideKnowledge,
    observer: Observer,
    out: Path | None = None,
    models: TrainedCache | None = None,
) -> Iterator[Finished]:
    """Cells as they finish. With `out`, each is appended to `out/cells.jsonl` and tracebacks go to `out/errors/`.

    Raises:
        KeyboardInterrupt: passed on; cells already yielded are kept.
    """
    models = models or TrainedCache()
    for planned in cells:
        observer.started(planned)
        finished = _run_one(target, planned, side, models, observer.tick, out)
        if out is not None:
            _record(finished, out / "cells.jsonl")
        yield finished
        # Said only once the caller holds the cell: what is shown as done survives an interrupt.
        observer.finished(finished.row)


def _record(finished: Finished, path: Path) -> None:
    """Appends one line: the cell, what its adversary held, its numbers."""
    numbers = [number.model_dump(mode="json") for number in finished.measured]
    line = {"cell": finished.row.model_dump(mode="json"), "access": list(finished.access), "measured": numbers}
    with path.open("a", encoding="utf-8") as record:
        record.write(json.dumps(line, allow_nan=False) + "\n")
        record.flush()
        os.fsync(record.fileno())


class TrainedCache:
    """Twins trained in this run, keyed by target, graph and seed; at most `limit` are kept. And flip sets found."""

    def __init__(self, limit: int = 64) -> None:
        self._twins: dict[tuple[str, str, int], Target] = {}
        self._flips: dict[str, list[FlipSet]] = {}
        self._limit = limit
        self.replicates: Memo = {}
        self.shared = Shared()

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        """See `auditor.defense.TrainedModels`."""
        key = (target.digest, graph.digest(), seed)
        if key not in self._twins:
            while len(self._twins) >= self._limit:
                self._twins.pop(next(iter(self._twins)))
            self._twins[key] = target.retrained(graph, seed=seed)
        return self._twins[key]

    def keep_flips(self, target: Target, flips: Sequence[FlipSet]) -> None:
        """See `auditor.defense.TrainedModels`."""
        self._flips.setdefault(target.digest, []).extend(flips)

    def flips_of(self, target: Target) -> tuple[FlipSet, ...]:
        """Every flip set found on `target` so far."""
        return tuple(self._flips.get(target.digest, ()))


def _run_one(
    target: Target,
    planned: PlannedCell,
    side: SideKnowledge,
    models: TrainedCache,
    tick: Callable[[float | None, str], None],
    out: Path | None,
) -> Finished:
    entry = planned.request.entry
    row = _row(planned, "skipped", planned.skip).model_copy(
        update={"lacks": planned.lacks, "params": dict(planned.request.params)}
    )
    if planned.skip:
        return Finished(row)
    start = time.perf_counter()
    _reset_peak()
    cell = Cell(
        target=target,
        probe=entry,
        attacks=planned.attacks,
        params=planned.params,
        profile=planned.profile,
        seed=planned.seed,
        side=side,
        models=models,
        tick=tick,
    )
    try:
        result: CellResult = registry.load_location(entry.evaluation)(cell)
        if not result.measured:  # a finished cell holds a number: whoever reads the document relies on that
            raise SkippedError(f"{entry.id} found nothing to measure")
    except (SkippedError, CapabilityError) as reason:
        lacks = reason.lacks if isinstance(reason, SkippedError) else ()
        why = {"reason": str(reason), "lacks": lacks, "seconds": time.perf_counter() - start}
        return Finished(row.model_copy(update=why))
    except Exception as error:  # one cell's crash is one row
        _keep_traceback(out, planned)
        known = isinstance(error, AuditorError)
        text = one_line(str(error) if known else f"{type(error).__name__}: {error}")
        failed = {"status": "error", "reason": text, "seconds": time.perf_counter() - start}
        return Finished(row.model_copy(update=failed))
    done = {
        "status": "ok",
        "reason": "",
        "seconds": time.perf_counter() - start,
        "peak_rss_mb": _peak_mb(),
        "params": {**planned.request.params, **result.params},
        "series": result.series,
        "validity": result.validity,
    }
    fixed = entry.deterministic or result.fixed
    return Finished(row.model_copy(update=done), result.access, result.measured, tries=entry.tries, fixed=fixed)


def _row(planned: PlannedCell, status: CellStatus, reason: str) -> CellRow:
    """The row of a cell before it has run, or that never will."""
    return CellRow(
        key=planned.key,
        probe=planned.request.spec,
        family=planned.request.entry.family,
        arm=planned.arm,
        seed=planned.seed,
        status=status,
        reason=reason,
    )


def not_run(cells: Sequence[PlannedCell], status: CellStatus, reason: str, observer: Observer) -> Iterator[Finished]:
    """Rows of cells whose model could not be made, each with the reason."""
    for cell in cells:
        row = _row(cell, status, reason)
        yield Finished(row)
        observer.finished(row)


def _keep_traceback(out: Path | None, planned: PlannedCell) -> None:
    if out is None:
        return
    folder = out / "errors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{planned.request.entry.id}-{planned.key[:12]}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def one_line(text: str, limit: int = 300) -> str:
    """`text` on one line, cut to `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _reset_peak() -> None:
    """Resets the kernel's high-water mark of resident memory (Linux); elsewhere peaks stay unknown."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float | None:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        return None
    return None
