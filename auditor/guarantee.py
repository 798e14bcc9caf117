"""Guarantee: what a differentially private defence promises, at which level, and what it does not. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from auditor.errors import LoadError, expected
from auditor.reading.files import reading
from auditor.records import Model

Level = Literal["graph", "edge", "node"]
Relation = Literal["add-remove", "replace", "flip-pair", "flip-arc", "zero-out"]
Accountant = Literal["pure", "gaussian-exact", "prv+pld", "multi-term-rdp"]
Covered = Literal["training", "inference", "artefact"]
NoiseSeed = Literal["recorded", "secret"]

FILE_NAME = "guarantee.json"
MAX_BYTES = 1 << 16
WEAK, MEANINGLESS = 10.0, 50.0
RELATION_WORDS: dict[str, str] = {
    "add-remove": "add or remove one graph",
    "replace": "replace anything",
    "flip-pair": "flip one pair",
    "flip-arc": "flip one arc",
    "zero-out": "blank one node",
}
STANDING = (
    "hyper-parameters tuned on private data are not accounted for",
    "k seeds released means k-fold composition",
    "floating-point noise is not hardened",
)
RECORDED = "noise seed recorded: for evaluation, not for release (whoever has the seed subtracts the noise)"
WEAK_WORDS = f"weak: epsilon above {WEAK:g}"


class Guarantee(Model):
    """An (epsilon, delta) differential privacy guarantee with its level, relation, scope and gaps.

    Attributes:
        level: what one unit is: a whole graph, an edge, a node.
        relation: which two data sets are neighbours.
        epsilon: privacy loss, >= 0.
        delta: failure probability, in [0, 1).
        accountant: how epsilon was computed.
        mechanism: `name` and the parameters that epsilon follows from (q, sigma, steps, C, K, r, M, …).
        units: number of units that delta was chosen by.
        covers: what the guarantee holds for; empty = nothing a user could rely on.
        not_protected: what an adversary may still learn.
        caveats: conditions; the standing ones are added by themselves.
        noise_seed: `secret` when noise came from the operating system and is gone, `recorded` for audits.
    """

    level: Level
    relation: Relation
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    accountant: Accountant
    mechanism: dict[str, Any]
    units: Annotated[int, Field(ge=1)]
    covers: tuple[Covered, ...]
    not_protected: tuple[str, ...]
    caveats: tuple[str, ...] = ()
    noise_seed: NoiseSeed

    @model_validator(mode="before")
    @classmethod
    def _with_standing_caveats(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        added = list(STANDING)
        if data.get("noise_seed") == "recorded":
            added.append(RECORDED)
        epsilon = data.get("epsilon")
        if isinstance(epsilon, int | float) and epsilon > WEAK:
            added.append(WEAK_WORDS)
        return {**data, "caveats": tuple(dict.fromkeys((*data.get("caveats", ()), *added)))}

    @property
    def meaningful(self) -> bool:
        """Whether the bound excludes anything an audit of any size could see: epsilon at most 50, something covered."""
        return self.epsilon <= MEANINGLESS and bool(self.covers)

    @property
    def own_caveats(self) -> tuple[str, ...]:
        """The caveats that not every guarantee has."""
        return tuple(text for text in self.caveats if text not in STANDING)

    def headline(self) -> str:
        """One line: level, relation, epsilon, delta, mechanism, scope, gaps. No renderer prints less."""
        name = str(self.mechanism.get("name", "mechanism"))
        numbers = f"ε = {epsilon_words(self.epsilon)}, δ = {self.delta:g}"
        covers = f"covers {', '.join(self.covers)}" if self.covers else "covers nothing"
        gaps = f"does NOT protect {', '.join(self.not_protected)}" if self.not_protected else ""
        strength = "" if self.meaningful else "no meaningful guarantee"
        level = f"{self.level} level ({RELATION_WORDS[self.relation]})"
        return " · ".join(filter(None, (level, numbers, strength, name, covers, gaps)))


def read_guarantee(raw: bytes) -> Guarantee:
    """A Guarantee from `guarantee.json`, which somebody else may have written.

    Raises:
        LoadError: too large, not JSON, or not a Guarantee.
    """
    if len(raw) > MAX_BYTES:
        raise LoadError(f"{FILE_NAME} has {len(raw)} bytes; expected at most {MAX_BYTES}. Fit the defence again.")
    with reading(FILE_NAME, error=LoadError, expected="a Guarantee. Fit the defence again."):
        try:
            return Guarantee.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "document"
            raise LoadError(f"{FILE_NAME}: {place}: {expected(first)}. Fit the defence again.") from None


def to_json(guarantee: Guarantee) -> bytes:
    """The bytes of `guarantee.json`."""
    return guarantee.model_dump_json(indent=1).encode() + b"\n"


def epsilon_words(value: float) -> str:
    """ε as it is shown: rounded up, since a promise may not look smaller than it is; two digits below .1."""
    if value >= 1e4:
        return f"{value:.3g}"
    places = 2 if value == 0 or value >= 0.1 else 1 - math.floor(math.log10(value))
    scale = 10.0**places
    return f"{math.ceil(value * scale * (1 - 1e-12)) / scale:.{places}f}"
