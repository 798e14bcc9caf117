"""The verdict words and their sentences: VIOLATED, UNDERPOWERED, CONSISTENT, decided in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditor.evaluate.dp_claim.claim import ACCESS_WORDS, TWIN_WORDS, Claim
from auditor.evaluate.dp_claim.plan import Plan
from auditor.evaluate.dp_claim.power import Power
from auditor.evaluate.dp_claim.static import Account
from auditor.evaluate.dp_claim.testing import Audited

Word = Literal["VIOLATED", "UNDERPOWERED", "CONSISTENT"]

NO_PROOF = "not a proof: an adversary stronger than this one may exist"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, why, and the sentence for people."""

    word: Word
    reason: str
    sentence: str


def by_account(claim: Claim, account: Account | None) -> Verdict | None:
    """VIOLATED where the recomputed epsilon refutes the claim; None where it does not."""
    if account is None or not account.refutes(claim.epsilon):
        return None
    shown = f"{account.epsilon:.2f}" if account.epsilon < 1e6 else "beyond any bound"
    return Verdict(
        "VIOLATED",
        "accounting",
        f"VIOLATED (accounting): epsilon is {shown} at delta = {claim.delta:g} by {account.accountant}, from "
        f"{account.words}; the claim is {claim.epsilon:.2f}",
    )


def account_only(claim: Claim, account: Account) -> Verdict:
    """What a static check that finds no error amounts to: no audit."""
    return Verdict(
        "UNDERPOWERED",
        "not-run",
        f"UNDERPOWERED: the arithmetic holds (epsilon {account.epsilon:.2f} at delta = {claim.delta:g} by "
        f"{account.accountant}, claimed {claim.epsilon:.2f}), but no run was audited: stated parameters say nothing of "
        "what the code does",
    )


def without_power(plan: Plan, power: Power) -> Verdict | None:
    """UNDERPOWERED where no test could reject the claim; None where one could."""
    if power.possible:
        return None
    reason = "alpha-below-delta" if power.blind_delta else "ceiling"
    return Verdict("UNDERPOWERED", reason, f"UNDERPOWERED: {power.sentence(plan)}")


def by_audit(plan: Plan, run: Audited, twin: Audited | None) -> Verdict:
    """The verdict on what was measured."""
    claim, seen = plan.claim, ACCESS_WORDS[plan.claim.access]
    found = run.rejecting
    if found is not None:
        given = ", given a Gaussian shape" if found.test in ("G", "multi-run G") else ""
        return Verdict(
            "VIOLATED",
            "audit",
            f"VIOLATED: whoever sees {seen} guesses {found.right:,} of {found.guesses:,} right, which rejects "
            f"{claim.numbers} at alpha {plan.share:.3g} (test {found.test}{given}): epsilon is at least "
            f"{found.lower:.2f}",
        )
    if twin is None:
        return Verdict(
            "UNDERPOWERED",
            "reach-unknown",
            f"UNDERPOWERED: reach unknown. No test rejects {claim.numbers}, and no run with less noise was given to "
            "show that missing noise would have been noticed",
        )
    if twin.rejecting is None:
        return Verdict(
            "UNDERPOWERED",
            "reach",
            f"UNDERPOWERED: this audit would not have noticed missing noise: {TWIN_WORDS[claim.access]} the bound is "
            f"{twin.highest.lower_95:.2f} (95 %), the claim {claim.epsilon:.2f}",
        )
    return Verdict(
        "CONSISTENT",
        "",
        f"CONSISTENT: no test rejects {claim.numbers} for whoever sees {seen} (95 % lower bound "
        f"{run.highest.lower_95:.2f}; {TWIN_WORDS[claim.access]} {twin.highest.lower_95:.2f}); {NO_PROOF}",
    )
