"""CPU time and peak memory of every probe of `standard` on graphs of several sizes, each in a process of its own.

CPU time is of one cell (one seed), loading, validity checks and the target's own training left out. Twins are trained
in it; they are given apart, since a run shares them between probes.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auditor import registry
from benchmarks.runs.graphs import graph

HIDDEN = 16
RECIPE = {"optimizer": "adam", "lr": 0.01, "weight_decay": 5e-4, "epochs": 50}


def probes() -> list[str]:
    """Every probe of `standard` for one graph, in the order of the registry."""
    return [
        name
        for name, probe in registry.probes().items()
        if "standard" in probe.profiles and "node" in probe.tasks and not probe.defenses
    ]


def print_growth(nodes: Sequence[int], chosen: Sequence[str]) -> None:
    """A table of sizes and probes, with the exponent of the growth in arcs."""
    arcs = {n: graph(n).num_edges for n in nodes}
    print("| probe | " + " | ".join(f"{n:,} nodes, {arcs[n]:,} arcs" for n in nodes) + " | exponent |")
    print("|---|" + "---|" * (len(nodes) + 1))
    for probe in chosen:
        found = [_in_a_process(n, probe) for n in nodes]
        shown = [
            f"{each['cpu'] - each['training']:.1f} s (+ {each['training']:.1f}), {each['peak_mb'] / 1000:.1f} GB"
            for each in found
        ]
        growth = exponent([arcs[n] for n in nodes], [each["cpu"] - each["training"] for each in found])
        print(f"| {probe} | " + " | ".join(shown) + f" | {growth} |", flush=True)
    print("\nCPU seconds of one cell (+ trainings in it), peak memory of its process; one thread.")


def exponent(arcs: Sequence[int], seconds: Sequence[float]) -> str:
    """The slope between neighbouring sizes, and over all of them by least squares; both on logarithmic scales."""
    if len(arcs) < 2:
        return "–"
    x, y = np.log(arcs), np.log(seconds)
    steps = ", ".join(f"{slope:.2f}" for slope in np.diff(y) / np.diff(x))
    return f"{np.polyfit(x, y, 1)[0]:.2f} ({steps})"


def _in_a_process(nodes: int, probe: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.runs.growth", str(nodes), probe]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(nodes: int, probe: str) -> dict[str, float]:
    """CPU seconds of one cell, those of trainings among them, and the peak of resident memory in MB."""
    import torch
    from torch_geometric.nn.models import GCN

    import auditor
    from auditor.targets.recipe import TrainRecipe

    torch.set_num_threads(1)
    data = graph(nodes)
    build = functools.partial(GCN, data.num_features, HIDDEN, 2, int(data.y.max()) + 1, dropout=0.5)
    trained = [0.0]
    fit = TrainRecipe.fit

    def timed(recipe: TrainRecipe, *given: Any, **more: Any) -> Any:
        start = time.process_time()
        try:
            return fit(recipe, *given, **more)
        finally:
            trained[0] += time.process_time() - start

    TrainRecipe.fit = timed  # type: ignore[method-assign]
    target = auditor.load_target(build(), data, build=build, recipe=RECIPE)
    target = target.retrained(target.graph, seed=0)
    trained[0] = 0.0
    cell = _Watch()
    report = auditor.audit(target, only=[probe], profile="standard", seeds=[0], progress=cell)
    (row,) = report.cells
    if row.status != "ok":
        sys.exit(f"{probe} on {nodes} nodes: {row.status}: {row.reason}")
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"cpu": cell.seconds, "training": trained[0], "peak_mb": int(peak.split()[1]) / 1024}


class _Watch:
    """Takes the CPU time between the start and the end of the one cell."""

    def __init__(self) -> None:
        self.seconds, self._start = 0.0, 0.0

    def planned(self, cells: Sequence[Any]) -> None:
        """Nothing to do."""

    def started(self, cell: Any) -> None:
        """The cell begins."""
        self._start = time.process_time()

    def tick(self, fraction: float | None, note: str) -> None:
        """Nothing to do."""

    def finished(self, row: Any) -> None:
        """The cell is done."""
        self.seconds += time.process_time() - self._start


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
