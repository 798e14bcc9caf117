"""What watches a run. The core knows no progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from auditor.document import CellRow
from auditor.runner.plan import PlannedCell


class Observer(Protocol):
    """Watches a run. Several cells may be under way at once, each in a process of its own."""

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """The plan, before the first cell."""

    def started(self, cell: PlannedCell) -> None:
        """One cell begins."""

    def tick(self, fraction: float | None, note: str, cell: PlannedCell | None = None) -> None:
        """That cell is so far; None where a defence is fitted or something else is made that belongs to no cell."""

    def finished(self, row: CellRow) -> None:
        """One cell is done, whatever its status."""
