"""Turns verified flip sets into numbers and the budget chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import BudgetCurve, Robust
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.edge_free import EdgeFree
from auditor.evaluate.robustness.envelope import RAUC_END, Floats, Point, Tried, eps50, rauc
from auditor.statistics.intervals import paired_bootstrap, wilson
from auditor.statistics.shares import paired, share
from auditor.tasks import Task

FALL, BELOW = "robustness-structure", "robustness-below-edge-free"
"""Findings: what edits on purpose take beyond random ones; and whether a model without edges is better than what they
leave."""
ROBUST_ACCURACY = Metric("robust_accuracy", "share", "lower", "robustness")
ATTACKED_ACCURACY = Metric("attacked_accuracy", "share", "lower", "edge-free")
"""The same number as robust accuracy, beside what is reached without any edge."""
RAUC = Metric("rauc", "ratio", "lower")
EPS50 = Metric("eps50", "share", "lower")
SUCCESS_RATE = Metric("success_rate", "share", "higher")
MAIN_EPS = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """A fixed rule or a control, shown beside the envelope.

    Attributes:
        attack: its id.
        is_control: whether the envelope is compared with it.
        right: at each level, the share of its flip sets in which each item is right, [n]; None where it did not run.
    """

    attack: str
    is_control: bool
    right: tuple[Floats | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Everything verified about one probe on one target.

    Attributes:
        probe: its id.
        task: `node` or `graph`.
        levels: the budgets, ascending.
        points: the envelope with no flips, then at each level.
        beside: controls first.
        tried: everything that was verified.
        majority: share of the attacked items that are of the commonest class.
        reference: the model that sees no edges; None where the target itself is one.
        items: attacked items, int64 [n].
    """

    probe: str
    task: Task
    levels: tuple[Level, ...]
    points: tuple[Point, ...]
    beside: tuple[Beside, ...]
    tried: tuple[Tried, ...]
    majority: float
    reference: EdgeFree | None
    items: Tensor

    @property
    def n(self) -> int:
        """Number of attacked items."""
        return int(self.items.numel())

    @property
    def controls(self) -> tuple[Beside, ...]:
        """What the envelope is compared with."""
        return tuple(each for each in self.beside if each.is_control)

    @property
    def eps(self) -> list[float]:
        """Budgets of `points` as shares of the edges."""
        return [0.0, *(level.eps for level in self.levels)]

    @property
    def largest(self) -> float:
        """The largest budget, as a share of the edges."""
        return self.eps[-1]


def main_level(levels: Sequence[Level]) -> int:
    """Place of the budget that is judged: the one nearest 5 % of the edges; -1 where there is none."""
    return min(range(len(levels)), key=lambda i: abs(levels[i].eps - MAIN_EPS), default=-1)


def numbers(found: Found, rng: np.random.Generator) -> tuple[Measured, ...]:
    """`robust_accuracy` at each budget (judged at the one nearest 5 %), what sums up the curve, and a second judgement.

    At that budget the same accuracy is judged beside the model without edges too.
    """
    count, main = len(found.levels), main_level(found.levels)
    rows = [_robust_accuracy(found, i, rng, judged=i == main) for i in range(count)]
    if found.task.level == "node" and count > 1:
        if found.largest >= RAUC_END and found.reference is not None:
            rows.append(_rauc(found, found.reference, rng))
        rows.append(_eps50(found))
    if found.task.level == "graph" and count and found.points[0].correct.any():
        rows.append(_success_rate(found, count - 1))
    if count and found.reference is not None:
        rows.append(_attacked_accuracy(found, rows[main], main, found.reference))
    return tuple(rows)


def budget_series(found: Found) -> Series:
    """Accuracy against budget: envelope with band, what stands beside it, clean and reference lines."""
    shown = [i for i, level in enumerate(found.levels) if level.on_curve]
    eps = (0.0, *(found.levels[i].eps for i in shown))
    worst = [found.points[0], *(found.points[i + 1] for i in shown)]
    bands = [_rate(float(point.correct.sum()), found.n) for point in worst]
    curves = [
        Curve(
            name="worst of all attacks",
            role="worst",
            x=eps,
            y=tuple(point.accuracy for point in worst),
            lo=tuple(band.lo for band in bands),
            hi=tuple(band.hi for band in bands),
            labels=tuple(f"{point.winner.name}, {point.winner.flips} flips" for point in worst),
        )
    ]
    for each in found.beside:
        there = [(found.levels[i].eps, float(right.mean())) for i in shown if (right := each.right[i]) is not None]
        if there:
            xs, ys = zip(*there, strict=True)
            curves.append(
                Curve(
                    name=each.attack,
                    role="control" if each.is_control else "reference",
                    x=(0.0, *xs),
                    y=(found.points[0].accuracy, *ys),
                )
            )
    for name, value in _lines(found):
        curves.append(Curve(name=name, role="reference", x=(0.0, eps[-1]), y=(value, value)))
    return Series(
        id=f"{found.probe}-budget",
        kind="budget",
        title="Accuracy under edge edits",
        x_label="flips / edges" if found.task.level == "node" else "flips / edges of each graph",
        y_label="accuracy",
        curves=tuple(curves),
    )


def _lines(found: Found) -> list[tuple[str, float]]:
    """Horizontal lines of the chart."""
    lines = [("clean", found.points[0].accuracy), ("majority class", found.majority)]
    if found.reference is not None and not found.reference.missing:
        lines.append(("trained without edges", found.reference.accuracy))
    return lines


