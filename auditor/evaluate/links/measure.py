"""From scores of one set of pairs to numbers: value, interval, and the paired contrast to every control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import LinkFacts, LinkList, LowFpr, Twin
from auditor.errors import EvaluationError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.pairs import PairSet
from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import Memo, Replicates, node_bootstrap
from auditor.statistics.pair_scores import PairScore

Floats = NDArray[np.float64]
BLOCK = 65_536
ROC_POINTS = 120
LOW_FPRS = (0.01, 0.001)
NEGATIVES_AT_FPR = 50
PAIR_REPLICATES = 200


@dataclass(frozen=True, slots=True, eq=False)
class PairMetric:
    """A metric of ranked pairs.

    Attributes:
        metric: what it is in the document.
        of: how it follows from a weighted ROC curve.
        logit: whether its interval is symmetric on the logit scale.
        fpr: the share of false alarms that it is taken at; None for a metric of the whole ranking.
    """

    metric: Metric
    of: Callable[[ranking.Curve], float]
    logit: bool = False
    fpr: float | None = None

    @property
    def least_negatives(self) -> int:
        """Non-edges that it wants: fifty at its share of false alarms."""
        return 0 if self.fpr is None else round(NEGATIVES_AT_FPR / self.fpr)


AUC = PairMetric(Metric("auc", "auc", "higher", "ranking"), ranking.auc, logit=True)
AVERAGE_PRECISION = PairMetric(Metric("average_precision", "ratio", "higher"), ranking.average_precision)
PRECISION = PairMetric(Metric("precision@edges", "share", "higher"), ranking.precision_at_positives)
LOW_TPR = tuple(
    PairMetric(Metric(f"tpr@{fpr:g}", "share", "higher", "low-fpr"), partial(ranking.tpr_at, fpr=fpr), fpr=fpr)
    for fpr in LOW_FPRS
)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One set of pairs, scored by the attack and every control, and replicated.

    Attributes:
        pairs: the set.
        scorers: the attack, then the controls.
        columns: scores of each scorer, float64 [P] for each of its draws.
        metrics: those that the set is large enough for.
        values: each metric of each column, [metrics, columns].
        replicates: the same over replicates; None where there are no intervals.
        num_nodes: of the graph. They are what is resampled, so that more of them make an interval shorter, not pairs.
    """

    pairs: PairSet
    scorers: tuple[Scorer, ...]
    columns: tuple[tuple[Floats, ...], ...] = field(repr=False)
    metrics: tuple[PairMetric, ...]
    values: Floats = field(repr=False)
    replicates: Replicates | None = field(repr=False)
    num_nodes: int

    def estimate(self, metric: PairMetric, scorer: int = 0) -> Estimate:
        """What a scorer reaches, by default the attack; no value where the set is too small for the metric."""
        if metric not in self.metrics:
            return Estimate(value=None, n=self.pairs.size)
        at, mean = self.metrics.index(metric), self._mean(scorer)
        if self.replicates is None:
            return Estimate(value=float(self.values[at] @ mean), n=self.pairs.size)
        least = 0.5 / (self.pairs.positives * self.pairs.negatives)
        value, lo, hi = self.replicates.interval(at, mean, logit=metric.logit, least=least)
        return Estimate(value=value, lo=lo, hi=hi, n=self.pairs.size)

    def controls(self, metric: PairMetric) -> list[Control]:
        """Every control on this set, with the paired contrast attack − control."""
        return [self._control(self.metrics.index(metric), scorer) for scorer in range(1, len(self.scorers))]

    def without_model(self, row: Measured, metric: PairMetric) -> Estimate | None:
        """What the best guess without the model reaches here: the strongest control of `row` that is no twin.

        A twin lowers what is proven; what an adversary can do without the model is another question. None without one.
        """
        names = [scorer.name for scorer in self.scorers]
        plain = [c for c in row.controls if not c.twin and c.contrast is not None and c.name in names]
        if not plain:
            return None
        best = min(plain, key=lambda c: np.inf if c.contrast is None or c.contrast.value is None else c.contrast.value)
        return self.estimate(metric, names.index(best.name))

    def _control(self, at: int, scorer: int) -> Control:
        own, other, n = self._mean(0), self._mean(scorer), self.num_nodes
        if self.replicates is None:
            contrast = Estimate(value=float(self.values[at] @ (own - other)), n=n)
        else:
            value, lo, hi = self.replicates.difference(at, own - other)
            contrast = Estimate(value=value, lo=lo, hi=hi, n=n)
        reached = Estimate(value=float(self.values[at] @ other), n=self.pairs.size)
        return Control(
            name=self.scorers[scorer].name, estimate=reached, contrast=contrast, twin=self.scorers[scorer].twin
        )

    def _mean(self, scorer: int) -> Floats:
        """Coefficients of the mean over a scorer's draws, [columns]."""
        weights = [np.full(len(own), (place == scorer) / len(own)) for place, own in enumerate(self.columns)]
        return np.concatenate(weights)


