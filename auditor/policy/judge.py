"""From numbers to judgements: threshold, status, severity, confidence, acceptance.

Severity and gate read the excess over the control, never the raw value: severity is the band of its lower bound (what
is proven), `severity_upper` the band of its upper bound (what cannot be excluded), and a threshold is passed or failed
by a bound.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from auditor.document import CellRow, Estimate, Judgement, Result, ValidityRow, excess_of
from auditor.document.codes import (
    AcceptanceExpired,
    Accepted,
    InsideNoise,
    JudgementCode,
    NoThreshold,
    NotMeasured,
    NotSeparable,
    NotSignificant,
    OneSeed,
    Settle,
    StandsAnyway,
    TooBlunt,
    TooUncertain,
    Untrusted,
    Widened,
    WorseThanAccepted,
)
from auditor.document.facts import ClaimFacts, Decorrelation, Group, Severity, Shipped
from auditor.document.results import Confidence, Question, Status
from auditor.policy.bands import CONFIDENCES, rank, reaches
from auditor.policy.baseline import Baseline
from auditor.policy.bounds import ALPHA, settling, widened
from auditor.policy.rules import FLOORS, LIMITS, Policy
from auditor.policy.trust import Trust, trust_of
from auditor.statistics.estimate import Range

UNBANDED = ("claim", "artifact")
"""Questions with rules of their own: a claim's verdict word, a fact's fixed severity."""
SHARES_OF_LABELS = (
    "robustness", "edge-free", "damage", "held-out", "worst-group", "defense-cost", "worst-case-loss", "harm",
)  # fmt: skip
"""Questions about drops in shares of labels, which a noise floor of labels can be held against."""
_CLAIMS: dict[str, tuple[Status, Severity, Severity]] = {
    "VIOLATED": ("fail", "critical", "critical"),
    "UNDERPOWERED": ("inconclusive", "low", "critical"),
    "CONSISTENT": ("pass", "none", "none"),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a result is judged against.

    Attributes:
        value: T, as an excess; None when neither a band nor a limit applies, infinite when nothing fails.
        name, set_by: the level, the named limit, or the policy whose table holds it, and which of them it is.
        floor: the floor under the number itself that was turned into an excess.
        corrected: whether the harness's `p_adjusted` answers for this T.
        together: numbers that are judged together, so that the bounds are widened; 1 when they are not.
    """

    value: float | None
    name: str
    set_by: Literal["level", "policy", "limit"] = "level"
    floor: float | None = None
    corrected: bool = False
    together: int = 1


@dataclass(frozen=True, slots=True)
class _Word:
    """Status of one result before trust and acceptance; `blind`: there was nothing to judge."""

    status: Status
    severity: Severity
    upper: Severity
    confidence: Confidence
    codes: tuple[JudgementCode, ...] = ()
    blind: bool = False


def judge(
    results: Sequence[Result],
    cells: Sequence[CellRow],
    validity: Sequence[ValidityRow],
    target_name: str,
    policy: Policy,
    *,
    as_of: datetime.date,
    baseline: Baseline | None = None,
) -> tuple[Result, ...]:
    """The same results, each of the judged ones with its judgement.

    Args:
        results: of one audit; an earlier judgement is replaced.
        cells: the cells behind them.
        validity: rows about the target.
        target_name: what suppress rules are matched with.
        policy: what fails.
        as_of: the day (UTC) on which acceptances are checked.
        baseline: accepted results.
    """
    by_key = {cell.key: cell for cell in cells}
    judged = [result for result in results if result.judged]
    thresholds = dict(zip(map(id, judged), _thresholds(judged, policy), strict=True))
    trusts: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Trust] = {}
    made = []
    for result in results:
        if not result.judged:
            made.append(result)
            continue
        place = result.probe, result.cells, result.access
        if (trust := trusts.get(place)) is None:
            trust = trusts[place] = trust_of(result, validity, by_key)
        own = _judge_one(result, thresholds[id(result)], trust, policy)
        own = _accepted(result, own, policy, target_name, as_of, baseline)
        made.append(result if own == result.judgement else result.model_copy(update={"judgement": own}))
    return tuple(made)


