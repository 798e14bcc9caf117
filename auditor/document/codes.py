"""Why something was judged as it was: codes with typed fields. `reports.sentences` puts them into words, nobody else.

Three groups: codes of a judgement, codes of a decision about a defence, and codes of a verdict.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field

from auditor.records import Model, Number

# ---- of a judgement -------------------------------------------------------------------------------------------------


class OneSeed(Model):
    """One seed was run, so that nothing is known of the spread between seeds."""

    code: Literal["one-seed"] = "one-seed"


class Widened(Model):
    """Bounds were widened, since several numbers are judged against 0 together (Bonferroni)."""

    code: Literal["widened"] = "widened"
    together: int
    lo: Number
    hi: Number


class NotSignificant(Model):
    """Beyond its limit, but not after the correction for several tests."""

    code: Literal["not-significant"] = "not-significant"
    p: float
    alpha: float


class InsideNoise(Model):
    """Beyond its limit, but no larger than what the order of the nodes alone changes: ties are broken by it.

    Attributes:
        floor: largest share of the items whose label another order of the same nodes changed.
    """

    code: Literal["inside-noise"] = "inside-noise"
    floor: float


class NotSeparable(Model):
    """No model on a rewired graph ran, so that a leak cannot be told from what degrees and features give away.

    Attributes:
        at_most: the severity that can be proven without one.
    """

    code: Literal["not-separable"] = "not-separable"
    at_most: str


class Settle(Model):
    """What would settle an open result: so many more items, or so many seeds.

    Attributes:
        items: more items; None where no number would be enough (the value lies on the threshold).
        there: items there are.
        seeds: seeds in all; None where no number of them would be enough.
    """

    code: Literal["settle"] = "settle"
    items: int | None
    there: int
    seeds: int | None = None


class TooBlunt(Model):
    """This data cannot show an excess of the size of the limit, so that not seeing one says nothing.

    Attributes:
        detectable: the least excess that it could show.
    """

    code: Literal["too-blunt"] = "too-blunt"
    detectable: float


class OpenInterval(Model):
    """An end of the interval is open, so that nothing can settle it."""

    code: Literal["open-interval"] = "open-interval"


class NoThreshold(Model):
    """Neither a band nor a limit applies to this number."""

    code: Literal["no-threshold"] = "no-threshold"


class NotMeasured(Model):
    """There is no difference to a control to judge, or no number at all."""

    code: Literal["not-measured"] = "not-measured"


class Untrusted(Model):
    """Checks that failed and spoil the result."""

    code: Literal["untrusted"] = "untrusted"
    checks: tuple[str, ...]


class StandsAnyway(Model):
    """Checks that failed; a verified breach stays true however weak the attack was."""

    code: Literal["stands-anyway"] = "stands-anyway"
    checks: tuple[str, ...]


class TooUncertain(Model):
    """A fail with less confidence than the policy asks for."""

    code: Literal["too-uncertain"] = "too-uncertain"
    confidence: str
    needed: str


class Accepted(Model):
    """Accepted by a baseline or a suppress rule.

    Attributes:
        source: which of the two.
        rule: pattern of the suppress rule; empty for a baseline.
        reason, by, until: as they were given; `by` is empty for a rule.
    """

    code: Literal["accepted"] = "accepted"
    source: Literal["baseline", "suppress"]
    rule: str = ""
    reason: str
    by: str = ""
    until: datetime.date


class AcceptanceExpired(Model):
    """It was accepted until a day that is past."""

    code: Literal["acceptance-expired"] = "acceptance-expired"
    until: datetime.date


class WorseThanAccepted(Model):
    """It is worse than what was accepted: beyond the accepted upper bound, or of a higher severity."""

    code: Literal["worse-than-accepted"] = "worse-than-accepted"
    hi: Number
    severity: str


JudgementCode = Annotated[
    OneSeed
    | Widened
    | NotSignificant
    | InsideNoise
    | NotSeparable
    | Settle
    | TooBlunt
    | OpenInterval
    | NoThreshold
    | NotMeasured
    | Untrusted
    | StandsAnyway
    | TooUncertain
    | Accepted
    | AcceptanceExpired
    | WorseThanAccepted,
    Field(discriminator="code"),
]

# ---- of a decision about a defence ----------------------------------------------------------------------------------


class FewSeeds(Model):
    """Too few seeds for a claim; `needed` would be enough."""

    code: Literal["few-seeds"] = "few-seeds"
    seeds: int
    needed: int


class NoSpread(Model):
    """Equal at every seed, so that there is no interval over seeds."""

    code: Literal["no-spread"] = "no-spread"
    seeds: int


class Blunt(Model):
    """The interval over test items is too wide to tell; more test items are needed."""

    code: Literal["blunt"] = "blunt"
    half_width: float


class ForeignEdits(Model):
    """No attack of its own: only edits found on other arms were tried, or the graph was poisoned against another."""

    code: Literal["foreign-edits"] = "foreign-edits"
    edits: Literal["transferred", "poisoned"]


class TriedEdits(Model):
    """Which edits each side was tried with: every one found on any arm, or its own alone."""

    code: Literal["tried-edits"] = "tried-edits"
    edits: Literal["every", "own"]


class NotTheIdea(Model):
    """Nothing proven is gained over these controls: they lack the idea and do as well."""

    code: Literal["not-the-idea"] = "not-the-idea"
    arms: tuple[str, ...]


class Indicative(Model):
    """Fewer seeds than a claim wants: the word is an indication."""

    code: Literal["indicative"] = "indicative"
    seeds: int
    wanted: int


class Corrected(Model):
    """Judged at a level that is corrected for several comparisons (Holm)."""

    code: Literal["corrected"] = "corrected"
    together: int
    level: float


class OverItems(Model):
    """The interval is over the test items of one trained model: another seed would be no new training."""

    code: Literal["over-items"] = "over-items"


class LeastOfModes(Model):
    """The defence can be served in several ways; this is the one in which it gains least."""

    code: Literal["least-of-modes"] = "least-of-modes"
    arms: tuple[str, ...]


class NoUtility(Model):
    """Next to nothing above the constant predictor."""

    code: Literal["no-utility"] = "no-utility"
    beyond: float


class Recovery(Model):
    """The share of the gain of a method that knows the groups which is reached without knowing them."""

    code: Literal["recovery"] = "recovery"
    share: float
    of: float
    by: str


class UntrustedArm(Model):
    """Checks that failed on this arm or on its control."""

    code: Literal["untrusted-arm"] = "untrusted-arm"
    checks: tuple[str, ...]


DecisionCode = Annotated[
    OneSeed
    | FewSeeds
    | NoSpread
    | Blunt
    | ForeignEdits
    | TriedEdits
    | NotTheIdea
    | Indicative
    | Corrected
    | OverItems
    | LeastOfModes
    | NoUtility
    | Recovery
    | UntrustedArm
    | NotMeasured,
    Field(discriminator="code"),
]

# ---- of a verdict ---------------------------------------------------------------------------------------------------


class BrokeOff(Model):
    """A cell crashed or ran out of time."""

    code: Literal["broke-off"] = "broke-off"
    probe: str
    arm: str
    seed: int
    status: str
    reason: str


class NeverFinished(Model):
    """Planned cells that are not in the document."""

    code: Literal["never-finished"] = "never-finished"
    cells: int
    planned: int


class NamedAndSkipped(Model):
    """A probe that was asked for by name does not apply."""

    code: Literal["named-and-skipped"] = "named-and-skipped"
    probe: str
    arm: str
    seed: int
    reason: str


class SplitUnknown(Model):
    """Probes that need items the model was not trained on, of a model whose training items nobody named."""

    code: Literal["split-unknown"] = "split-unknown"
    probes: tuple[str, ...]


class Unverified(Model):
    """Nothing shows that the audited model is the one that was trained: no reference answers, no claimed accuracy."""

    code: Literal["unverified"] = "unverified"


class CoverageLost(Model):
    """A probe ran when the baseline was written, and not here."""

    code: Literal["coverage-lost"] = "coverage-lost"
    probe: str
    arm: str


class NothingMeasured(Model):
    """No cell gave a result."""

    code: Literal["nothing-measured"] = "nothing-measured"


class NothingJudged(Model):
    """A probe gave numbers, and none of them can be judged."""

    code: Literal["nothing-judged"] = "nothing-judged"
    probe: str


class ResultUntrusted(Model):
    """A judged result that does not count; named by its fingerprint."""

    code: Literal["result-untrusted"] = "result-untrusted"
    fingerprint: str


class ClaimUnsettled(Model):
    """A claim that was asked about by name and could not be refuted by this audit."""

    code: Literal["claim-unsettled"] = "claim-unsettled"
    fingerprint: str


class PowerOnly(Model):
    """Only its power was asked for: nothing was run, nothing is judged.

    Attributes:
        possible: whether an audit by this plan could refute the claim.
    """

    code: Literal["power-only"] = "power-only"
    possible: bool


class OpenAndMustNot(Model):
    """A result is open, and the policy does not let open results pass."""

    code: Literal["open-and-must-not"] = "open-and-must-not"
    fingerprint: str


class Interrupted(Model):
    """Stopped by the user or the system."""

    code: Literal["interrupted"] = "interrupted"
    finished: int
    planned: int


class StaleAcceptance(Model):
    """An acceptance that accepts nothing any more.

    Attributes:
        source: baseline or suppress.
        finding: finding id or pattern.
        target: of a rule.
        why: `absent` (no such result), `passes` (it no longer fails), `expired`.
        until: the day, where it expired.
    """

    code: Literal["stale-acceptance"] = "stale-acceptance"
    source: Literal["baseline", "suppress"]
    finding: str
    target: str = ""
    why: Literal["absent", "passes", "expired"]
    until: datetime.date | None = None


VerdictCode = Annotated[
    BrokeOff
    | NeverFinished
    | NamedAndSkipped
    | SplitUnknown
    | Unverified
    | CoverageLost
    | NothingMeasured
    | NothingJudged
    | ResultUntrusted
    | ClaimUnsettled
    | PowerOnly
    | OpenAndMustNot
    | Interrupted
    | StaleAcceptance,
    Field(discriminator="code"),
]
