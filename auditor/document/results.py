"""One number of an audit: what was measured, beside its controls, per seed and joined, and how it was judged."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from auditor.document.codes import JudgementCode
from auditor.document.facts import Facts, Severity
from auditor.records import Model, Number
from auditor.statistics.estimate import ANY, COUNTS, SHARES, Contrast, Estimate, Range

Status = Literal["pass", "fail", "inconclusive", "accepted"]
Confidence = Literal["low", "medium", "high"]
Question = Literal[
    "ranking",
    "low-fpr",
    "accuracy",
    "robustness",
    "edge-free",
    "over-confidence",
    "under-confidence",
    "damage",
    "held-out",
    "worst-group",
    "silent-failure",
    "inverted-confidence",
    "non-finite",
    "defense-cost",
    "worst-case-loss",
    "harm",
    "claim",
    "artifact",
    "other",
]
"""What a number answers, and so which bands, which threshold of the policy and which named limit it is judged by."""
Unit = Literal["share", "auc", "errors", "count", "epsilon", "ratio"]
_RANGES: Final[Mapping[Unit, Range]] = {
    "share": SHARES,
    "auc": SHARES,
    "errors": Range(None, 1.0),
    "count": COUNTS,
    "epsilon": COUNTS,
    "ratio": ANY,
}
WorseWhen = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is, whoever measures it.

    Attributes:
        name: snake_case.
        unit: `share` (of items, pairs, answers), `auc`, `errors` (share of a control's errors that is avoided),
            `count`, `epsilon`, or `ratio` for any other plain number.
        worse_when: which direction is worse for the model's owner.
        question: what it answers, which says how it is judged.
        signed: whether it is itself a difference of two numbers of that unit, and so may be negative.
    """

    name: str
    unit: Unit
    worse_when: WorseWhen
    question: Question = "other"
    signed: bool = False


class Control(Model):
    """What the same adversary, shift or defence reaches without the thing under test.

    Attributes:
        name: kebab-case or a few words.
        estimate: what it reaches.
        contrast: own − this, paired; None where it is shown and not compared with.
        own: own side of that pair, where it was measured on other items than the result's.
        twin: a model retrained on a rewired graph. It may lower what is proven and never clear: degrees and class
            mixing are private too.
    """

    name: str
    estimate: Estimate
    contrast: Estimate | None = None
    own: Estimate | None = None
    twin: bool = False


class Limit(Model):
    """A limit of the excess that a harness brings along for a question of its own (`other`); a fraction."""

    name: str
    value: float


class Numbers(Model):
    """A number beside its controls.

    Attributes:
        estimate: the number.
        controls: every control that ran.
        contrast: own − control, paired, against the strongest of them or the one that alone counts; None where there is
            nothing to compare with.
    """

    estimate: Estimate
    controls: tuple[Control, ...] = ()
    contrast: Contrast | None = None

    @property
    def own(self) -> Estimate:
        """The number on the items that it was compared on: with the control's it subtracts to the contrast."""
        control = self.control
        return self.estimate if control is None or control.own is None else control.own

    @property
    def control(self) -> Control | None:
        """The control that the contrast is to; the first one where nothing is compared."""
        if self.contrast is None:
            return self.controls[0] if self.controls else None
        return next((control for control in self.controls if control.name == self.contrast.to), None)


class _Named(Numbers):
    """Numbers with the words that say what they are.

    Attributes:
        finding: id of the finding that it speaks about.
        metric, unit, signed, worse_when, question: see `Metric`.
        subset: which items (`eps=0.05`), empty for all.
        limit: what it is judged by where no question of the policy's fits.
        p_adjusted: p value where the harness corrects for several tests itself; over seeds the largest.
        p_for: the excess that this p value tests; None where it holds at every threshold.
        judged: whether the policy judges it; the others are shown.
        at_most: the most that the controls which ran can prove; None for no such bound.
        facts: what a sentence needs besides.
    """

    finding: str
    metric: str
    subset: str = ""
    unit: Unit
    signed: bool = False
    worse_when: WorseWhen
    question: Question = "other"
    limit: Limit | None = None
    p_adjusted: Number = None
    p_for: Number = None
    judged: bool = False
    at_most: Severity | None = None
    facts: Facts | None = None

    @property
    def range(self) -> Range:
        """The values that the number can take."""
        plain = _RANGES[self.unit]
        return plain.of_differences if self.signed else plain

    @property
    def range_of_contrasts(self) -> Range:
        """The values that its difference to a control can take."""
        # Avoided errors are counted from the control, so that the control's own value is 0.
        return self.range if self.unit == "errors" else self.range.of_differences

    @property
    def excess(self) -> Estimate | None:
        """The contrast, signed so that positive = worse for the owner."""
        return None if self.contrast is None else excess_of(self.contrast, self.worse_when)


class Measured(_Named):
    """One number of one cell: what a harness answers.

    Attributes:
        access: what the adversary of this number held; None for that of the cell.
    """

    access: tuple[str, ...] | None = None


class AtSeed(Numbers):
    """The numbers of one seed, with the key of the cell they come from."""

    cell: str
    seed: int
    p_adjusted: Number = None


