"""What is run once the plan is fixed: a mechanism, or nothing where scores exist already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from auditor.evaluate.dp_claim.plan import Plan
from auditor.evaluate.dp_claim.subject import Observation, Subject, observe
from auditor.evaluate.dp_claim.testing import Audited, multi_run, one_run


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan will take.

    Attributes:
        runs: of the mechanism, those with less noise included.
        seconds: for all of them, roughly; None where nobody can know.
    """

    runs: int
    seconds: float | None = None


class Runs(Protocol):
    """What is run once the plan is fixed."""

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """The run and its reach twin, None where there is none."""
        ...

    def cost(self, plan: Plan) -> Cost:
        """What the plan will take; nothing of it is run."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SubjectRuns:
    """Runs a subject: once with all canaries, or many times with one."""

    subject: Subject
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """See `Runs`."""
        self.tick(0.0, "running the mechanism")
        run = self._at(plan, seed, 1.0)
        if self.subject.twin_scale is None:
            return run, None
        self.tick(0.5, "running its reach twin")
        return run, self._at(plan, seed, self.subject.twin_scale)

    def cost(self, plan: Plan) -> Cost:
        """See `Runs`."""
        runs = plan.runs * (2 if plan.mode == "multi-run" else 1) * (1 if self.subject.twin_scale is None else 2)
        seconds = self.subject.seconds()
        return Cost(runs, None if seconds is None else runs * seconds)

    def _at(self, plan: Plan, seed: int, scale: float) -> Audited:
        if plan.mode == "one-run":
            return one_run(observe(self.subject, seed, scale), plan, seed)

        def score(included: bool, own_seed: int) -> float:
            return float(self.subject.scores(np.array([included]), own_seed, scale)[0])

        return multi_run(score, plan)


@dataclass(frozen=True, slots=True, eq=False)
class GivenScores:
    """Scores that exist already."""

    run: Observation
    twin: Observation | None

    def audited(self, plan: Plan, seed: int) -> tuple[Audited, Audited | None]:
        """See `Runs`."""
        return one_run(self.run, plan, seed), None if self.twin is None else one_run(self.twin, plan, seed)

    def cost(self, plan: Plan) -> Cost:
        """See `Runs`: nothing is trained."""
        return Cost(0)

    def digest(self) -> str:
        """Sha256 over bits and scores, the twin's too."""
        parts = [self.run] if self.twin is None else [self.run, self.twin]
        sha = hashlib.sha256()
        for part in parts:
            for array in (part.included, part.scores):
                sha.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
        return sha.hexdigest()
