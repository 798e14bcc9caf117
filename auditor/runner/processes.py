"""The executor that carries cells out in worker processes, each of which can be ended without harm to the rest.

The libraries for pools of processes (pebble, loky, `concurrent.futures`) start their workers through
`multiprocessing`, which imports the caller's `__main__` again and passes pickles both ways: a worker in which user code
runs could send one that runs code here. These workers are a module of ours, and answer in lines of checked JSON.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from queue import Empty, Queue
from typing import Any, BinaryIO, Final

import numpy as np
import psutil
from pydantic import TypeAdapter

from auditor import errors
from auditor.document.audit import CellStatus
from auditor.errors import AuditorError, LoadError
from auditor.printable import neutral
from auditor.runner.executor import Group, group_of, is_whole
from auditor.runner.finished import Finished, from_line, row_of
from auditor.runner.job import Job
from auditor.runner.memory import KEEP_FREED
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Record

LOG = logging.getLogger("auditor")
LOOK_S: Final = 0.2
"""How often time and memory are looked at."""
GRACE_S: Final = 3.0
"""How long after a process has ended its last words may still arrive."""
LEAST_LIMIT_S: Final = 600.0
TIMES_ESTIMATE: Final = 20.0
SHARE_OF_FREE: Final = 0.75
MAX_LINE: Final = 256 * 1024 * 1024
MOST_UNREAD: Final = 64
"""Lines that are kept unread; a worker that says more waits."""
GONE: Final = "gone"
ANSWERS: Final[dict[str, TypeAdapter[Any]]] = {
    "note": TypeAdapter(str),
    "loaded": TypeAdapter(tuple[list[str], tuple[float, float] | None]),
    "failed": TypeAdapter(tuple[str, str, str]),
    "described": TypeAdapter(Described),
    "tick": TypeAdapter(tuple[float | None, str]),
    "trace": TypeAdapter(str),
}
"""What each kind of answer holds, besides that of a finished cell."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may take.

    Attributes:
        seconds: of one cell, or of loading; None for 20 times the plan's estimate, at least 10 minutes.
        memory: resident bytes of the worker and its children; None for three quarters of what is free when the run
            begins, dealt equally.
    """

    seconds: float | None = None
    memory: int | None = None

    def seconds_for(self, cell: PlannedCell | None) -> float:
        """Of a cell, or of loading."""
        if self.seconds is not None:
            return self.seconds
        return LEAST_LIMIT_S if cell is None else max(LEAST_LIMIT_S, TIMES_ESTIMATE * cell.estimate_s)


Event = tuple["Worker", str, bytes]


@dataclass(slots=True, eq=False)
class Worker:
    """One process, and what it is doing.

    Attributes:
        job: what it has loaded.
        cell: under way; None while it loads, describes or waits.
        since: when that began, on the monotonic clock.
        loaded: it can take cells.
        groups: of the cells that it was given, with their seeds; what they share is made already.
        ended: when it was first seen that the process has ended; 0 while it runs.
    """

    job: Job
    process: subprocess.Popen[bytes]
    said: BinaryIO
    cell: PlannedCell | None = None
    since: float = field(default_factory=time.monotonic)
    loaded: bool = False
    groups: set[tuple[Group, int]] = field(default_factory=set)
    ended: float = 0.0

    @classmethod
    def start(cls, job: Job, inbox: Queue[Event]) -> Worker:
        """A process that begins to load the target of the job."""
        said = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the worker
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "auditor.runner.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment_of_workers(job.threads),
            start_new_session=True,  # an interrupt at the terminal is the parent's to deal with
        )
        worker = cls(job, process, said)
        threading.Thread(target=worker._listen, args=(inbox,), daemon=True).start()
        worker.tell(job.model_dump_json())
        return worker

    def tell(self, order: str) -> None:
        """One order; a worker that has ended is found out by what it no longer says."""
        assert self.process.stdin is not None
        self.since = time.monotonic()
        with contextlib.suppress(OSError):
            self.process.stdin.write(order.encode() + b"\n")
            self.process.stdin.flush()

    def begin(self, cell: PlannedCell) -> None:
        """Its next cell."""
        self.cell = cell
        self.tell(f"run {cell.model_dump_json()}")

    def _listen(self, inbox: Queue[Event]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:  # closed here alone: elsewhere that waits for as long as a line is read
            while line := lines.readline(MAX_LINE):
                kind, _, payload = line.rstrip(b"\n").partition(b" ")
                inbox.put((self, kind.decode("ascii", "replace"), payload))
        inbox.put((self, GONE, b""))

    def memory(self) -> int:
        """Resident bytes of the process and all below it; 0 where it has ended."""
        try:
            own = psutil.Process(self.process.pid)
            return sum(_resident(each) for each in (own, *own.children(recursive=True)))
        except psutil.Error:
            return 0

    def is_silent(self) -> bool:
        """Whether the process has ended, and a child that it left holds its stream, so that nobody says so."""
        if self.process.poll() is None:
            return False
        self.ended = self.ended or time.monotonic()
        return time.monotonic() - self.ended > GRACE_S

    def end(self) -> None:
        """Ends the process and all below it, at once."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        if hasattr(os, "killpg"):  # children whose parent has ended are known by their group alone
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A signal that came while it was asked whether it lives may have left its lock held: without a limit this
            # would wait for ever.
            self.process.wait(GRACE_S)
        for stream in (self.process.stdin, self.said):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def how_it_ended(self) -> str:
        """Exit code or signal, or that it has not ended and only says what no worker does; its last printed line."""
        try:
            code = self.process.wait(GRACE_S)
            what = f"its process was ended by signal {-code}" if code < 0 else f"it ended its process, exit code {code}"
        except subprocess.TimeoutExpired:
            what = "its process runs and no longer answers as a worker does"
        self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, self.said.tell() - 4096))
        lines = self.said.read().decode("utf-8", "replace").strip().splitlines()
        return f"{what}{f'; its last words: {neutral(lines[-1])}' if lines else ''}"


