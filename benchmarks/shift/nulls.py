"""How often a shift is found where there is none (`python -m benchmarks.shift.nulls`).

Answers whose errors are drawn without regard to anything, 1000 items in blocks of 10. One random half of the items
against the other: the interval of AUROC should hold .5 in 92 to 98 of 100 draws. The worst of ten random groups: below
chance, by its interval and by its p, in at most 5. Gaps of `--gates` sets that are exactly the limit: any of them found
beyond it (Holm, one-sided .025) in at most 6.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import binomtest

from auditor.evaluate.shift.detection import never_flat
from auditor.evaluate.shift.worst_group import worst_group
from auditor.statistics.clustered import Resamples, percentile
from auditor.statistics.detection import auroc, auroc_replicates
from auditor.statistics.multiplicity import bootstrap_p, holm, replicates_for

ITEMS, PER_BLOCK, GROUPS, LEVEL, LIMIT = 1000, 10, 10, 0.025, 0.05


def halves_hold(rng: np.random.Generator) -> bool:
    """Whether the interval of one half against the other holds .5."""
    scores = rng.permutation(rng.normal(size=ITEMS))
    first, second = scores[: ITEMS // 2], scores[ITEMS // 2 :]
    weights = [Resamples.draw(np.arange(len(half)), rng=rng).item_weights() for half in (first, second)]
    value = auroc(first, second)
    lo, hi = never_flat(percentile(auroc_replicates(first, second, *weights)), value, len(second))
    return lo <= 0.5 <= hi


def group_is_raised(rng: np.random.Generator) -> bool:
    """Whether random groups of random errors are below chance beyond doubt."""
    blocks = np.arange(ITEMS) // PER_BLOCK
    correct = (rng.random(ITEMS) < 0.8).astype(np.float64)
    group = rng.permutation(ITEMS) % GROUPS
    worst = worst_group(correct, [[group == g for g in range(GROUPS)]], blocks, items_as_blocks=blocks, rng=rng)
    return worst.bounds[1] < worst.chance and worst.p <= LEVEL


def family_is_raised(rng: np.random.Generator, gates: int, gap: float = LIMIT) -> bool:
    """Whether any of several gaps, by default exactly the limit, is found beyond it."""
    resamples = Resamples.draw(np.arange(ITEMS) // PER_BLOCK, rng=rng, replicates=replicates_for(gates))
    p_values = []
    for _ in range(gates):
        change = rng.choice([1.0, -1.0, 0.0], p=[gap + 0.05, 0.05, 0.9 - gap], size=ITEMS)
        p_values.append(bootstrap_p(resamples.means(change), LIMIT))
    return min(holm(p_values)) <= LEVEL


def main() -> None:
    """One table: how often each happens, with its exact interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--gates", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = {
        "halves: interval holds .5": (halves_hold, "92 to 98"),
        "random groups raised": (group_is_raised, "at most 5"),
        f"any of {given.gates} gaps at the limit raised": (
            lambda rng: family_is_raised(rng, given.gates),
            "at most 6",
        ),
    }
    print(f"{given.repeats} repeats from seed {given.seed}; percent, Clopper-Pearson\n")
    print("| | measured | goal |\n|---|---|---|")
    for name, (happens, goal) in rows.items():
        count = sum(happens(np.random.default_rng([given.seed, repeat])) for repeat in range(given.repeats))
        lo, hi = binomtest(count, given.repeats).proportion_ci(0.95, method="exact")  # Clopper–Pearson
        print(f"| {name} | {100 * count / given.repeats:.1f} [{100 * lo:.1f}, {100 * hi:.1f}] | {goal} |", flush=True)


if __name__ == "__main__":
    main()
