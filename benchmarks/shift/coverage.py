"""How often 95 % intervals of the shift family hold the truth (`python -m benchmarks.shift.coverage`).

Simulated classifiers: confidence uniform in .5 to 1, right 5 points less often than they say; under a shift a tenth of
the items turns wrong; AUROC of two normal laws one apart. Answers that are right and wrong together: blocks of ten,
design effect 4. A calibrated classifier, whose calibration error in bins is 0, and one that is off by 10 points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from auditor.statistics import clustered
from auditor.statistics.calibration import equal_width_bins
from auditor.statistics.clustered import Resamples
from auditor.statistics.detection import auroc_replicates

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
REPLICATES = 400
OVER, LOST, RIGHT = 0.05, 0.1, 0.7
SIZE, WITHIN = 10, 1 / 3


def of_items(n: int, rng: np.random.Generator) -> Resamples:
    """Items one by one."""
    return Resamples.draw(np.arange(n), rng=rng, replicates=REPLICATES)


def answers(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Confidence, and whether the answer is right."""
    confidence = rng.uniform(0.5, 1.0, n)
    return confidence, (rng.random(n) < confidence - OVER).astype(np.float64)


def accuracy(n: int, rng: np.random.Generator) -> bool:
    """Of accuracy."""
    lo, hi = clustered.accuracy_interval(answers(n, rng)[1], of_items(n, rng))
    return lo <= RIGHT <= hi


def gap(n: int, rng: np.random.Generator) -> bool:
    """Of a fall on the same items."""
    right = answers(n, rng)[1]
    shifted = np.where(rng.random(n) < LOST, 0.0, right)
    lo, hi = clustered.paired_gap_interval(right, shifted[None], of_items(n, rng).means(right - shifted))
    return lo <= LOST * RIGHT <= hi


def calibration(n: int, rng: np.random.Generator) -> bool:
    """Of the signed calibration error."""
    lo, hi = clustered.sce_interval(*answers(n, rng), of_items(n, rng))
    return lo <= OVER <= hi


def area(n: int, rng: np.random.Generator) -> bool:
    """Of AUROC."""
    own, other = rng.normal(1, 1, n), rng.normal(0, 1, n)
    weights = of_items(n, rng).item_weights(), of_items(n, rng).item_weights()
    lo, hi = clustered.percentile(auroc_replicates(own, other, *weights))
    return lo <= float(norm.cdf(1 / np.sqrt(2))) <= hi


def together(n: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Answers of blocks of ten, a third of the variance shared; and their blocks."""
    blocks = n // SIZE
    shared, own = rng.random(blocks) < RIGHT, rng.random((blocks, SIZE)) < RIGHT
    copied = rng.random((blocks, SIZE)) < np.sqrt(WITHIN)
    right = np.where(copied, shared[:, None], own).astype(np.float64).ravel()
    return right, np.repeat(np.arange(blocks), SIZE)


def by_block(n: int, rng: np.random.Generator) -> bool:
    """Of accuracy, blocks resampled."""
    right, blocks = together(n, rng)
    lo, hi = clustered.accuracy_interval(right, Resamples.draw(blocks, rng=rng, replicates=REPLICATES))
    return lo <= RIGHT <= hi


def by_item(n: int, rng: np.random.Generator) -> bool:
    """Of accuracy, items resampled although they are right and wrong together."""
    lo, hi = clustered.accuracy_interval(together(n, rng)[0], of_items(n, rng))
    return lo <= RIGHT <= hi


def in_bins(n: int, rng: np.random.Generator, off: float, *, plain: bool = False) -> bool:
    """Of the calibration error in bins, by the rule or by plain percentiles."""
    confidence = rng.uniform(0.6, 1.0, n)
    right = (rng.random(n) < confidence - off).astype(np.float64)
    bins, resamples = equal_width_bins(confidence), of_items(n, rng)
    if plain:
        spread = np.zeros((n, bins.count))
        spread[np.arange(n), bins.index] = confidence - right
        lo, hi = clustered.percentile(np.abs(resamples.totals(spread)).sum(axis=1) / n)
    else:
        signed = clustered.sce_interval(confidence, right, resamples)
        lo, hi = clustered.ece_interval(confidence - right, bins, resamples, signed)
    return lo <= off <= hi


ROWS: dict[str, tuple[Callable[[int, np.random.Generator], bool], int, float, float]] = {
    "accuracy, 1000 items": (accuracy, 1000, 92, 98),
    "accuracy, 100": (accuracy, 100, 90, 100),
    "paired gap, 1000": (gap, 1000, 92, 98),
    "paired gap, 100": (gap, 100, 90, 100),
    "signed calibration error, 1000": (calibration, 1000, 92, 98),
    "signed calibration error, 100": (calibration, 100, 90, 100),
    "AUROC, 1000": (area, 1000, 92, 98),
    "AUROC, 100": (area, 100, 90, 100),
    "accuracy of blocks, design effect 4, blocks resampled": (by_block, 1000, 90, 100),
    "the same, items resampled (must fail)": (by_item, 1000, 0, 85),
    "calibration error in bins, calibrated": (lambda n, rng: in_bins(n, rng, 0.0), 1000, 90, 100),
    "the same, plain percentiles (must fail)": (lambda n, rng: in_bins(n, rng, 0.0, plain=True), 1000, 0, 20),
    "calibration error in bins, 10 points off": (lambda n, rng: in_bins(n, rng, 0.1), 1000, 90, 100),
}


def main() -> None:
    """One table: coverage of each interval, with its exact interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{given.repeats} simulated classifiers from seed {given.seed}; percent, Clopper-Pearson\n")
    print("| interval | holds the truth | goal | |\n|---|---|---|---|")
    for name, (holds, n, least, most) in ROWS.items():
        count = sum(holds(n, np.random.default_rng([given.seed, repeat])) for repeat in range(given.repeats))
        share = 100 * count / given.repeats
        lo, hi = binomtest(count, given.repeats).proportion_ci(0.95, method="exact")
        told = "met" if least <= share <= most else "**missed**"
        print(f"| {name} | {share:.1f} [{100 * lo:.1f}, {100 * hi:.1f}] | {least:g} to {most:g} | {told} |", flush=True)


if __name__ == "__main__":
    main()
