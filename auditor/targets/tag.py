"""What a defended model says of itself, as plain values. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.document import Measured, ValidityRow
from auditor.guarantee import Guarantee


@dataclass(frozen=True, slots=True)
class DefenseTag:
    """What made a target a defended one.

    Attributes:
        spec: the defence in canonical form (`joint-cluster:tau=0.5`).
        version: of the defence's method; another version is another defence.
        seed: of the fit.
        base: digest of the undefended target.
        guarantee: what it promises formally, None without one.
        notes: plain values for the report (ESS, occupancies, partition name and version).
        validity: what was checked while fitting (per-record rows, accountants that agree).
        measured: what the fit measured and a comparison judges.
        starts_trained: made from the trained model as it is: another seed is no new training.
    """

    spec: str
    version: str
    seed: int
    base: str
    guarantee: Guarantee | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    validity: tuple[ValidityRow, ...] = ()
    measured: tuple[Measured, ...] = ()
    starts_trained: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """A model that was made somewhere else: its digest and, if it is a defended one, what it says of itself."""

    digest: str
    defense: DefenseTag | None = None
