"""Scores of members and others by the attack and every control, alone and added up, and their replicates.

What is judged is the combined adversary: whoever attacks holds what the controls hold. The strongest control that is
itself better than chance is added to the attack, both as normal scores of their ranks with equal weights. One that is
not would only add noise, and is left to whoever guesses without the model. Every control is something to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Metric
from auditor.document.facts import Rival
from auditor.evaluate.membership.trial import Trial
from auditor.statistics import ranking
from auditor.statistics.node_bootstrap import Replicates
from auditor.statistics.pair_scores import normal_scores
from auditor.statistics.unit_bootstrap import ranked, unit_bootstrap

Floats = NDArray[np.float64]
Place = int | tuple[int, int]
"""A scorer by its place, the attack at 0; or the attack and a control added up."""
CHANCE = "chance"
OTHERS_AT_FPR = 10
"""Others that a rate of false accusations wants to have accused."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberMetric:
    """A metric of ranked items.

    Attributes:
        metric: what it is in the document.
        of: how it follows from a weighted ROC curve.
        fpr: the share of others that are falsely accused; None for a metric of the whole ranking.
    """

    metric: Metric
    of: Callable[[ranking.Curve | ranking.Curves], Floats]
    fpr: float | None = None

    @property
    def least_others(self) -> int:
        """Others that it wants: ten at its share of false accusations."""
        return 0 if self.fpr is None else round(OTHERS_AT_FPR / self.fpr)

    @property
    def combined(self) -> Metric:
        """The same of attack and control together."""
        return replace(self.metric, name=f"combined_{self.metric.name}")


AUC = MemberMetric(Metric("auc", "auc", "higher", "ranking"), ranking.auc)
LOW_TPR = tuple(
    MemberMetric(Metric(f"tpr@{fpr:g}", "share", "higher", "low-fpr"), partial(ranking.tpr_at, fpr=fpr), fpr)
    for fpr in (0.1, 0.01, 0.001)
)
STRICTEST = 0.01
"""The least share of false accusations that is judged; what is less is shown where there are enough others."""
METRICS = (AUC, *LOW_TPR)
HEADROOM = Metric("headroom", "errors", "higher", "ranking")
"""(A − c) / (1 − c), with A the AUC of attack and control together and c that of the control: of the errors of the best
guess without the model, the share that the model avoids."""


