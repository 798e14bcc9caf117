"""The gap of a random split over fifty retrainings (`python -m benchmarks.shift.retrained`).

The control of structural-split: the recipe of a Cora GCN is trained anew on random nodes and asked about two other
parts. Both ends are alike, so that the interval of the gap should hold 0 in at least 90 of 100 retrainings.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.document import Estimate
from auditor.evaluate.shift.blocks import communities, node_blocks
from auditor.evaluate.shift.reference import answers
from auditor.evaluate.shift.sides import Side, accuracy_replicates, apart
from auditor.evaluate.shift.structural import Parts, property_parts, random_parts
from auditor.statistics.clustered import Resamples
from auditor.targets.target import Target
from benchmarks.shift.cells import trained

RATIOS = [0.3, 0.1, 0.1, 0.1, 0.4]
GOAL = 0.9


def random_gap(target: Target, like: Parts, labels: NDArray[np.int64], seed: int) -> Estimate:
    """Near − far in accuracy, of the recipe trained on one random split.

    Args:
        target: whose recipe.
        like: parts whose sizes the split has.
        labels: community of each node, int64 [N].
        seed: of the split, the training and the resamples.
    """
    graph = target.graph
    parts = random_parts(graph, like, rng=np.random.default_rng([seed, 0]))
    twin = target.retrained(split=parts.split, seed=seed)
    sides = []
    for end, mask in enumerate((parts.near, parts.far)):
        items = torch.nonzero(mask).flatten()
        y = graph.y[items].numpy()
        resamples = Resamples.draw(node_blocks(graph, items, labels).ids, rng=np.random.default_rng([seed, 1 + end]))
        sides.append(Side(y, answers(twin.clean_logits(), graph, items, y, twin), resamples, target.num_classes))
    return apart(sides[0], sides[1], lambda side: side.accuracy, accuracy_replicates)


def gaps(target: Target, trainings: int) -> list[Estimate]:
    """Of so many random splits of the sizes that structural-split has."""
    like = property_parts(target.graph, "density", RATIOS, seed=0)
    labels = communities(target.graph, rng=np.random.default_rng(0))
    return [random_gap(target, like, labels, seed) for seed in range(trainings)]


def holds_nothing(gap: Estimate) -> bool:
    """Whether 0 lies in its interval."""
    return gap.lo is not None and gap.hi is not None and gap.lo <= 0 <= gap.hi


def main() -> None:
    """How many gaps hold 0, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cora")
    parser.add_argument("--trainings", type=int, default=50)
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    found = gaps(trained(load_data(given.data, root=resolve_root(None)), "gcn", seed=0), given.trainings)
    holds, values = sum(map(holds_nothing, found)), [100 * (gap.value or 0.0) for gap in found]
    share = holds / given.trainings
    lo, hi = binomtest(holds, given.trainings).proportion_ci(0.95, method="exact")
    print(f"{given.data}, recipe of a GCN of 16 hidden units, {given.trainings} retrainings on random splits\n")
    print("| | measured | goal | |\n|---|---|---|---|")
    told = "met" if share >= GOAL else "**missed**"
    held = f"{100 * share:.0f} [{100 * lo:.0f}, {100 * hi:.0f}]"
    print(f"| intervals that hold 0, percent | {held} | at least 90 | {told} |")
    print(f"| gap, points: mean and standard deviation | {np.mean(values):.1f}, {np.std(values):.1f} | 0 | |")
    print(f"\n{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
