"""The executor of a claim: what is known before anything runs, and each repeat of the mechanism as a cell."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from auditor.compare.arms import make_defense
from auditor.document import CellRow, TargetRow
from auditor.errors import CapabilityError, SkippedError, UsageError
from auditor.evaluate.dp_claim.harness import FAMILY, Answer, answered, judged_before, pending, run
from auditor.evaluate.dp_claim.plan import PROBE
from auditor.evaluate.dp_claim.power import Power
from auditor.evaluate.dp_claim.question import Question
from auditor.evaluate.dp_claim.runs import Cost, SubjectRuns
from auditor.evaluate.dp_claim.verdict import Verdict
from auditor.registry import Profile
from auditor.runner.asked import Asked
from auditor.runner.bench import OneByOne, outputs_of
from auditor.runner.claiming import Refused, ask_defense, ask_function
from auditor.runner.describe import environment, target_row
from auditor.runner.execute import OURS_OR_THEIRS, Survived, Tick, Trace, TrainedCache
from auditor.runner.finished import Finished, row_of, said_of
from auditor.runner.job import Job
from auditor.runner.plan import CLAIM, STEP_S, PlannedCell
from auditor.runner.record import Claimed, Described
from auditor.targets.device import CPU
from auditor.targets.target import Target


@dataclass(frozen=True, eq=False)
class ClaimBench(OneByOne):
    """Carries out the repeats of one question.

    Attributes:
        question: what is asked; of a defence that does not apply, the row that says why.
        row: of the target, or of what stands in its place.
        target: that was loaded, if one was.
        survives: what user code may raise without ending the process.
    """

    question: Question | CellRow
    row: TargetRow
    target: Target | None = None
    profile: Profile = "standard"
    survives: Survived = OURS_OR_THEIRS

    @classmethod
    def about(cls, target: Target, job: Job) -> ClaimBench:
        """A target that is loaded; of the job, what is asked of it counts.

        Raises:
            ConfigError: the claim cannot be audited on it.
        """
        assert job.asked is not None
        target.need_split()
        question: Question | Refused
        if job.train:
            question = ask_function(target, job.train, job.asked, folder=Path(job.folder), tick=_nothing)
        else:
            defense = make_defense(job.defense)
            question = ask_defense(target, defense, job.asked, models=TrainedCache(), tick=_nothing)
        said = _refused(job.asked, job.defense, question, target) if isinstance(question, Refused) else question
        return cls(said, target_row(target), target, job.profile)

    @cached_property
    def cells(self) -> tuple[PlannedCell, ...]:
        """One a repeat."""
        question = self.question
        if isinstance(question, CellRow):
            return (self._cell(question.key, question.seed, question.arm),)
        seconds = _seconds(question, self._cost)
        return tuple(self._cell(question.key(seed), seed, question.defense, seconds) for seed in question.seeds)

    def describe(self) -> Described:
        """See `Executor`."""
        if isinstance(self.question, CellRow):
            said = (Finished(self.question),)
            claim = Claimed(pending=said, answered=said, refused=True)
        else:
            claim = _claimed(self.question, *self._before, self._cost)
        return Described(
            target=self.row, validity=(), cells=self.cells, environment=environment(self._device), claim=claim
        )

    @property
    def _device(self) -> str:
        return CPU if self.target is None else self.target.device

    def outputs(self) -> tuple[float, float] | None:
        """See `outputs_of`."""
        return None if self.target is None else outputs_of(self.target)

    def run_one(self, cell: PlannedCell, tick: Tick, trace: Trace) -> Finished:
        """The repeat with that seed."""
        question = self.question
        assert isinstance(question, Question)
        runs = question.runs
        asked = replace(question, runs=replace(runs, tick=tick)) if isinstance(runs, SubjectRuns) else question
        try:
            (done,) = _finished(question, [run(asked, self._before[1], cell.seed)])
        except (SkippedError, CapabilityError) as reason:
            return Finished(row_of(cell, "skipped", said_of(reason)))
        except self.survives as error:
            trace(cell, traceback.format_exc())
            return Finished(row_of(cell, "error", said_of(error)), misfit=isinstance(error, UsageError))
        return done

    @cached_property
    def _before(self) -> tuple[Verdict | None, Power | None]:
        assert isinstance(self.question, Question)
        return judged_before(self.question)

    @cached_property
    def _cost(self) -> Cost | None:
        """What the runs will take, which times a pass of the model; None where nothing is run."""
        question = self.question
        if isinstance(question, CellRow) or question.plan is None or question.runs is None or self._before[0]:
            return None
        return question.runs.cost(question.plan)

    def _cell(self, key: str, seed: int, arm: str, seconds: float = 0.0) -> PlannedCell:
        return PlannedCell(spec=CLAIM, seed=seed, profile=self.profile, key=key, arm=arm, named=True, step_s=seconds)


def _claimed(question: Question, found: Verdict | None, power: Power | None, cost: Cost | None) -> Claimed:
    return Claimed(
        pending=_finished(question, pending(question, power, "pre-registered; not run yet")),
        answered=() if found is None else _finished(question, answered(question, found, power)),
        registered=question.plan is not None,
        refuted=found is not None and found.word == "VIOLATED",
        possible=power is not None and power.possible,
        runs=None if cost is None else cost.runs,
        seconds=None if cost is None else cost.seconds,
    )


def _seconds(question: Question, cost: Cost | None) -> float:
    """Of one cell, roughly."""
    if cost is None:
        return 0.0
    return (STEP_S * cost.runs if cost.seconds is None else cost.seconds) / len(question.seeds)


def _finished(question: Question, answers: Iterable[Answer]) -> tuple[Finished, ...]:
    is_fixed = question.plan is None  # arithmetic alone draws nothing
    return tuple(Finished(each.row, question.access, each.measured, fixed=is_fixed) for each in answers)


def _refused(asked: Asked, spec: str, refused: Refused, target: Target) -> CellRow:
    """One skipped cell with the reason."""
    return CellRow(
        key=hashlib.sha256("\0".join((PROBE, target.digest, spec, asked.claim)).encode()).hexdigest(),
        probe=PROBE,
        family=FAMILY,
        arm=spec,
        seed=asked.seed,
        status="skipped",
        reason=refused.reason,
    )


def _nothing(_fraction: float | None, _note: str) -> None:
    """Nobody watches while it is found out what is asked."""
