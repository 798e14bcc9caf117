"""What an audit of this size could see at all, said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal, cast

import numpy as np
from scipy import special

from auditor.evaluate.dp_claim.plan import Plan
from auditor.statistics import dp
from auditor.statistics.accounting import mu_of
from auditor.statistics.draws import generator

Unit = Literal["canaries", "trainings"]

PROBABILITY: Final = 0.8
ENOUGH_LIMIT: Final[Mapping[Unit, int]] = {"canaries": 1_000_000, "trainings": 200_000}
"""The largest number that is looked at for one that could reject the claim."""
_DRAWS, _SIMULATED = 200, 8_000_000  # simulated audits, and canaries in all of them together: seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One test at one size.

    Attributes:
        test, guesses: which.
        ceiling: the bound if every guess were right.
        needed: fewest right guesses that reject the claim; None when not even all would.
        detectable: smallest true epsilon that reaches `needed` with probability .8, at best.
        at_double: test G: share of (usually 200) simulated Gaussian audits at twice the claimed mu that reject it.
    """

    test: str
    guesses: int
    ceiling: float
    needed: int | None
    detectable: float | None = None
    at_double: float | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """What a plan could see.

    Attributes:
        rows: one for each test at each size.
        unit: what `enough` counts; trainings are those with the canary, and as many without.
        enough: the fewest that could reject the claim; None where no number looked at could.
        blind_delta: the level of a test is not above delta. A mechanism may open every record with that probability, so
            that nothing can be rejected.
    """

    rows: tuple[Row, ...]
    unit: Unit
    enough: int | None
    blind_delta: bool

    @property
    def possible(self) -> bool:
        """Whether any test could reject the claim."""
        return any(row.needed is not None for row in self.rows)

    @property
    def ceiling(self) -> float:
        """The highest bound if every guess were right."""
        return max(row.ceiling for row in self.rows)

    def needed(self, test: str, guesses: int) -> int | None:
        """See `Row`; None for a test that is not registered."""
        return next((row.needed for row in self.rows if (row.test, row.guesses) == (test, guesses)), None)

    def record(self) -> dict[str, Any]:
        """Plain values for the document."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "unit": self.unit,
            "enough": self.enough,
            "searched": ENOUGH_LIMIT[self.unit],
            "possible": self.possible,
            "blind_delta": self.blind_delta,
            "probability": PROBABILITY,
        }


def power_of(plan: Plan) -> Power:
    """The power of a plan; nothing is trained."""
    blind = plan.share <= plan.claim.delta
    if plan.mode == "multi-run":
        return _multi_run(plan, blind)
    rng = generator(plan.seed, "dp-claim", "power")
    rows = tuple(_row(plan, cast(dp.OneRunTest, test), size, rng) for size in plan.sizes for test in plan.tests)
    found = [
        dp.enough_canaries(
            cast(dp.OneRunTest, test),
            plan.claim.epsilon,
            plan.claim.delta,
            size / plan.m,
            plan.share,
            limit=ENOUGH_LIMIT["canaries"],
        )
        for size in plan.sizes
        for test in plan.tests
    ]
    return Power(rows, "canaries", min((m for m in found if m is not None), default=None), blind)


def _row(plan: Plan, test: dp.OneRunTest, size: int, rng: np.random.Generator) -> Row:
    claim = plan.claim
    ceiling = dp.ceiling(test, plan.m, size, claim.delta, plan.share)
    needed = dp.smallest_rejecting(test, claim.epsilon, claim.delta, plan.m, size, plan.share)
    if needed is None:
        return Row(test, size, ceiling, None)
    doubled = None
    if test == "G":
        mu, draws = 2 * mu_of(claim.epsilon, claim.delta), max(20, min(_DRAWS, _SIMULATED // plan.m))
        doubled = dp.gaussian_power(mu, plan.m, size, needed, rng=rng, draws=draws)
    return Row(test, size, ceiling, needed, dp.detectable_epsilon(size, needed, PROBABILITY), doubled)


def multi_run_bound(test: str) -> Callable[[int, int, int, int, float, float], float]:
    """The bound behind a test of mode `multi-run`."""
    return dp.multi_run_gaussian_lower_bound if test == "multi-run G" else dp.multi_run_lower_bound


def _multi_run(plan: Plan, blind: bool) -> Power:
    (n,) = plan.sizes
    rows: list[Row] = []
    enough = []
    for test in plan.tests:
        ceiling = multi_run_bound(test)(n, 0, 0, n, plan.claim.delta, plan.share)
        rejects = partial(_rejects, plan, test, blind)
        if rejects(n, n, n):
            frontier = _frontier(rejects, n)
            fewest = min(a + b for a, b in enumerate(frontier) if b <= n)
            rows.append(Row(test, 2 * n, ceiling, fewest, _detectable(frontier, n)))
        else:
            rows.append(Row(test, 2 * n, ceiling, None))
        enough.append(None if blind else _enough_runs(rejects))
    return Power(tuple(rows), "trainings", min((r for r in enough if r is not None), default=None), blind)


def _rejects(plan: Plan, test: str, blind: bool, n: int, right_in: int, right_out: int) -> bool:
    """Whether so many right calls of n with and n without reject the claim."""
    counts = (right_in, n - right_in, n - right_out, right_out)
    return not blind and multi_run_bound(test)(*counts, plan.claim.delta, plan.share) > plan.claim.epsilon


def _frontier(rejects: Callable[[int, int, int], bool], n: int) -> list[int]:
    """For each number of right calls "in", the fewest right calls "out" that reject; n + 1 for none."""
    found, b = [], n + 1
    for a in range(n + 1):
        while b > 0 and rejects(n, a, b - 1):
            b -= 1
        found.append(b)
    return found


def _detectable(frontier: list[int], n: int) -> float:
    """The true epsilon that rejects with probability .8 when every call is right with its largest probability."""
    calls, needed = np.arange(n + 1), np.asarray(frontier)

    def chance(epsilon: float) -> float:
        from scipy import stats  # here, so that a worker starts without it

        q = special.expit(epsilon)
        return float((stats.binom.pmf(calls, n, q) * stats.binom.sf(needed - 1, n, q)).sum())

    lo, hi = 0.0, 1.0
    while chance(hi) < PROBABILITY:
        lo, hi = hi, 2 * hi
    while hi - lo > 1e-3:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if chance(middle) < PROBABILITY else (lo, middle)
    return hi


def _enough_runs(rejects: Callable[[int, int, int], bool]) -> int | None:
    """Trainings of each kind, half of which set the threshold."""
    lo, hi = 1, 2
    while not rejects(hi, hi, hi):
        if 2 * hi >= ENOUGH_LIMIT["trainings"]:
            return None
        lo, hi = hi, 2 * hi
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if rejects(middle, middle, middle) else (middle, hi)
    return 2 * hi