@dataclass(frozen=True, slots=True)
class Beyond:
    """A limit that a worker has passed, and what its cell's row says of it."""

    status: CellStatus
    why: str


class Processes:
    """The executor; see `Executor`.

    Args:
        job: what every worker loads.
        jobs: worker processes.
        limits: of each of them.
        devices: one for each of them, in place of the job's.
    """

    def __init__(self, job: Job, jobs: int, limits: Limits, devices: Sequence[str] = ()) -> None:
        free = int(SHARE_OF_FREE * psutil.virtual_memory().available / jobs)
        self._job, self._jobs, self._limits = job, jobs, limits
        self._memory = limits.memory if limits.memory is not None else free
        self._inbox: Queue[Event] = Queue(MOST_UNREAD)
        self._loaded: Any = None
        each = cycle(devices or (job.device,))
        self._workers = [
            Worker.start(job.model_copy(update={"device": device}), self._inbox) for device in islice(each, jobs)
        ]

    def describe(self) -> Described:
        """See `Executor`.

        Raises:
            LoadError: also where the target ends the process that loads it, or passes a limit there.
        """
        first = self._workers[0]
        first.tell("describe")
        while True:
            for worker, kind, payload in self._events():
                answer = self._loading(worker, kind, payload)
                if isinstance(answer, Described) and worker is first:
                    return self._planned_once(answer)
            for worker in self._workers:
                if (worker is first or not worker.loaded) and (beyond := self._beyond(worker)):
                    raise LoadError(f"{self._name} was not loaded: {beyond.why}.")

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        """See `Executor`."""
        waiting = list(cells)
        if not waiting:
            return
        while len(self._workers) > min(self._jobs, len(waiting)):
            self._workers.pop().end()
        while len(self._workers) < min(self._jobs, len(waiting)):
            self._workers.append(Worker.start(self._job, self._inbox))
        while waiting or any(worker.cell for worker in self._workers):
            for worker in self._workers:
                if worker.loaded and worker.cell is None and (cell := _dealt(worker, self._workers, waiting)):
                    worker.begin(cell)
                    observer.started(cell)
            for worker, kind, payload in self._events():
                if worker in self._workers:  # else it was ended, and these are words from before
                    yield from self._answered(worker, kind, payload, observer, record)
            for worker in list(self._workers):
                if (worker.cell or not worker.loaded) and (beyond := self._beyond(worker)):
                    yield from self._replaced(worker, beyond)

    def close(self) -> None:
        """See `Executor`."""
        while self._workers:
            self._workers.pop().end()

    def _planned_once(self, found: Described) -> Described:
        """The description; refused where the model's code has made something else of the plan."""
        keys = [cell.key for cell in found.cells]
        if len(set(keys)) < len(keys):
            raise LoadError(
                f"{self._name} was not loaded: two cells of its plan have one key, so that its code must have changed "
                "what the program is made of. Take that out."
            )
        return found

    @property
    def _name(self) -> str:
        return Path(self._job.path).name

    def _events(self) -> Iterator[Event]:
        """What has been said since; waits a moment for the first of it."""
        with contextlib.suppress(Empty):
            yield self._inbox.get(timeout=LOOK_S)
            for _ in range(self._inbox.qsize()):  # no more: one that never stops talking has its limits, too
                yield self._inbox.get_nowait()

    def _answered(
        self, worker: Worker, kind: str, payload: bytes, observer: Observer, record: Record
    ) -> Iterator[Finished]:
        """Deals with one answer while cells are carried out; gives the cell that it ends, if any."""
        cell = worker.cell
        if not worker.loaded:
            self._loading(worker, kind, payload)
        elif cell is not None and kind == "finished":
            finished = _checked(payload, cell)
            worker.cell = None
            yield finished
        elif cell is not None and kind in ("tick", "trace", "note") and (answer := _heard(kind, payload)) is not None:
            if kind == "tick":
                fraction, note = answer
                observer.tick(fraction, note, cell=cell)
            elif kind == "trace":
                record.trace(cell, answer)
            else:
                LOG.warning("%s", answer)
        else:
            yield from self._replaced(worker, Beyond("error", worker.how_it_ended()))

    def _loading(self, worker: Worker, kind: str, payload: bytes) -> Any:
        """What a worker says before it has a cell.

        Raises:
            AuditorError: what kept it from loading the target.
        """
        answer = _heard(kind, payload)
        if answer is None:
            raise LoadError(f"{self._name} was not loaded: {worker.how_it_ended()}.")
        if kind == "note" and worker is self._workers[0]:  # the others say the same
            LOG.warning("%s", answer)
        elif kind == "loaded":
            if self._loaded is not None and not _is_same(self._loaded, answer):
                raise LoadError(
                    f"{self._name} is another model each time that it is loaded, so that no run of it can be repeated. "
                    "Seed what its factory draws, or load its weights from a file."
                )
            self._loaded, worker.loaded, worker.since = answer, True, time.monotonic()
        elif kind == "failed":
            raise _as_raised(*answer)
        return answer

    def _beyond(self, worker: Worker) -> Beyond | None:
        """The limit that a worker has passed."""
        if worker.is_silent():
            return Beyond("error", worker.how_it_ended())
        most, took = self._limits.seconds_for(worker.cell), time.monotonic() - worker.since
        if took > most:
            return Beyond("timeout", f"it took longer than {_brief(most, 0)} s (--cell-timeout)")
        if worker.memory() > self._memory:
            return Beyond("error", f"it needed more than {_brief(self._memory / 2**30, 1)} GB (--max-memory)")
        return None

    def _replaced(self, worker: Worker, beyond: Beyond) -> Iterator[Finished]:
        """Ends a worker and starts another in its place; the row of its cell, if it has one, says why."""
        worker.end()
        self._workers[self._workers.index(worker)] = Worker.start(worker.job, self._inbox)
        if not worker.loaded:
            raise LoadError(f"{self._name} was not loaded: {beyond.why}.")
        if worker.cell is None:
            return
        yield Finished(
            row_of(worker.cell, beyond.status, beyond.why).model_copy(
                update={"seconds": time.monotonic() - worker.since}
            )
        )


