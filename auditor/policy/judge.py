"""From joined measurements to findings: threshold, status, severity, confidence, acceptance (reports spec 3.3, 3.5).

Severity and gate read the advantage, never the raw value: severity is the band of its lower bound (what is proven),
`severity_upper` the band of its upper bound (what cannot be excluded), and a threshold is passed or failed by a bound.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from auditor.audit import CellRow, Confidence, Finding, Severity, Status, ValidityRow
from auditor.baseline import Baseline
from auditor.errors import EvaluationError
from auditor.joined import Joined, join_cells
from auditor.policy import sentence
from auditor.policy.bands import CONFIDENCES, SEVERITIES, rank, reaches
from auditor.policy.rules import Policy
from auditor.policy.trust import Trust, TrustBook
from auditor.taxonomy import ids_of, taxon

ALPHA = 0.025
_CLAIMS: dict[str, tuple[Status, Severity]] = {
    "VIOLATED": ("fail", "critical"),
    "UNDERPOWERED": ("inconclusive", "low"),
    "CONSISTENT": ("pass", "none"),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a measurement is judged against.

    Attributes:
        value: T, as an advantage; None when neither a band nor a limit applies.
        words: "high", or the name of the limit, for the sentence.
        is_limit: whether a named limit replaces the band.
        corrected: whether the harness's `p_adjusted` answers for this T.
        together: numbers that are judged together, so that the bounds are widened; 1 when they are not.
    """

    value: float | None
    words: str
    is_limit: bool = False
    corrected: bool = False
    together: int = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """Status before acceptance, with what decided it."""

    status: Status
    severity: Severity
    upper: Severity
    confidence: Confidence
    untrusted: bool
    threshold: Threshold
    notes: tuple[str, ...]


def judge(
    cells: Sequence[CellRow],
    validity: Sequence[ValidityRow],
    target_name: str,
    policy: Policy,
    *,
    as_of: datetime.date,
    baseline: Baseline | None = None,
) -> tuple[Finding, ...]:
    """The findings of an audit: every primary measurement, joined over seeds and judged.

    Args:
        cells: all rows of the run; only finished ones are judged.
        validity: rows about the target; rows of a cell are read from the cell.
        target_name: part of every fingerprint.
        policy: what fails.
        as_of: the day (UTC) on which acceptances are checked.
        baseline: accepted findings.

    Raises:
        EvaluationError: two cells of one (defence, probe, seed) measure the same thing.
    """
    primary = [joined for joined in join_cells(cells, target_name) if joined.primary]
    for joined in primary:
        seeds = [cell.seed for cell in joined.cells]
        if len(set(seeds)) < len(seeds):
            raise EvaluationError(
                f"{joined.probe} gives {joined.name} {joined.subset} twice for one seed ({sorted(seeds)}); "
                "a measurement is named once per cell."
            )
    book = TrustBook(validity, cells)
    thresholds = _thresholds(primary, policy)
    findings = []
    for joined, threshold in zip(primary, thresholds, strict=True):
        judged = _judge_one(joined, threshold, book.of(joined), policy)
        findings.append(_accept(_finding(joined, judged, policy), policy, target_name, as_of, baseline))
    return tuple(findings)


def gates(finding: Finding, policy: Policy) -> bool:
    """Whether an unaccepted finding makes the gate fail (exit 1) under this policy."""
    if finding.status == "fail":
        return True
    straddles = finding.status == "inconclusive" and not finding.untrusted and finding.scale != "claim"
    return straddles and policy.inconclusive == "fail"


def widened(
    value: float, lo: float, hi: float, together: int, *, averaged: Sequence[float] = ()
) -> tuple[float, float]:
    """A 95 % interval stretched around its value so that `together` of them hold at once (Bonferroni).

    The part that comes from the data grows by z(1 − .025/m) / z(.975). The part that comes from the spread of k seeds
    is a Student quantile and grows by its own ratio: stretched by the normal one, 40 null numbers over three seeds
    that differ ten times as much as their items would explain raise a false alarm in 30 % of audits.
    """
    tail = 1 - ALPHA / together
    factor = float(stats.norm.ppf(tail) / stats.norm.ppf(1 - ALPHA))
    before = after = 0.0
    if k := len(averaged):
        error = float(np.std(averaged, ddof=1)) / math.sqrt(k)
        before, after = (float(stats.t.ppf(q, k - 1)) * error for q in (1 - ALPHA, tail))

    def stretch(half: float) -> float:
        data = math.sqrt(max(half * half - before * before, 0.0))
        return math.hypot(factor * data, after)

    return min(lo, value - stretch(value - lo)), max(hi, value + stretch(hi - value))


