"""From scores of one set of pairs to numbers: value, interval, and the paired contrast to every control.

What is judged is the combined adversary: whoever attacks also holds the side knowledge, so that attack and control are
added up, as normal scores of their ranks and with equal weights, before they are compared with the control alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import LinkFacts, LinkList, LowFpr, Rival, Twin
from auditor.errors import EvaluationError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.pairs import PairSet
from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import Memo, Replicates, node_bootstrap
from auditor.statistics.pair_scores import PairScore, normal_scores

Floats = NDArray[np.float64]
Place = int | tuple[int, int]
"""A scorer by its place, or two of them added up."""
BLOCK = 65_536
ROC_POINTS = 120
LOW_FPRS = (0.01, 0.001)
NEGATIVES_AT_FPR = 50
PAIR_REPLICATES = 200
SIGNS = 2
"""Ways round that a score is read, of which the better one counts: intervals are widened for the choice."""


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
HEADROOM = Metric("headroom", "errors", "higher", "ranking")
"""h = (A − c) / (1 − c), with A the AUC of attack and control together and c that of the control: of the errors of the
best guess without the model, the share that the model avoids."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One set of pairs, scored by the attack and every control, alone and added up, and replicated.

    Attributes:
        pairs: the set.
        scorers: the attack, then the controls.
        columns: scores of each scorer or pair of scorers, float64 [P] for each of its draws.
        reversed: pairs of scorers in which the first is read in reverse.
        metrics: those that the set is large enough for.
        values: each metric of each column, [metrics, columns].
        replicates: the same over replicates; None where there are no intervals.
        num_nodes: of the graph. They are what is resampled, so that more of them make an interval shorter, not pairs.
    """

    pairs: PairSet
    scorers: tuple[Scorer, ...]
    columns: Mapping[Place, tuple[Floats, ...]] = field(repr=False)
    reversed: frozenset[Place]
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
        """The attack was read both ways; so was everything that it is part of."""
        return SIGNS if isinstance(place, tuple) or place == 0 else 1

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
class Beside:
    """One comparison of the combined adversary.

    Attributes:
        name: of the control.
        scored: the pairs of it.
        own: attack and control together, there.
        other: the control there; None as it is chance.
        twin: what a model on a rewired graph is like, where that is what the control attacks.
    """

    name: str
    scored: Scored
    own: Place
    other: Place | None
    twin: Twin | None = None

    def rival(self) -> Rival:
        """Both sides as a record."""
        pairs = self.scored.pairs
        chance = Estimate(value=0.5, n=pairs.size)
        return Rival(
            control=self.name,
            twin=self.twin is not None,
            with_model=self.scored.estimate(AUC, self.own),
            without_model=chance if self.other is None else self.scored.estimate(AUC, self.other),
            in_reverse=self.own in self.scored.reversed,
            positives=pairs.positives,
            negatives=pairs.negatives,
        )

    def headroom(self) -> Control:
        """As a control of the headroom: 0, beside the errors avoided on these pairs."""
        own = self.scored.headroom(self.own, self.other)
        return Control(name=self.name, estimate=Estimate(value=0.0), contrast=own, own=own, twin=self.twin is not None)

    def control(self, metric: PairMetric) -> Control:
        """As a control of a metric of attack and control together."""
        own = self.scored.estimate(metric, self.own)
        if self.other is None:
            level = 0.5 if metric.fpr is None else metric.fpr
            reached = Estimate(value=level, n=own.n)
            value, lo, hi = (None if end is None else end - level for end in (own.value, own.lo, own.hi))
            contrast = Estimate(value=value, lo=lo, hi=hi, n=self.scored.num_nodes)
        else:
            reached = self.scored.estimate(metric, self.other)
            contrast = self.scored.difference(metric, self.own, self.other)
        return Control(name=self.name, estimate=reached, contrast=contrast, own=own, twin=self.twin is not None)


def prepared(scorer: Scorer, pairs: PairSet, reference: Tensor) -> Scorer:
    """The scorer read the better way round on these pairs, with its scores on the reference pairs.

    Scores are two-sided: where linked nodes are unlike, the pairs that a score ranks last are the links.
    """
    columns = [pair_scores(score, pairs.tensor, owner=scorer.name) for score in scorer.scores]
    in_reverse = float(np.mean([_area(column, pairs) for column in columns])) < 0.5
    scores = tuple(map(_negated, scorer.scores)) if in_reverse else scorer.scores
    ranks = tuple(np.sort(pair_scores(score, reference, owner=scorer.name)) for score in scores)
    return replace(scorer, scores=scores, reference=ranks, in_reverse=in_reverse)


def _area(column: Floats, pairs: PairSet) -> float:
    return ranking.auc(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion))


def _negated(score: PairScore) -> PairScore:
    return lambda pairs: -score(pairs)


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
        metrics: left out where the set is too small for them.
        num_nodes: N.
        rng: of the replicates.
        replicates: of the nodes.
        together: scorers to be added up, by place; they are `prepared`.
        memo: see `node_bootstrap`.
    """
    columns: dict[Place, tuple[Floats, ...]] = {
        place: tuple(pair_scores(score, pairs.tensor, owner=own.name) for score in own.scores)
        for place, own in enumerate(scorers)
    }
    in_reverse = set()
    for first, second in together:
        sides = [_normal(scorers[place], columns[place]) for place in (first, second)]
        columns[first, second], sign = _added(sides[0], sides[1], pairs)
        if (sign < 0) != scorers[first].in_reverse:
            in_reverse.add((first, second))
    flat = [column for own in columns.values() for column in own]
    usable = tuple(metric for metric in metrics if pairs.negatives >= metric.least_negatives)
    made = partial(Scored, pairs, tuple(scorers), columns, frozenset(in_reverse), usable, num_nodes=num_nodes)
    if not replicates:
        curves = [ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion) for column in flat]
        return made(np.array([[metric.of(curve) for curve in curves] for metric in usable]), None)
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
    return made(found.value, found)


