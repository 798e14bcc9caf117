"""What the user says an adversary knows besides the model. Imports no torch: options are checked with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.errors import ConfigError, nearest

FILE = "file:"
EXPLANATIONS = ("batch", "own")


@dataclass(frozen=True, slots=True)
class SideKnowledge:
    """What the user says the adversary knows besides the model (`[access]`).

    Attributes:
        labels: `all` (default, worst case), `train` (labels of training items only) or `none`.
        features: whether x is known.
        density: mean degree rho that the adversary assumes; None means 4. Never computed from the private edges.
        outputs: `probs` (default) or `logits`: what the served posteriors look like.
        served_digits: decimals the service rounds to; None for exact.
        queries: what the adversary may ask besides the served answers: `served` (the served graph with one node's
            features changed), `own` (graphs of their own), `all` (default, worst case) or `none`.
        embeddings: whether the service hands out embeddings. By default it does not.
        explanations: what is published to explain the answers: `batch` or `own`, gradients that are computed here, or
            `file:explanations.npz`, see `auditor.targets.explanations`. None, the default, for nothing: a probe of
            explanations that is asked for all the same takes `batch`.
        explanations_sha256: of that file, so that another one asks another question; filled in where it is read.
        sensitive: the column that must not be told: a number from 0 of x, or the name of a field of the nodes.
        neighbours: whether the adversary also sees the columns of each node's neighbours (inference of that column).
    """

    labels: str = "all"
    features: bool = True
    density: float | None = None
    outputs: str = "probs"
    served_digits: int | None = None
    queries: str = "all"
    embeddings: bool = False
    explanations: str | None = None
    explanations_sha256: str = ""
    sensitive: str | int | None = None
    neighbours: bool = False

    def __post_init__(self) -> None:
        if self.labels not in ("all", "train", "none"):
            raise ConfigError(f'[access] labels is "{self.labels}"; expected "all", "train" or "none".')
        if self.outputs not in ("probs", "logits"):
            raise ConfigError(f'[access] outputs is "{self.outputs}"; expected "probs" or "logits".')
        if self.queries not in ("all", "own", "served", "none"):
            raise ConfigError(f'[access] queries is "{self.queries}"; expected "all", "served", "own" or "none".')
        if not isinstance(self.features, bool):
            raise ConfigError(f"[access] features is {self.features!r}; expected true or false.")
        if self.density is not None and not (_is_number(self.density) and 0 < self.density < math.inf):
            raise ConfigError(f"[access] density is {self.density!r}; expected a mean degree above 0.")
        form = self.explanations
        if form is not None and not (isinstance(form, str) and (form in EXPLANATIONS or form.startswith(FILE))):
            raise ConfigError(
                f'[access] explanations is {form!r}; expected "batch", "own" or "file:explanations.npz". '
                f"{nearest(str(form), EXPLANATIONS)}".rstrip()
            )
        for name in ("embeddings", "neighbours"):
            if not isinstance(value := getattr(self, name), bool):
                raise ConfigError(f"[access] {name} is {value!r}; expected true or false.")
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

    @property
    def asks_own(self) -> bool:
        """Whether the model may be asked about the adversary's own graphs."""
        return self.queries in ("all", "own")

    @property
    def asks_served(self) -> bool:
        """Whether the served graph may be asked about with one node's features changed."""
        return self.queries in ("all", "served")

    @property
    def explanations_file(self) -> str:
        """Path of the file that explanations come from; empty where they are computed."""
        form = self.explanations or ""
        return form.removeprefix(FILE) if form.startswith(FILE) else ""

    @property
    def explained(self) -> str:
        """What explanations are, without the path of a file."""
        return self.explanations_sha256 or self.explanations or EXPLANATIONS[0]

    def says(self, key: str) -> bool:
        """Whether the user said what `key` stands for: no None, and no refusal."""
        value = getattr(self, key)
        return value is not None and value is not False


UNSAID: Mapping[str, str] = {
    "sensitive": "nobody named the column that is sensitive; write sensitive = 3 under [access] (a column of x, from "
    "0), or the name of a field of the nodes",
}
"""Keys without which a probe has nothing to ask even where it is asked for by name, and how to say them."""


def _is_number(value: object) -> bool:
    """Whether a config file's value is a number: true and "4" are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