def gates(result: Result, policy: Policy) -> bool:
    """Whether an unaccepted result makes the gate fail (exit 1) under this policy."""
    return result.judgement is not None and _gates(result, result.judgement, policy)


def _gates(result: Result, judgement: Judgement, policy: Policy) -> bool:
    if judgement.status == "fail":
        return True
    straddles = judgement.status == "inconclusive" and not judgement.untrusted and result.question != "claim"
    return straddles and policy.inconclusive == "fail"


def _thresholds(judged: Sequence[Result], policy: Policy) -> list[Threshold]:
    """T of every result, and how many are judged together with it: of one arm, since each arm is a model of its own."""
    by_question: dict[Question, Threshold] = {}
    pairs = [(result, _threshold(result, policy, by_question)) for result in judged]
    by_band = [t.value == 0 and not t.corrected and r.question not in UNBANDED for r, t in pairs]
    at_zero = Counter(result.arm for result, zero in zip(judged, by_band, strict=True) if zero)
    asking = Counter((result.question, result.arm) for result in judged)
    made = []
    for (result, threshold), zero in zip(pairs, by_band, strict=True):
        together = at_zero[result.arm] if zero else 1
        if not zero and result.p_adjusted is not None and not threshold.corrected:
            # The harness corrected for another threshold than the policy's: its p-value says nothing about this one.
            together = asking[result.question, result.arm]
        made.append(threshold if together == 1 else replace(threshold, together=together))
    return made


def _threshold(result: Result, policy: Policy, by_question: dict[Question, Threshold]) -> Threshold:
    """T of one result: its harness's own limit, a named limit that is set, else the policy's table.

    A p-value answers for the threshold it was made for. `by_question` keeps what holds for every result of a question.
    """
    if result.limit is not None:
        found = Threshold(result.limit.value, result.limit.name, "limit")
    elif (known := by_question.get(result.question)) is not None:
        found = known
    else:
        found = _from_policy(result, policy)
        if found.floor is None:  # a floor is asked of each control
            by_question[result.question] = found
    if found.value is None or result.p_adjusted is None:
        return found
    corrected = result.p_for is None or math.isclose(found.value, result.p_for, abs_tol=1e-12)
    return replace(found, corrected=corrected)


def _from_policy(result: Result, policy: Policy) -> Threshold:
    named = next((name for name in policy.limits if LIMITS[name] == result.question), "")
    if named in FLOORS:
        control = result.control
        if control is None or control.estimate.value is None:
            return Threshold(None, named, "limit", floor=policy.limits[named])
        return Threshold(control.estimate.value - policy.limits[named], named, "limit", floor=policy.limits[named])
    if named:
        return Threshold(policy.limits[named], named, "limit")
    own = policy.fails_from.get(result.question, policy.fail_on)
    if not isinstance(own, str):
        return Threshold(own, policy.name, "policy")
    bands = policy.thresholds.get(result.question)
    if bands is None:
        return Threshold(None, own)
    edge = bands.threshold(own)
    return Threshold(math.inf if edge is None else edge, own)


