"""Influence queries: what they find and cost (`python -m benchmarks.privacy.influence [PART …]`).

- `goals`: GCNs of width 16 by the recipe of `auditor train`, three training seeds; AUC and TPR at .1 % of the attack
  alone on all edges against 200,000 non-edges, intervals over nodes as in an audit; CPU seconds of oracle and attack.
- `engines`: other architectures on Cora, and how their queries were answered.
- `served`: the attack on coarse answers and on edge-level differential privacy, as they are served.
- `large`: 20,000 nodes, all asked about, in a process of its own: CPU seconds of oracle and attack, and peak memory.

Seeds: training 0, 1, 2; pairs 1; bootstrap 2. They were fixed before the first run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.nn import GCN

from auditor import registry
from auditor.compare.arms import make_defense
from auditor.data.roots import resolve_root
from auditor.data.sources import LoadedData, load_data
from auditor.defense import DefenseTask
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.evaluate.links.scoring import AUC, LOW_TPR, Scored, score_set
from auditor.outcomes import LinkOutcome
from auditor.probe import Attempt, Registered
from auditor.runner.execute import TrainedCache
from auditor.statistics.intervals import student_t
from auditor.targets.config import TargetFile
from auditor.targets.live import live_target
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge, grant_privacy
from benchmarks.runs.graphs import graph

SEEDS = (0, 1, 2)
GOALS = {"cora": (0.999, 0.80), "airports_usa": (0.992, 0.25)}
LARGE_NODES = 20_000
SERVED = (
    "coarse-outputs:digits=4",
    "coarse-outputs:digits=2",
    "coarse-outputs:digits=1",
    "coarse-outputs:labels-only=true",
    "edge-rand:epsilon=8",
    "gap",
)


def trained(data: LoadedData, arch: str, seed: int) -> Target:
    """A reference model of width 16."""
    with tempfile.TemporaryDirectory() as folder:
        return train_reference(data, arch, hidden=16, seed=seed, out_dir=Path(folder) / "target")


def attacked(target: Target) -> tuple[LinkOutcome, dict[str, Any]]:
    """What the attack finds, and CPU seconds, queries and engine."""
    entry = registry.find("attacks", "influence")
    attack = Registered(entry, entry.load()())
    start = time.process_time()
    view = grant_privacy(target, attack.access, SideKnowledge(), np.random.default_rng(0))
    outcome = attack.run(view, Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0)))
    assert isinstance(outcome, LinkOutcome)
    seconds = time.process_time() - start
    return outcome, {"cpu_s": seconds, "queries": view.query.count, "engine": view.query.checked.engine}


def scored(target: Target, outcome: LinkOutcome, replicates: int = 300) -> Scored:
    """AUC and TPR of the attack alone."""
    pairs = prior_pairs(Truth.of(target.private_graph), 200_000, np.random.default_rng(1))
    scorer = Scorer("attack", (outcome.score,))
    rng, n = np.random.default_rng(2), target.graph.num_nodes
    return score_set(pairs, [scorer], (AUC, *LOW_TPR), num_nodes=n, rng=rng, replicates=replicates)


def _with_interval(found: Scored, place: int) -> str:
    estimate = found.estimate((AUC, LOW_TPR[-1])[place])
    return f"{estimate.value:.4f} [{estimate.lo:.4f}, {estimate.hi:.4f}]"


def goals() -> None:
    """Both graphs beside their goals."""
    print("| data | seed | accuracy | AUC | TPR at .1 % | CPU s | CPU s per 1,000 nodes | queries | engine |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (area, rate) in GOALS.items():
        data, values = load_data(name, root=resolve_root(None)), []
        for seed in SEEDS:
            target = trained(data, "gcn", seed)
            outcome, cost = attacked(target)
            found, each = scored(target, outcome), 1000 * cost["cpu_s"] / target.graph.num_nodes
            values.append([found.estimate(metric).value for metric in (AUC, LOW_TPR[-1])] + [each])
            print(
                f"| {name} | {seed} | {target.accuracy():.3f} | {_with_interval(found, 0)} "
                f"| {_with_interval(found, 1)} | {cost['cpu_s']:.2f} | {each:.2f} "
                f"| {cost['queries']} | {cost['engine']} |",
                flush=True,
            )
        table = np.array(values, dtype=float)
        for place, (what, goal) in enumerate((("AUC", area), ("TPR at .1 %", rate))):
            lo, hi = student_t(table[:, place].tolist())
            met = "met" if table[:, place].mean() >= goal else "missed"
            mean = f"{table[:, place].mean():.4f} [{lo:.4f}, {hi:.4f}], lowest {table[:, place].min():.4f}"
            print(f"\n{name} {what}, mean over seeds: {mean}; goal {goal}: {met}.")
        met = "met" if table[:, 2].max() <= 1 else "missed"
        print(f"\n{name} CPU s per 1,000 nodes, largest: {table[:, 2].max():.2f}; goal 1: {met}.\n")


def engines() -> None:
    """Other architectures."""
    data = load_data("cora", root=resolve_root(None))
    print("| architecture | accuracy | AUC | TPR at .1 % | CPU s | engine |\n|---|---|---|---|---|---|")
    for arch in ("gat", "sage", "gin", "mlp"):
        _line(arch, trained(data, arch, 0))


def served() -> None:
    """Defences as they are served."""
    base = trained(load_data("cora", root=resolve_root(None)), "gcn", 0)
    print("| defence | accuracy | AUC | TPR at .1 % | CPU s | engine |\n|---|---|---|---|---|---|")
    _line("none", base)
    for spec in SERVED:
        _line(spec, make_defense(spec).fit(base, DefenseTask(0, TrainedCache())))


def _line(name: str, target: Target) -> None:
    outcome, cost = attacked(target)
    found = scored(target, outcome)
    print(
        f"| {name} | {target.accuracy():.3f} | {_with_interval(found, 0)} | {_with_interval(found, 1)} "
        f"| {cost['cpu_s']:.1f} | {cost['engine']} |",
        flush=True,
    )


def large() -> None:
    """20,000 nodes, every one asked about, in a child."""
    command = [sys.executable, "-m", "benchmarks.privacy.influence", "large-child"]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    met = "met" if row["cpu_s"] <= 40 and row["peak_mb"] <= 1024 else "missed"
    print(
        f"{LARGE_NODES:,} nodes, {row['edges']:,} arcs, 128 features, 40 classes, GCN-16: {row['queries']:,} queries "
        f"by {row['engine']}, {row['cpu_s']:.1f} CPU s, peak {row['peak_mb']:.0f} MB of the process (before the attack "
        f"{row['before_mb']:.0f}); AUC {row['auc']:.4f}. Goal 40 CPU s, 1,024 MB: {met}."
    )


def large_child() -> None:
    """The measured process."""
    data = graph(LARGE_NODES)
    torch.manual_seed(0)
    masks = {"train": data.train_mask, "val": data.val_mask, "test": data.test_mask}
    target = live_target(GCN(128, 16, 2, 40).eval(), data, TargetFile(), masks=masks)
    target = replace(target, build=None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcome, cost = attacked(target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    area = scored(target, outcome, 0).estimate(AUC).value
    print(json.dumps({**cost, "before_mb": before, "peak_mb": peak, "auc": area, "edges": target.graph.num_edges}))


PARTS: dict[str, Callable[[], None]] = {
    "goals": goals,
    "engines": engines,
    "served": served,
    "large": large,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The parts asked for, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    asked = parser.parse_args(arguments).parts or list(PARTS)
    torch.set_num_threads(1)
    if asked == ["large-child"]:
        large_child()
        return
    for part in asked:
        if part not in PARTS:
            parser.error(f"no part is called {part}; known: {', '.join(PARTS)}")
        print(f"\n### {part}\n", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
