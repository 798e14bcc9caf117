"""The harness of a comparison: what a defence buys, beside its own control and beside no defence, seed by seed.

Every arm of one seed is tried with every flip set that was found on any arm of that seed, its own adaptive attacks
included: the same number of attacks on both sides, and the worst of them counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.statistics.classification import balanced_accuracy
from auditor.statistics.intervals import Z95, paired_bootstrap
from auditor.statistics.shares import paired, share
from auditor.targets.target import Target

Bools = NDArray[np.bool_]
PROBE, FAMILY = "gain", "defense"
REPLICATES = 500
FINDING = "defense-gain"
GATED_BUDGET = "eps=0.05"
UNEDITED = "the graph unedited"
CLEAN = Metric("clean_accuracy", "share", "lower", "defense-cost")
POISONED = Metric("poisoned_accuracy", "share", "lower", "defense-cost")
BALANCED = Metric("balanced_accuracy", "share", "lower", "harm")
ROBUST = Metric("robust_accuracy", "share", "lower", "robustness")
WORST = Metric("worst_case_accuracy", "share", "lower", "worst-case-loss")


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
    clean = target.task.correct(logits, target.graph.y)[items].numpy()
    worst: dict[int, Bools] = {}
    attacks: dict[int, int] = {}
    if target.task.level == "node" and flips:
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
    return ArmScores(clean, target.task.answers(logits)[items].numpy(), worst, attacks)


def gain_measured(
    own: ArmScores,
    others: Mapping[str, ArmScores],
    y: NDArray[np.int64],
    budgets: Mapping[int, str],
    rng: np.random.Generator,
    *,
    poisoned: str = "",
    judged: str = "",
    parts: Mapping[str, Bools] | None = None,
) -> tuple[Measured, ...]:
    """`clean_accuracy`, `balanced_accuracy` and `robust_accuracy`, each with a paired contrast to every other arm.

    On a poisoned graph the first is `poisoned_accuracy`, its subset the attack. The contrast of a number itself is to
    the first of the others, whatever the rest reach. What is judged is judged by it: the accuracy it costs, and
    `worst_case_accuracy`, what edits of 5 % leave of this arm's own; or for a reweighting its balanced accuracy alone,
    on each part where there are parts.

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
    sets = {"": np.ones(len(y), dtype=bool), **(parts or {})}
    is_gated = bool(judged and others)
    by_cost, by_effect = is_gated and judged == FINDING, is_gated and judged != FINDING
    clean = {name: other.clean for name, other in others.items()}
    rows = [_accuracy(POISONED if poisoned else CLEAN, poisoned, own.clean, clean, judged=by_cost)]
    for part, at in sets.items():
        beside = {name: other.predicted[at] for name, other in others.items()}
        draws = rng if others else np.random.default_rng(0)
        is_judged = by_effect and (bool(part) or not parts)  # each part is judged, not the two together
        rows.append(_balanced(part, own.predicted[at], beside, y[at], draws, judged if is_judged else ""))
    for budget, subset in budgets.items():
        if budget in own.worst:
            worst = {name: other.worst[budget] for name, other in others.items() if budget in other.worst}
            rows.append(_accuracy(ROBUST, subset, own.worst[budget], worst))
    gated = next((b for b, subset in budgets.items() if subset == GATED_BUDGET and b in own.worst), None)
    if by_cost and gated is not None:
        rows.append(_accuracy(WORST, GATED_BUDGET, own.worst[gated], {UNEDITED: own.clean}, judged=True))
    return tuple(rows)


def sized_parts(target: Target) -> dict[str, Bools]:
    """Test graphs as small as those of a `size:n` split's training set (`id`), and larger ones (`ood`)."""
    form, _, largest = target.split.spec.partition(":")
    if form != "size" or target.graph.batch is None:
        return {}
    nodes = torch.bincount(target.graph.batch)[target.split.test]
    small = (nodes <= int(largest)).numpy()
    return {name: at for name, at in (("id", small), ("ood", ~small)) if at.any()}


def paired_by_class(own: Bools, other: Bools, y: NDArray[np.int64]) -> Estimate:
    """Own − other in mean recall, paired within each class; its interval lies around the difference itself.

    As in Agresti and Min's interval half a count is added to each cell of a class: a bootstrap of two heads that differ
    on one item ends at 0 exactly, and one of two that never differ has no width. Their shrunk centre is not used, since
    shrinkage of many small classes adds up, and the sum is divided by the true n², which covers with ten items a class.
    """
    differences, variance = [], 0.0
    for c in np.unique(y):
        a, b = own[y == c], other[y == c]
        differences.append(float(a.mean() - b.mean()))
        gained, lost = float((a & ~b).sum()) + 0.5, float((b & ~a).sum()) + 0.5
        n = len(a)
        variance += max(gained + lost - (gained - lost) ** 2 / (n + 2), 0.0) / n**2
    mean, half = float(np.mean(differences)), Z95 * math.sqrt(variance) / len(differences)
    return Estimate(value=mean, lo=max(-1.0, mean - half), hi=min(1.0, mean + half), n=len(y))


def _accuracy(
    metric: Metric, subset: str, own: Bools, others: Mapping[str, Bools], *, judged: bool = False
) -> Measured:
    """Share of right items beside that of each other arm."""
    controls = [
        Control(name=name, estimate=share(other), contrast=paired(own, other)) for name, other in others.items()
    ]
    return measured(
        metric,
        share(own),
        finding=FINDING,
        subset=subset,
        controls=controls,
        against=next(iter(others), None),
        judged=judged,
    )


def _balanced(
    part: str,
    own: NDArray[np.int64],
    others: Mapping[str, NDArray[np.int64]],
    y: NDArray[np.int64],
    rng: np.random.Generator,
    judged: str,
) -> Measured:
    """Mean recall over classes beside that of each other arm; `judged` is a finding id, or empty."""
    classes = int(y.max()) + 1
    value = balanced_accuracy(y, own, classes)
    lo, hi = paired_bootstrap(_mean_recall(own, y), len(y), rng=rng, replicates=REPLICATES)
    controls = []
    for name, other in others.items():
        beside = Estimate(value=balanced_accuracy(y, other, classes), n=len(y))
        controls.append(Control(name=name, estimate=beside, contrast=paired_by_class(own == y, other == y, y)))
    return measured(
        BALANCED,
        Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=len(y)),
        finding=judged or FINDING,
        subset=part,
        controls=controls,
        against=next(iter(others), None),
        judged=bool(judged),
    )


def _mean_recall(predicted: NDArray[np.int64], y: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], float]:
    """Mean recall over the classes of weighted items, as a function of the weights [n]."""
    member = (y[None, :] == np.unique(y)[:, None]).astype(np.float64)  # [C, n]
    hits = (predicted == y).astype(np.float64)

    def recall(weights: NDArray[np.float64]) -> float:
        mass = member @ weights
        present = mass > 0
        return float(((member @ (weights * hits))[present] / mass[present]).mean())

    return recall
