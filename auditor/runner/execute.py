"""Runs planned cells, each isolated: whatever it raises becomes one row with status `error`.

Randomness derives from the seed and fixed names, so that results depend neither on order nor on what else runs.
"""

from __future__ import annotations

import base64
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from auditor import registry
from auditor.data.graph import Graph
from auditor.document.audit import CellStatus
from auditor.errors import CapabilityError, SkippedError
from auditor.outcomes import FlipSet
from auditor.probe import Cell, CellResult
from auditor.runner import perturbations
from auditor.runner.finished import Finished, row_of, said_of
from auditor.runner.memory import begin_peak, peak_mb
from auditor.runner.observer import Observer
from auditor.runner.plain import Edits, packed
from auditor.runner.plan import PlannedCell, usable_attacks
from auditor.shared import Shared
from auditor.statistics.node_bootstrap import Memo
from auditor.targets.target import Target
from auditor.view import SideKnowledge

if TYPE_CHECKING:
    from auditor.runner.kept_models import KeptModels

Tick = Callable[[float | None, str], None]
Trace = Callable[[PlannedCell, str], object]
Survived = type[BaseException] | tuple[type[BaseException], ...]
OURS_OR_THEIRS: Survived = (Exception, SystemExit, GeneratorExit)
"""What user code may raise without ending the run. In a process of its own that is everything; in the caller's, an
interrupt is the caller's."""


def run_cell(
    target: Target,
    planned: PlannedCell,
    *,
    side: SideKnowledge,
    models: TrainedCache,
    tick: Tick,
    trace: Trace,
    survives: Survived = OURS_OR_THEIRS,
) -> Finished:
    """One cell; `trace` gets the traceback of one that breaks off, `survives` is what becomes its row."""
    row = row_of(planned, "skipped", planned.skip)
    if planned.skip:
        return Finished(row)
    entry, start = planned.entry, time.perf_counter()
    begin_peak()

    def ended(**how: Any) -> Finished:
        return Finished(row.model_copy(update={**how, "seconds": time.perf_counter() - start}))

    models.found_flips()  # those of a cell that broke off are nobody's
    try:
        result = _measured(target, planned, side, models, tick)
        edits, said = perturbations.kept(result.edits, planned)
    except (SkippedError, CapabilityError) as reason:
        return ended(reason=str(reason), lacks=reason.lacks if isinstance(reason, SkippedError) else ())
    except survives as error:
        trace(planned, traceback.format_exc())
        return ended(status="error", reason=said_of(error))
    done = {
        "status": "ok",
        "reason": "",
        "seconds": time.perf_counter() - start,
        "peak_rss_mb": peak_mb(),
        "params": {**planned.params, **result.params, **said},
        "series": result.series,
        "validity": result.validity,
        "exposed": result.exposed,
    }
    fixed = entry.deterministic or result.fixed
    return Finished(
        row.model_copy(update=done),
        result.access,
        result.measured,
        tries=entry.tries,
        fixed=fixed,
        flips=models.found_flips(),
        edits=base64.b64encode(edits).decode(),
    )


class TrainedCache:
    """Twins trained in this run, by target, graph and seed; at most `limit` are kept. And flip sets just found.

    Args:
        limit: twins that are held in memory.
        kept: where they lie on the disk as well; None for nowhere.
    """

    def __init__(self, limit: int = 64, kept: KeptModels | None = None) -> None:
        self._twins: dict[tuple[str, str, int], Target] = {}
        self._flips: list[Edits] = []
        self._limit, self._kept = limit, kept
        self.replicates: Memo = {}
        self.shared = Shared()

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        """See `auditor.defense.TrainedModels`."""
        key = (target.digest, graph.digest(), seed)
        if key not in self._twins:
            while len(self._twins) >= self._limit:
                self._twins.pop(next(iter(self._twins)))
            train = target.retrained if self._kept is None else partial(self._kept.twin, target)
            self._twins[key] = train(graph, seed=seed)
        return self._twins[key]

    def keep_flips(self, target: Target, flips: Sequence[FlipSet]) -> None:
        """See `auditor.defense.TrainedModels`."""
        del target  # that of the cell under way
        self._flips += [
            Edits(budget=each.budget, keys=packed(each.keys.numpy()), claimed_accuracy=each.claimed_accuracy)
            for each in flips
        ]

    def found_flips(self) -> tuple[Edits, ...]:
        """The flip sets since the last call."""
        found, self._flips = tuple(self._flips), []
        return found

    def used_files(self) -> tuple[str, ...]:
        """Names of the kept models that were used since the last call."""
        return () if self._kept is None else self._kept.taken()


def _measured(
    target: Target, planned: PlannedCell, side: SideKnowledge, models: TrainedCache, tick: Tick
) -> CellResult:
    """What the harness of the probe answers; at least one number."""
    entry = planned.entry
    attacks, params = usable_attacks(target, entry, planned.params)
    cell = Cell(
        target=target,
        probe=entry,
        attacks=attacks,
        params=params,
        profile=planned.profile,
        seed=planned.seed,
        side=side,
        models=models,
        tick=tick,
        exposed=planned.exposed,
    )
    result: CellResult = registry.load_location(entry.evaluation)(cell)
    if not result.measured:  # a finished cell holds a number: whoever reads the document relies on that
        raise SkippedError(f"{entry.id} found nothing to measure")
    return result


def not_run(cells: Iterable[PlannedCell], status: CellStatus, reason: str, observer: Observer) -> Iterator[Finished]:
    """Rows of cells whose model could not be made, each with the reason."""
    for cell in cells:
        row = row_of(cell, status, reason)
        yield Finished(row)
        observer.finished(row)
