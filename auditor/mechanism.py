"""What a differentially private defence offers beside `fit`: its planned Guarantee, and what an audit of it may see."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from auditor.defense import Defense, DefenseTask
from auditor.guarantee import Guarantee, Level
from auditor.targets.target import Target


@runtime_checkable
class PrivateDefense(Defense, Protocol):
    """A defence whose fit carries a Guarantee.

    An access that a mechanism does not have (`released` for a training method, `mechanism` for a released graph) is a
    CapabilityError with the accesses that it has.
    """

    level: ClassVar[Level]
    releases: ClassVar[tuple[str, ...]]
    """The accesses that an audit of this mechanism can have: of `released`, `mechanism`, `posteriors`."""

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """The Guarantee that a fit on `target` would carry, from the parameters alone; nothing is trained.

        Raises:
            SkippedError: the defence does not apply to this target.
            ConfigError: a parameter outside its range, seen against this target's number of units.
        """
        ...

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """Access `released`: runs the mechanism on the private graph and scores pairs by what it released.

        Args:
            target: its private graph holds the included canaries.
            pairs: int64 [2, m].
            task: seed and noise scale.

        Returns:
            float64 [m], larger = likelier an edge.
        """
        ...

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """Access `mechanism`: the noisy sums of every step, added up, on m records with gradient C·e_j each.

        The canaries' coordinates form a block in which the gradients of all other records are zero, so that nothing
        else need be trained; sampler, clipping and noise are those of a fit.

        Args:
            target: gives the number of units, and with it the sampling rate.
            included: bool [m], which canaries take part.
            task: seed and noise scale.

        Returns:
            float64 [m], coordinate j of the sum over all steps.
        """
        ...
