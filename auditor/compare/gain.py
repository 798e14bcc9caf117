"""The harness of a comparison: what a defence buys, beside its own control and beside no defence, seed by seed.

Every arm of one seed is tried with every flip set that was found on any arm of that seed, its own adaptive attacks
included: the same number of attacks on both sides, and the worst of them counts (adversarial spec 3.9).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from auditor.audit import Advantage, Control, Interval, Limit, Measurement
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.verification import Verifier
from auditor.probe import FlipSet
from auditor.statistics.intervals import Z95, agresti_min, paired_bootstrap, wilson
from auditor.targets.target import Target, is_correct

Bools = NDArray[np.bool_]
REPLICATES = 500
FINDING = "defense-gain"
GATED_BUDGET = "eps=0.05"
WORST = "worst_case_accuracy"
LIMITS = {"max_defense_cost_pt": 0.01, "max_worst_case_loss_pt": 0.10, "max_harm_pt": 0.01}
"""Of the judged numbers: what a defence may cost, lose under edits, and do to balanced accuracy, as fractions."""


@dataclass(frozen=True, slots=True, eq=False)
class ArmScores:
    """What one arm gets right on the test items of one seed.

    Attributes:
        clean: bool [n].
        predicted: classes, int64 [n].
        worst: by budget in edges, the correct items under the most harmful flip set of at most that budget, bool [n].
        attacks: number of flip sets behind each budget.
    """

    clean: Bools
    predicted: NDArray[np.int64]
    worst: Mapping[int, Bools]
    attacks: Mapping[int, int]


def score_arm(target: Target, flips: Sequence[FlipSet]) -> ArmScores:
    """Clean and worst-case correctness of one arm; flip sets are tried on nodes only (task `graph`: none)."""
    items = torch.nonzero(target.split.test).flatten()
    logits = target.clean_logits()
    clean = is_correct(logits, target.graph.y)[items].numpy()
    worst: dict[int, Bools] = {}
    attacks: dict[int, int] = {}
    if target.task == "node" and flips:
        verifier = Verifier(target, items)
        tried: list[tuple[int, Bools]] = []
        for claim in flips:
            try:
                tried.append((claim.budget, verifier.check(claim).correct))
            except EvaluationError:
                continue  # a set that breaks its budget is no attack on anybody
        for budget in sorted({budget for budget, _ in tried}):
            within = [correct for own, correct in tried if own <= budget]
            worst[budget] = min((clean, *within), key=lambda correct: float(correct.mean()))
            attacks[budget] = len(within)
    return ArmScores(clean, logits.argmax(dim=1)[items].numpy(), worst, attacks)


def gain_measurements(
    own: ArmScores,
    others: Mapping[str, ArmScores],
    y: NDArray[np.int64],
    budgets: Mapping[int, str],
    rng: np.random.Generator,
    *,
    poisoned: str = "",
    judged: str = "",
    parts: Mapping[str, Bools] | None = None,
) -> tuple[Measurement, ...]:
    """`clean_accuracy`, `balanced_accuracy` and `robust_accuracy` beside each other arm; advantage = other − own.

    On a poisoned graph the first is `poisoned_accuracy`, its subset the attack. What is judged is judged against the
    first of the others: the accuracy it costs, and `worst_case_accuracy`, what edits of 5 % leave of this arm's own; or
    for a reweighting its balanced accuracy alone, on each part where there are parts.

    Args:
        own: of the defence.
        others: by name, the strongest statement first: controls, then `none`; empty for `none` itself.
        y: labels of the test items, int64 [n].
        budgets: subset name of each budget in edges.
        rng: of the bootstrap.
        poisoned: attack and rate of the graph that everything was fitted on.
        judged: finding id that the gate looks at; empty where nothing is judged.
        parts: sets of test items, bool [n] by name, whose balanced accuracy is measured on its own.
    """
    rows: list[Measurement] = []
    clean = "poisoned_accuracy" if poisoned else "clean_accuracy"
    if not others:
        rows += [_alone(clean, poisoned, own.clean), _alone_balanced(own.predicted, y)]
        rows += [_alone_balanced(own.predicted[at], y[at], part) for part, at in (parts or {}).items()]
        rows += [_alone("robust_accuracy", budgets[b], own.worst[b]) for b in budgets if b in own.worst]
    for name, other in others.items():
        suffix = "" if name == next(iter(others)) else f"/{name}"
        rows.append(_accuracy(f"{clean}{suffix}", poisoned, own.clean, other.clean, name))
        rows.append(_balanced(f"balanced_accuracy{suffix}", own.predicted, other.predicted, y, name, rng))
        for part, at in (parts or {}).items():
            row = _balanced(f"balanced_accuracy{suffix}", own.predicted[at], other.predicted[at], y[at], name, rng)
            rows.append(row.model_copy(update={"subset": part}))
        for budget, subset in budgets.items():
            if budget in own.worst and budget in other.worst:
                rows.append(_accuracy(f"robust_accuracy{suffix}", subset, own.worst[budget], other.worst[budget], name))
    if not judged or not others:
        return tuple(rows)
    if judged == FINDING:
        limits = {clean: "max_defense_cost_pt", WORST: "max_worst_case_loss_pt"}
        gated = next((b for b, subset in budgets.items() if subset == GATED_BUDGET and b in own.worst), None)
        if gated is not None:
            rows.append(_accuracy(WORST, GATED_BUDGET, own.worst[gated], own.clean, "the graph unedited"))
    else:
        limits = {"balanced_accuracy": "max_harm_pt"}
    pooled = judged != FINDING and bool(parts)  # each part is judged, not the two together
    return tuple(
        _gated(row, judged, limits[row.name]) if row.name in limits and not (pooled and not row.subset) else row
        for row in rows
    )


def _gated(row: Measurement, finding: str, limit: str) -> Measurement:
    """The row as one that the gate looks at."""
    return row.model_copy(update={"finding": finding, "primary": True, "limit": Limit(name=limit, value=LIMITS[limit])})


def _alone(name: str, subset: str, own: Bools) -> Measurement:
    return _accuracy(name, subset, own, own, "").model_copy(update={"control": None, "advantage": None})


def _alone_balanced(predicted: NDArray[np.int64], y: NDArray[np.int64], part: str = "") -> Measurement:
    row = _balanced("balanced_accuracy", predicted, predicted, y, "", np.random.default_rng(0))
    return row.model_copy(update={"subset": part, "control": None, "advantage": None})


def sized_parts(target: Target) -> dict[str, Bools]:
    """Test graphs as small as those of a `size:n` split's training set (`id`), and larger ones (`ood`)."""
    form, _, largest = target.split.spec.partition(":")
    if form != "size" or target.graph.batch is None:
        return {}
    nodes = torch.bincount(target.graph.batch)[target.split.test]
    small = (nodes <= int(largest)).numpy()
    return {name: at for name, at in (("id", small), ("ood", ~small)) if at.any()}