def _judge_one(result: Result, threshold: Threshold, trust: Trust, policy: Policy) -> Judgement:
    if result.question == "claim":
        word = _claim(result)
    elif result.question == "artifact":
        word = _shipped(result, policy)
    else:
        word = _measured(result, threshold, policy)
    status, confidence, codes = word.status, word.confidence, list(word.codes)
    if result.seeds != "fixed" and len(result.by_seed) == 1 and result.question not in UNBANDED:
        confidence = _at_most(confidence, "medium")
        codes.append(OneSeed())
    if trust.failed:
        confidence = "low"
    elif trust.warned:
        confidence = CONFIDENCES[max(CONFIDENCES.index(confidence) - 1, 0)]
    spoiled = bool(trust.integrity) or (bool(trust.strength) and status != "fail")
    if spoiled:
        status = "inconclusive"
        codes.append(Untrusted(checks=trust.failed))
    elif trust.failed:
        codes.append(StandsAnyway(checks=trust.failed))
    untrusted = spoiled or word.blind
    if status == "fail" and result.question in SHARES_OF_LABELS and _inside(result, trust.noise_floor):
        status = "inconclusive"
        codes.append(InsideNoise(floor=trust.noise_floor))
    if status == "fail" and CONFIDENCES.index(confidence) < CONFIDENCES.index(policy.min_confidence):
        status = "inconclusive"
        # Weak only because a check failed: that is no verdict, not a pass.
        untrusted = untrusted or bool(trust.failed)
        codes.append(TooUncertain(confidence=confidence, needed=policy.min_confidence))
    value = threshold.value
    return Judgement(
        status=status,
        severity=word.severity,
        severity_upper=word.upper,
        confidence=confidence,
        threshold=value if value is not None and math.isfinite(value) else None,
        against=threshold.name,
        set_by=threshold.set_by,
        floor=threshold.floor,
        untrusted=untrusted,
        codes=tuple(codes),
    )


def _measured(result: Result, threshold: Threshold, policy: Policy) -> _Word:
    excess = result.excess
    if excess is None or excess.value is None:
        return _Word("inconclusive", "none", "critical", "low", (NotMeasured(),), blind=True)
    lo, hi = _ends(excess)
    bands = policy.thresholds.get(result.question)
    severity: Severity = "none" if bands is None else bands.severity(lo)
    upper: Severity = "none" if bands is None else bands.severity(hi)
    confidence = CONFIDENCES[max(2 - (rank(upper) - rank(severity)), 0)]
    if threshold.value is None:
        return _Word("inconclusive", severity, upper, confidence, (NoThreshold(),))
    codes: list[JudgementCode] = []
    bound = result.at_most
    if bound is not None:
        severity = min(severity, bound, key=rank)
    low, high = _anchors(result, excess.value)
    if threshold.together > 1:
        lo, _ = widened(low, lo, low, threshold.together, averaged=result.averaged)
        _, hi = widened(high, high, hi, threshold.together, averaged=result.averaged)
        least, most = _range_of_excesses(result).cut(lo, hi)  # what is said of it; the other bound settles nothing
        codes.append(Widened(together=threshold.together, lo=least, hi=most))
    status: Status = "inconclusive"
    detectable = result.facts.detectable if isinstance(result.facts, Group) else None
    if detectable is not None and detectable > threshold.value and excess.value < threshold.value:
        codes.append(TooBlunt(detectable=detectable))  # not to have seen it is no sign that it is not there
    elif not reaches(hi, threshold.value):
        status = "pass"
    elif reaches(lo, threshold.value):
        status = "fail"
        if threshold.corrected and result.p_adjusted is not None and result.p_adjusted > ALPHA:
            status = "inconclusive"
            codes.append(NotSignificant(p=result.p_adjusted, alpha=ALPHA))
    if status != "pass" and bound is not None and bands is not None:
        reaches_further = rank(bands.severity(threshold.value)) > rank(bound)
        if reaches_further:
            return _Word("inconclusive", severity, upper, confidence, (*codes, NotSeparable(at_most=bound)))
    n = excess.n or result.estimate.n
    if status == "inconclusive" and low < threshold.value <= high:
        # What is proven lies below it by one control, and what is not excluded above it by another.
        codes.append(Settle(items=None, there=n, seeds=None))
    elif status == "inconclusive":
        codes += settling(
            n,
            low if low >= threshold.value else high,
            lo,
            hi,
            threshold.value,
            averaged=result.averaged,
            together=threshold.together,
            detectable=detectable,
        )
    return _Word(status, severity, upper, confidence, tuple(codes))


def _range_of_excesses(result: Result) -> Range:
    """The values that the excess can take: contrasts, turned where less is worse."""
    contrasts = result.range_of_contrasts
    return contrasts if result.worse_when == "higher" else contrasts.turned