def pair_scores(score: PairScore, pairs: PairSet, *, owner: str) -> Floats:
    """Scores of a set, float64 [P], asked for in blocks.

    Raises:
        EvaluationError: wrong shape, or a score that is not finite.
    """
    found = [score(part) for part in torch.split(pairs.tensor, BLOCK, dim=1)]
    values = torch.cat(found).detach().double().numpy()
    if values.shape != (pairs.size,) or not np.isfinite(values).all():
        raise EvaluationError(
            f"{owner} scored {pairs.size} pairs with {values.shape} values, "
            f"{int((~np.isfinite(values)).sum())} of them not finite; expected one finite number a pair."
        )
    return values


def score_set(
    pairs: PairSet,
    attack: PairScore,
    controls: Sequence[Scorer],
    metrics: Sequence[PairMetric],
    *,
    num_nodes: int,
    rng: np.random.Generator,
    replicates: int,
    memo: Memo | None = None,
) -> Scored:
    """Scores the attack and every control on the same pairs; `replicates` 0 leaves the intervals out."""
    scorers = (Scorer("attack", (attack,)), *controls)
    columns = tuple(tuple(pair_scores(score, pairs, owner=own.name) for score in own.scores) for own in scorers)
    flat = [column for own in columns for column in own]
    usable = tuple(metric for metric in metrics if pairs.negatives >= metric.least_negatives)
    if not replicates:
        curves = [ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion) for column in flat]
        values = np.array([[metric.of(curve) for curve in curves] for metric in usable])
        return Scored(pairs, scorers, columns, usable, values, None, num_nodes)
    found = node_bootstrap(
        pairs.pairs,
        pairs.is_edge,
        pairs.inclusion,
        flat,
        [metric.of for metric in usable],
        num_nodes=num_nodes,
        rng=rng,
        node_replicates=replicates,
        pair_replicates=PAIR_REPLICATES,
        memo=memo,
    )
    return Scored(pairs, scorers, columns, usable, found.value, found, num_nodes)


def number(
    scored: Scored,
    metric: PairMetric,
    *,
    finding: str,
    knowledge: tuple[str, ...],
    judged: bool = False,
    further: Sequence[Control] = (),
    twin: Twin | None = None,
) -> Measured:
    """One number of a set.

    Where nothing is known without the model, the control of an AUC is chance. A number without an interval is not
    judged, and one that the set is too small for has no value.

    Args:
        scored: the set.
        metric: what is measured on it.
        finding: what it is filed under.
        knowledge: what the adversary knows besides the model.
        judged: whether the policy may judge it.
        further: controls that were measured on other pairs.
        twin: what the set's twins are like, on a set of theirs.
    """
    pairs, own = scored.pairs, scored.estimate(metric)
    facts = LinkFacts(positives=pairs.positives, negatives=pairs.negatives, knowledge=knowledge, twin=twin)
    kind = metric.metric if twin is None else replace(metric.metric, name=f"{metric.metric.name}/counterfactual")
    row = partial(measured, kind, own, finding=finding, subset=pairs.subset)
    if metric not in scored.metrics:
        return row(facts=facts.model_copy(update={"needed": metric.least_negatives}))
    controls = [*scored.controls(metric), *further]
    if not controls and metric is AUC:
        controls = [_chance(own, scored.num_nodes)]
    found = row(controls=controls, judged=judged and own.has_interval, facts=facts)
    if metric.fpr is None:
        return found
    low_fpr = LowFpr(fpr=metric.fpr, attack=own, control=scored.without_model(found, metric), chance=metric.fpr)
    return with_facts(found, low_fpr=low_fpr)


