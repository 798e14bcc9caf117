"""From scores to bounds: guesses counted, every registered test at its share of alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from auditor.evaluate.dp_claim.plan import Plan
from auditor.evaluate.dp_claim.power import multi_run_bound
from auditor.evaluate.dp_claim.subject import Bits, Observation, Scores
from auditor.statistics import dp
from auditor.statistics.draws import generator
from auditor.statistics.ranking import Ranking, auc


@dataclass(frozen=True, slots=True)
class Bound:
    """What one test at one size says.

    Attributes:
        test, guesses, right: which test, r, v.
        rejected: whether the claim is rejected at the test's share of alpha.
        lower, lower_95: lower bounds on epsilon at the share of alpha, and at that of 5 %.
    """

    test: str
    guesses: int
    right: int
    rejected: bool
    lower: float
    lower_95: float


@dataclass(frozen=True, slots=True)
class Audited:
    """All bounds of one run.

    Attributes:
        bounds: of the registered tests; these decide.
        shown: of the other one-run tests at 5 %, beside them; these decide nothing.
        canary_auc: of the scores; None where all canaries fell on one side.
    """

    bounds: tuple[Bound, ...]
    shown: tuple[Bound, ...]
    canary_auc: float | None

    @property
    def rejecting(self) -> Bound | None:
        """The rejecting test with the largest bound."""
        return max((b for b in self.bounds if b.rejected), key=lambda b: b.lower, default=None)

    @property
    def highest(self) -> Bound:
        """The test with the largest 95 % bound."""
        return max(self.bounds, key=lambda b: (b.lower_95, b.lower))

    @property
    def lower(self) -> float:
        """Largest bound at alpha."""
        return max(b.lower for b in self.bounds)

    def lower_95(self, test: str, guesses: int) -> float | None:
        """The 95 % bound of one test at one size; None for one that is not registered."""
        return next((b.lower_95 for b in self.bounds if (b.test, b.guesses) == (test, guesses)), None)


def one_run(observation: Observation, plan: Plan, seed: int) -> Audited:
    """The registered tests on one run, all other one-run bounds beside them."""
    claim, share = plan.claim, plan.share
    bounds: list[Bound] = []
    shown: list[Bound] = []
    others = [t for t in ("one-run", "A", "G") if t not in plan.tests and (claim.delta > 0 or t != "G")]
    for size in plan.sizes:
        coin = generator(seed, "dp-claim", "ties", str(size))
        v = dp.correct_guesses(observation.included, observation.scores, size, rng=coin)
        for test in (*plan.tests, *others):
            name = cast(dp.OneRunTest, test)
            rejected = dp.rejects_claim(name, claim.epsilon, claim.delta, plan.m, size, v, share)
            lower, lower_95 = (
                dp.lower_bound(name, plan.m, size, v, claim.delta, level) if level > claim.delta else 0.0
                for level in (share, plan.share_95)
            )
            (bounds if test in plan.tests else shown).append(Bound(test, size, v, rejected, lower, lower_95))
    return Audited(tuple(bounds), tuple(shown), _auc(observation.scores, observation.included))


def multi_run(score: Callable[[bool, int], float], plan: Plan) -> Audited:
    """Trains `runs` times with and `runs` times without the one canary.

    The threshold is the one that separates the first half best; the second half is judged by it.

    Args:
        score: (canary included, seed) -> its score; larger = "in".
        plan: runs, tests, alpha.
    """
    scores = {
        word: np.array([score(word, plan.seed + 2 * i + word) for i in range(plan.runs)]) for word in (True, False)
    }
    half = plan.runs // 2
    threshold = best_threshold(scores[True][:half], scores[False][:half])
    kept = {word: values[half:] for word, values in scores.items()}
    tp, fp = int((kept[True] > threshold).sum()), int((kept[False] > threshold).sum())
    fn, tn = len(kept[True]) - tp, len(kept[False]) - fp
    bounds = []
    for test in plan.tests:
        lower, lower_95 = (
            multi_run_bound(test)(tp, fn, fp, tn, plan.claim.delta, level) if level > plan.claim.delta else 0.0
            for level in (plan.share, plan.share_95)
        )
        bounds.append(
            Bound(test, len(kept[True]) + len(kept[False]), tp + tn, lower > plan.claim.epsilon, lower, lower_95)
        )
    both = np.concatenate([kept[True], kept[False]])
    return Audited(tuple(bounds), (), _auc(both, np.arange(len(both)) < len(kept[True])))


def best_threshold(with_it: Scores, without: Scores) -> float:
    """The threshold t that maximises P[with > t] − P[without > t] on these scores."""
    values = np.unique(np.concatenate([with_it, without]))
    candidates = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2])
    gaps = [(with_it > t).mean() - (without > t).mean() for t in candidates]
    return float(candidates[int(np.argmax(gaps))])


def _auc(scores: Scores, included: Bits) -> float | None:
    if included.all() or not included.any():
        return None
    return float(auc(Ranking(scores, included).curve()))
