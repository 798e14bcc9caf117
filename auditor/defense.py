"""The contract of a defence: what it declares, what it gets, and what `compare` may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from auditor.data.graph import Graph
from auditor.guarantee import NoiseSeed
from auditor.outcomes import FlipSet
from auditor.registry import Profile
from auditor.shared import Shared
from auditor.statistics.draws import generator
from auditor.statistics.node_bootstrap import Memo
from auditor.targets.target import Target


class TrainedModels(Protocol):
    """Keyed cache of twins: trained once, shared by every cell that needs the same one; and of edits found on them.

    Attributes:
        replicates: bootstrap columns of scores, see `auditor.statistics.node_bootstrap`; one run's controls are
            measured once.
        shared: whatever else several cells need alike.
    """

    replicates: Memo
    shared: Shared

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        """`target.retrained(graph, seed=seed)`, or the one trained before with equal inputs."""
        ...

    def keep_flips(self, target: Target, flips: Sequence[FlipSet]) -> None:
        """Remembers verified flip sets found on `target`, so that they can be tried on its relatives (transfer)."""
        ...


@runtime_checkable
class Defense(Protocol):
    """One defence, one file: a class of `parameters` (`id:key=value,…` on the command line).

    What it needs, which tasks it is for and which defences are its controls stands on its registry line.

    `fit` trains by the target's own recipe (architecture built afresh from `seed`, optimiser, epochs) or wraps the
    trained model, and returns a new Target whose recipe refits the defence. Nothing is printed, no global seed touched.
    """

    id: ClassVar[str]
    version: ClassVar[str]

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """The defended target, `Target.defense` set.

        Raises:
            SkippedError: the defence does not apply to this target; the message is the reason.
        """
        ...

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """The defended target rebuilt from what `fit` saved (its model's state dict); nothing is trained.

        Raises:
            LoadError: the tensors do not fit each other or this defence.
        """
        ...

    def controls(self) -> tuple[str, ...]:
        """Specs of the defences that lack only the idea, strongest statement first; `compare` adds them by itself."""
        ...


@runtime_checkable
class ServesInModes(Protocol):
    """A defence whose one fit can be served in several ways.

    `mode_parameter` is the parameter that says which. Where the user leaves it out the deployment is undeclared:
    `compare` adds the other modes, and what is said of the defence is said of the one in which it gains least. A mode's
    controls are those of the defence in that mode, in the same order.
    """

    mode_parameter: ClassVar[str]

    def modes(self, profile: Profile) -> tuple[str, ...]:
        """Specs that serve the same fit in the other ways that this profile looks at."""
        ...


@runtime_checkable
class HasEffect(Protocol):
    """A reweighting: balanced accuracy is what it is judged by, under a finding of its own; empty: shown, not gated."""

    effect: ClassVar[str]


@dataclass(frozen=True, slots=True, eq=False)
class DefenseTask:
    """What a defence gets beside the target.

    Attributes:
        seed: of initial weights, batch order, partition: one seed means paired runs for every defence.
        models: shared cache of trained models.
        group: a named group column, int64 [items], for `group-balanced`; None when the user named none.
        tick: progress observer.
        release: the model is to leave the house: privacy noise and private draws come from the operating system and
            are recorded nowhere. Otherwise they follow from `seed`, so that an audit can be repeated.
        noise_scale: 1; 0 or 0.5 only for the reach twin of an audited claim, which carries no Guarantee.
    """

    seed: int
    models: TrainedModels
    group: Tensor | None = None
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None
    release: bool = False
    noise_scale: float = 1.0

    def noise_rng(self, *words: str) -> np.random.Generator:
        """A generator for privacy noise, Poisson batches and samples of records; `words` keep streams apart."""
        if self.release:
            return np.random.default_rng()  # from the operating system
        return generator(self.seed, "noise", *words)

    @property
    def noise_seed(self) -> NoiseSeed:
        """What the Guarantee says of it."""
        return "secret" if self.release else "recorded"
