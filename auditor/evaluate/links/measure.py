"""From scores of one set of pairs to measurements: value, interval, every control, and the paired advantage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.audit import Advantage, Curve, Interval, Measurement, Scale, Series
from auditor.audit import Control as ControlRow
from auditor.errors import EvaluationError
from auditor.evaluate.links.controls import Control
from auditor.evaluate.links.pairs import PairSet
from auditor.evaluate.links.text import sentence
from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import Memo, Metric, Replicates, node_bootstrap
from auditor.statistics.pair_scores import PairScore

Floats = NDArray[np.float64]
BLOCK = 65_536
ROC_POINTS = 120
LOW_FPRS = (0.01, 0.001)
NEGATIVES_AT_FPR = 50


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One metric: its name in the document, how it is computed, and the scale its severity is read on."""

    name: str
    of: Metric
    scale: Scale
    logit: bool = False
    least_negatives: float = 0.0


AUC = MetricKind("auc", ranking.auc, "auc", logit=True)
AVERAGE_PRECISION = MetricKind("average_precision", ranking.average_precision, "other")
PRECISION = MetricKind("precision@edges", ranking.precision_at_positives, "other")
LOW_TPR = tuple(
    MetricKind(f"tpr@{f:g}", partial(ranking.tpr_at, fpr=f), "tpr", least_negatives=NEGATIVES_AT_FPR / f)
    for f in LOW_FPRS
)


