"""The second control of a reweighting: random weights with the same effective sample size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import ClassVar, Self

from pydantic import model_validator
from torch import Tensor

from auditor.defense import DefenseTask
from auditor.parameters import parameters
from auditor.statistics.draws import torch_generator
from auditor.targets.target import Fitted, Target
from defenses.fitting import rebuilt, refit_trained, train_afresh
from defenses.l2r.diagnostics import weight_notes
from defenses.l2r.items import freeze
from defenses.l2r.method import L2R, refitted
from defenses.l2r.settings import Reweighting
from defenses.l2r.training import FixedWeights, train_weighted
from defenses.l2r.weights import effective_share, random_weights


@parameters
class RandomWeights(Reweighting):
    """Log-normal weights inside each class, scaled to the ESS of its twin: variance inflation and nothing else.

    The parameters are those of the twin, the `l2r` that it is the control of.
    """

    id: ClassVar[str] = "random-weights"

    @model_validator(mode="after")
    def _unequal(self) -> Self:
        if self.mode == "erm":
            raise ValueError("mode=erm has equal weights: expected head, all, l2r or l2r-bi")
        return self

    @property
    def twin(self) -> L2R:
        """The reweighting that this is the control of."""
        return L2R(**{f.name: getattr(self, f.name) for f in fields(self)})

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return refit_trained(self, target, task) if self.mode == "head" else train_afresh(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`; an end-to-end twin's fit comes from the cache of trained models."""
        start = time.perf_counter()
        rng = torch_generator(task.seed, "random-weights", "weights")
        if self.mode == "head":
            frozen = freeze(base)
            learned, _ = self.twin.head_weights(frozen, task.seed)
            w = random_weights(frozen.y, effective_share(learned), rng)
            model, notes, rows = refitted(base, frozen, w)
            own = weight_notes(w, frozen.y, None if task.group is None else task.group[frozen.items])
        else:
            tag = self.twin.fit(base, task).defense
            y = base.graph.y[base.split.train]
            w = random_weights(y, float(tag.notes["ess"]) if tag is not None else 1.0, rng)
            model, _ = train_weighted(base, FixedWeights(w, from_start=False), seed=task.seed, tick=task.tick)
            notes, rows, own = {}, (), weight_notes(w, y, None if task.group is None else task.group[base.split.train])
        return Fitted(model, {**notes, **own, "seconds": time.perf_counter() - start}, validity=rows)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=self.mode == "head")

    def controls(self) -> tuple[str, ...]:
        """It is a control itself."""
        return ()