def _dealt(worker: Worker, workers: Sequence[Worker], waiting: list[PlannedCell]) -> PlannedCell | None:
    """Takes the next cell for a worker out of those that wait; None where all of them are for others.

    One of a group that it has begun; else one of the largest group that nobody has; else of the largest group that may
    be carried out in several processes. Of these, one of a seed that it has begun; else of one that nobody has: twins
    and draws are those of a seed.
    """
    sizes: dict[Group, float] = {}
    for cell in waiting:
        sizes[group_of(cell)] = sizes.get(group_of(cell), 0.0) + cell.estimate_s
    theirs = set().union(*(other.groups for other in workers if other is not worker))
    own, others = ({group for group, _ in begun} for begun in (worker.groups, theirs))
    split = {group_of(cell) for cell in waiting if not is_whole(cell)}
    choice = (own & sizes.keys()) or (sizes.keys() - others) or split
    if not choice:
        return None
    group = max(choice, key=sizes.__getitem__)

    def rank(cell: PlannedCell) -> int:
        mine = group, cell.seed
        return 0 if mine in worker.groups else 1 if mine not in theirs else 2

    cell = min((cell for cell in waiting if group_of(cell) == group), key=rank)
    worker.groups.add((group, cell.seed))
    waiting.remove(cell)
    return cell


