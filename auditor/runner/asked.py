"""What `auditor dp-claim` was asked, as plain values. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from auditor.evaluate.dp_claim.claim import Claim, read_claim

DEFAULT_CANARIES = 1000
DEFAULT_RUNS = {"one-run": 1, "multi-run": 100}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `auditor dp-claim` that say what is claimed and how it is audited.

    Attributes:
        claim: `EPSILON[,DELTA]`.
        level, relation, access: words, None where the mechanism says it.
        canaries: m; None for a default.
        alpha: of the whole audit.
        mode: `one-run` or `multi-run`.
        runs: repeats; None for the mode's default.
        seed: of the first repeat.
    """

    claim: str
    level: str | None = None
    relation: str | None = None
    access: str | None = None
    canaries: int | None = None
    alpha: float = 1e-3
    mode: Literal["one-run", "multi-run"] = "one-run"
    runs: int | None = None
    seed: int = 0

    def read(self, *, allowed: tuple[str, ...]) -> Claim:
        """The claim, its access one of `allowed` (the first by default)."""
        return read_claim(
            self.claim,
            level=self.level,
            relation=self.relation,
            access=self.access or allowed[0],
            allowed=allowed,
        )

    def plan_values(self) -> dict[str, Any]:
        """Arguments of `make_plan` that are the same for every subject."""
        runs = DEFAULT_RUNS[self.mode] if self.runs is None else self.runs
        return {"mode": self.mode, "alpha": self.alpha, "runs": runs, "seed": self.seed}

    @property
    def m(self) -> int:
        """Canaries of one run."""
        return 1 if self.mode == "multi-run" else DEFAULT_CANARIES if self.canaries is None else self.canaries
