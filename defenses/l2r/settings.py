"""Parameters of a learned reweighting, shared by the method and by its random control."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from auditor.errors import ConfigError, nearest
from auditor.targets.target import Capability
from defenses.l2r.objective import Objective

MODES = ("head", "erm", "all", "l2r", "l2r-bi")
MEMORIES = ("auto", "exact", "fifo", "momentum")


@dataclass(frozen=True, slots=True)
class Reweighting:
    """What a reweighting is told.

    Attributes:
        mode: `head` refits the last layer of the trained model; the others train from scratch: `erm` with equal weights
            (the baseline), `all` decorrelates all pairs of dimensions, `l2r` those in different clusters, `l2r-bi` with
            the validation term on top.
        lam: price of variance, > 0.
        features: K, random features per dimension, >= 1.
        clusters: k >= 2, of the clustered modes.
        gamma: weight of the validation term, `l2r-bi` only.
        memory: `auto` sees all items at once while N d K <= 2e7 and uses `fifo` above; `momentum` as published.
        normalise: `class` keeps the mass of each class; `global` as in StableNet.
        form: `covariance` or `paper`, see `dependence`.
        ess: least ESS / N, in (0, 1).
    """

    mode: str = "head"
    lam: float = 0.3
    features: int = 3
    clusters: int = 4
    gamma: float = 0.3
    memory: str = "auto"
    normalise: str = "class"
    form: str = "covariance"
    ess: float = 0.5

    id: ClassVar[str]
    version: ClassVar[str] = "1"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.EMBEDDINGS, Capability.PARAMS})
    tasks: ClassVar[tuple[str, ...]] = ("node", "graph")

    def __post_init__(self) -> None:
        for name, known in (
            ("mode", MODES),
            ("memory", MEMORIES),
            ("normalise", ("class", "global")),
            ("form", ("covariance", "paper")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f'{self.id}: {name} = "{getattr(self, name)}". {nearest(getattr(self, name), known)}')
        if not 0 < self.lam < math.inf:
            raise ConfigError(
                f"{self.id}: lam = {self.lam}; expected a finite number above 0, since variance must cost something."
            )
        if not 0 <= self.gamma < math.inf:
            raise ConfigError(f"{self.id}: gamma = {self.gamma}; expected a finite number from 0.")
        if self.features < 1:
            raise ConfigError(f"{self.id}: features = {self.features}; expected at least one per dimension.")
        if not 0 < self.ess < 1:
            raise ConfigError(f"{self.id}: ess = {self.ess}; expected a share between 0 and 1.")
        if self.mode in ("l2r", "l2r-bi") and self.clusters < 2:
            raise ConfigError(f"{self.id}: clusters = {self.clusters}; expected at least 2. mode=all does without.")

    @property
    def objective(self) -> Objective:
        """Of the weights."""
        return Objective(
            self.lam,
            self.features,
            "class" if self.normalise == "class" else "global",
            "covariance" if self.form == "covariance" else "paper",
            self.ess,
            gamma=self.gamma if self.mode == "l2r-bi" else 0.0,
        )
