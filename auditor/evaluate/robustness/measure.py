"""Turns verified arms into measurements and the budget chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from auditor.audit import Advantage, Control, Curve, Interval, Measurement, Series
from auditor.data.graph import Task
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.envelope import RAUC_END, Arm, Floats, Point, eps50, rauc
from auditor.evaluate.robustness.feature_reference import FeatureReference
from auditor.statistics.intervals import paired_bootstrap, wilson

MAIN_EPS = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything verified about one probe on one target.

    Attributes:
        probe, finding: ids.
        task: `node` or `graph`.
        levels: the budgets, ascending.
        points: the envelope with no flips, then at each level.
        control: share of random draws in which each item is right, [n] per level; None where the control did not run.
        dice: the same for dice.
        arms: everything that was verified.
        reference: the model that sees no edges.
        items: attacked items, int64 [n].
    """

    probe: str
    finding: str
    task: Task
    levels: tuple[Level, ...]
    points: tuple[Point, ...]
    control: tuple[Floats | None, ...]
    dice: tuple[Floats | None, ...]
    arms: tuple[Arm, ...]
    reference: FeatureReference
    items: Tensor

    @property
    def n(self) -> int:
        """Number of attacked items."""
        return int(self.items.numel())

    @property
    def clean(self) -> float:
        """Accuracy with nothing flipped."""
        return float(self.points[0].correct.mean())


def measurements(found: Findings, rng: np.random.Generator) -> tuple[Measurement, ...]:
    """`robust_accuracy` at each budget (primary at the one nearest 5 %), then what sums up the curve."""
    main = min(range(len(found.levels)), key=lambda i: abs(found.levels[i].eps - MAIN_EPS), default=-1)
    rows = [_robust_accuracy(found, i, rng, primary=i == main) for i in range(len(found.levels))]
    if found.task == "node" and found.levels and found.levels[-1].eps >= RAUC_END and len(found.levels) > 1:
        rows.append(_rauc(found, rng))
    if found.task == "node" and len(found.levels) > 1:
        rows.append(_eps50(found))
    if found.task == "graph" and found.levels and found.points[0].correct.any():
        rows.append(_success_rate(found, len(found.levels) - 1))
    return tuple(rows)


def budget_series(found: Findings) -> Series:
    """Accuracy against budget: envelope with band, random control, dice, clean and reference lines."""
    shown = [i for i, level in enumerate(found.levels) if level.subset.startswith("eps=") or found.task == "node"]
    eps = (0.0, *(found.levels[i].eps for i in shown))
    worst = [found.points[0], *(found.points[i + 1] for i in shown)]
    bands = [_interval(float(point.correct.sum()), found.n) for point in worst]
    curves = [
        Curve(
            name="worst of all attacks",
            role="worst",
            x=eps,
            y=tuple(float(point.correct.mean()) for point in worst),
            lo=tuple(lo for lo, _ in bands),
            hi=tuple(hi for _, hi in bands),
            labels=tuple(f"{point.winner.name}, {point.winner.flips} flips" for point in worst),
        )
    ]
    for name, means in (("random flips", found.control), ("dice", found.dice)):
        there = [(found.levels[i].eps, float(mean.mean())) for i in shown if (mean := means[i]) is not None]
        if there:
            xs, ys = zip(*there, strict=True)
            role: Literal["control", "reference"] = "reference" if name == "dice" else "control"
            curves.append(Curve(name=name, role=role, x=(0.0, *xs), y=(found.clean, *ys)))
    for name, value in _lines(found):
        curves.append(Curve(name=name, role="reference", x=(0.0, eps[-1]), y=(value, value)))
    return Series(
        id=f"{found.probe}-budget",
        kind="budget",
        title="Accuracy under edge edits",
        x_label="flips / edges" if found.task == "node" else "flips / edges of each graph",
        y_label="verified accuracy",
        curves=tuple(curves),
    )


