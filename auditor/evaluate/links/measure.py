"""From scores of pairs to numbers: headroom, rates and areas beside every control, the list of links, ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import LinkFacts, LinkList, LowFpr, Rival, Twin
from auditor.evaluate.links.pairs import PairSet
from auditor.evaluate.links.scoring import AUC, PRECISION, Floats, PairMetric, Place, Scored, pair_scores
from auditor.statistics import ranking
from auditor.statistics.pair_scores import PairScore

Role = Literal["value", "control", "reference"]
ROC_POINTS = 120
CHANCE = "chance"
HEADROOM = Metric("headroom", "errors", "higher", "ranking")
"""h = (A − c) / (1 − c), with A the AUC of attack and control together and c that of the control: of the errors of the
best guess without the model, the share that the model avoids."""


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


def comparisons(main: Scored, apart: Sequence[tuple[Twin, Scored]]) -> tuple[Beside, ...]:
    """Every comparison of the combined adversary: each control, chance, and the twins; the strongest control first.

    Args:
        main: the main set: the attack, then what needs no model, each also together with the attack.
        apart: the sets of the twins: the attack, the strongest control where there is one, the twin, and the first and
            the last each together with that control.
    """
    found = [Beside(main.scorers[place].name, main, (0, place), place) for place in main.strongest_first]
    chance = Beside(CHANCE, main, found[0].own if found else 0, None)
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
        controls = [Beside(CHANCE, scored, 0, None).control(metric).model_copy(update={"own": None})]
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
    room = [each.headroom() for each in beside]
    rows = [row(HEADROOM, own, controls=room, strongest=first.name, judged=own.has_interval, facts=rivals)]
    there = [metric for metric in metrics if metric.fpr is not None and metric in first.scored.metrics]
    for metric in metrics:
        reached, controls = combined(beside, metric)
        more: dict[str, Any] = {} if controls else {"needed": metric.least_negatives}
        plain = [control for control in controls if not control.twin]
        strongest = max(plain, key=lambda control: control.estimate.value or 0.0, default=None)
        if metric.fpr is not None:
            more["low_fpr"] = _low_fpr(metric.fpr, reached, plain)
        is_judged = bool(there) and metric is there[-1] and reached.has_interval
        name = None if strongest is None else strongest.name
        made = partial(row, metric.combined, reached, controls=controls, strongest=name)
        rows.append(made(judged=is_judged, facts=facts(update=more)))
    return rows


def _low_fpr(fpr: float, reached: Estimate, plain: Sequence[Control]) -> LowFpr:
    """What is found at few false alarms, by the strongest guess there and by the attack together with that guess."""
    guesses = [control for control in plain if control.name != CHANCE]
    best = max(guesses, key=lambda control: control.estimate.value or 0.0, default=None)
    if best is None:
        return LowFpr(fpr=fpr, attack=reached, control=None, chance=fpr)
    return LowFpr(fpr=fpr, attack=best.own or reached, control=best.estimate, chance=fpr)


def facts_of(pairs: PairSet, knowledge: tuple[str, ...]) -> LinkFacts:
    """What every number on a set says of its pairs."""
    return LinkFacts(positives=pairs.positives, negatives=pairs.negatives, knowledge=knowledge)


def with_facts(row: Measured, **more: Any) -> Measured:
    """The same number with more facts."""
    assert row.facts is not None
    return row.model_copy(update={"facts": row.facts.model_copy(update=more)})


def link_list(strongest: Beside, *, n_links: int, n_pairs: int) -> LinkList:
    """The N likeliest pairs as a list, N being the number of links: how many of them are links.

    Args:
        strongest: the comparison with the best guess without the model, on a set that stands for all pairs, with
            `PRECISION` among its metrics.
        n_links: N.
        n_pairs: of all pairs that it is about.
    """
    scored, other = strongest.scored, strongest.other
    return LinkList(
        n_links=n_links,
        k=_of(scored.estimate(PRECISION, strongest.own), n_links),
        m=None if other is None else _of(scored.estimate(PRECISION, other), n_links),
        r=Estimate(value=n_links * n_links / n_pairs, n=n_links),
        sampled=scored.pairs.size < n_pairs,
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


def _roc(
    scored: Scored, place: Place, grid: Floats, *, name: str, role: Literal["value", "control", "reference"]
) -> Curve:
    y = np.mean([_tpr(column, scored.pairs, grid) for column in scored.columns[place]], axis=0)
    return Curve(name=name, role=role, x=_rounded(grid), y=_rounded(y))


def _tpr(column: Floats, pairs: PairSet, grid: Floats) -> Floats:
    return ranking.tpr_points(ranking.Ranking(column, pairs.is_edge).curve(pairs.inclusion), grid)


def _rounded(row: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in row)
