"""Facts about a claim of differential privacy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.guarantee import Guarantee
from auditor.records import Model, Number


class Named(Model):
    """Numbers and words of a harness that has no record of its own here: what a plug-in uses."""

    kind: Literal["named"] = "named"
    numbers: dict[str, Number] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)


class Bound(Model):
    """What one test of a claim at one number of guesses says.

    Attributes:
        test, guesses, right: which test, how many guesses, how many of them right.
        rejected: whether the claim is rejected at the test's share of alpha.
        lower, lower_95: lower bounds on epsilon, at the share of alpha and at that of 5 %.
        needed: fewest right guesses that reject the claim; None where not even all would.
        twin_lower_95: the same bound with less noise; None without a reach twin.
        judged: registered before scores were seen; the others stand beside them.
        seed: of the run that it is about.
    """

    test: str
    guesses: int
    right: int
    rejected: bool
    lower: Number
    lower_95: Number
    needed: int | None = None
    twin_lower_95: Number = None
    judged: bool = True
    seed: int = 0


class Accounted(Model):
    """Epsilon recomputed from what a mechanism says of itself.

    Attributes:
        epsilon: None where it cannot be bounded.
        delta: what it holds at.
        accountant: which one gave it.
        parameters: what it follows from, named as in a Guarantee's mechanism.
        prv, pld: of the two accountants, where both ran.
        ordinary: what the accountant of records that share nothing says, where one unit lies in many records.
    """

    epsilon: Number
    delta: float
    accountant: str
    parameters: dict[str, float] = Field(default_factory=dict)
    prv: Number = None
    pld: Number = None
    ordinary: Number = None


class ClaimFacts(Model):
    """A claimed (epsilon, delta) and what speaks for or against it.

    Attributes:
        verdict: the word.
        reason: why: `accounting`, `audit`, `not-run`, `ceiling`, `alpha-below-delta`, `reach-unknown`, `reach`; empty.
        epsilon, delta, level, relation, access: the claim.
        account: epsilon recomputed from parameters; None where none determine it.
        audited: what the audited run promised, where its canaries change the mechanism's own numbers.
        alpha: level of one test.
        size: canaries of one run, or trainings with the canary (and as many without).
        unit: what `size` counts.
        enough: fewest that could reject the claim; None where no number looked at would.
        ceiling: the highest bound if every guess were right.
        bounds: every test of every run; none where nothing was run.
    """

    kind: Literal["claim"] = "claim"
    verdict: Literal["VIOLATED", "UNDERPOWERED", "CONSISTENT"]
    reason: str = ""
    epsilon: float
    delta: float
    level: str
    relation: str
    access: str
    account: Accounted | None = None
    audited: Guarantee | None = None
    alpha: Number = None
    size: int | None = None
    unit: Literal["canaries", "trainings", ""] = ""
    enough: int | None = None
    ceiling: Number = None
    bounds: tuple[Bound, ...] = ()
