"""All draws of one corruption at one severity, and how far accuracy falls under it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auditor.document import Estimate
from auditor.evaluate.shift.reference import Answers
from auditor.outcomes import Labels, ShiftedSet

Floats = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Damaged:
    """What the model says of the same items in every draw of one kind at one severity.

    Attributes:
        name, severity, labels, mildest, leaves_domain: as the sets say.
        draws: answers of each draw.
        rates: share really edited, of each draw that claims one.
        remarks: what was done to the data on the way.
    """

    name: str
    severity: str
    labels: Labels
    mildest: bool
    leaves_domain: bool
    draws: list[Answers] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    remarks: dict[str, str | float | bool] = field(default_factory=dict)

    @classmethod
    def like(cls, shifted: ShiftedSet) -> Damaged:
        """No draw yet of the kind and severity of `shifted`."""
        return cls(shifted.name, shifted.severity, shifted.labels, shifted.mildest, shifted.leaves_domain)

    def add(self, given: Answers, shifted: ShiftedSet, rate: float | None, renormalised: bool | None) -> None:
        """One more draw: the answers on a set, the share really edited, whether its features were normalised again."""
        self.draws.append(given)
        self.rates += [] if rate is None else [rate]
        self.remarks |= shifted.notes
        self.remarks |= {} if renormalised is None else {"renormalised": renormalised}

    @property
    def subset(self) -> str:
        """As results name it."""
        return f"{self.name}={self.severity}"

    @property
    def correct(self) -> Floats:
        """[D, n]."""
        return np.stack([draw.correct for draw in self.draws])

    @property
    def accuracy(self) -> float:
        """Mean over draws."""
        return float(self.correct.mean())

    def is_judged(self, *, gate_noise: bool) -> bool:
        """Whether its fall may fail a gate: mildest severity, labels kept, features that real data could hold."""
        return self.mildest and self.labels == "kept" and (gate_noise or not self.leaves_domain)


@dataclass(frozen=True, slots=True, eq=False)
class Fall:
    """Clean accuracy − accuracy of the damaged items, paired.

    Attributes:
        of: the damaged items.
        left: the accuracy that is left.
        value, bounds: of the fall, with its 95 % interval.
        replicates: of the bootstrap, [B].
        picks: the draw that each replicate reads, [B].
    """

    of: Damaged
    left: Estimate
    value: float
    bounds: tuple[float, float]
    replicates: Floats
    picks: NDArray[np.int64]
