"""What carries out the cells of a run: in this process, in worker processes, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from auditor.document import RECIPE
from auditor.runner.finished import Finished
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Record


class Executor(Protocol):
    """Loads a target, says what is to be done with it, does it."""

    def describe(self) -> Described:
        """The target, its checks and the plan.

        Raises:
            UsageError: the request or the data are wrong.
            TargetError: the target was refused or cannot be loaded.
        """
        ...

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        """Those cells as they finish, in any order; the record gets the tracebacks of those that break off."""
        ...

    def close(self) -> None:
        """Ends whatever still runs."""
        ...


def group_of(cell: PlannedCell) -> tuple[str, int | None]:
    """Cells of one group share twins, controls and reference models: they are best carried out in one process."""
    return cell.entry.family, cell.seed if cell.arm == RECIPE else None