def _accuracy(name: str, subset: str, own: Bools, other: Bools, control: str) -> Measurement:
    n = len(own)
    gained = float(other.mean() - own.mean())
    both, only_other = float((own & other).sum()), float((other & ~own).sum())
    only_own = float((own & ~other).sum())
    lo, hi = agresti_min(both, only_other, only_own, n - both - only_other - only_own)
    return Measurement(
        name=name,
        subset=subset,
        finding=FINDING,
        value=float(own.mean()),
        ci=_interval(wilson(float(own.sum()), n)),
        control=Control(name=control, value=float(other.mean()), ci=_interval(wilson(float(other.sum()), n))),
        advantage=Advantage(value=gained, ci=Interval(lo=min(lo, gained), hi=max(hi, gained))),
        n=n,
        direction="lower_is_worse",
        scale="accuracy",
    )


def _balanced(
    name: str,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    y: NDArray[np.int64],
    control: str,
    rng: np.random.Generator,
) -> Measurement:
    classes = np.unique(y)
    member = (y[None, :] == classes[:, None]).astype(np.float64)  # [C, n]
    hits = (own == y).astype(np.float64)

    def recall(weights: NDArray[np.float64]) -> float:
        mass = member @ weights
        present = mass > 0
        return float(((member @ (weights * hits))[present] / mass[present]).mean())

    value = float(balanced_accuracy_score(y, own))
    ci = paired_bootstrap(recall, len(y), rng=rng, replicates=REPLICATES)
    gained, lo, hi = paired_by_class(own == y, other == y, y)
    return Measurement(
        name=name,
        finding=FINDING,
        value=value,
        ci=Interval(lo=min(ci[0], value), hi=max(ci[1], value)),
        control=Control(name=control, value=float(balanced_accuracy_score(y, other))),
        advantage=Advantage(value=gained, ci=Interval(lo=lo, hi=hi)),
        n=len(y),
        direction="lower_is_worse",
        scale="accuracy",
    )


def paired_by_class(own: Bools, other: Bools, y: NDArray[np.int64]) -> tuple[float, float, float]:
    """(value, lo, hi) of other − own in mean recall, paired within each class, around the difference itself.

    As in Agresti and Min's interval half a count is added to each cell of a class: a bootstrap of two heads that differ
    on one item ends at 0 exactly, and one of two that never differ has no width. Their shrunk centre is not used, since
    shrinkage of many small classes adds up, and the sum is divided by the true n², which covers with ten items a class.
    """
    differences, variance = [], 0.0
    for c in np.unique(y):
        a, b = own[y == c], other[y == c]
        differences.append(float(b.mean() - a.mean()))
        gained, lost = float((b & ~a).sum()) + 0.5, float((a & ~b).sum()) + 0.5
        n = len(a)
        variance += max(gained + lost - (gained - lost) ** 2 / (n + 2), 0.0) / n**2
    mean, half = float(np.mean(differences)), Z95 * math.sqrt(variance) / len(differences)
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def _interval(bounds: tuple[float, float]) -> Interval:
    return Interval(lo=bounds[0], hi=bounds[1])