def _checked(payload: bytes, cell: PlannedCell) -> Finished:
    """The finished cell in an answer; an error's row where user code has made something else of it."""
    try:
        finished = from_line(payload)
    except ValueError as error:
        return Finished(row_of(cell, "error", f"the process gave {error}"))
    own, row = row_of(cell, "ok", ""), finished.row
    if (row.key, row.probe, row.arm, row.seed) != (own.key, own.probe, own.arm, own.seed):
        return Finished(row_of(cell, "error", "the process answered for another cell"))
    return finished


def _heard(kind: str, payload: bytes) -> Any:
    """What an answer says; None for what no worker says: user code may write into any stream that is open."""
    try:
        return ANSWERS[kind].validate_json(payload)
    except (KeyError, ValueError):
        return None


def _as_raised(kind: str, text: str, told: str) -> Exception:
    """The error of a worker as it would have been raised here."""
    known = getattr(errors, kind, None) if kind else None
    if isinstance(known, type) and issubclass(known, AuditorError):
        return known(text)
    error = RuntimeError(text)
    error.add_note(told)
    return error


def _is_same(one: Any, other: Any) -> bool:
    """Whether two processes have loaded one model: equal plans, and outputs that agree as far as arithmetic does."""
    (cells, outputs), (other_cells, other_outputs) = one, other
    if cells != other_cells or (outputs is None) != (other_outputs is None):
        return False
    return outputs is None or np.allclose(outputs, other_outputs, rtol=1e-3, equal_nan=True)


def _brief(number: float, digits: int) -> str:
    """A limit as it is told: with so many digits, and no smaller one as 0."""
    return f"{number:,.{digits}f}" if number >= 10.0**-digits else f"{number:.1g}"


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def environment_of_workers(threads: int) -> dict[str, str]:
    """Of a worker: torch's threads as asked for, this installation before any other, and freed memory kept."""
    ours = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    count = str(threads)
    return {
        **KEEP_FREED,
        **os.environ,
        "PYTHONPATH": ours if not path else f"{ours}{os.pathsep}{path}",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }
