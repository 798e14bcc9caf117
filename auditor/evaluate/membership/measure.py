"""From scores of members and others to numbers: headroom, rates and areas beside every control, and who is exposed."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import LowFpr, MemberFacts
from auditor.evaluate.membership.scoring import (
    AUC,
    CHANCE,
    HEADROOM,
    LOW_TPR,
    METRICS,
    STRICTEST,
    Beside,
    Floats,
    MemberMetric,
    Place,
    Scored,
)
from auditor.statistics import ranking
from auditor.statistics.grouped_ranking import GroupedRanking
from auditor.statistics.intervals import wilson
from auditor.statistics.unit_bootstrap import one_by_one, unit_bootstrap

ROC_POINTS = 120
FOUND = Metric("found", "share", "higher")
"""Share of a group's members that are found at the threshold that accuses a share of all others."""
OTHERS_OF_GROUP = "others of the group"
WITHIN = "within-class"


def judged_numbers(scored: Scored, finding: str, subset: str, facts: MemberFacts) -> list[Measured]:
    """Headroom, then each metric of attack and controls together; the headroom and one rate are judged.

    The rate is the strictest that there are enough others for, at 1 in 100 false accusations or more. A number without
    an interval is not judged.
    """
    beside = scored.comparisons()
    first = beside[0]
    row = partial(measured, finding=finding, subset=subset)
    own = scored.headroom(first.own, first.other)
    room = [each.headroom() for each in beside]
    rivals = facts.model_copy(update={"rivals": tuple(each.rival() for each in beside)})
    rows = [row(HEADROOM, own, controls=room, strongest=first.name, judged=own.has_interval, facts=rivals)]
    there = [metric for metric in LOW_TPR if scored.has(metric) and (metric.fpr or 0.0) >= STRICTEST]
    for metric in METRICS:
        reached = scored.estimate(metric, first.own)
        if not scored.has(metric):
            needed = facts.model_copy(update={"needed": metric.least_others})
            rows.append(row(metric.combined, reached, facts=needed))
            continue
        controls = [each.control(metric) for each in beside]
        strongest = max(controls, key=lambda control: control.estimate.value or 0.0)
        more = (
            facts if metric.fpr is None else facts.model_copy(update={"low_fpr": _low_fpr(metric, reached, controls)})
        )
        is_judged = bool(there) and metric is there[-1] and reached.has_interval
        made = partial(row, metric.combined, reached, controls=controls, strongest=strongest.name)
        rows.append(made(judged=is_judged, facts=more))
    return rows


def _low_fpr(metric: MemberMetric, reached: Estimate, controls: list[Control]) -> LowFpr:
    """What is found at few false accusations, by the strongest guess there and by the attack beside that guess."""
    assert metric.fpr is not None
    guesses = [control for control in controls if control.name != CHANCE]
    best = max(guesses, key=lambda control: control.estimate.value or 0.0, default=None)
    if best is None:
        return LowFpr(fpr=metric.fpr, attack=reached, control=None, chance=metric.fpr)
    return LowFpr(fpr=metric.fpr, attack=best.own or reached, control=best.estimate, chance=metric.fpr)


def plain_numbers(scored: Scored, finding: str, subset: str, facts: MemberFacts) -> list[Measured]:
    """Each metric of the attack alone; shown and not judged."""
    alone = [Beside(scored, guesser.name, 0, k) for k, guesser in enumerate(scored.guessers) if k]
    alone.append(Beside(scored, CHANCE, 0, None))
    rows = []
    for metric in METRICS:
        own = scored.estimate(metric)
        row = partial(measured, metric.metric, own, finding=finding, subset=subset)
        if scored.has(metric):
            rows.append(row(controls=[each.control(metric) for each in alone], facts=facts))
        else:
            rows.append(row(facts=facts.model_copy(update={"needed": metric.least_others})))
    return rows


def within_class(
    scored: Scored, finding: str, subset: str, facts: MemberFacts, rng: np.random.Generator, times: int
) -> list[Measured]:
    """AUC over pairs of one class each: a split drawn by class is no help there. Shown and not judged."""
    trial = scored.trial
    using = [guesser.scores for guesser in scored.guessers]
    both = [c for c in np.unique(trial.y) if len(np.unique(trial.member[trial.y == c])) == 2]
    if not both:
        return []
    rankings = [[GroupedRanking(score, trial.member, trial.y) for score in scores] for scores in using]

    def areas(weights: Floats) -> Floats:
        return np.array([[np.mean([ranking.auc(weights) for ranking in draws]) for draws in rankings]])

    found = unit_bootstrap(trial.member, one_by_one(areas), rng=rng, replicates=times)
    n, picks = len(trial.member), np.eye(len(using))

    def estimate(place: int) -> Estimate:
        if not times:
            return Estimate(value=float(found.value[0, place]), n=n)
        value, lo, hi = found.interval(0, picks[place], logit=True, least=0.5 / n)
        return Estimate(value=value, lo=lo, hi=hi, n=n)

    own = estimate(0)
    controls = []
    for k, guesser in enumerate(scored.guessers[1:], 1):
        value, lo, hi = (
            found.difference(0, picks[0] - picks[k])
            if times
            else (float(found.value[0] @ (picks[0] - picks[k])), None, None)
        )
        contrast = Estimate(value=value, lo=lo, hi=hi, n=n)
        controls.append(Control(name=guesser.name, estimate=estimate(k), contrast=contrast))
    less = {end: None if (at := getattr(own, end)) is None else at - 0.5 for end in ("value", "lo", "hi")}
    controls.append(Control(name=CHANCE, estimate=Estimate(value=0.5, n=n), contrast=Estimate(**less, n=n)))
    part = facts.model_copy(update={"group": WITHIN})
    return [measured(AUC.metric, own, finding=finding, subset=f"{subset}/{WITHIN}", controls=controls, facts=part)]