class Judgement(Model):
    """A result judged by the policy, from numbers alone.

    Attributes:
        status: before and after acceptance.
        severity: band of the lower bound of the excess: what is proven.
        severity_upper: band of the upper bound: what cannot be excluded.
        confidence: how far the two lie apart, lowered by failed checks.
        threshold: T, as an excess; None where neither band nor limit applies.
        against: where T comes from, by name: `high`, `standard`, `max_gap_pt`.
        set_by: what that is the name of: a `level`, the `policy` whose table has a number for this question, or a
            `limit`.
        floor: the floor under the number itself that T comes from; None where T is given as an excess.
        untrusted: whether the status rests on a failed check.
        codes: why.
    """

    status: Status
    severity: Severity
    severity_upper: Severity
    confidence: Confidence
    threshold: Number = None
    against: str = ""
    set_by: Literal["level", "policy", "limit"] = "level"
    floor: Number = None
    untrusted: bool = False
    codes: tuple[JudgementCode, ...] = ()

    def has(self, kind: type[Model]) -> bool:
        """Whether a code of this kind is among the reasons."""
        return any(isinstance(code, kind) for code in self.codes)


class Result(_Named):
    """One number over its seeds, and its judgement.

    Attributes:
        fingerprint: sha256 of finding, target, arm, probe, metric and subset: no measured value, so that it survives
            retraining.
        family, probe, arm: where it comes from; `arm` is `none` for the target as it is.
        access: what the adversary held.
        taxonomy: ids of MITRE ATLAS, OWASP ML and CWE.
        seeds: the seeds behind it, or `fixed` where the probe draws nothing and one cell says all.
        joined_by: `mean` over seeds; `worst` where seeds are tries of one adversary and the worst one is the result.
        shown_seed: the seed whose numbers stand in the result, where it is the worst of several.
        by_seed: the numbers of every seed.
        judgement: by the policy; None for a number that is shown and not judged.
    """

    fingerprint: str
    family: str
    probe: str
    arm: str = "none"
    access: tuple[str, ...] = ()
    taxonomy: tuple[str, ...] = ()
    seeds: tuple[int, ...] | Literal["fixed"]
    joined_by: Literal["mean", "worst"] = "mean"
    shown_seed: int | None = None
    by_seed: tuple[AtSeed, ...] = Field(min_length=1)
    judgement: Judgement | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Keys of the cells behind it."""
        return tuple(each.cell for each in self.by_seed)

    def has_status(self, status: Status) -> bool:
        """Whether it was judged so."""
        return self.judgement is not None and self.judgement.status == status

    @property
    def spread(self) -> tuple[float, ...]:
        """Excess at every seed, ascending; empty unless two seeds have one."""
        found = [excess_of(each.contrast, self.worse_when).value for each in self.by_seed if each.contrast is not None]
        known = sorted(value for value in found if value is not None)
        return tuple(known) if len(known) > 1 else ()

    @property
    def averaged(self) -> tuple[float, ...]:
        """Excesses that the mean was taken over; empty for one seed and where the worst seed is the result."""
        return self.spread if self.joined_by == "mean" else ()


def excess_of(contrast: Estimate, worse_when: WorseWhen) -> Estimate:
    """A difference own − other, signed so that positive = worse for the model's owner."""
    return contrast.negated() if worse_when == "lower" else contrast


def measured(
    metric: Metric,
    estimate: Estimate,
    *,
    finding: str,
    subset: str = "",
    controls: Sequence[Control] = (),
    against: str | None = None,
    strongest: str | None = None,
    judged: bool = False,
    limit: Limit | None = None,
    p_adjusted: float | None = None,
    p_for: float | None = None,
    at_most: Severity | None = None,
    facts: Facts | None = None,
) -> Measured:
    """The one way to make a number of a cell; the contrast follows from those of the controls.

    It is against the control with the least excess. Its lower end is the least of all controls, since every one must be
    beaten; its upper end is that of the strongest control that is no twin, since a twin lowers what is proven and never
    clears. (Upper and lower as an excess.) That control is the one with the least excess, or `strongest` where excesses
    do not tell. `against` names the one control that counts, where the others only stand beside it: a defence is judged
    against its own control.
    """
    counted = [control for control in controls if against is None or control.name == against]
    return Measured(
        estimate=estimate,
        controls=tuple(controls),
        contrast=_contrast(counted, metric.worse_when, strongest),
        finding=finding,
        metric=metric.name,
        subset=subset,
        unit=metric.unit,
        signed=metric.signed,
        worse_when=metric.worse_when,
        question=metric.question,
        limit=limit,
        p_adjusted=p_adjusted,
        p_for=p_for,
        judged=judged,
        at_most=at_most,
        facts=facts,
    )


def _contrast(controls: Sequence[Control], worse_when: WorseWhen, strongest: str | None) -> Contrast | None:
    pairs = [(c, excess_of(c.contrast, worse_when)) for c in controls if c.contrast is not None]
    pairs = [pair for pair in pairs if pair[1].value is not None]
    if not pairs:
        return None

    def least(among: Sequence[tuple[Control, Estimate]]) -> tuple[Control, Estimate]:
        return min(among, key=lambda pair: pair[1].value or 0.0)

    control, excess = least(pairs)
    plain = [pair for pair in pairs if not pair[0].twin]
    named = [pair for pair in plain if pair[0].name == strongest]
    upper, over = named[0] if named else least(plain or pairs)
    lower, under = min(pairs, key=lambda pair: -math.inf if pair[1].lo is None else pair[1].lo)
    joint = Estimate(value=excess.value, lo=under.lo, hi=over.hi, n=excess.n)
    lo, hi = ("" if other is control else other.name for other in (lower, upper))
    if worse_when == "lower":
        joint, lo, hi = joint.negated(), hi, lo
    return Contrast(**joint.model_dump(), to=control.name, lo_to=lo, hi_to=hi)


def fingerprint(finding: str, target: str, arm: str, probe: str, metric: str, subset: str) -> str:
    """Sha256 (hex) of exactly these words."""
    return hashlib.sha256("\0".join((finding, target, arm, probe, metric, subset)).encode()).hexdigest()