def _normal(scorer: Scorer, columns: Sequence[Floats]) -> list[Floats]:
    return [normal_scores(own, reference) for own, reference in zip(columns, scorer.reference, strict=True)]


def _added(first: Sequence[Floats], second: Sequence[Floats], pairs: PairSet) -> tuple[tuple[Floats, ...], int]:
    """Two scorers' normal scores added up, draw by draw, the first with the sign that ranks the pairs better."""
    draws = range(max(len(first), len(second)))
    best: tuple[float, tuple[Floats, ...], int] = (-1.0, (), 1)
    for sign in (1, -1):
        made = tuple(sign * first[draw % len(first)] + second[draw % len(second)] for draw in draws)
        area = float(np.mean([_area(column, pairs) for column in made]))
        best = max(best, (area, made, sign), key=lambda each: each[0])
    return best[1], best[2]


def comparisons(main: Scored, apart: Sequence[tuple[Twin, Scored]]) -> tuple[Beside, ...]:
    """Every comparison of the combined adversary: each control, chance, and the twins; the strongest control first.

    Args:
        main: the main set: the attack, then what needs no model, each also together with the attack.
        apart: the sets of the twins: the attack, the strongest control where there is one, the twin, and the first and
            the last each together with that control.
    """
    found = [Beside(main.scorers[place].name, main, (0, place), place) for place in main.strongest_first]
    chance = Beside("chance", main, found[0].own if found else 0, None)
    twins = []
    for facts, part in apart:
        last = len(part.scorers) - 1
        own, other = ((0, 1), (last, 1)) if last > 1 else (0, last)
        twins.append(Beside(part.scorers[last].name, part, own, other, facts))
    return (*found, chance, *twins)


def combined(beside: Sequence[Beside], metric: PairMetric) -> tuple[Estimate, list[Control]]:
    """What attack and strongest control reach together, and every comparison of it."""
    first = beside[0]
    if metric not in first.scored.metrics:
        return Estimate(value=None, n=first.scored.pairs.size), []
    there = [each for each in beside if metric in each.scored.metrics]
    return first.scored.estimate(metric, first.own), [each.control(metric) for each in there]


def number(
    scored: Scored,
    metric: PairMetric,
    *,
    finding: str,
    knowledge: tuple[str, ...],
    twin: Twin | None = None,
) -> Measured:
    """One number of the attack alone on a set; it is shown and not judged.

    Where nothing is known without the model, the control of an AUC is chance. A number that the set is too small for
    has no value.

    Args:
        scored: the set.
        metric: what is measured on it.
        finding: what it is filed under.
        knowledge: what the adversary knows besides the model.
        twin: what the set's twins are like, on a set of theirs.
    """
    pairs, own = scored.pairs, scored.estimate(metric)
    facts = facts_of(pairs, knowledge).model_copy(update={"twin": twin, "in_reverse": scored.scorers[0].in_reverse})
    kind = metric.metric if twin is None else replace(metric.metric, name=f"{metric.metric.name}/counterfactual")
    row = partial(measured, kind, own, finding=finding, subset=pairs.subset)
    if metric not in scored.metrics:
        return row(facts=facts.model_copy(update={"needed": metric.least_negatives}))
    controls = [control for control in scored.controls(metric) if twin is None or control.twin]
    if not controls and metric is AUC:
        controls = [Beside("chance", scored, 0, None).control(metric).model_copy(update={"own": None})]
    return row(controls=controls, facts=facts)


