"""Scores of one set of pairs by the attack and every control, alone and added up, and their replicates.

What is judged is the combined adversary: whoever attacks also holds the side knowledge, so that attack and control are
added up, as normal scores of their ranks and with equal weights, before they are compared with the control alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.document import Control, Estimate, Metric
from auditor.errors import EvaluationError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.pairs import PairSet, Readings
from auditor.shared import content
from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import Memo, Replicates, node_bootstrap
from auditor.statistics.pair_scores import PairScore, normal_scores

Floats = NDArray[np.float64]
Place = int | tuple[int, int]
"""A scorer by its place, or two of them added up."""
BLOCK = 65_536
LOW_FPRS = (0.01, 0.001)
NEGATIVES_AT_FPR = 50
PAIR_REPLICATES = 200
SIGNS = 2
"""Ways round that a score is read, of which the better one counts: intervals are widened for the choice."""
SURE = 5.0
"""Standard errors by which one way leads when nothing is chosen: the other would win once in a million times."""


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
    of: Callable[[ranking.Curve | ranking.Curves], Floats]
    logit: bool = False
    fpr: float | None = None

    @property
    def least_negatives(self) -> int:
        """Non-edges that it wants: fifty at its share of false alarms."""
        return 0 if self.fpr is None else round(NEGATIVES_AT_FPR / self.fpr)

    @property
    def combined(self) -> Metric:
        """The same of attack and control together."""
        return replace(self.metric, name=f"combined_{self.metric.name}")


AUC = PairMetric(Metric("auc", "auc", "higher", "ranking"), ranking.auc, logit=True)
AVERAGE_PRECISION = PairMetric(Metric("average_precision", "ratio", "higher"), ranking.average_precision)
PRECISION = PairMetric(Metric("precision@edges", "share", "higher"), ranking.precision_at_positives)
LOW_TPR = tuple(
    PairMetric(Metric(f"tpr@{fpr:g}", "share", "higher", "low-fpr"), partial(ranking.tpr_at, fpr=fpr), fpr=fpr)
    for fpr in LOW_FPRS
)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One set of pairs, scored by the attack and every control, alone and added up, and replicated.

    Attributes:
        pairs: the set.
        scorers: the attack, then the controls.
        columns: scores of each scorer or pair of scorers, float64 [P] for each of its draws.
        reversed: pairs of scorers in which the first is read in reverse.
        other_way: AUC of each pair of scorers with the first read the worse way round.
        metrics: those that were measured.
        values: each metric of each column, [metrics, columns].
        replicates: the same over replicates; None where there are no intervals.
        num_nodes: of the graph. They are what is resampled, so that more of them make an interval shorter, not pairs.
    """

    pairs: PairSet
    scorers: tuple[Scorer, ...]
    columns: Mapping[Place, tuple[Floats, ...]] = field(repr=False)
    reversed: frozenset[Place]
    other_way: Mapping[Place, float]
    metrics: tuple[PairMetric, ...]
    values: Floats = field(repr=False)
    replicates: Replicates | None = field(repr=False)
    num_nodes: int

    def estimate(self, metric: PairMetric, place: Place = 0) -> Estimate:
        """What a scorer reaches, by default the attack; no value where the set is too small for the metric."""
        if metric not in self.metrics:
            return Estimate(value=None, n=self.pairs.size)
        at, mean = self.metrics.index(metric), self._mean(place)
        if self.replicates is None:
            return Estimate(value=float(self.values[at] @ mean), n=self.pairs.size)
        value, lo, hi = self.replicates.interval(
            at, mean, logit=metric.logit, least=self._least, choices=self._choices(place)
        )
        return Estimate(value=value, lo=lo, hi=hi, n=self.pairs.size)

    def difference(self, metric: PairMetric, own: Place, other: Place) -> Estimate:
        """Own − other, paired."""
        at, contrast, n = self.metrics.index(metric), self._mean(own) - self._mean(other), self.num_nodes
        if self.replicates is None:
            return Estimate(value=float(self.values[at] @ contrast), n=n)
        value, lo, hi = self.replicates.difference(at, contrast, choices=self._choices(own))
        return Estimate(value=value, lo=lo, hi=hi, n=n)

    def headroom(self, own: Place, other: Place | None) -> Estimate:
        """Share of the errors of `other` that `own` avoids, paired; None as the other is chance."""
        at, mine, n = self.metrics.index(AUC), self._mean(own), self.num_nodes
        theirs = None if other is None else self._mean(other)
        if theirs is None:
            reached = self.estimate(AUC, own)
            value, lo, hi = (None if end is None else 2 * end - 1 for end in (reached.value, reached.lo, reached.hi))
            return Estimate(value=value, lo=lo, hi=hi, n=n)
        if self.replicates is None:
            errors = [max(1 - float(self.values[at] @ side), self._least) for side in (mine, theirs)]
            return Estimate(value=1 - errors[0] / errors[1], n=n)
        value, lo, hi = self.replicates.errors_avoided(at, mine, theirs, least=self._least, choices=self._choices(own))
        return Estimate(value=value, lo=lo, hi=hi, n=n)

    def controls(self, metric: PairMetric) -> list[Control]:
        """Every control on this set beside the attack alone, with the paired contrast attack − control."""
        return [
            Control(
                name=scorer.name,
                estimate=self._bare(metric, place),
                contrast=self.difference(metric, 0, place),
                twin=scorer.twin,
            )
            for place, scorer in enumerate(self.scorers)
            if place
        ]

    def _bare(self, metric: PairMetric, place: Place) -> Estimate:
        return Estimate(value=float(self.values[self.metrics.index(metric)] @ self._mean(place)), n=self.pairs.size)

    def _choices(self, place: Place) -> int:
        """How many readings the better one was taken of: of the attack and all that it is part of, unless one is sure.

        The standard error of the lead is at most the sum of the two ways', here twice that of the better one.
        """
        if isinstance(place, int) and place > 0:
            return 1
        at, mean = self.metrics.index(AUC), self._mean(place)
        area = float(self.values[at] @ mean)
        error = 0.0 if self.replicates is None else math.sqrt(self.replicates.variance(at, mean))
        lead = area - self.other_way.get(place, 1 - area)
        return 1 if lead > 2 * SURE * error else SIGNS

    @property
    def strongest_first(self) -> list[int]:
        """Places of the controls, the one of the largest AUC first."""
        areas = {place: self._bare(AUC, place).value or 0.0 for place in range(1, len(self.scorers))}
        return sorted(areas, key=lambda place: -areas[place])

    @property
    def _least(self) -> float:
        return 0.5 / (self.pairs.positives * self.pairs.negatives)

    def _mean(self, place: Place) -> Floats:
        """Coefficients of the mean over a scorer's draws, [columns]."""
        weights = [np.full(len(own), (at == place) / len(own)) for at, own in self.columns.items()]
        return np.concatenate(weights)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Uniform pairs among which scores are ranked, int64 [2, R], and what was read off them."""

    pairs: Tensor
    known: Readings = field(default_factory=Readings, repr=False)

    def values(self, score: PairScore, owner: str) -> Floats:
        """Scores of the pairs, ascending, [R]."""
        return self.known.once(score, "ascending", lambda: np.sort(pair_scores(score, self.pairs, owner=owner)))


def prepared(scorer: Scorer, pairs: PairSet, reference: Reference) -> Scorer:
    """The scorer read the better way round on these pairs, with its scores on the reference pairs.

    Scores are two-sided: where linked nodes are unlike, the pairs that a score ranks last are the links.
    """
    in_reverse = float(np.mean([_area(column, pairs) for column in _columns(scorer, pairs)])) < 0.5
    values = [reference.values(score, scorer.name) for score in scorer.scores]
    if in_reverse:
        scores, ranks = tuple(map(_Negated, scorer.scores)), tuple(-each[::-1] for each in values)
        return replace(scorer, scores=scores, reference=ranks, in_reverse=True)
    return replace(scorer, reference=tuple(values), in_reverse=False)


def _columns(scorer: Scorer, pairs: PairSet) -> tuple[Floats, ...]:
    """Scores of a set, [P] for each draw of the scorer."""
    return tuple(_column(score, pairs, scorer.name) for score in scorer.scores)


def _column(score: PairScore, pairs: PairSet, owner: str) -> Floats:
    if isinstance(score, _Negated):
        return -_column(score.score, pairs, owner)
    return pairs.once(score, lambda whole: pair_scores(score, whole.tensor, owner=owner))


def _area(column: Floats, pairs: PairSet) -> float:
    return float(ranking.auc(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion)))


@dataclass(frozen=True, slots=True)
class _Negated:
    """A score the other way round."""

    score: PairScore

    def __call__(self, pairs: Tensor) -> Tensor:
        return -self.score(pairs)


def pair_scores(score: PairScore, pairs: Tensor, *, owner: str) -> Floats:
    """Scores of pairs int64 [2, P], float64 [P], asked for in blocks.

    Raises:
        EvaluationError: wrong shape, or a score that is not finite.
    """
    values = torch.cat([score(part) for part in torch.split(pairs, BLOCK, dim=1)]).detach().double().numpy()
    if values.shape != (pairs.shape[1],) or not np.isfinite(values).all():
        raise EvaluationError(
            f"{owner} scored {pairs.shape[1]} pairs with {values.shape} values, "
            f"{int((~np.isfinite(values)).sum())} of them not finite; expected one finite number a pair."
        )
    return values


def usable(metrics: Sequence[PairMetric], pairs: PairSet) -> tuple[PairMetric, ...]:
    """The metrics that a set is large enough for."""
    return tuple(metric for metric in metrics if pairs.negatives >= metric.least_negatives)


def score_set(
    pairs: PairSet,
    scorers: Sequence[Scorer],
    metrics: Sequence[PairMetric],
    *,
    num_nodes: int,
    rng: np.random.Generator,
    replicates: int,
    together: Sequence[tuple[int, int]] = (),
    memo: Memo | None = None,
) -> Scored:
    """Scores the attack and every control on the same pairs; `replicates` 0 leaves the intervals out.

    Args:
        pairs: the set.
        scorers: the attack, then the controls.
        metrics: of which the main set is large enough, see `usable`.
        num_nodes: N.
        rng: of the replicates.
        replicates: of the nodes; and of the pairs, up to 200.
        together: scorers to be added up, by place; they are `prepared`.
        memo: see `node_bootstrap`.
    """
    columns: dict[Place, tuple[Floats, ...]] = {place: _columns(own, pairs) for place, own in enumerate(scorers)}
    in_reverse: set[Place] = set()
    other_way: dict[Place, float] = {}
    for first, second in together:
        sides = [_normal(scorers[place], pairs) for place in (first, second)]
        columns[first, second], other_way[first, second], sign = _added(sides[0], sides[1], pairs)
        if (sign < 0) != scorers[first].in_reverse:
            in_reverse.add((first, second))
    flat = [column for own in columns.values() for column in own]
    made = partial(
        Scored, pairs, tuple(scorers), columns, frozenset(in_reverse), other_way, tuple(metrics), num_nodes=num_nodes
    )
    if not replicates:
        curves = [ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion) for column in flat]
        return made(np.array([[metric.of(curve) for curve in curves] for metric in metrics]), None)
    found = node_bootstrap(
        pairs.pairs,
        pairs.is_edge,
        pairs.inclusion,
        flat,
        [metric.of for metric in metrics],
        num_nodes=num_nodes,
        rng=rng,
        node_replicates=replicates,
        pair_replicates=min(PAIR_REPLICATES, replicates),
        memo=memo,
    )
    return made(found.value, found)


def _normal(scorer: Scorer, pairs: PairSet) -> list[Floats]:
    """Normal scores of a set among the scorer's reference, [P] for each of its draws."""

    def made(score: PairScore, ranks: Floats) -> Callable[[PairSet], Floats]:
        return lambda whole: normal_scores(_column(score, whole, scorer.name), ranks)

    drawn = zip(scorer.scores, scorer.reference, strict=True)
    return [pairs.once(score, made(score, ranks), way=content(ranks)) for score, ranks in drawn]


def _added(first: Sequence[Floats], second: Sequence[Floats], pairs: PairSet) -> tuple[tuple[Floats, ...], float, int]:
    """Two scorers' normal scores added up, draw by draw, the first with the sign that ranks the pairs better.

    Returns:
        the sums, the AUC with the other sign, and the sign.
    """
    draws, read = range(max(len(first), len(second))), []
    for sign in (1, -1):
        made = tuple(sign * first[draw % len(first)] + second[draw % len(second)] for draw in draws)
        read.append((float(np.mean([_area(column, pairs) for column in made])), made, sign))
    worse, better = sorted(read, key=lambda each: (each[0], each[2]))
    return better[1], worse[0], better[2]
