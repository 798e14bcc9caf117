"""Parameters of a learned reweighting, shared by the method and by its random control."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from auditor.parameters import parameters
from defenses.l2r.dependence import Form
from defenses.l2r.objective import Objective
from defenses.l2r.weights import Normalise


@parameters
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

    mode: Literal["head", "erm", "all", "l2r", "l2r-bi"] = "head"
    lam: Annotated[float, Field(gt=0)] = 0.3
    features: Annotated[int, Field(ge=1)] = 3
    clusters: int = 4
    gamma: Annotated[float, Field(ge=0)] = 0.3
    memory: Literal["auto", "exact", "fifo", "momentum"] = "auto"
    normalise: Normalise = "class"
    form: Form = "covariance"
    ess: Annotated[float, Field(gt=0, lt=1)] = 0.5

    id: ClassVar[str]
    version: ClassVar[str] = "1"

    @model_validator(mode="after")
    def _clusters_where_they_count(self) -> Self:
        if self.mode in ("l2r", "l2r-bi") and self.clusters < 2:
            raise ValueError(f"clusters={self.clusters} cannot be used: expected at least 2; mode=all does without")
        return self

    @property
    def objective(self) -> Objective:
        """Of the weights."""
        gamma = self.gamma if self.mode == "l2r-bi" else 0.0
        return Objective(self.lam, self.features, self.normalise, self.form, self.ess, gamma=gamma)