@dataclass(frozen=True, slots=True)
class Naming:
    """What a row is filed under, and what its adversary knows besides the model, in words."""

    finding: str
    probe: str
    knowledge: str


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """Scores of the attack or of one control on one set of pairs, one column per draw."""

    control: Control | None
    columns: list[Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One set of pairs, scored and replicated.

    `kinds` are the metrics that the set is large enough for, in the order of `replicates`.
    """

    pairs: PairSet
    arms: list[Arm]
    kinds: tuple[MetricKind, ...]
    replicates: Replicates | None
    values: Floats = field(repr=False)

    def contrast(self, plus: int, minus: int | None = None) -> Floats:
        """Coefficients of the mean of one arm's columns, less that of another's."""
        row, start = np.zeros(sum(len(arm.columns) for arm in self.arms)), 0
        for index, arm in enumerate(self.arms):
            stop = start + len(arm.columns)
            row[start:stop] += ((index == plus) - (index == minus)) / len(arm.columns)
            start = stop
        return row


@dataclass(frozen=True, slots=True)
class Comparison:
    """One control beside the attack: its value and the paired difference attack − control."""

    name: str
    value: float
    difference: tuple[float, float, float]
    counterfactual: bool


def pair_scores(score: PairScore, pairs: PairSet, *, owner: str) -> Floats:
    """Scores of a set, float64 [P], asked for in blocks.

    Raises:
        EvaluationError: wrong shape, or a score that is not finite.
    """
    found = [score(part) for part in torch.split(pairs.tensor, BLOCK, dim=1)]
    values = torch.cat(found).detach().double().numpy()
    if values.shape != (pairs.pairs.shape[1],) or not np.isfinite(values).all():
        raise EvaluationError(
            f"{owner} scored {pairs.pairs.shape[1]} pairs with {values.shape} values, "
            f"{int((~np.isfinite(values)).sum())} of them not finite; expected one finite number a pair."
        )
    return values


def score_set(
    pairs: PairSet,
    attack: PairScore,
    controls: Sequence[Control],
    kinds: Sequence[MetricKind],
    *,
    num_nodes: int,
    rng: np.random.Generator,
    replicates: int,
    memo: Memo | None = None,
) -> Scored:
    """Scores the attack and every control on the same pairs; `replicates` 0 leaves the intervals out."""
    arms = [Arm(None, [pair_scores(attack, pairs, owner="the attack")])]
    arms += [Arm(c, [pair_scores(score, pairs, owner=c.name) for score in c.scores]) for c in controls]
    columns = [column for arm in arms for column in arm.columns]
    usable = tuple(kind for kind in kinds if pairs.negatives >= kind.least_negatives)
    found = None
    if replicates:
        found = node_bootstrap(
            pairs.pairs,
            pairs.is_edge,
            pairs.inclusion,
            columns,
            [kind.of for kind in usable],
            num_nodes=num_nodes,
            rng=rng,
            node_replicates=replicates,
            pair_replicates=200,
            memo=memo,
        )
        return Scored(pairs, arms, usable, found, found.value)
    curves = [ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion) for column in columns]
    values = np.array([[kind.of(curve) for curve in curves] for kind in usable])
    return Scored(pairs, arms, usable, found, values)


def value_of(scored: Scored, metric: int) -> tuple[float, Interval | None]:
    """The attack's value and its interval."""
    contrast, kind = scored.contrast(0), scored.kinds[metric]
    if scored.replicates is None:
        return float(scored.values[metric] @ contrast), None
    least = 0.5 / (scored.pairs.positives * scored.pairs.negatives)
    value, lo, hi = scored.replicates.interval(metric, contrast, logit=kind.logit, least=least)
    return value, _interval(lo, hi)


def compare(scored: Scored, metric: int) -> list[Comparison]:
    """The attack against every control of the set."""
    rows = []
    for index, arm in enumerate(scored.arms):
        if arm.control is None:
            continue
        contrast = scored.contrast(0, index)
        if scored.replicates is None:
            difference = (float(scored.values[metric] @ contrast), math.nan, math.nan)
        else:
            difference = scored.replicates.difference(metric, contrast)
        value = float(scored.values[metric] @ scored.contrast(index))
        rows.append(Comparison(arm.control.name, value, difference, arm.control.counterfactual))
    return rows


def advantage_of(comparisons: Sequence[Comparison]) -> tuple[Comparison, Advantage] | None:
    """The strongest control, and the advantage over all of them; None without any.

    value: against the strongest control, the one with the smallest difference. lo: the smallest lower bound, since the
    attack must beat every control. hi: the larger of that against the strongest no-model control and that against the
    strongest of all: a counterfactual can lower what is proven, never turn a result into a pass, since degrees and
    class mixing are private too.
    """
    if not comparisons:
        return None
    strongest = min(comparisons, key=lambda c: c.difference[0])
    without_model = [c for c in comparisons if not c.counterfactual]
    high = strongest.difference[2]
    if without_model:
        high = max(high, min(without_model, key=lambda c: c.difference[0]).difference[2])
    low = min(c.difference[1] for c in comparisons)
    return strongest, Advantage(value=strongest.difference[0], ci=_interval(low, high) or Interval())


def measurement(
    scored: Scored,
    metric: int,
    extra: Sequence[Comparison],
    *,
    naming: Naming,
    primary: bool,
    notes: dict[str, Any] | None = None,
) -> Measurement:
    """One row: `extra` are comparisons made on other pairs (the counterfactual's)."""
    kind = scored.kinds[metric]
    value, ci = value_of(scored, metric)
    comparisons = [*compare(scored, metric), *extra]
    judged = advantage_of(comparisons)
    no_model = advantage_of([c for c in comparisons if not c.counterfactual])
    if judged is None and kind.name == "auc":  # nothing is known without the model: the control is chance
        chance = Comparison("chance", 0.5, _shifted(value, ci, 0.5), counterfactual=False)
        comparisons, judged = [chance], advantage_of([chance])
        no_model = judged
    return Measurement(
        name=kind.name,
        subset=scored.pairs.subset,
        finding=naming.finding,
        value=value,
        ci=ci,
        control=None if judged is None else ControlRow(name=judged[0].name, value=judged[0].value),
        controls=tuple(ControlRow(name=c.name, value=c.value) for c in comparisons),
        advantage=None if judged is None else judged[1],
        n=int(scored.pairs.pairs.shape[1]),
        direction="higher_is_worse",
        scale=kind.scale,
        primary=primary and ci is not None,
        text="" if judged is None else _sentence(naming, kind.name, value, judged, no_model, comparisons),
        notes={"positives": scored.pairs.positives, "negatives": scored.pairs.negatives, **(notes or {})},
    )


def _sentence(
    naming: Naming,
    metric: str,
    value: float,
    judged: tuple[Comparison, Advantage],
    no_model: tuple[Comparison, Advantage] | None,
    comparisons: Sequence[Comparison],
) -> str:
    without = None if no_model is None else no_model[1]
    return sentence(naming.probe, metric, value, judged[0], judged[1], without, comparisons, naming.knowledge)


def needs_more(kind: MetricKind, scored: Scored, *, finding: str) -> Measurement:
    """The row of a metric that the set is too small for: no number, and what it would need."""
    return Measurement(
        name=kind.name,
        subset=scored.pairs.subset,
        finding=finding,
        value=None,
        ci=None,
        control=None,
        advantage=None,
        n=int(scored.pairs.pairs.shape[1]),
        direction="higher_is_worse",
        scale=kind.scale,
        notes={"reason": f"needs n: {scored.pairs.negatives} non-edges, {kind.least_negatives:.0f} wanted"},
    )


def roc_series(scored: Scored, others: Sequence[tuple[Scored, int]], reference: PairScore | None) -> Series:
    """ROC curves on a logarithmic axis of false positives: the attack, every control, and the reference if any."""
    grid = np.unique(
        np.concatenate([np.geomspace(1 / scored.pairs.negatives, 1.0, ROC_POINTS), np.array([0.001, 0.01])])
    )
    curves = [_roc(arm, scored.pairs, grid) for arm in scored.arms]
    curves += [_roc(other.arms[index], other.pairs, grid) for other, index in others]
    if reference is not None:
        column = pair_scores(reference, scored.pairs, owner="the architecture reference")
        line = _roc(Arm(None, [column]), scored.pairs, grid)
        curves.append(line.model_copy(update={"name": "architecture (untrained, served)", "role": "reference"}))
    return Series(
        id="roc",
        kind="roc",
        title="Edges found against false alarms",
        x_label="false positive rate",
        y_label="true positive rate",
        curves=tuple(curves),
    )


def _roc(arm: Arm, pairs: PairSet, grid: Floats) -> Curve:
    lines = [
        ranking.tpr_points(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion), grid)
        for column in arm.columns
    ]
    y = np.mean(lines, axis=0)
    name, role = ("attack", "value") if arm.control is None else (arm.control.name, "control")
    rounded: Callable[[Floats], tuple[float, ...]] = lambda row: tuple(float(f"{v:.6g}") for v in row)  # noqa: E731
    return Curve(name=name, role=role, x=rounded(grid), y=rounded(y))  # type: ignore[arg-type]


def _interval(lo: float, hi: float) -> Interval | None:
    return Interval(lo=lo, hi=hi) if math.isfinite(lo) and math.isfinite(hi) else None


def _shifted(value: float, ci: Interval | None, by: float) -> tuple[float, float, float]:
    if ci is None or ci.lo is None or ci.hi is None:
        return value - by, math.nan, math.nan
    return value - by, ci.lo - by, ci.hi - by