@dataclass(frozen=True, slots=True, eq=False)
class Guesser:
    """Whoever scores the judged items: scores [n] for each of its draws, whose mean of a metric is what it reaches."""

    name: str
    scores: tuple[Floats, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The attack and every control on the same items and resamples.

    Attributes:
        trial: the items.
        guessers: the attack, then the controls.
        columns: scores of each, by place.
        replicates: of every metric of `METRICS`; without any, nothing has an interval.
    """

    trial: Trial
    guessers: tuple[Guesser, ...]
    columns: Mapping[Place, tuple[Floats, ...]] = field(repr=False)
    replicates: Replicates = field(repr=False)

    @classmethod
    def of(
        cls, trial: Trial, guessers: Sequence[Guesser], state: Callable[[], np.random.Generator], times: int
    ) -> Scored:
        """Everybody alone, then the attack together with the strongest control that is proven better than chance.

        Args:
            trial: the items.
            guessers: the attack, then the controls.
            state: a generator in the same state at each call: both rounds share their resamples.
            times: replicates; 0 leaves the intervals out.
        """
        metrics = [metric.of for metric in METRICS]

        def measured(columns: Mapping[Place, tuple[Floats, ...]]) -> Replicates:
            flat = [column for own in columns.values() for column in own]
            return unit_bootstrap(trial.member, ranked(flat, trial.member, metrics), rng=state(), replicates=times)

        alone: dict[Place, tuple[Floats, ...]] = {k: each.scores for k, each in enumerate(guessers)}
        first = cls(trial, tuple(guessers), alone, measured(alone))
        known = [k for k in first.strongest_first if first._beats_chance(k)]
        if not known:
            return first
        added: dict[Place, tuple[Floats, ...]] = {(0, known[0]): _added(guessers[0], guessers[known[0]])}
        second = measured(added)
        parts = zip(
            (first.replicates.value, first.replicates.node, first.replicates.pair),
            (second.value, second.node, second.pair),
            strict=True,
        )
        return cls(trial, tuple(guessers), {**alone, **added}, Replicates(*(np.concatenate(p, axis=-1) for p in parts)))

    @property
    def own(self) -> Place:
        """The combined adversary: the last column."""
        return list(self.columns)[-1] if len(self.columns) > len(self.guessers) else 0

    @property
    def strongest_first(self) -> list[int]:
        """Places of the controls, the one of the largest AUC first."""
        reached = {k: self.estimate(AUC, k).value or 0.0 for k in range(1, len(self.guessers))}
        return sorted(reached, key=lambda k: -reached[k])

    def _beats_chance(self, place: Place) -> bool:
        reached = self.estimate(AUC, place)
        return (reached.value if reached.lo is None else reached.lo) > 0.5  # type: ignore[operator]  # an AUC is defined

    def has(self, metric: MemberMetric) -> bool:
        """Whether there are enough others for it."""
        return self.trial.others >= metric.least_others

    def estimate(self, metric: MemberMetric, place: Place = 0) -> Estimate:
        """What a guesser reaches, by default the attack alone; no value where there are too few others."""
        n = len(self.trial.member)
        if not self.has(metric):
            return Estimate(value=None, n=n)
        at, mean = METRICS.index(metric), self._mean(place)
        if not len(self.replicates.node):
            return Estimate(value=self.replicates.estimate(at, mean), n=n)
        return _estimate(self.replicates.interval(at, mean, logit=metric.fpr is None, least=self._least), n)

    def difference(self, metric: MemberMetric, own: Place, other: Place | None) -> Estimate:
        """Own − other, paired; None as the other is chance."""
        at, n = METRICS.index(metric), len(self.trial.member)
        if other is None:
            level = 0.5 if metric.fpr is None else metric.fpr
            found = self.estimate(metric, own)
            value, lo, hi = (None if end is None else end - level for end in (found.value, found.lo, found.hi))
            return Estimate(value=value, lo=lo, hi=hi, n=n)
        contrast = self._mean(own) - self._mean(other)
        if not len(self.replicates.node):
            return Estimate(value=self.replicates.estimate(at, contrast), n=n)
        return _estimate(self.replicates.difference(at, contrast), n)

    def headroom(self, own: Place, other: Place | None) -> Estimate:
        """Share of the errors of `other` that `own` avoids, paired; None as the other is chance."""
        at, n = METRICS.index(AUC), len(self.trial.member)
        if other is None:
            reached = self.estimate(AUC, own)
            value, lo, hi = (None if end is None else 2 * end - 1 for end in (reached.value, reached.lo, reached.hi))
            return Estimate(value=value, lo=lo, hi=hi, n=n)
        mine, theirs = self._mean(own), self._mean(other)
        if not len(self.replicates.node):
            errors = [max(1 - self.replicates.estimate(at, side), self._least) for side in (mine, theirs)]
            return Estimate(value=1 - errors[0] / errors[1], n=n)
        return _estimate(self.replicates.errors_avoided(at, mine, theirs, least=self._least), n)

    def comparisons(self) -> tuple[Beside, ...]:
        """The combined adversary beside every control and chance, the one of the largest AUC first."""
        order = self.strongest_first
        found = [Beside(self, self.guessers[k].name, self.own, k) for k in order]
        ahead = sum((self.estimate(AUC, k).value or 0.0) > 0.5 for k in order)
        found.insert(ahead, Beside(self, CHANCE, self.own, None))
        return tuple(found)

    @property
    def _least(self) -> float:
        return 0.5 / (self.trial.members * self.trial.others)

    def _mean(self, place: Place) -> Floats:
        """Coefficients of the mean over a guesser's draws, [columns]."""
        return np.concatenate([np.full(len(own), (at == place) / len(own)) for at, own in self.columns.items()])


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """One comparison of the combined adversary: `own` beside `other`, None as that is chance."""

    scored: Scored
    name: str
    own: Place
    other: Place | None

    def reached(self, metric: MemberMetric) -> Estimate:
        """By the other side."""
        if self.other is not None:
            return self.scored.estimate(metric, self.other)
        return Estimate(value=0.5 if metric.fpr is None else metric.fpr, n=len(self.scored.trial.member))

    def control(self, metric: MemberMetric) -> Control:
        """As a control of a metric of attack and control together."""
        own = self.scored.estimate(metric, self.own)
        contrast = self.scored.difference(metric, self.own, self.other)
        return Control(name=self.name, estimate=self.reached(metric), contrast=contrast, own=own)

    def headroom(self) -> Control:
        """As a control of the headroom: 0, beside the errors avoided."""
        own = self.scored.headroom(self.own, self.other)
        return Control(name=self.name, estimate=Estimate(value=0.0), contrast=own, own=own)

    def rival(self) -> Rival:
        """Both sides as a record."""
        trial = self.scored.trial
        return Rival(
            control=self.name,
            with_model=self.scored.estimate(AUC, self.own),
            without_model=self.reached(AUC),
            positives=trial.members,
            negatives=trial.others,
        )


def _added(first: Guesser, second: Guesser) -> tuple[Floats, ...]:
    """Normal scores of two guessers' ranks added up, draw by draw."""
    draws = range(max(len(first.scores), len(second.scores)))
    sides = [[normal_scores(score, np.sort(score)) for score in each.scores] for each in (first, second)]
    return tuple(sides[0][k % len(sides[0])] + sides[1][k % len(sides[1])] for k in draws)


def _estimate(found: tuple[float, float, float], n: int) -> Estimate:
    """Without an interval where too few replicates have a value."""
    value, lo, hi = found
    return Estimate(value=value, n=n) if np.isnan(lo) or np.isnan(hi) else Estimate(value=value, lo=lo, hi=hi, n=n)