def _interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson, widened by rounding errors so that it holds its own value at 0 and n."""
    lo, hi = wilson(successes, n)
    return min(lo, successes / n), max(hi, successes / n)


def _lines(found: Findings) -> list[tuple[str, float]]:
    """Horizontal lines of the chart."""
    lines = [("clean", found.clean), ("majority class", found.reference.majority)]
    if found.reference.name == "mlp":
        lines.append(("MLP on features", found.reference.accuracy))
    return lines


def _robust_accuracy(found: Findings, i: int, rng: np.random.Generator, *, primary: bool) -> Measurement:
    level, point, control = found.levels[i], found.points[i + 1], found.control[i]
    correct = point.correct.astype(np.float64)
    value = float(correct.mean())
    lo, hi = _interval(float(correct.sum()), found.n)
    advantage = None
    if control is not None:
        difference = control - correct
        bounds = paired_bootstrap(lambda w: float(w @ difference / w.sum()), found.n, rng=rng)
        advantage = Advantage(value=float(difference.mean()), ci=Interval(lo=bounds[0], hi=bounds[1]))
    controls = _controls(found, i)
    notes: dict[str, Any] = {
        "clean": found.clean,
        "winner": point.winner.name,
        "flips": point.winner.flips,
        "budget": level.budget,
        "flips_per_target": level.budget / found.n,
        "additions": point.winner.verified.additions,
        "deletions": point.winner.verified.deletions,
        "reference": {found.reference.name: found.reference.accuracy, "majority": found.reference.majority},
        "arms": {arm.name: arm.verified.accuracy for arm in found.arms if arm.level == i},
    }
    return Measurement(
        name="robust_accuracy",
        subset=level.subset,
        finding=found.finding,
        value=value,
        ci=Interval(lo=lo, hi=hi),
        control=next((c for c in controls if c.name == "random"), None),
        controls=controls,
        advantage=advantage,
        n=found.n,
        direction="lower_is_worse",
        scale="accuracy",
        primary=primary,
        text=_sentence(found, i, value, (lo, hi)),
        notes=notes,
    )


def _controls(found: Findings, i: int) -> tuple[Control, ...]:
    """Random flips and dice at this level, where they ran."""
    controls = []
    for name, mean in (("random", found.control[i]), ("dice", found.dice[i])):
        if mean is not None:
            lo, hi = _interval(float(mean.sum()), found.n)
            controls.append(Control(name=name, value=float(mean.mean()), ci=Interval(lo=lo, hi=hi)))
    return tuple(controls)


def _sentence(found: Findings, i: int, value: float, bounds: tuple[float, float]) -> str:
    """What fell, by how many flips, to what, and what random flips leave."""
    level, control = found.levels[i], found.control[i]
    if found.task == "node":
        share = f"at {100 * level.eps:.3g} % of edges" if level.subset.startswith("eps=") else "with a fixed budget"
        what = f"{share} ({level.budget:,} flips, {level.budget / found.n:.2f} per target)"
    elif level.subset == "flips=1":
        what = "with one flip in each graph"
    else:
        what = f"at {100 * level.eps:.3g} % of each graph's edges ({level.budget / found.n:.1f} flips a graph)"
    left = "" if control is None else f"; random flips leave {100 * control.mean():.1f} %"
    if value >= found.clean:
        attacks = len({arm.attack for arm in found.arms if arm.attack != "random"})
        return f"{what}: no drop found by {attacks} attacks (accuracy {100 * found.clean:.1f} %){left}"
    return (
        f"{what} accuracy falls {100 * found.clean:.1f} % → at most {100 * value:.1f} % "
        f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]{left}"
    )


def _curve(found: Findings, rows: Sequence[Floats | None]) -> Floats | None:
    """Items right at no flips and at each level, [levels + 1, n]; None when a level is missing."""
    there = [row for row in rows if row is not None]
    if len(there) < len(rows):
        return None
    return np.stack([found.points[0].correct.astype(np.float64), *there])


def _rauc(found: Findings, rng: np.random.Generator) -> Measurement:
    """Robustness area under the curve up to 15 %, in units of a model without edges."""
    eps = [0.0, *(level.eps for level in found.levels)]
    worst = np.stack([point.correct.astype(np.float64) for point in found.points])
    random = _curve(found, found.control)
    without_edges = found.reference.correct.astype(np.float64)

    def area(curve: Floats, w: Floats) -> float:
        total = w.sum()
        return rauc(eps, list(curve @ w / total), 1 - float(w @ without_edges / total))

    ones = np.ones(found.n)
    value = area(worst, ones)
    lo, hi = paired_bootstrap(lambda w: area(worst, w), found.n, rng=rng)
    control = advantage = None
    if random is not None:
        beside = random
        bounds = paired_bootstrap(lambda w: area(beside, w) - area(worst, w), found.n, rng=rng)
        control = Control(name="random", value=area(beside, ones))
        advantage = Advantage(value=area(beside, ones) - value, ci=Interval(lo=bounds[0], hi=bounds[1]))
    gain = found.clean - found.reference.accuracy
    text = f"robustness area up to 15 % of edges {value:.3f} [{lo:.3f}, {hi:.3f}], against {found.reference.name}"
    if gain <= 0:
        text = (
            f"the graph buys nothing over features: clean {found.clean:.1%}, {found.reference.name} {-gain:.1%} better"
        )
    return Measurement(
        name="rauc",
        subset="eps<=0.15",
        finding=found.finding,
        value=value,
        ci=Interval(lo=min(lo, value), hi=max(hi, value)),
        control=control,
        advantage=advantage,
        n=found.n,
        direction="lower_is_worse",
        scale="other",
        text=text,
        notes={"reference": found.reference.name, "reference_error": 1 - found.reference.accuracy},
    )


def _eps50(found: Findings) -> Measurement:
    """The budget that takes half of what the model has over the majority class."""
    eps = [0.0, *(level.eps for level in found.levels)]
    accuracy = [float(point.correct.mean()) for point in found.points]
    value = eps50(eps, accuracy, found.reference.majority)
    random = _curve(found, found.control)
    beside = None if random is None else eps50(eps, [float(row.mean()) for row in random], found.reference.majority)
    reached = f"{100 * value:.2f} % of edges" if value is not None else f"more than {100 * eps[-1]:.3g} % of edges"
    return Measurement(
        name="eps50",
        finding=found.finding,
        value=value,
        ci=None,
        control=Control(name="random", value=beside),
        advantage=None,
        n=found.n,
        direction="lower_is_worse",
        scale="other",
        text=f"half of the gain over the majority class is gone at {reached}",
        notes={"largest_budget": eps[-1], "majority": found.reference.majority},
    )


def _success_rate(found: Findings, i: int) -> Measurement:
    """Share of the graphs that were right and are not any more at the largest budget."""
    right = found.points[0].correct
    broken = right & ~found.points[i + 1].correct
    n = int(right.sum())
    lo, hi = _interval(float(broken.sum()), n)
    spent = [
        arm.verified.flips[place]
        for place in np.flatnonzero(broken).tolist()
        if (arm := _first_breaker(found, place, i)) is not None and arm.verified.flips is not None
    ]
    median = float(np.median(spent)) if spent else None
    control = found.control[i]
    random = None if control is None else float(right @ (1 - control) / n)
    return Measurement(
        name="success_rate",
        subset=found.levels[i].subset,
        finding=found.finding,
        value=float(broken.sum()) / n,
        ci=Interval(lo=lo, hi=hi),
        control=None if random is None else Control(name="random", value=random),
        advantage=None,
        n=n,
        direction="higher_is_worse",
        scale="other",
        text=f"{int(broken.sum())} of {n} graphs that were right break"
        + ("" if median is None else f", half of them within {median:.0f} flips"),
        notes={"median_flips": median},
    )


def _first_breaker(found: Findings, place: int, last: int) -> Arm | None:
    """The arm that broke this item with the fewest flips, random draws aside."""
    arms = [
        arm
        for arm in found.arms
        if arm.attack != "random" and arm.level <= last and not arm.verified.correct[place]
        and arm.verified.flips is not None
    ]  # fmt: skip
    return min(
        arms, key=lambda arm: int(arm.verified.flips[place]) if arm.verified.flips is not None else 0, default=None
    )
