"""The verdict: VIOLATED, UNDERPOWERED or CONSISTENT, decided in this order. Never "verified"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditor.evaluate.dp_claim.claim import Claim
from auditor.evaluate.dp_claim.power import Power
from auditor.evaluate.dp_claim.static import Account
from auditor.evaluate.dp_claim.testing import Audited

Word = Literal["VIOLATED", "UNDERPOWERED", "CONSISTENT"]
Reason = Literal["accounting", "audit", "not-run", "alpha-below-delta", "ceiling", "reach-unknown", "reach", ""]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, and why.

    Attributes:
        word: a consistent claim is no proven one: an adversary stronger than this one may exist.
        reason: of a violation `accounting` (the parameters refute it) or `audit` (a test does); of too little power
            `not-run` (arithmetic alone), `alpha-below-delta` or `ceiling` (no test could reject), `reach-unknown` (no
            run with less noise) or `reach` (missing noise would not have been noticed); empty where consistent.
    """

    word: Word
    reason: Reason


def by_account(claim: Claim, account: Account | None) -> Verdict | None:
    """VIOLATED where the recomputed epsilon refutes the claim; None where it does not."""
    if account is None or not account.refutes(claim.epsilon):
        return None
    return Verdict("VIOLATED", "accounting")


def account_only() -> Verdict:
    """What a static check that finds no error amounts to: stated parameters say nothing of what the code does."""
    return Verdict("UNDERPOWERED", "not-run")


def without_power(power: Power) -> Verdict | None:
    """UNDERPOWERED where no test could reject the claim; None where one could."""
    if power.possible:
        return None
    return Verdict("UNDERPOWERED", "alpha-below-delta" if power.blind_delta else "ceiling")


def by_audit(run: Audited, twin: Audited | None) -> Verdict:
    """The verdict on what was measured."""
    if run.rejecting is not None:
        return Verdict("VIOLATED", "audit")
    if twin is None:
        return Verdict("UNDERPOWERED", "reach-unknown")
    if twin.rejecting is None:
        return Verdict("UNDERPOWERED", "reach")
    return Verdict("CONSISTENT", "")