def _thresholds(primary: Sequence[Joined], policy: Policy) -> list[Threshold]:
    """T of every measurement, and how many are judged together with it."""
    found = [_threshold(joined, policy) for joined in primary]
    by_band = [
        t.value == 0 and not t.corrected and j.scale not in ("claim", "artifact")
        for j, t in zip(primary, found, strict=True)
    ]
    result = []
    for joined, threshold, at_zero in zip(primary, found, by_band, strict=True):
        together = sum(by_band) if at_zero else 1
        if not at_zero and threshold.is_limit and joined.p_adjusted is not None and not threshold.corrected:
            # The harness corrected for another limit than the policy's: its p-value says nothing about this one.
            together = sum(t.words == threshold.words for t in found)
        result.append(
            Threshold(threshold.value, threshold.words, threshold.is_limit, threshold.corrected, max(together, 1))
        )
    return result


def _threshold(joined: Joined, policy: Policy) -> Threshold:
    limit = joined.limit
    if limit is not None:
        value = policy.limits.get(limit.name, limit.value)
        if value is not None:
            edge = value
            if limit.name.startswith("min_"):  # a floor on the raw value, turned into an advantage
                if joined.control is None or joined.control.value is None:
                    return Threshold(None, limit.name, is_limit=True)
                edge = joined.control.value - value
            corrected = joined.p_adjusted is not None and math.isclose(value, limit.value, abs_tol=1e-12)
            return Threshold(edge, limit.name, is_limit=True, corrected=corrected)
    bands = policy.thresholds.get(joined.scale)
    if bands is None:
        return Threshold(None, policy.fail_on)
    band = bands.edge(policy.fail_on)
    # A p-value answers for the limit it was made for; with that limit off, it answers for nothing here.
    corrected = joined.p_adjusted is not None and limit is None
    return Threshold(math.inf if band is None else band, policy.fail_on, corrected=corrected)


def _judge_one(joined: Joined, threshold: Threshold, trust: Trust, policy: Policy) -> Judged:
    if joined.scale == "claim":
        status, severity, upper, confidence, notes, blind = _claim(joined)
    elif joined.scale == "artifact":
        status, severity, upper, confidence, notes, blind = _artifact(joined, policy)
    else:
        status, severity, upper, confidence, notes, blind = _measured(joined, threshold, policy)
    if joined.seeds == 1 and joined.scale not in ("claim", "artifact"):
        confidence = _at_most(confidence, "medium")
        notes = (*notes, "one seed")
    if trust.failed:
        confidence = "low"
    elif trust.warned:
        confidence = CONFIDENCES[max(CONFIDENCES.index(confidence) - 1, 0)]
    spoiled = bool(trust.integrity) or (bool(trust.strength) and status != "fail")
    if spoiled:
        status = "inconclusive"
        notes = (*notes, f"untrusted: validity row {', '.join(trust.failed)} failed")
    elif trust.failed:
        notes = (*notes, f"a verified breach stands although {', '.join(trust.failed)} failed")
    untrusted = spoiled or blind
    if status == "fail" and CONFIDENCES.index(confidence) < CONFIDENCES.index(policy.min_confidence):
        status = "inconclusive"
        # Weak only because a check failed: that is no verdict, not a pass.
        untrusted = untrusted or bool(trust.failed)
        notes = (*notes, f"confidence {confidence} is below the policy's {policy.min_confidence}")
    return Judged(status, severity, upper, confidence, untrusted, threshold, notes)


_Verdict = tuple[Status, Severity, Severity, Confidence, tuple[str, ...], bool]


def _measured(joined: Joined, threshold: Threshold, policy: Policy) -> _Verdict:
    """Status, severity, upper severity, confidence, notes, and whether there was nothing to judge."""
    advantage = joined.advantage
    if advantage is None or advantage.value is None:
        return "inconclusive", "none", "critical", "low", ("untrusted: no advantage over a control was measured",), True
    lo = -math.inf if advantage.ci.lo is None else advantage.ci.lo
    hi = math.inf if advantage.ci.hi is None else advantage.ci.hi
    bands = policy.thresholds.get(joined.scale)
    severity: Severity = "none" if bands is None else bands.severity(lo)
    upper: Severity = "none" if bands is None else bands.severity(hi)
    confidence = CONFIDENCES[max(2 - (rank(upper) - rank(severity)), 0)]
    if threshold.value is None:
        return "inconclusive", severity, upper, confidence, ("no band and no limit to judge it against",), False
    notes: tuple[str, ...] = ()
    if threshold.together > 1:
        lo, hi = widened(advantage.value, lo, hi, threshold.together, averaged=joined.averaged)
        stretched = sentence.interval(lo, hi, joined.scale)
        notes = (f"bounds widened to {stretched} for {threshold.together} numbers judged together",)
    status: Status = "inconclusive"
    if not reaches(hi, threshold.value):
        status = "pass"
    elif reaches(lo, threshold.value):
        status = "fail"
        if threshold.corrected and joined.p_adjusted is not None and joined.p_adjusted > ALPHA:
            status = "inconclusive"
            notes = (*notes, f"p = {joined.p_adjusted:.3f} after correction for several tests, above {ALPHA}")
    if status == "inconclusive":
        notes = (*notes, *sentence.remedy(joined.n, advantage.value, lo, hi, threshold.value, joined.seeds))
    return status, severity, upper, confidence, notes, False


