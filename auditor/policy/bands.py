"""Severity bands per question: which effect counts as low, medium, high or critical.

The bands are our choice, since no standard scale exists for measured leakage; `[gate.thresholds]` overrides them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, model_validator

from auditor.document.facts import SEVERITIES, Severity
from auditor.document.results import Confidence, Question
from auditor.records import Model

Level = Literal["low", "medium", "high", "critical"]

NOTHING: Final = 1e-12
"""An effect nearer to 0 than this comes from rounding alone: a difference of equal numbers, summed in another order."""

LEVELS: Final[tuple[Level, ...]] = ("low", "medium", "high", "critical")
CONFIDENCES: Final[tuple[Confidence, ...]] = ("low", "medium", "high")


class Bands(Model):
    """Lower edges of the bands of one question, as fractions; None: it has no such band.

    An edge of 0 is open (an effect of exactly 0 is none), every other edge belongs to its band.
    """

    low: float | None = Field(default=0.0, ge=0, le=1)
    medium: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)
    critical: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _decreasing(self) -> Bands:
        edges = [(level, edge) for level in LEVELS if (edge := self.edge(level)) is not None]
        for (below, low), (above, high) in itertools.pairwise(edges):
            if not low < high:
                raise ValueError(f"{above} = {high:g} is not above {below} = {low:g}")
        return self

    def edge(self, level: Level) -> float | None:
        """Lower edge of the band `level`."""
        found: float | None = getattr(self, level)
        return found

    def threshold(self, level: Level) -> float | None:
        """Least effect that is at least `level`; None where no band reaches it."""
        edges = [edge for above in LEVELS[LEVELS.index(level) :] if (edge := self.edge(above)) is not None]
        return min(edges, default=None)

    def severity(self, effect: float) -> Severity:
        """Band of an effect; the highest band whose edge it reaches."""
        reached: Severity = "none"
        for level in LEVELS:
            edge = self.edge(level)
            if edge is not None and reaches(effect, edge):
                reached = level
        return reached


_EFFECT = Bands(low=0.0, medium=0.10, high=0.25, critical=0.40)
_GENTLE = Bands(low=0.0, medium=0.05, high=0.10, critical=0.25)
BANDS: Final[Mapping[Question, Bands]] = {
    "ranking": Bands(low=0.0, medium=0.10, high=0.25, critical=0.50),
    "low-fpr": Bands(low=0.0, medium=0.03, high=0.10, critical=0.25),
    "accuracy": _EFFECT,
    "robustness": _EFFECT,
    "edge-free": Bands(low=None, high=0.0, critical=0.40),
    "over-confidence": _GENTLE,
    "under-confidence": Bands(low=0.0),
    "damage": _GENTLE,
    "held-out": _GENTLE,
    "worst-group": _EFFECT,
    "silent-failure": _EFFECT,
    "inverted-confidence": _EFFECT,
    "non-finite": _EFFECT,
    "defense-cost": _EFFECT,
    "worst-case-loss": _EFFECT,
    "harm": _EFFECT,
}
"""Questions that have bands. `accuracy` is what an adversary gets right beyond its control. A model that falls below
one without edges is worse than no graph: at least high. Too little confidence is an inconvenience, whatever its size:
low. `claim` and `artifact` have rules of their own; `other` is judged by the limit that its harness brings along."""


def reaches(effect: float, edge: float) -> bool:
    """Whether an effect is at or above an edge; where the edge is 0, above it by more than rounding."""
    return effect >= (NOTHING if edge == 0 else edge)


def rank(severity: Severity) -> int:
    """0 for none … 4 for critical."""
    return SEVERITIES.index(severity)
