"""The executor that deals groups of cells to an existing Ray cluster, or to one on this machine.

A task is one group: what its cells share is made once, in the worker process that the task starts beside itself. User
code is in that process, and its limits hold there as they do without Ray; the task passes its lines on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

from auditor.errors import ConfigError
from auditor.printable import error_text
from auditor.runner.executor import group_of
from auditor.runner.finished import Finished, from_line, row_of, to_line
from auditor.runner.job import Job
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.processes import Limits, Processes
from auditor.runner.record import Described, Record

RETRIES = 1
"""How often a task is begun again when the machine it was on is lost."""


class RayTasks:
    """The executor; see `Executor`.

    Args:
        job: what every task loads; its paths must mean the same on every machine of the cluster.
        limits: of the worker of each task.
        address: of the cluster; None for `RAY_ADDRESS`, or a cluster on this machine that ends with the run.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, job: Job, limits: Limits, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # an audit tells nobody that it took place
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "executor is ray, which is not installed. Run: pip install ray, or leave it out."
            ) from None
        self._ray, self._job, self._limits, self._address = ray, job, limits, address
        self._began = False
        self._first = Processes(job, 1, limits)

    def describe(self) -> Described:
        """See `Executor`; the target is loaded here once, to plan."""
        found = self._first.describe()
        self._first.close()
        self._connect()  # before anything is written: a wrong address costs nothing
        return found

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        """See `Executor`."""
        del record  # tracebacks stay with the task that met them
        if not cells:
            return
        job, said = self._ray.put(self._job), SimpleQueue[tuple[str, Any]]()
        task = self._ray.remote(num_cpus=self._job.threads, max_retries=RETRIES)(_carried_out)
        groups: dict[object, list[PlannedCell]] = {}
        for cell in cells:
            groups.setdefault(group_of(cell), []).append(cell)
        open_ = {cell.key: cell for cell in cells}
        listeners: list[threading.Thread] = []
        for group in groups.values():
            for cell in group:
                observer.started(cell)
            lines = task.options(num_returns="streaming").remote(job, group, self._limits)
            listener = threading.Thread(target=self._listen, args=(lines, group, said), daemon=True)
            listener.start()
            listeners.append(listener)
        while open_:
            key, line = said.get()
            if key in open_:
                yield _row(open_.pop(key), line)
        for listener in listeners:
            listener.join()

    def close(self) -> None:
        """See `Executor`; ends the tasks, and a cluster that was begun for them. A caller's connection stays open."""
        self._first.close()
        if self._began:
            self._ray.shutdown()

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        self._began = True
        try:
            self._ray.init(address=self._address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = self._address or os.environ.get("RAY_ADDRESS") or "this machine"
            raise ConfigError(
                f"no Ray cluster could be reached at {where} ({error_text(error)}). Give --ray-address of one "
                "that runs, or leave --executor out."
            ) from None

    def _listen(self, lines: Any, group: Sequence[PlannedCell], said: SimpleQueue[tuple[str, Any]]) -> None:
        """Passes the lines of one task on; a task that is lost is said for each cell that it still had."""
        left = {cell.key for cell in group}
        try:
            for each in lines:
                key, line = self._ray.get(each)
                left.discard(key)
                said.put((key, line))
            why = "its task ended before it"
        except BaseException as error:  # of Ray (which ends its threads with SystemExit), or of the task
            why = f"its task was lost: {error_text(error, 300, named=True)}"
        for key in left:
            said.put((key, why))


def _carried_out(job: Job, cells: Sequence[PlannedCell], limits: Limits) -> Iterator[tuple[str, bytes]]:
    """In a task: the cells of one group, each as its line."""
    worker = Processes(job, 1, limits)
    try:
        for finished in worker.run(cells, _Nobody(), Record()):
            yield finished.row.key, to_line(finished)
    finally:
        worker.close()


def _row(cell: PlannedCell, line: bytes | str) -> Finished:
    if isinstance(line, str):
        return Finished(row_of(cell, "error", line))
    try:
        return from_line(line)
    except ValueError as error:
        return Finished(row_of(cell, "error", f"the task gave {error}"))


class _Nobody:
    """An observer where nobody looks."""

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """Nothing."""

    def started(self, cell: PlannedCell) -> None:
        """Nothing."""

    def tick(self, fraction: float | None, note: str, cell: PlannedCell | None = None) -> None:
        """Nothing."""

    def finished(self, row: Any) -> None:
        """Nothing."""
