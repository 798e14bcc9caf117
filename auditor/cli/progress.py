"""Shows a run on stderr: a live bar on a terminal, one line per finished cell elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from auditor.api.progress import LineObserver
from auditor.cli.console import stderr
from auditor.document import CellRow
from auditor.printable import ERROR_LIMIT, neutral
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell


class BarObserver:
    """A live bar: cells done, the running probes, time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("loading the target", total=None, cells="")
        self._weights: dict[str, float] = {}
        self._running: dict[str, tuple[str, float]] = {}
        self._done: set[str] = set()

    def planned(self, cells: Sequence[PlannedCell]) -> None:
        """Weighs each cell by its estimate, so that time left means something."""
        self._weights = {cell.key: max(cell.estimate_s, 0.5) for cell in cells}
        self._update(description="starting", total=sum(self._weights.values()))

    def started(self, cell: PlannedCell) -> None:
        """Names a running probe."""
        self._running[cell.key] = (f"{cell.id} seed {cell.seed}", 0.0)
        self._update()

    def tick(self, fraction: float | None, note: str, cell: PlannedCell | None = None) -> None:
        """Moves inside a running cell; shows what is made that belongs to none."""
        if cell is None or cell.key not in self._running:
            self._update(description=note)
            return
        name = f"{cell.id} seed {cell.seed}"
        share = min(max(fraction or 0.0, 0.0), 1.0)
        self._running[cell.key] = (f"{name}: {note}" if note else name, share * self._weights.get(cell.key, 0.0))
        self._update()

    def finished(self, row: CellRow) -> None:
        """One cell more."""
        self._running.pop(row.key, None)
        self._done.add(row.key)
        self._update()

    def _update(self, *, description: str | None = None, total: float | None = None) -> None:
        running = ", ".join(name for name, _ in self._running.values())
        done = sum(self._weights.get(key, 0.0) for key in self._done)
        ahead = sum(weight for _, weight in self._running.values())
        shown = (description or running)[:48]
        cells = f"{len(self._done)}/{len(self._weights)}"
        self._progress.update(self._task, description=shown, completed=done + ahead, cells=cells, total=total)


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
