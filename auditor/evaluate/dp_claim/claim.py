"""What is claimed: epsilon and delta at a level and relation, against an adversary with one kind of access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, cast, get_args

from auditor.errors import ConfigError, nearest
from auditor.guarantee import Level, Relation

Access = Literal["released", "mechanism", "posteriors", "scores", "parameters"]

RELATIONS: Final[Mapping[str, tuple[Relation, ...]]] = {
    "graph": ("add-remove", "replace"),
    "edge": ("flip-pair", "flip-arc"),
    "node": ("zero-out", "replace"),
}
"""The relations that each level can be audited in, the default first."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim to be audited.

    Attributes:
        epsilon: > 0, finite.
        delta: in [0, 1).
        level: what one unit is.
        relation: which two data sets are neighbours.
        access: what the audit's adversary sees; `parameters` when nothing is run.
    """

    epsilon: float
    delta: float
    level: Level
    relation: Relation
    access: Access

    def record(self) -> dict[str, Any]:
        """Plain values for the document."""
        return asdict(self)


def read_claim(
    text: str, *, level: str | None, relation: str | None, access: str, allowed: tuple[str, ...] | None = None
) -> Claim:
    """The claim that `EPSILON[,DELTA]` and the words beside it state.

    Args:
        text: `4` or `8,1e-3`.
        level: `graph`, `edge` or `node`.
        relation: one of `RELATIONS[level]`; None for the first.
        access: one of the words of `Access`.
        allowed: the accesses that can be had here; None for all.

    Raises:
        ConfigError: a number is missing, malformed or out of range, or a word is unknown.
    """
    epsilon, delta = _numbers(text)
    levels = get_args(Level)
    if level is None:
        raise ConfigError(
            f"--level is missing; expected one of {', '.join(levels)}: an epsilon without it means nothing."
        )
    if level not in levels:
        raise ConfigError(f'--level is "{level}"; expected one of {", ".join(levels)}. {nearest(level, levels)}')
    relations = RELATIONS[level]
    chosen = next((word for word in relations if word == (relation or relations[0])), None)
    if chosen is None:
        raise ConfigError(
            f'--relation is "{relation}"; a {level} level claim is audited as {" or ".join(relations)}. '
            f"{nearest(str(relation), relations)}"
        )
    words = get_args(Access) if allowed is None else allowed
    if access not in words:
        raise ConfigError(f'--access is "{access}"; it can be {" or ".join(words)} here. {nearest(access, words)}')
    return Claim(epsilon, delta, cast(Level, level), chosen, cast(Access, access))


def _numbers(text: str) -> tuple[float, float]:
    parts = [part.strip() for part in text.split(",")]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise ConfigError(f'--claim is "{text}"; expected EPSILON or EPSILON,DELTA, for instance 4 or 8,1e-3.')
    epsilon, delta = values[0], values[1] if len(values) == 2 else 0.0
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"--claim has epsilon = {epsilon:g}; expected a finite number above 0.")
    if not 0 <= delta < 1:
        raise ConfigError(f"--claim has delta = {delta:g}; expected a number from 0 to below 1.")
    return epsilon, delta
