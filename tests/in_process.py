"""The executor of workers without their processes: for tests that are about anything but processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from auditor.api.session import LOG, Session
from auditor.runner.execute import OURS_OR_THEIRS
from auditor.runner.finished import Finished, from_line, to_line
from auditor.runner.job import Job
from auditor.runner.loading import loaded
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Record
from auditor.runner.undisturbed import undisturbed


class InProcess:
    """Loads and runs here what a worker would; see `auditor.runner.executor.Executor`."""

    def __init__(self, job: Job) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(undisturbed(job.threads, job.device))
        try:
            self._bench = loaded(job, LOG.warning, survives=OURS_OR_THEIRS)
        except BaseException:
            self._stack.close()
            raise

    def describe(self) -> Described:
        return self._bench.describe()

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        for done in self._bench.run(cells, observer, record):
            yield from_line(to_line(done))  # what a worker says is a line

    def close(self) -> None:
        self._stack.close()


def start(session: Session, job: Job, *, jobs: int | None = None) -> InProcess:
    """Stands in for `Session.workers`."""
    del session, jobs
    return InProcess(job)
