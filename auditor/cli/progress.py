"""Shows a run on stderr: a live bar on a terminal, one line per finished cell elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from auditor.api.progress import LineObserver
from auditor.cli.console import stderr
from auditor.document import CellRow
from auditor.printable import ERROR_LIMIT, neutral
from auditor.runner.execute import Observer
from auditor.runner.plan import PlannedCell


class BarObserver:
    """A live bar: cells done, the running probe, time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("loading the target", total=None, cells="")
        self._name = ""
        self._done = 0.0
        self._weights: list[float] = []
        self._index = 0

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """Weighs each cell by its estimate, so that time left means something."""
        self._weights = [max(cell.estimate_s, 0.5) for cell in cells]
        self._progress.update(self._task, description="starting", total=sum(self._weights), cells=f"0/{len(cells)}")

    def started(self, cell: PlannedCell) -> None:
        """Names the running probe."""
        self._name = f"{cell.request.entry.id} seed {cell.seed}"
        self._update(self._name)

    def tick(self, fraction: float | None, note: str) -> None:
        """Moves inside the running cell."""
        ahead = self._weights[self._index] * min(max(fraction or 0.0, 0.0), 1.0)
        self._update(f"{self._name}: {note}" if note else self._name, ahead)

    def finished(self, row: CellRow) -> None:
        """Moves to the next cell."""
        self._done += self._weights[self._index]
        self._index += 1
        self._update(f"{self._name}: {row.status}")

    def _update(self, description: str, ahead: float = 0.0) -> None:
        cells = f"{self._index}/{len(self._weights)}"
        self._progress.update(self._task, description=description[:48], completed=self._done + ahead, cells=cells)


@contextmanager
def observe(*, plain: bool = False) -> Iterator[Observer]:
    """The observer that suits stderr; `plain` asks for lines on a terminal too."""
    console = stderr()
    if plain or not console.is_terminal:
        yield LineObserver(lambda line: console.print(neutral(line, ERROR_LIMIT), markup=False))
        return
    columns = (
        TextColumn("{task.description:<48}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[cells]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=8) as progress:
        yield BarObserver(progress)
