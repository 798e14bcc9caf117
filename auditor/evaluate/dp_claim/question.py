"""What is asked: one claim about one mechanism, and what is known of it before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from auditor.document import NONE
from auditor.evaluate.dp_claim.claim import Claim
from auditor.evaluate.dp_claim.plan import Plan
from auditor.evaluate.dp_claim.runs import Runs
from auditor.evaluate.dp_claim.static import Account
from auditor.guarantee import Guarantee


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One claim about one mechanism.

    Attributes:
        claim: what is audited.
        name: of the target, part of every cell's key.
        digest: of the target, or of what stands in its place.
        defense: canonical form of the defence; `none` without one.
        planned: the Guarantee that the mechanism itself would carry.
        account: epsilon recomputed from parameters.
        units: what delta is judged by.
        plan: fixed before anything runs; None for arithmetic alone.
        runs: what is run; None for arithmetic alone and for a registration of scores to come.
        registered: how the plan was fixed; None when scores came before it.
        extra: further plain values for the document.
        audited: seed -> the Guarantee of the audited run, where canaries change the mechanism's own numbers.
    """

    claim: Claim
    name: str
    digest: str
    defense: str = NONE
    planned: Guarantee | None = None
    account: Account | None = None
    units: int | None = None
    plan: Plan | None = None
    runs: Runs | None = None
    registered: str | None = "fixed in the document before anything was run"
    extra: dict[str, Any] = field(default_factory=dict)
    audited: Callable[[int], Guarantee] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the cells."""
        return (0,) if self.plan is None else self.plan.seeds

    @property
    def access(self) -> tuple[str, ...]:
        """What the adversary of the audit holds; nothing where parameters alone are judged."""
        return () if self.claim.access == "parameters" else (self.claim.access,)

    def key(self, seed: int) -> str:
        """Digest of everything that identifies one cell."""
        record = None if self.plan is None else self.plan.record()
        words = [self.name, self.digest, self.defense, self.claim.record(), record, seed]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()

    def promised(self, seed: int) -> Guarantee | None:
        """The Guarantee of the run with that seed; None where the mechanism makes none."""
        return self.planned if self.audited is None else self.audited(seed)