def exposure(scored: Scored, finding: str, subset: str, facts: MemberFacts) -> list[Measured]:
    """Of each group, the members that are found where few others are accused, beside its own others that are.

    One threshold for everybody, that of the strictest rate that there are enough others for: who is most exposed is
    shown beside the total, and not judged.
    """
    trial, own = scored.trial, scored.own
    there = [metric for metric in LOW_TPR if scored.has(metric)]
    if not there:
        return []
    metric = next((m for m in reversed(there) if (m.fpr or 0.0) >= STRICTEST), there[0])
    assert metric.fpr is not None
    accused = np.mean([_accused(column, ~trial.member, metric.fpr) for column in scored.columns[own]], axis=0)
    kind = Metric(f"{FOUND.name}@{metric.fpr:g}", FOUND.unit, FOUND.worse_when)
    rows = []
    for name, inside in trial.groups.items():
        members, others = inside & trial.member, inside & ~trial.member
        found, falsely = (_rate(accused[mask]) for mask in (members, others))
        beside = Control(name=OTHERS_OF_GROUP, estimate=falsely, contrast=_apart(found, falsely))
        part = facts.model_copy(update={"group": name, "members": int(members.sum()), "others": int(others.sum())})
        rows.append(measured(kind, found, finding=finding, subset=f"{subset}/{name}", controls=[beside], facts=part))
    return rows


def _accused(scores: Floats, other: np.ndarray, fpr: float) -> Floats:
    """How surely each item is accused where a share of the others is, [n] in [0, 1]; a tie block in equal parts."""
    wanted = fpr * int(other.sum())
    threshold = np.sort(scores[other])[::-1][min(int(np.ceil(wanted)), int(other.sum())) - 1]
    above, at = int((scores[other] > threshold).sum()), int((scores[other] == threshold).sum())
    share = (wanted - above) / at
    return np.where(scores > threshold, 1.0, np.where(scores == threshold, share, 0.0))


def _rate(accused: Floats) -> Estimate:
    total, n = float(accused.sum()), len(accused)
    lo, hi = wilson(total, n)
    return Estimate(value=total / n, lo=lo, hi=hi, n=n)


def _apart(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two independent rates, from their own intervals (Newcombe, 1998, method 10)."""
    p, q = first.value or 0.0, second.value or 0.0
    ends = [(each.value or 0.0, each.lo or 0.0, 1.0 if each.hi is None else each.hi) for each in (first, second)]
    (_, lo1, hi1), (_, lo2, hi2) = ends
    down, up = np.hypot(p - lo1, hi2 - q), np.hypot(hi1 - p, q - lo2)
    return Estimate(
        value=p - q, lo=max(-1.0, p - q - float(down)), hi=min(1.0, p - q + float(up)), n=first.n + second.n
    )


def roc_series(scored: Scored, subset: str, item: str) -> Series:
    """ROC curves on a logarithmic axis of false accusations: attack and control together, alone, and each control."""
    trial = scored.trial
    grid = np.unique(np.concatenate([np.geomspace(1 / trial.others, 1.0, ROC_POINTS), [0.01, 0.1]]))
    beside = scored.comparisons()
    own = scored.own
    curves = [_roc(scored, own, grid, "attack" if own == 0 else "attack and side knowledge together", "value")]
    curves += [_roc(scored, 0, grid, "attack alone", "reference")] if own != 0 else []
    curves += [_roc(scored, each.other, grid, each.name, "control") for each in beside if each.other is not None]
    return Series(
        id=f"roc-{subset}".replace("/", "-"),
        kind="roc",
        title=f"Training {item}s found against false accusations ({subset})",
        x_label="false positive rate",
        y_label="true positive rate",
        curves=tuple(curves),
    )


def _roc(
    scored: Scored, place: Place, grid: Floats, name: str, role: Literal["value", "control", "reference"]
) -> Curve:
    member = scored.trial.member
    rows = [ranking.tpr_points(ranking.Ranking(each, member).curve(), grid) for each in scored.columns[place]]
    return Curve(name=name, role=role, x=_rounded(grid), y=_rounded(np.mean(rows, axis=0)))


def _rounded(row: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in row)