def _anchors(result: Result, value: float) -> tuple[float, float]:
    """The excess that the lower end belongs to and that of the upper end: they may be against different controls."""
    contrast = result.contrast
    if contrast is None or not (contrast.lo_to or contrast.hi_to):
        return value, value
    values = {
        control.name: excess_of(control.contrast, result.worse_when).value
        for control in result.controls
        if control.contrast is not None
    }
    ends = (contrast.lo_to, contrast.hi_to) if result.worse_when == "higher" else (contrast.hi_to, contrast.lo_to)
    low, high = (found if (found := values.get(name)) is not None else value for name in ends)
    return low, high


def _claim(result: Result) -> _Word:
    """A DP claim's own verdict; over seeds the worst one, which is the one its facts state. None stated is none."""
    word = result.facts.verdict if isinstance(result.facts, ClaimFacts) else "UNDERPOWERED"
    status, severity, upper = _CLAIMS[word]
    return _Word(status, severity, upper, "high")


def _shipped(result: Result, policy: Policy) -> _Word:
    """A fact about the file, there when it counts above 0: severity as its facts state it, else high."""
    if result.estimate.value is None:
        return _Word("inconclusive", "none", "critical", "low", (NotMeasured(),), blind=True)
    severity: Severity = "none"
    if result.estimate.value > 0:
        stated = result.facts.severity if isinstance(result.facts, Shipped | Decorrelation) else None
        severity = stated or "high"
    return _Word("fail" if rank(severity) >= rank(policy.fail_on) else "pass", severity, severity, "high")


def _ends(excess: Estimate) -> tuple[float, float]:
    """An open end is an infinity: it can fail, never pass."""
    return -math.inf if excess.lo is None else excess.lo, math.inf if excess.hi is None else excess.hi


def _inside(result: Result, floor: float) -> bool:
    """Whether the excess is no larger than what changes by chance alone."""
    excess = result.excess
    return excess is not None and excess.value is not None and excess.value <= floor


def _at_most(confidence: Confidence, most: Confidence) -> Confidence:
    return CONFIDENCES[min(CONFIDENCES.index(confidence), CONFIDENCES.index(most))]


def _accepted(
    result: Result,
    judgement: Judgement,
    policy: Policy,
    target: str,
    as_of: datetime.date,
    baseline: Baseline | None,
) -> Judgement:
    """The judgement accepted by baseline or suppress rule; or with codes that say why it is not."""
    if not _gates(result, judgement, policy):
        return judgement
    refused: list[JudgementCode] = []
    entry = None if baseline is None else baseline.find(result.fingerprint)
    if entry is not None:
        if not entry.valid_on(as_of):
            refused.append(AcceptanceExpired(until=entry.expires))
        elif _is_worse(result, judgement, entry.hi, entry.severity):
            refused.append(WorseThanAccepted(hi=entry.hi, severity=entry.severity))
        else:
            code = Accepted(source="baseline", reason=entry.reason, by=entry.by, until=entry.expires)
            return _with(judgement, "accepted", (code,))
    for rule in policy.suppress:
        if rule.matches(result.finding, target, result.arm):
            if as_of <= rule.expires:
                code = Accepted(source="suppress", rule=rule.id, reason=rule.reason, until=rule.expires)
                return _with(judgement, "accepted", (code,))
            refused.append(AcceptanceExpired(until=rule.expires))
    return _with(judgement, judgement.status, tuple(code for i, code in enumerate(refused) if code not in refused[:i]))


def _with(judgement: Judgement, status: Status, codes: tuple[JudgementCode, ...]) -> Judgement:
    return judgement.model_copy(update={"status": status, "codes": (*judgement.codes, *codes)})


def _is_worse(result: Result, judgement: Judgement, accepted_hi: float | None, accepted: Severity) -> bool:
    """Whether a result lies beyond what was accepted."""
    excess = result.excess
    lo = None if excess is None else excess.lo
    beyond = lo is not None and accepted_hi is not None and lo > accepted_hi
    return beyond or rank(judgement.severity) > rank(accepted)