def judged_numbers(
    beside: Sequence[Beside], metrics: Sequence[PairMetric], *, finding: str, knowledge: tuple[str, ...]
) -> list[Measured]:
    """Headroom, then each metric of the combined adversary; the headroom and the strictest metric are judged.

    A number without an interval is not judged. Without a twin a leak cannot be told from what degrees and features
    give away, so that no more than a moderate one is proven.
    """
    first = beside[0]
    facts = facts_of(first.scored.pairs, knowledge).model_copy
    is_separable = any(each.twin is not None for each in beside)
    row = partial(
        measured, finding=finding, subset=first.scored.pairs.subset, at_most=None if is_separable else "medium"
    )
    own = first.scored.headroom(first.own, first.other)
    rivals = facts(update={"rivals": tuple(each.rival() for each in beside)})
    rows = [row(HEADROOM, own, controls=[each.headroom() for each in beside], judged=own.has_interval, facts=rivals)]
    usable = [metric for metric in metrics if metric.fpr is not None and metric in first.scored.metrics]
    for metric in metrics:
        reached, controls = combined(beside, metric)
        more: dict[str, Any] = {} if controls else {"needed": metric.least_negatives}
        if metric.fpr is not None:
            alone = next((control.estimate for control in controls if control.name == first.name), None)
            without = None if first.other is None else alone
            more["low_fpr"] = LowFpr(fpr=metric.fpr, attack=reached, control=without, chance=metric.fpr)
        is_judged = bool(usable) and metric is usable[-1] and reached.has_interval
        rows.append(row(metric.combined, reached, controls=controls, judged=is_judged, facts=facts(update=more)))
    return rows


def facts_of(pairs: PairSet, knowledge: tuple[str, ...]) -> LinkFacts:
    """What every number on a set says of its pairs."""
    return LinkFacts(positives=pairs.positives, negatives=pairs.negatives, knowledge=knowledge)


def with_facts(row: Measured, **more: Any) -> Measured:
    """The same number with more facts."""
    assert row.facts is not None
    return row.model_copy(update={"facts": row.facts.model_copy(update=more)})


def link_list(strongest: Beside, *, n_links: int, num_nodes: int) -> LinkList:
    """The N likeliest pairs as a list, N being the number of links: how many of them are links.

    Args:
        strongest: the comparison with the best guess without the model, on a set that stands for all pairs, with
            `PRECISION` among its metrics.
        n_links: N.
        num_nodes: of the graph.
    """
    every = num_nodes * (num_nodes - 1) // 2
    scored, other = strongest.scored, strongest.other
    return LinkList(
        n_links=n_links,
        k=_of(scored.estimate(PRECISION, strongest.own), n_links),
        m=None if other is None else _of(scored.estimate(PRECISION, other), n_links),
        r=Estimate(value=n_links * n_links / every, n=n_links),
        sampled=scored.pairs.size < every,
    )


def _of(share: Estimate, total: int) -> Estimate:
    """A share of `total` as a count."""
    value, lo, hi = (None if end is None else end * total for end in (share.value, share.lo, share.hi))
    return Estimate(value=value, lo=lo, hi=hi, n=total)


def roc_series(beside: Sequence[Beside], reference: PairScore | None) -> Series:
    """ROC curves on a logarithmic axis of false positives: attack and control together, attack alone, each control.

    Args:
        beside: the comparisons, the strongest control first.
        reference: a score that is drawn and compared with nothing.
    """
    first = beside[0]
    main = first.scored
    grid = np.unique(np.concatenate([np.geomspace(1 / main.pairs.negatives, 1.0, ROC_POINTS), np.array([0.001, 0.01])]))
    curves = [_roc(main, first.own, grid, name="attack and side knowledge together", role="value")]
    if first.own != 0:
        curves.append(_roc(main, 0, grid, name="attack alone", role="reference"))
    curves += [
        _roc(each.scored, each.other, grid, name=each.name, role="control") for each in beside if each.other is not None
    ]
    if reference is not None:
        column = pair_scores(reference, main.pairs.tensor, owner="the architecture reference")
        points = _tpr(column, main.pairs, grid)
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


def _roc(scored: Scored, place: Place, grid: Floats, *, name: str, role: Any) -> Curve:
    y = np.mean([_tpr(column, scored.pairs, grid) for column in scored.columns[place]], axis=0)
    return Curve(name=name, role=role, x=_rounded(grid), y=_rounded(y))


def _tpr(column: Floats, pairs: PairSet, grid: Floats) -> Floats:
    return ranking.tpr_points(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion), grid)


def _rounded(row: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in row)
