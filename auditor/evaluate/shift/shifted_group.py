"""All draws of one corruption at one severity, and the gap they leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.evaluate.shift.reference import Answers

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Group:
    """All draws of one kind at one severity."""

    name: str
    severity: str
    labels: str
    mildest: bool
    draws: list[Answers] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def subset(self) -> str:
        """As measurements name it."""
        return f"{self.name}={self.severity}"

    @property
    def correct(self) -> Floats:
        """[D, n]."""
        return np.stack([draw.correct for draw in self.draws])

    def gated(self, *, gate_noise: bool) -> bool:
        """Whether the gap decides a gate: mildest severity, labels kept, features that real data could hold."""
        return self.mildest and self.labels == "kept" and (gate_noise or not self.notes.get("leaves_domain"))


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """The paired gap of one group."""

    group: Group
    value: float
    bounds: tuple[float, float]
    replicates: Floats
    picks: NDArray[np.int64]
