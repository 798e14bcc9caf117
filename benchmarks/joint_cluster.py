"""Joint-cluster against its controls, poisoned and clean; its table's leak (`python -m benchmarks.joint_cluster`).

GCN of width 16, Pro-GNN splits, raw binary features, Adam 0.01, weight decay 5e-4, 200 epochs, 20 METIS clusters of the
graph as given. The poisoned graphs were made against a plain GCN: a gain here is a gain against transferred edits. One
split: intervals cover training and partition randomness, not other splits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Literal

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from auditor.data.sources import load_data, resolve_root
from auditor.data.splits import make_split
from auditor.defense import DefenseTask
from auditor.runner.execute import TrainedCache
from auditor.statistics.intervals import student_t
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Target
from auditor.targets.train import model_table
from defenses.joint_cluster.method import ArmName, JointCluster
from defenses.joint_cluster.partition import partition
from defenses.repair.errors_file import wrong_nodes
from defenses.repair.method import Repair

ARMS: tuple[ArmName, ...] = ("ce", "ce_cluster", "joint", "joint_random")
POISONED = ("cora:metattack=0.05", "cora:metattack=0.15", "cora:metattack=0.25", "citeseer:metattack=0.25")
CLEAN = ("cora", "citeseer")
FILTERED = ("cora:metattack=0.25", "citeseer:metattack=0.25", "cora", "citeseer")


def named(name: str, root: Path | None, *, hidden: int = 16) -> Target:
    """An untrained target on a graph of the pack, with the recipe of `auditor train`."""
    data = load_data(f"deeprobust/{name}", root=root)
    graph, classes = data.graph, int(data.graph.y.max()) + 1
    table = model_table("gcn", "node", graph.num_features, classes, hidden=hidden)
    recipe = TrainRecipe(partial(build_model, table))
    model, split = recipe.build(), make_split("prognn", data, 0)
    return Target(
        name, graph, split, classes, frozenset(Capability), "benchmark", name, {}, model, recipe.build, recipe
    )


def accuracies(target: Target, defense: JointCluster, seeds: int) -> tuple[list[float], float]:
    """Test accuracy in points of each seed, and CPU seconds a fit."""
    start = time.process_time()
    fitted = [defense.fit(target, DefenseTask(seed, TrainedCache())) for seed in range(seeds)]
    seconds = (time.process_time() - start) / seeds
    return [100 * each.accuracy() for each in fitted], seconds


def difference(first: list[float], second: list[float]) -> str:
    """Mean of the paired difference with its t interval."""
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    lo, hi = student_t(gaps)
    return f"{mean(gaps):+.2f} [{lo:+.2f}, {hi:+.2f}]"


def arms_table(names: tuple[str, ...], root: Path | None, seeds: int) -> Iterator[str]:
    """One line a graph: every arm, gain over the same capacity without clusters, and what it is made of."""
    yield "| graph | ce | ce_cluster | joint | joint_random | - ce | - ce_cluster | - joint_random | CPU s ce / joint |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in names:
        target, found, seconds = named(name, root), {}, {}
        for arm in ARMS:
            found[arm], seconds[arm] = accuracies(target, JointCluster(arm=arm, clusters=20), seeds)
        cells = [f"{mean(found[arm]):.1f}" for arm in ARMS]
        cells += [difference(found["joint"], found[other]) for other in ("ce", "ce_cluster", "joint_random")]
        cells.append(f"{seconds['ce']:.1f} / {seconds['joint']:.1f}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def filter_table(names: tuple[str, ...], root: Path | None, seeds: int) -> Iterator[str]:
    """The Jaccard filter alone against the filter with the joint target, both with threshold .03 on everything."""
    yield "| graph | ce_clean | joint, clean=jaccard | difference |"
    yield "|---|---|---|---|"
    for name in names:
        target = named(name, root)
        filtered = JointCluster(arm="joint", clusters=20, clean="jaccard", clean_threshold=0.03)
        alone, both = (accuracies(target, each, seeds)[0] for each in (replace(filtered, arm="ce_clean"), filtered))
        yield f"| {name} | {mean(alone):.1f} | {mean(both):.1f} | {difference(both, alone)} |"


def leak_table(root: Path | None, seeds: int) -> Iterator[str]:
    """AUC of edges against as many non-edges from the partition alone, Planetoid Cora."""
    graph = load_data("cora", root=root).graph
    n = graph.num_nodes
    keys = graph.pair_keys().numpy()
    unit = torch.nn.functional.normalize(graph.x).numpy()
    yield "| partition | K | AUC of the table | of the table, ties by feature cosine | of the cosine alone |"
    yield "|---|---|---|---|---|"
    for name, clusters in (("metis", 5), ("metis", 20), ("louvain", 20), ("bfs", 20), ("features", 20), ("random", 20)):
        rows = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            others = rng.integers(0, n, (2, 4 * len(keys)))
            drawn = np.unique(others.min(axis=0) * n + others.max(axis=0))
            drawn = rng.permutation(drawn[~np.isin(drawn, keys) & (drawn // n != drawn % n)])[: len(keys)]
            pairs = np.concatenate([keys, drawn])
            u, v = pairs // n, pairs % n
            is_edge = np.arange(len(pairs)) < len(keys)
            table = partition(name, graph.edge_index, n, clusters, seed=seed, x=graph.x).assign.numpy()
            same, cosine = (table[u] == table[v]).astype(float), (unit[u] * unit[v]).sum(axis=1)
            rows.append([roc_auc_score(is_edge, score) for score in (same, same + cosine / 2, cosine)])
        yield f"| {name} | {clusters} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |"


def planetoid(name: str, root: Path | None, seed: int) -> Target:
    """A GCN of width 16 on the public split with row-normalised features, as `auditor train` makes it."""
    data = load_data(name, root=root, transform="row-normalize")
    graph, classes = data.graph, int(data.graph.y.max()) + 1
    recipe = TrainRecipe(partial(build_model, model_table("gcn", "node", graph.num_features, classes)))
    split = make_split("public", data, 0)
    model = recipe.fit(graph, split, seed).model
    return Target(
        name, graph, split, classes, frozenset(Capability), "benchmark", name, {}, model, recipe.build, recipe
    )


def repair_table(root: Path | None, seeds: int) -> Iterator[str]:
    """Single edits of 50 wrong test nodes, each from the same weights, by rewiring and by plain fine-tuning.

    Drawdowns are of edits that succeeded; the paired difference is over nodes that both methods repaired.
    """
    yield "| graph | method | right again | within 1 point | median | mean | max | steps | CPU s an edit |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in CLEAN:
        found: dict[Literal["gre-plus", "finetune"], list[np.ndarray]] = {"gre-plus": [], "finetune": []}
        for seed in range(seeds):
            trained = planetoid(name, root, seed)
            ids, y = wrong_nodes(trained, "test")
            chosen = np.random.default_rng(seed).permutation(len(ids))[:50]
            for method, rows in found.items():
                defense, edits = Repair(method=method, max_drawdown=100.0), []
                for i in chosen:
                    task, start = DefenseTask(seed, TrainedCache()), time.process_time()
                    _, run = defense.apply(trained, task, (ids[i : i + 1], y[i : i + 1]))
                    done = bool(run.ids("repaired"))
                    seconds = time.process_time() - start
                    lost = [-100 * (contrast.value or 0.0) for contrast in (run.validation, run.test)]
                    edits.append([done, done and lost[0] <= 1 + 1e-9, lost[1], run.steps, seconds])
                rows.append(np.array(edits, dtype=float))
        for method, rows in found.items():
            every = np.concatenate(rows)
            right = every[every[:, 0] > 0]
            cells = [f"{len(right)}/{len(every)}", f"{int(every[:, 1].sum())}/{len(every)}"]
            cells += [f"{f(right[:, 2]):.2f}" for f in (np.median, np.mean, np.max)]
            cells += [f"{every[:, 3].mean():.1f}", f"{every[:, 4].mean():.2f}"]
            yield f"| {name} | {method} | " + " | ".join(cells) + " |"
        both = [(a[:, 0] > 0) & (b[:, 0] > 0) for a, b in zip(*found.values(), strict=True)]
        gaps = [(a - b)[kept, 2] for a, b, kept in zip(*found.values(), both, strict=True)]
        rng = np.random.default_rng(0)
        means = [mean(float(rng.choice(gap, len(gap)).mean()) for gap in gaps) for _ in range(2000)]
        lo, hi = np.quantile(means, (0.025, 0.975))
        value = mean(float(gap.mean()) for gap in gaps)
        difference = f"{value:+.2f} [{lo:+.2f}, {hi:+.2f}]"
        yield f"| {name} | gre-plus - finetune, {sum(map(len, gaps))} nodes | | | | {difference} | | | |"


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="poisoned,clean,filter,leak,repair")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data-root", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    root, seeds = resolve_root(options.data_root), options.seeds
    tables = {
        "poisoned": lambda: arms_table(POISONED, root, seeds),
        "clean": lambda: arms_table(CLEAN, root, seeds),
        "filter": lambda: filter_table(FILTERED, root, max(2, seeds // 2)),
        "leak": lambda: leak_table(root, min(3, seeds)),
        "repair": lambda: repair_table(root, min(3, seeds)),
    }
    for name in options.only.split(","):
        print(f"\n## {name}, {seeds} seeds (filter: {max(2, seeds // 2)}, leak and repair: {min(3, seeds)})\n")
        for line in tables[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
