"""What carries out the cells of a run: in this process, in worker processes, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from auditor.document import NONE, RECIPE
from auditor.registry import parse_spec
from auditor.runner.finished import Finished
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Record

Group = tuple[str, int | None]
"""A family, with its seed where a model of that seed is what it shares; or a defence and its seed."""


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


def group_of(cell: PlannedCell) -> Group:
    """Cells of one group share twins, controls and reference models: they are best carried out in one process.

    The arms of one defence at one seed are one group: one fit may be served in several ways.
    """
    if cell.arm in (NONE, RECIPE):
        return cell.family, cell.seed if cell.arm == RECIPE else None
    return parse_spec(cell.arm)[0], cell.seed


def is_whole(cell: PlannedCell) -> bool:
    """Whether the group is never dealt to two processes: its model would be trained in both."""
    return cell.arm not in (NONE, RECIPE)