def _robust_accuracy(found: Found, i: int, rng: np.random.Generator, *, judged: bool) -> Measured:
    level, point, n = found.levels[i], found.points[i + 1], found.n
    correct = point.correct.astype(np.float64)
    attacked = _rate(float(correct.sum()), n)
    controls = []
    for each in found.beside:
        right = each.right[i]
        if right is None:
            continue
        contrast = None
        if each.is_control:
            difference = correct - right
            bounds = paired_bootstrap(lambda w, d=difference: float(w @ d / w.sum()), n, rng=rng)  # type: ignore[misc]
            contrast = _between(float(difference.mean()), bounds, n)
        estimate = _rate(float(right.sum()), n)
        controls.append(Control(name=each.attack, estimate=estimate, contrast=contrast))
    reference, winner = found.reference, point.winner
    facts = Robust(
        clean=_rate(float(found.points[0].correct.sum()), n),
        attacked=attacked,
        random=next((control.estimate for control in controls if control.contrast is not None), None),
        edge_free=None if reference is None or reference.missing else share(reference.correct),
        no_edge_free="edges-unused" if reference is None else reference.missing,
        majority=found.majority,
        edits=winner.flips,
        budget=level.budget,
        additions=winner.verified.additions,
        deletions=winner.verified.deletions,
        attacked_items=n,
        winner=winner.name,
        attempts={each.name: each.verified.accuracy for each in found.tried if each.level == i},
    )
    return measured(
        ROBUST_ACCURACY,
        attacked,
        finding=FALL,
        subset=level.subset,
        controls=controls,
        judged=judged,
        facts=facts,
    )


def _attacked_accuracy(found: Found, robust: Measured, i: int, reference: EdgeFree) -> Measured:
    """What edits leave at one budget, judged beside what is reached on the same items without any edge."""
    own = found.points[i + 1].correct
    control = Control(name=reference.name, estimate=share(reference.correct), contrast=paired(own, reference.correct))
    return measured(
        ATTACKED_ACCURACY,
        robust.estimate,
        finding=BELOW,
        subset=robust.subset,
        controls=(control,),
        judged=robust.judged,
        facts=robust.facts,
    )


def _rauc(found: Found, reference: EdgeFree, rng: np.random.Generator) -> Measured:
    """Robustness area under the curve up to 15 %, in units of a model without edges."""
    eps, n, ones = found.eps, found.n, np.ones(found.n)
    worst = np.stack([point.correct.astype(np.float64) for point in found.points])
    without_edges = reference.correct.astype(np.float64)

    def area(curve: Floats, w: Floats) -> float:
        total = w.sum()
        return rauc(eps, list(curve @ w / total), 1 - float(w @ without_edges / total))

    value = area(worst, ones)
    estimate = _between(value, paired_bootstrap(lambda w: area(worst, w), n, rng=rng), n)
    controls = []
    for each in found.controls:
        curve = _curve(found, each)
        if curve is not None:
            bounds = paired_bootstrap(lambda w, c=curve: area(worst, w) - area(c, w), n, rng=rng)  # type: ignore[misc]
            beside = area(curve, ones)
            contrast = _between(value - beside, bounds, n)
            controls.append(Control(name=each.attack, estimate=Estimate(value=beside, n=n), contrast=contrast))
    return measured(
        RAUC,
        estimate,
        finding=FALL,
        subset="eps<=0.15",
        controls=controls,
        facts=BudgetCurve(reference=reference.name, reference_error=1 - reference.accuracy),
    )


def _eps50(found: Found) -> Measured:
    """The budget that takes half of what the model has over the majority class."""
    controls = []
    for each in found.controls:
        curve = _curve(found, each)
        beside = None if curve is None else eps50(found.eps, [float(row.mean()) for row in curve], found.majority)
        controls.append(Control(name=each.attack, estimate=Estimate(value=beside, n=found.n)))
    value = eps50(found.eps, [point.accuracy for point in found.points], found.majority)
    return measured(
        EPS50,
        Estimate(value=value, n=found.n),
        finding=FALL,
        controls=controls,
        facts=BudgetCurve(majority=found.majority, largest_budget=found.largest),
    )


def _success_rate(found: Found, i: int) -> Measured:
    """Share of the graphs that were right and are not any more at the largest budget."""
    right = found.points[0].correct
    broken = right & ~found.points[i + 1].correct
    n = int(right.sum())
    spent = [fewest for place in np.flatnonzero(broken).tolist() if (fewest := _fewest(found, place, i)) is not None]
    controls = [
        Control(name=each.attack, estimate=Estimate(value=float(right @ (1 - mean) / n), n=n))
        for each in found.controls
        if (mean := each.right[i]) is not None
    ]
    return measured(
        SUCCESS_RATE,
        _rate(float(broken.sum()), n),
        finding=FALL,
        subset=found.levels[i].subset,
        controls=controls,
        facts=BudgetCurve(median_edits=float(np.median(spent)) if spent else None),
    )


def _fewest(found: Found, place: int, last: int) -> int | None:
    """Fewest flips in this item of a flip set that breaks it, draws of the controls aside."""
    usable = (each.verified for each in found.tried if each.role != "control" and each.level <= last)
    breaks = (v for v in usable if not v.correct[place])
    return min((int(v.flips[place]) for v in breaks if v.flips is not None), default=None)


def _curve(found: Found, beside: Beside) -> Floats | None:
    """Items right at no flips and at each level, [levels + 1, n]; None when a level is missing."""
    there = [right for right in beside.right if right is not None]
    if len(there) < len(beside.right):
        return None
    return np.stack([found.points[0].correct.astype(np.float64), *there])


def _rate(successes: float, n: int) -> Estimate:
    """A share with Wilson's interval."""
    return _between(successes / n, wilson(successes, n), n)


def _between(value: float, bounds: Sequence[float], n: int) -> Estimate:
    """An estimate whose interval is widened, where rounding or a bend of the statistic asks for it, to hold it."""
    lo, hi = bounds
    return Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=n)
