"""Temperature scaling on citation graphs: confidence and accuracy on test items (`python -m benchmarks.calibration`).

Reference targets of `auditor train` (defaults: width 16, GAT 8 heads of 8; public split). T is fitted on the validation
items; every number is over the 1,000 test items, which nothing was chosen by.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from auditor.data.roots import resolve_root
from auditor.data.sources import LoadedData, load_data
from auditor.defense import DefenseTask
from auditor.runner.execute import TrainedCache
from auditor.statistics import calibration
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.tasks import log_probabilities
from defenses.calibration import Temperature

GRAPHS, ARCHITECTURES = ("cora", "citeseer"), ("gcn", "gat", "sage")
Scores = tuple[float, float, float]


def scores(target: Target) -> Scores:
    """SCE, ECE (15 bins of equal width) and negative log-likelihood of the test items."""
    test, y = target.split.test, target.graph.y
    logits = target.clean_logits()
    log_p, right = log_probabilities(logits)[test].numpy(), target.task.quality(logits, y)[test].numpy()
    sure = np.exp(log_p.max(axis=1))
    bins = calibration.equal_width_bins(sure)
    loss = calibration.negative_log_likelihood(log_p, y[test].numpy())
    return calibration.sce(sure, right), calibration.ece(sure, right, bins), loss


def measure(data: LoadedData, arch: str, seed: int, folder: Path) -> tuple[float, float, Scores, Scores]:
    """(accuracy, T, scores before, scores after); the defended model's accuracy is the same or this stops."""
    base = train_reference(data, arch, out_dir=folder / f"{data.name}-{arch}-{seed}", seed=seed)
    made = Temperature().fit(base, DefenseTask(seed, TrainedCache()))
    if made.accuracy() != base.accuracy() or made.defense is None:
        raise SystemExit(f"{data.name} {arch} seed {seed}: accuracy {base.accuracy()} became {made.accuracy()}")
    return base.accuracy(), float(made.defense.notes["temperature"]), scores(base), scores(made)


def main() -> None:
    """One line per graph and architecture: means over seeds, and the signed error of every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    print(f"seeds 0-{len(seeds) - 1}; signed error (SCE, + = too sure), ECE and accuracy in points; NLL in nats\n")
    heads = ("graph", "arch", "accuracy", "T", "SCE", "after", "ECE", "after", "NLL", "after", "SCE of each seed after")
    print("{:<9} {:<5} {:>8} {:>11} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}  {}".format(*heads))
    with tempfile.TemporaryDirectory() as folder:
        for name in GRAPHS:
            data = load_data(name, root=resolve_root(None))
            for arch in ARCHITECTURES:
                rows = [measure(data, arch, seed, Path(folder)) for seed in seeds]
                accuracy, found = 100 * np.mean([row[0] for row in rows]), [row[1] for row in rows]
                before, after = (np.mean([row[at] for row in rows], axis=0) for at in (2, 3))
                pairs = "".join(f" {100 * before[k]:6.1f} {100 * after[k]:6.1f}" for k in (0, 1))
                each = " ".join(f"{100 * row[3][0]:+.1f}" for row in rows)
                print(
                    f"{name:<9} {arch:<5} {accuracy:8.1f} {min(found):5.2f}-{max(found):<5.2f}{pairs} "
                    f"{before[2]:6.3f} {after[2]:6.3f}  {each}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
