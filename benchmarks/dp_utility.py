"""What edge-level DP costs and hides, beside models without edges (`python -m benchmarks.dp_utility`).

Random 60/20/20 splits, row-normalised features, GCN of width 16 by the recipe of `auditor train`. One seed fixes split,
initial weights and noise for every row, so that differences are paired. Test sets are read once, here. Link AUC:
correlation of log-posteriors of every true edge against 50,000 uniform non-edges; what exceeds the rows without edges
is leaked. The encoder of gap is trained as `auditor train` trains; that recipe was looked at beside eight others on the
test sets of Cora seeds 0 and 1, so that Cora is not quite untouched: the other data sets are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from auditor.data.sources import apply_transform, load_data, resolve_root
from auditor.data.splits import make_split
from auditor.defense import Defense, DefenseTask
from auditor.evaluate.links.pairs import PairSet, Truth, prior_pairs
from auditor.policy.differences import of_private_model
from auditor.runner.execute import TrainedCache
from auditor.statistics.intervals import student_t
from auditor.statistics.pair_scores import log_posterior_similarity
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Target
from auditor.targets.train import model_table
from auditor.tasks import log_probabilities
from defenses.dp.edge_rand import EdgeRand
from defenses.dp.gap import Gap
from defenses.dp.lap_graph import LapGraph
from reports.sentences.comparison import decided

SPLIT, NEGATIVES = "random:0.6/0.2/0.2", 50_000
CONTROL, PLAIN_CONTROL = "gap:hops=0", "edge-rand:hops=0"
FULL: dict[str, Defense] = {
    "gap:epsilon=1": Gap(1.0),
    "gap (ε = 4)": Gap(),
    "gap:epsilon=8": Gap(8.0),
    "gap:hops=1 (ε = 4)": Gap(hops=1),
    "lap-graph:epsilon=1": LapGraph(1.0),
    "lap-graph:epsilon=4": LapGraph(4.0),
    "lap-graph (ε = 8)": LapGraph(),
    "edge-rand (ε = 8)": EdgeRand(),
}
SHORT: dict[str, Defense] = {"gap (ε = 4)": Gap(), "gap:hops=1 (ε = 4)": Gap(hops=1), "lap-graph (ε = 8)": LapGraph()}


class MLP(nn.Module):
    """Two layers of width 16 that take edges and ignore them."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(features, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, classes)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] -> [N, C]."""
        out: Tensor = self.layers(x)
        return out


@dataclass(slots=True)
class Row:
    """Per seed: test accuracy, link AUC and CPU seconds of a fit."""

    accuracy: list[float] = field(default_factory=list)
    auc: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, target: Target, pairs: PairSet, started: float) -> None:
        """One more seed."""
        self.seconds.append(time.process_time() - started)
        self.accuracy.append(target.accuracy())
        nodes = torch.arange(min(512, target.graph.num_nodes))
        score = log_posterior_similarity(log_probabilities(target.clean_logits()), neighbourhood=nodes)
        self.auc.append(float(roc_auc_score(pairs.is_edge, score(pairs.tensor).numpy(), sample_weight=pairs.inclusion)))


def untrained(name: str, root: Path | None, seed: int) -> tuple[Target, float]:
    """A target whose recipe is that of `auditor train`, and the share of the test split's largest class."""
    data = load_data(name, root=root)
    data = replace(data, graph=apply_transform(data.graph, "row-normalize"), transform="row-normalize")
    graph, classes = data.graph, int(data.graph.y.max()) + 1
    recipe = TrainRecipe(partial(build_model, model_table("gcn", "node", graph.num_features, classes)))
    split = make_split(SPLIT, data, seed)
    target = Target(
        name, graph, split, classes, frozenset(Capability), "benchmark", f"{name}-{seed}", {}, recipe.build(),
        recipe.build, recipe,
    )  # fmt: skip
    counts = graph.y[split.test].bincount()
    return target, float(counts.max() / counts.sum())


