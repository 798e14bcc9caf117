"""One line per finished cell, wherever lines go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from auditor.document import NONE
from auditor.errors import UsageError, shown

if TYPE_CHECKING:
    from auditor.document import CellRow
    from auditor.runner.observer import Observer
    from auditor.runner.plan import PlannedCell

WATCHES = ("planned", "started", "tick", "finished")


class LineObserver:
    """Says `[3/12] graphmi seed 0: ok, 4.1 s` when a cell is done."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._total = self._done = 0

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """Remembers how many there are."""
        self._total = len(cells)

    def started(self, cell: PlannedCell) -> None:
        """Nothing: a line when it is done is enough."""

    def tick(self, fraction: float | None, note: str, cell: PlannedCell | None = None) -> None:
        """Nothing, likewise."""

    def finished(self, row: CellRow) -> None:
        """The line."""
        self._done += 1
        tail = f"{row.seconds:.1f} s" if row.status == "ok" else row.reason
        place = row.probe if row.arm == NONE else f"{row.probe} ({row.arm})"
        self._say(f"[{self._done}/{self._total}] {place} seed {row.seed}: {row.status}, {tail}")


def observer_of(progress: Observer | Literal["auto"] | None, say: Callable[[str], object]) -> Observer:
    """Who watches: lines for `auto`, nobody for None, else the caller's own observer.

    Raises:
        UsageError: it lacks a method of an Observer.
    """
    if progress is None or progress == "auto":
        return LineObserver(_nothing if progress is None else say)
    if missing := [name for name in WATCHES if not callable(getattr(progress, name, None))]:
        raise UsageError(
            f'progress is {shown(progress)}, without {", ".join(missing)}; expected "auto", None for no progress, or '
            f"an object with the methods {', '.join(WATCHES)}."
        )
    return progress


def _nothing(_line: str) -> None:
    """Says nothing."""
