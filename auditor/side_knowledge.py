"""What the user says an adversary knows besides the model. Imports no torch: options are checked with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SideKnowledge:
    """What the user says the adversary knows besides the model (`[access]`).

    Attributes:
        labels: `all` (default, worst case), `train` (labels of training items only) or `none`.
        features: whether x is known.
        density: mean degree rho that the adversary assumes; None means 4. Never computed from the private edges.
        outputs: `probs` (default) or `logits`: what the served posteriors look like.
        served_digits: decimals the service rounds to; None for exact.
        sensitive: the column that must not be told: a number from 0 of x, or the name of a field of the nodes.
        neighbours: whether the adversary also sees the columns of each node's neighbours (inference of that column).
    """

    labels: str = "all"
    features: bool = True
    density: float | None = None
    outputs: str = "probs"
    served_digits: int | None = None
    sensitive: str | int | None = None
    neighbours: bool = False

    def __post_init__(self) -> None:
        if self.labels not in ("all", "train", "none"):
            raise ConfigError(f'[access] labels is "{self.labels}"; expected "all", "train" or "none".')
        if self.outputs not in ("probs", "logits"):
            raise ConfigError(f'[access] outputs is "{self.outputs}"; expected "probs" or "logits".')
        if not isinstance(self.features, bool):
            raise ConfigError(f"[access] features is {self.features!r}; expected true or false.")
        if self.density is not None and not (_is_number(self.density) and 0 < self.density < math.inf):
            raise ConfigError(f"[access] density is {self.density!r}; expected a mean degree above 0.")
        if not isinstance(self.neighbours, bool):
            raise ConfigError(f"[access] neighbours is {self.neighbours!r}; expected true or false.")
        column = self.sensitive
        if column is not None and not (
            (_is_number(column) and isinstance(column, int) and column >= 0) or (isinstance(column, str) and column)
        ):
            raise ConfigError(
                f"[access] sensitive is {column!r}; expected the number of a column, from 0, or the name of a field."
            )
        digits = self.served_digits
        if digits is not None and not (_is_number(digits) and isinstance(digits, int) and digits >= 1):
            raise ConfigError(f"[access] served_digits is {digits!r}; expected a whole number of at least 1.")


UNSAID: Mapping[str, str] = {
    "sensitive": "nobody named the column that is sensitive; write sensitive = 3 under [access] (a column of x, from "
    "0), or the name of a field of the nodes",
}
"""Keys without which a probe has nothing to ask, and how to say them."""


def _is_number(value: object) -> bool:
    """Whether a config file's value is a number: true and "4" are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
