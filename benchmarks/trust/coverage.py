"""How often 95 % intervals hold what they claim to hold, on fresh graphs of one law with scorers that are fixed.

The claim. An interval of the links harness resamples the nodes of one graph, so what it stands for is the law those
nodes came from: the area that the scorer has on pairs of *any* nodes of the law, θ = P(S⁺ > S⁻) + P(S⁺ = S⁻) / 2, where
S⁺ is its score at a random edge and S⁻ at a random non-edge. It is not the area on this graph, which only
the choice of non-edges makes uncertain, nor that of another training.

The law. Classes and degree factors of nodes are drawn independently; an edge joins u and v with probability
min(1, dᵤ dᵥ b(yᵤ, yᵥ)), independently; b is one number inside classes and another between. A scorer is fixed before any
graph: its score of a pair is a signal of the class, an error of each of the two nodes (part of it the degree factor, so
that hubs are wrong together) and an error of the pair. One control is far stronger than the other, so that the excess
over both has a truth of its own: the difference to the strong one.

Attack and control together are added up as normal scores of their ranks among uniform pairs: of the law for the truth,
of the graph for the numbers. The weaker control leaves the larger headroom, so that the judged one is over the strong.

The truth is computed from millions of independent pairs of nodes, each counted as an edge with its probability and as
a non-edge with the rest, so that it has no noise of drawn edges; its own standard error stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binomtest, rankdata
from torch import Tensor

from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.measure import comparisons, judged_numbers, number
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.evaluate.links.scoring import AUC, Reference, prepared, score_set
from benchmarks.trust.running import each
from benchmarks.trust.settings import COVERAGE_DRAWS, SEEDS

Floats = NDArray[np.float64]
N, BLOCKS, DEGREE, MIXED, UNEVEN = 300, 4, 8.0, 0.3, 0.4
NEGATIVES, REPLICATES = 10_000, 300
TRUTH_PAIRS, TRUTH_PARTS = 500_000, 20
BLOCK_OF_RUNS: Final = 20
HELD: Final = 0.95


@dataclass(frozen=True, slots=True)
class Fixed:
    """A scorer: weights of the class signal, of each node's degree factor and own error, and of the pair's error."""

    signal: float
    hub: float
    node: float
    pair: float

    def of(self, same: Floats, uneven: Floats, own: Floats, pair: Floats) -> Floats:
        """Scores of pairs [P], from sums over their two nodes."""
        return self.signal * same + self.hub * uneven + self.node * own + self.pair * pair


SCORERS: Final = {
    "attack": Fixed(1.4, 0.4, 0.5, 1.0),
    "strong control": Fixed(1.0, 0.0, 0.4, 1.0),
    "weak control": Fixed(0.2, 0.0, 0.5, 1.0),
}
REFERENCE_PAIRS = 100_000
KEPT: Final = (
    "attack, area",
    "attack − strong control",
    "excess over both controls",
    "attack and strong control together − strong control",
    "headroom over both controls",
)


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """What is drawn for each node: class, log degree factor, and an error for each scorer."""

    y: NDArray[np.int64]
    uneven: Floats
    own: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int) -> Nodes:
        """Nodes of the law."""
        y, uneven = rng.integers(BLOCKS, size=n), UNEVEN * rng.standard_normal(n)
        return cls(y, uneven, rng.standard_normal((len(SCORERS), n)))

    def rate(self, u: NDArray[np.int64], v: NDArray[np.int64]) -> Floats:
        """Probability of an edge between u and v, [P]."""
        inside = DEGREE * (1 - MIXED) * BLOCKS / N
        between = DEGREE * MIXED * BLOCKS / (BLOCKS - 1) / N
        lift = np.exp(self.uneven[u] + self.uneven[v] - UNEVEN**2)  # of mean 1
        return np.asarray(np.minimum(lift * np.where(self.y[u] == self.y[v], inside, between), 1.0))

    def scores(self, place: int, u: NDArray[np.int64], v: NDArray[np.int64], pair: Floats) -> Floats:
        """Scores of the scorer at that place, [P]; `pair` [P] are the errors of the pairs."""
        scorer = list(SCORERS.values())[place]
        same = (self.y[u] == self.y[v]).astype(np.float64)
        return scorer.of(same, self.uneven[u] + self.uneven[v], self.own[place, u] + self.own[place, v], pair)


def truth() -> tuple[Floats, Floats]:
    """θ of each number of `KEPT`, and the standard error of its computation, [numbers] each."""
    parts = []
    for part in range(TRUTH_PARTS):
        rng = np.random.default_rng((SEEDS["coverage"], 1, part))
        nodes = Nodes.draw(rng, 2 * TRUTH_PAIRS)
        u, v = np.arange(TRUTH_PAIRS), np.arange(TRUTH_PAIRS, 2 * TRUTH_PAIRS)
        rate = nodes.rate(u, v)
        scores = [nodes.scores(place, u, v, rng.standard_normal(TRUTH_PAIRS)) for place in range(len(SCORERS))]
        normal = [ndtri((rankdata(own) - 0.5) / TRUTH_PAIRS) for own in scores[:2]]
        attack, strong, both = (_area(own, rate) for own in (scores[0], scores[1], normal[0] + normal[1]))
        gap = attack - strong
        parts.append((attack, gap, gap, both - strong, (both - strong) / (1 - strong)))
    values = np.array(parts)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(TRUTH_PARTS)


def _area(scores: Floats, rate: Floats) -> float:
    """AUC of scores [P] whose pairs are edges with the probability `rate` [P]."""
    order = np.argsort(scores)
    edge, other = rate[order], 1 - rate[order]
    below = np.cumsum(other) - other / 2  # a pair is as good as itself
    return float(edge @ below / edge.sum() / other.sum())


def draw(number_of_draw: int) -> list[tuple[float, float, float]]:
    """(value, lo, hi) of the numbers `KEPT` on one fresh graph."""
    rng = np.random.default_rng((SEEDS["coverage"], 0, number_of_draw))
    nodes = Nodes.draw(rng, N)
    u, v = np.triu_indices(N, 1)
    keys = (u * N + v)[rng.random(u.size) < nodes.rate(u, v)]
    errors = rng.standard_normal((len(SCORERS), N, N))
    pairs = prior_pairs(Truth(keys, N), NEGATIVES, rng)

    def scorer(place: int) -> Scorer:
        def score(asked: Tensor) -> Tensor:
            a, b = asked.numpy()
            return torch.from_numpy(nodes.scores(place, a, b, errors[place, a, b]))

        return Scorer(list(SCORERS)[place], (score,))

    every = Reference(torch.from_numpy(np.stack([u, v])[:, rng.integers(u.size, size=REFERENCE_PAIRS)]))
    found = score_set(
        pairs,
        [prepared(scorer(place), pairs, every) for place in range(len(SCORERS))],
        (AUC,),
        num_nodes=N,
        rng=rng,
        replicates=REPLICATES,
        together=[(0, place) for place in range(1, len(SCORERS))],
    )
    row = number(found, AUC, finding="coverage", knowledge=())
    judged, area = judged_numbers(comparisons(found, ()), (AUC,), finding="coverage", knowledge=())
    assert row.excess is not None
    told = (row.estimate, row.controls[0].contrast, row.excess, area.controls[0].contrast, judged.excess)
    ends = [(e.value, e.lo, e.hi) for e in told if e is not None]
    return [(a, b, c) for a, b, c in ends if a is not None and b is not None and c is not None]


def chunk(first: int, count: int) -> list[list[tuple[float, float, float]]]:
    """Several draws, so that a process is not asked for one at a time."""
    return [draw(first + i) for i in range(count)]


def print_coverage(draws: int | None, jobs: int) -> None:
    """Coverage of each number, with its interval."""
    total = COVERAGE_DRAWS if draws is None else draws
    starts = range(0, total, BLOCK_OF_RUNS)
    parts = each(chunk, [(s, min(BLOCK_OF_RUNS, total - s)) for s in starts], jobs)
    found = np.array([one for part in parts for one in part])  # [draws, numbers, 3]
    targets = list(zip(*truth(), strict=True))
    print(f"\n## Coverage of 95 % intervals, {total} fresh graphs of {N} nodes, fixed scorers\n")
    print(f"Goal: the Clopper–Pearson interval of the share contains {HELD:g}.\n")
    print("| number | truth ± its error | mean over graphs | mean half-width | inside | below lo | above hi | share |")
    print("|---|---|---|---|---|---|---|---|")
    for place, ((value, error), name) in enumerate(zip(targets, KEPT, strict=True)):
        mean, lo, hi = found[:, place].T
        inside = int(((lo <= value) & (value <= hi)).sum())
        low, high = binomtest(inside, total).proportion_ci(0.95, method="exact")  # Clopper–Pearson
        missed = f"{int((value < lo).sum())} | {int((value > hi).sum())}"
        share = f"{inside / total:.3f} [{low:.3f}, {high:.3f}] {'holds' if low <= HELD <= high else 'misses'} {HELD:g}"
        means = f"{mean.mean():.4f} | {(hi - lo).mean() / 2:.4f}"
        print(f"| {name} | {value:.4f} ± {error:.4f} | {means} | {inside} | {missed} | {share} |")