def with_facts(row: Measured, **more: Any) -> Measured:
    """The same number with more facts."""
    assert row.facts is not None
    return row.model_copy(update={"facts": row.facts.model_copy(update=more)})


def _chance(own: Estimate, num_nodes: int) -> Control:
    """The control of an AUC that nothing is known beside: 0.5."""
    value, lo, hi = (None if end is None else end - 0.5 for end in (own.value, own.lo, own.hi))
    return Control(
        name="chance",
        estimate=Estimate(value=0.5, n=own.n),
        contrast=Estimate(value=value, lo=lo, hi=hi, n=num_nodes),
    )


def link_list(scored: Scored, row: Measured, *, n_links: int, num_nodes: int) -> LinkList:
    """The N likeliest pairs as a list, N being the number of links: how many of them are links.

    Args:
        scored: a set that stands for all pairs, with `PRECISION` among its metrics.
        row: what is judged on it; its controls say whose list stands beside the attack's.
        n_links: N.
        num_nodes: of the graph.
    """
    every = num_nodes * (num_nodes - 1) // 2
    control = scored.without_model(row, PRECISION)
    return LinkList(
        n_links=n_links,
        k=_of(scored.estimate(PRECISION), n_links),
        m=None if control is None else _of(control, n_links),
        r=Estimate(value=n_links * n_links / every, n=n_links),
        sampled=scored.pairs.size < every,
    )


def _of(share: Estimate, total: int) -> Estimate:
    """A share of `total` as a count."""
    value, lo, hi = (None if end is None else end * total for end in (share.value, share.lo, share.hi))
    return Estimate(value=value, lo=lo, hi=hi, n=total)


def roc_series(scored: Scored, others: Sequence[Scored], reference: PairScore | None) -> Series:
    """ROC curves on a logarithmic axis of false positives: the attack, every control, and the reference if any.

    Args:
        scored: the main set.
        others: sets of twins; the first control of each is drawn.
        reference: a score that is drawn and compared with nothing.
    """
    grid = np.unique(
        np.concatenate([np.geomspace(1 / scored.pairs.negatives, 1.0, ROC_POINTS), np.array([0.001, 0.01])])
    )
    curves = [_roc(scored, place, grid) for place in range(len(scored.scorers))]
    curves += [_roc(other, 1, grid) for other in others]
    if reference is not None:
        column = pair_scores(reference, scored.pairs, owner="the architecture reference")
        points = _tpr(column, scored.pairs, grid)
        curves.append(
            Curve(name="architecture (untrained, served)", role="reference", x=_rounded(grid), y=_rounded(points))
        )
    return Series(
        id="roc",
        kind="roc",
        title="Edges found against false alarms",
        x_label="false positive rate",
        y_label="true positive rate",
        curves=tuple(curves),
    )


def _roc(scored: Scored, scorer: int, grid: Floats) -> Curve:
    y = np.mean([_tpr(column, scored.pairs, grid) for column in scored.columns[scorer]], axis=0)
    name = scored.scorers[scorer].name
    return Curve(name=name, role="control" if scorer else "value", x=_rounded(grid), y=_rounded(y))


def _tpr(column: Floats, pairs: PairSet, grid: Floats) -> Floats:
    return ranking.tpr_points(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion), grid)


def _rounded(row: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in row)
