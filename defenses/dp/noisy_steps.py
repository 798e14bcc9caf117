"""What the defences that train on noisy gradient sums share: they promise for a schedule, and serve what it trained."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from auditor.errors import CapabilityError, ConfigError
from auditor.guarantee import Guarantee, Level
from auditor.probe import DefenseTask
from auditor.statistics.accounting import check_delta, default_delta
from auditor.targets.target import Capability, Fitted, Target
from defenses.dp.edge_free import edge_free, without_edge_gradient
from defenses.fitting import rebuilt, train_afresh


class NoisySteps(ABC):
    """Base of `dp-graph` and `dp-node`, both dataclasses with these parameters; see there."""

    __slots__ = ()

    id: ClassVar[str]
    version: ClassVar[str] = "1"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.RETRAIN})
    tasks: ClassVar[tuple[str, ...]]
    level: ClassVar[Level]
    releases: ClassVar[tuple[str, ...]] = ("mechanism", "posteriors")

    delta: str | float
    sat_rho: float

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
        """See `auditor.probe.Defense`."""

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.probe.Defense`."""
        self.check_applies(target)
        return self._served(train_afresh(self, target, task))

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `auditor.mechanism.PrivateDefense`."""
        self.check_applies(target)
        return self.promise(target, task)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.probe.Defense`: the target's own architecture with the trained weights."""
        target = rebuilt(self, base, tensors, task, head=False)
        if self.is_edge_free:
            target = replace(target, model=edge_free(target.model), _clean={})
        return self._served(target)

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: no graph is released.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            f'{self.id} releases no graph; access "released" was asked for, expected one of {", ".join(self.releases)}.'
        )

    def _check_numbers(self, **positive: float) -> None:
        for name, value in positive.items():
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{self.id}: {name} = {value:g}; expected a finite number above 0.")
        if not (self.sat_rho >= 0 and math.isfinite(self.sat_rho)):
            raise ConfigError(f"{self.id}: sat_rho = {self.sat_rho:g}; expected 0 (off) or above, such as .1.")
        choose_delta(self.id, self.delta, None)

    def _served(self, target: Target) -> Target:
        return without_edge_gradient(target) if self.is_edge_free else replace(target, _clean={})


def choose_delta(owner: str, value: Any, units: int | None) -> float:
    """δ for N units, `auto` or a number; with None only what can be said without them.

    Raises:
        ConfigError: no number, or outside ]0, 1 / N[.
    """
    if value == "auto":
        return default_delta(units or 1)
    try:
        delta = float(value)
    except ValueError:
        raise ConfigError(f'{owner}: delta = "{value}"; expected "auto" or a number below 1 / N.') from None
    check_delta(delta, units)
    return delta
