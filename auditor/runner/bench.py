"""A loaded target with its plan, and its cells carried out one after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from auditor.compare.arms import load_any
from auditor.data.sources import resolve_root
from auditor.document import RECIPE
from auditor.runner.describe import check_validity, environment, target_row
from auditor.runner.execute import OURS_OR_THEIRS, Survived, Tick, Trace, TrainedCache, run_cell
from auditor.runner.finished import Finished, row_of, said_of
from auditor.runner.job import Job
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell, choose_probes, plan_run
from auditor.runner.record import Described, Record
from auditor.side_knowledge import SideKnowledge
from auditor.targets.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The executor of a process: that of a worker, or the caller's own where a live model was given.

    Attributes:
        survives: what user code may raise without ending the process.
    """

    target: Target
    cells: tuple[PlannedCell, ...]
    side: SideKnowledge
    survives: Survived = OURS_OR_THEIRS
    models: TrainedCache = field(default_factory=TrainedCache)
    _anew: dict[int, Target | str] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target, job: Job) -> Bench:
        """A target that is loaded already; of the job, what is asked of it counts."""
        requests = choose_probes(only=job.only, skip=job.skip, family=job.family, profile=job.profile)
        side = SideKnowledge(**job.side)
        how = {"seeds": job.seeds, "profile": job.profile, "side": side, "trainings": job.training_seeds}
        return cls(target, plan_run(target, requests, **how), side)  # type: ignore[arg-type]

    @classmethod
    def load(cls, job: Job, notify: Callable[[str], object]) -> Bench:
        """The target of the job, loaded in a process of its own, which whatever user code raises must not end.

        Raises:
            UsageError, TargetError: as `load_target` does.
        """
        target = load_any(
            Path(job.path),
            models=TrainedCache(),
            data_root=resolve_root(job.data_root),
            data=job.data,
            split=job.split,
            trust_pickle=job.trust_pickle,
            notify=notify,
        )
        return replace(cls.of(target.on(job.device), job), survives=BaseException)

    def describe(self) -> Described:
        """See `Executor`."""
        return Described(
            target=target_row(self.target),
            validity=check_validity(self.target, (cell.entry.id for cell in self.cells)),
            cells=self.cells,
            environment=environment(self.target.device),
        )

    def outputs(self) -> tuple[float, float] | None:
        """Mean and mean square of the logits: equal in every process that has loaded the same model.

        None for a model that does not answer twice the same: its checks say that.
        """
        target, graph = self.target, self.target.graph
        with torch.no_grad():
            again = target.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        first = target.clean_logits()
        if not torch.allclose(first, again, equal_nan=True):
            return None
        return float(first.double().mean()), float(first.double().square().mean())

    def run(self, cells: Sequence[PlannedCell], observer: Observer, record: Record) -> Iterator[Finished]:
        """See `Executor`."""
        for cell in cells:
            observer.started(cell)
            yield self.run_one(cell, partial(observer.tick, cell=cell), record.trace)

    def run_one(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Finished:
        """One cell, on the target or on the training anew that it is about."""
        model = self._anew_of(cell.seed) if cell.arm == RECIPE else self.target
        if isinstance(model, str):
            return Finished(row_of(cell, "error", f"the recipe was not trained anew: {model}"))
        how = {"side": self.side, "models": self.models, "survives": self.survives}
        return run_cell(model, cell, tick=tick, trace=trace, **how)  # type: ignore[arg-type]

    def close(self) -> None:
        """Nothing runs when no cell does."""

    def _anew_of(self, seed: int) -> Target | str:
        """The model that the target's recipe trains from `seed`, or why there is none.

        What is known of the target, such as the accuracy that it is claimed to have, is not known of another training.
        """
        if seed not in self._anew:
            try:
                twin = self.models.twin(self.target, self.target.private_graph, seed)
                self._anew[seed] = replace(twin, claimed_accuracy=None)
            except self.survives as error:  # one training's crash leaves the target's own numbers standing
                self._anew[seed] = said_of(error)
        return self._anew[seed]
