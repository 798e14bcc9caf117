"""What the defences that train on noisy gradient sums share: they promise for a schedule, and serve what it trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from auditor.defense import DefenseTask
from auditor.errors import CapabilityError
from auditor.guarantee import Guarantee, Level
from auditor.targets.target import Fitted, Target
from defenses.dp.edge_free import edge_free, without_edge_gradient
from defenses.fitting import rebuilt, train_afresh


class NoisySteps(ABC):
    """Base of `dp-graph` and `dp-node`, both classes of `parameters`; see there."""

    __slots__ = ()

    id: ClassVar[str]
    version: ClassVar[str] = "1"
    level: ClassVar[Level]
    releases: ClassVar[tuple[str, ...]] = ("mechanism", "posteriors")

    @property
    @abstractmethod
    def is_edge_free(self) -> bool:
        """Whether this is the control without edges."""

    @abstractmethod
    def check_applies(self, target: Target) -> None:
        """Raises SkippedError where this target cannot be trained so, or the claim asked for would be false."""

    @abstractmethod
    def promise(self, target: Target, task: DefenseTask) -> Guarantee:
        """The Guarantee of a training on this target."""

    @abstractmethod
    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""

    @abstractmethod
    def controls(self) -> tuple[str, ...]:
        """See `auditor.defense.Defense`."""

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        self.check_applies(target)
        return self._served(train_afresh(self, target, task))

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `auditor.mechanism.PrivateDefense`."""
        self.check_applies(target)
        return self.promise(target, task)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`: the target's own architecture with the trained weights."""
        target = rebuilt(self, base, tensors, task, head=False)
        if self.is_edge_free:
            target = replace(target, model=edge_free(target.model))
        return self._served(target)

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: no graph is released.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            f'{self.id} releases no graph; access "released" was asked for, expected one of {", ".join(self.releases)}.'
        )

    def _served(self, target: Target) -> Target:
        return without_edge_gradient(target) if self.is_edge_free else replace(target)
