"""The control of every head mode: the same refit of the last layer with equal weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from auditor.defense import DefenseTask
from auditor.parameters import parameters
from auditor.targets.target import Fitted, Target
from defenses.fitting import rebuilt, refit_trained
from defenses.l2r.items import freeze
from defenses.l2r.method import refitted


@parameters
class UniformRefit:
    """Refits the last linear layer by logistic regression, every item weighing the same.

    What this gains over the trained model is the refit's, not the weights': a reweighting that refits the head is
    judged against it.
    """

    id: ClassVar[str] = "uniform-refit"
    version: ClassVar[str] = "1"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return refit_trained(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""
        start = time.perf_counter()
        model, notes, rows = refitted(base, freeze(base), None)
        return Fitted(model, {**notes, "seconds": time.perf_counter() - start}, validity=rows)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=True)

    def controls(self) -> tuple[str, ...]:
        """It is a control itself."""
        return ()
