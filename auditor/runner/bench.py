"""A loaded target with its plan, and its cells carried out one after another in this process."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from auditor.compare.arms import fit_defended, make_defense
from auditor.compare.checks import origin_rows
from auditor.document import NONE, RECIPE
from auditor.document.audit import CellStatus
from auditor.errors import AuditorError, CapabilityError, SkippedError, UsageError
from auditor.runner.describe import check_validity, environment, target_row
from auditor.runner.execute import OURS_OR_THEIRS, Survived, Tick, Trace, TrainedCache, run_cell
from auditor.runner.finished import Finished, row_of, said_of, unmade
from auditor.runner.job import Job
from auditor.runner.observer import Observer
from auditor.runner.plan import FIT, GAIN, PlannedCell, choose_probes, on_model, plan_compare, plan_run
from auditor.runner.record import Described, Record
from auditor.runner.scoring import ground_of, scores_of
from auditor.side_knowledge import SideKnowledge
from auditor.targets.explanations import explanations
from auditor.targets.tag import Made
from auditor.targets.target import Target


class OneByOne(ABC):
    """The executor of a process: that of a worker, or the caller's own where a live model was given."""

    __slots__ = ()

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        """See `Executor`."""
        for cell in cells:
            observer.started(cell)
            yield self.run_one(cell, partial(observer.tick, cell=cell), record.trace)

    @abstractmethod
    def run_one(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Finished:
        """One cell."""

    def close(self) -> None:  # noqa: B027  there is nothing for anybody to add
        """Nothing runs when no cell does."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench(OneByOne):
    """Carries out the cells of a run or a comparison.

    Attributes:
        group: named column that defences are told of, int64 [items].
        survives: what user code may raise without ending the process.
    """

    target: Target
    cells: tuple[PlannedCell, ...]
    side: SideKnowledge
    group: Tensor | None = None
    survives: Survived = OURS_OR_THEIRS
    models: TrainedCache = field(default_factory=TrainedCache)
    _made: dict[tuple[str, int], Target | Unmade] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target, job: Job, group: Tensor | None = None) -> Bench:
        """A target that is loaded already; of the job, what is asked of it counts."""
        requests = choose_probes(only=job.only, skip=job.skip, family=job.family, profile=job.profile)
        side = SideKnowledge(**job.side)
        if side.explanations_file:  # a file that does not fit ends the run before it begins
            explanations(target, side)
        how: dict[str, Any] = {"seeds": job.seeds, "profile": job.profile, "side": side}
        if job.arms:
            cells = plan_compare(target, job.arms, requests, group=job.group or "", **how)
        else:
            how |= {"exposed": job.exposed, "save_flips": job.save_flips}
            cells = plan_run(target, requests, trainings=job.training_seeds, **how)
        return cls(target, cells, side, group)

    def describe(self) -> Described:
        """See `Executor`."""
        target, compares = self.target, any(cell.spec == GAIN for cell in self.cells)
        validity = check_validity(target, (cell.id for cell in self.cells if cell.is_probe))
        return Described(
            target=target_row(target),
            validity=(*validity, *origin_rows(target)) if compares else validity,
            cells=self.cells,
            environment=environment(target.device),
            ground=ground_of(target) if compares else None,
        )

    def outputs(self) -> tuple[float, float] | None:
        """See `outputs_of`."""
        return outputs_of(self.target)

    def run_one(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Finished:
        """One cell, on the model that it is about."""
        return replace(self._run_one(cell, tick, trace), models=self.models.used_files())

    def _run_one(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Finished:
        start = time.perf_counter()
        made = self._model_of(cell, tick, trace)
        if isinstance(made, Unmade):
            why = made.why if cell.spec == FIT else unmade(cell.arm, made.why)
            return Finished(row_of(cell, made.status, why), misfit=made.misfit)
        if cell.is_probe:
            how = {"side": self.side, "models": self.models, "survives": self.survives}
            as_is = cell if made is self.target or cell.arm == RECIPE else on_model(cell, made)
            return run_cell(made, as_is, tick=tick, trace=trace, **how)  # type: ignore[arg-type]
        try:
            scores = scores_of(made, cell.flips) if cell.spec == GAIN else None
        except self.survives as error:
            trace(cell, traceback.format_exc())
            return Finished(row_of(cell, "error", said_of(error)))
        row = row_of(cell, "ok", "").model_copy(update={"seconds": time.perf_counter() - start})
        return Finished(row, made=Made(made.digest, made.defense), scores=scores)

    def _model_of(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Target | Unmade:
        """The target, or the model that a defence or its recipe makes of it from the cell's seed; made once."""
        if cell.arm == NONE:
            return self.target
        key = (cell.arm, cell.seed)
        if key not in self._made:
            try:
                self._made[key] = self._anew(cell.seed) if cell.arm == RECIPE else self._fitted(cell, tick)
            except (SkippedError, CapabilityError) as reason:
                self._made[key] = Unmade("error" if cell.arm == RECIPE else "skipped", said_of(reason))
            except self.survives as error:  # one training's crash leaves the others standing
                if not isinstance(error, AuditorError):
                    trace(cell, traceback.format_exc())
                self._made[key] = Unmade("error", said_of(error), misfit=isinstance(error, UsageError))
        return self._made[key]

    def _anew(self, seed: int) -> Target:
        """What is known of the target, such as the accuracy it is claimed to have, is not known of another training."""
        return replace(self.models.twin(self.target, self.target.private_graph, seed), claimed_accuracy=None)

    def _fitted(self, cell: PlannedCell, tick: Tick) -> Target:
        how = {"seed": cell.seed, "models": self.models, "group": self.group, "tick": tick}
        return fit_defended(self.target, make_defense(cell.arm), **how)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Unmade:
    """Why there is no model; `misfit`: a parameter does not fit the target."""

    status: CellStatus
    why: str
    misfit: bool = False


def outputs_of(target: Target) -> tuple[float, float] | None:
    """Mean and mean square of the logits: equal in every process that has loaded the same model.

    None for a model that does not answer twice the same: its checks say that.
    """
    graph = target.graph
    with torch.no_grad():
        again = target.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    first = target.clean_logits()
    if not torch.allclose(first, again, equal_nan=True):
        return None
    return float(first.double().mean()), float(first.double().square().mean())