def _claim(joined: Joined) -> _Verdict:
    """A DP claim's own verdict; over seeds the worst one. A missing verdict is none."""
    words = [str(row.notes.get("verdict", "")) for row in joined.rows]
    worst = next((word for word in ("VIOLATED", "UNDERPOWERED") if word in words), "CONSISTENT")
    if not set(words) <= set(_CLAIMS):
        worst = "VIOLATED" if "VIOLATED" in words else "UNDERPOWERED"
    status, severity = _CLAIMS[worst]
    return status, severity, "critical" if worst == "UNDERPOWERED" else severity, "high", (f"claim {worst}",), False


def _artifact(joined: Joined, policy: Policy) -> _Verdict:
    """A file's defect: severity fixed by its id, or given by the scan; present when its value is above 0."""
    if joined.value is None:
        return "inconclusive", "none", "critical", "low", ("untrusted: the scan gave no value",), True
    fixed: Severity = "none"
    if joined.value > 0:
        given = [str(row.notes["severity"]) for row in joined.rows if row.notes.get("severity") in SEVERITIES]
        fixed = SEVERITIES[max(map(SEVERITIES.index, given))] if given else taxon(joined.finding).severity or "high"
    status: Status = "fail" if rank(fixed) >= rank(policy.fail_on) else "pass"
    return status, fixed, fixed, "high", (), False


def _at_most(confidence: Confidence, most: Confidence) -> Confidence:
    return CONFIDENCES[min(CONFIDENCES.index(confidence), CONFIDENCES.index(most))]


def _finding(joined: Joined, judged: Judged, policy: Policy) -> Finding:
    value = judged.threshold.value
    return Finding(
        id=joined.finding,
        fingerprint=joined.fingerprint,
        status=judged.status,
        severity=judged.severity,
        severity_upper=judged.upper,
        confidence=judged.confidence,
        reason=sentence.of(
            joined, judged.status, judged.severity, judged.upper, judged.threshold.words, value, judged.notes
        ),
        probe=joined.probe,
        defense=joined.defense,
        measurement=joined.name,
        subset=joined.subset,
        scale=joined.scale,
        cells=tuple(cell.key for cell in joined.cells),
        value=joined.value,
        ci=joined.ci,
        control=joined.control,
        advantage=joined.advantage,
        threshold=value if value is not None and math.isfinite(value) else None,
        ids=ids_of(joined.finding, joined.access),
        access=joined.access,
        untrusted=judged.untrusted,
    )


def _accept(finding: Finding, policy: Policy, target: str, as_of: datetime.date, baseline: Baseline | None) -> Finding:
    """The finding accepted by baseline or suppress rule; or why it is not."""
    if not gates(finding, policy):
        return finding
    refused: list[str] = []
    entry = None if baseline is None else baseline.find(finding.fingerprint)
    if entry is not None:
        if not entry.valid_on(as_of):
            refused.append(f"accepted until {entry.expires.isoformat()}: expired")
        elif worse := _worse_than(finding, entry.hi, entry.severity):
            refused.append(worse)
        else:
            by = f"baseline: {entry.reason} ({entry.by}, until {entry.expires.isoformat()})"
            return finding.model_copy(update={"status": "accepted", "accepted_by": by})
    for rule in policy.suppress:
        if rule.matches(finding.id, target, finding.defense):
            if as_of <= rule.expires:
                by = f"suppress {rule.id}: {rule.reason} (until {rule.expires.isoformat()})"
                return finding.model_copy(update={"status": "accepted", "accepted_by": by})
            refused.append(f"accepted until {rule.expires.isoformat()}: expired")
    return finding.model_copy(update={"reason": "; ".join((finding.reason, *dict.fromkeys(refused)))})


def _worse_than(finding: Finding, accepted_hi: float | None, accepted: Severity) -> str:
    """Why a finding is worse than what was accepted, or an empty string."""
    advantage = finding.advantage
    lo = None if advantage is None else advantage.ci.lo
    beyond = lo is not None and accepted_hi is not None and lo > accepted_hi
    if not beyond and rank(finding.severity) <= rank(accepted):
        return ""
    shown = sentence.number_with_interval(advantage, finding.scale)
    if beyond:
        return f"worse than accepted: {shown} > {sentence.number(accepted_hi, finding.scale)}"
    return f"worse than accepted: {shown} is {finding.severity}, accepted was {accepted}"