def measure(name: str, root: Path | None, defenses: dict[str, Defense], seeds: int) -> tuple[dict[str, Row], float]:
    """Every row on the same seeds, and the constant predictor's mean accuracy."""
    every: dict[str, Defense] = {CONTROL: Gap(hops=0), PLAIN_CONTROL: EdgeRand(hops="0"), **defenses}
    names = ("GCN", "MLP", *every, "gap, no noise")
    rows, majority = {row: Row() for row in names}, []
    for seed in range(seeds):
        base, constant = untrained(name, root, seed)
        majority.append(constant)
        pairs = prior_pairs(Truth.of(base.graph), NEGATIVES, np.random.default_rng(seed))
        mlp = replace(base, recipe=TrainRecipe(partial(MLP, base.graph.num_features, base.num_classes)))
        for row, plain in (("GCN", base), ("MLP", mlp)):
            started = time.process_time()
            rows[row].add(plain.retrained(seed=seed), pairs, started)
        for row, defense in every.items():
            started = time.process_time()
            rows[row].add(defense.fit(base, DefenseTask(seed, TrainedCache())), pairs, started)
        started = time.process_time()
        exact = Gap().fit(base, DefenseTask(seed, TrainedCache(), noise_scale=0.0))
        rows["gap, no noise"].add(exact, pairs, started)
    return rows, mean(majority)


def table(name: str, rows: dict[str, Row], majority: float) -> Iterator[str]:
    """Markdown lines: accuracy, paired difference to both edge-free models, link AUC, seconds, words."""
    seeds = len(rows["GCN"].accuracy)
    yield f"\n## {name}, {SPLIT}, seeds 0..{seeds - 1}, constant predictor {100 * majority:.1f} %\n"
    yield f"| model | accuracy, ± std | - {CONTROL} | - {PLAIN_CONTROL} | link AUC | CPU s | words |"
    yield "|---|---|---|---|---|---|---|"
    controls = {spec: rows[spec].accuracy for spec in (CONTROL, PLAIN_CONTROL)}
    for row, found in rows.items():
        accuracy = [100 * value for value in found.accuracy]
        own = {CONTROL: controls[CONTROL]} if row.startswith("gap") else controls
        private = row not in ("GCN", "MLP", "gap, no noise", *controls)
        words = worth(found.accuracy, own, majority) if private else ""
        differences = [difference(found.accuracy, controls[spec]) for spec in (CONTROL, PLAIN_CONTROL)]
        yield (
            f"| {row} | {mean(accuracy):.1f} ± {stdev(accuracy):.1f} | {differences[0]} | {differences[1]} | "
            f"{mean(found.auc):.3f} | {mean(found.seconds):.1f} | {words} |"
        )


def worth(own: list[float], edge_free: dict[str, list[float]], constant: float) -> str:
    """What may be said of a private model beside a constant and the edge-free models."""
    return " ".join(map(decided, of_private_model(own, edge_free, constant)))


def difference(own: list[float], control: list[float]) -> str:
    """Mean of the paired difference in points with its t interval over seeds."""
    gaps = [100 * (a - b) for a, b in zip(own, control, strict=True)]
    lo, hi = student_t(gaps)
    return f"{mean(gaps):+.1f} [{lo:+.1f}, {hi:+.1f}]"


def main() -> None:
    """Runs what was asked for and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 seeds of Cora, three rows: whether it runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="*", default=["cora", "citeseer", "pubmed"], help="all rows for the first")
    parser.add_argument("--data-root", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    root = resolve_root(asked.data_root)
    for place, name in enumerate(asked.data[:1] if asked.quick else asked.data):
        defenses = FULL if place == 0 and not asked.quick else SHORT
        rows, majority = measure(name, root, defenses, 2 if asked.quick else asked.seeds)
        print("\n".join(table(name, rows, majority)), flush=True)


if __name__ == "__main__":
    main()
