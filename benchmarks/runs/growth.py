"""CPU time and peak memory of every probe of `standard` on graphs of several sizes.

One process a size makes the target; every probe runs in a copy of that process (`fork`), so that none finds what
another has made: twins, pairs and controls, which a run shares, are made anew in each. CPU time is of one cell (one
seed); making the target and its checks are not in it, and trainings inside the cell are given apart. A cell that takes
longer than the limit is ended and told as such.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from auditor import registry
from auditor.runner.memory import KEEP_FREED
from benchmarks.runs.graphs import graph

HIDDEN = 16
RECIPE = {"optimizer": "adam", "lr": 0.01, "weight_decay": 5e-4, "epochs": 20}  # trainings are not what is measured
ASKED = {"heldout-domain": "heldout-domain:column=region,held=0"}
"""How a probe is asked for that needs more than its name."""
SIDE = {"sensitive": 0, "embeddings": True}
CHECKS = "checks"
"""What is measured besides probes: the checks of the target, once a run."""
LIMIT_S = 600.0
GRACE_S = 60.0
OVER = "over the limit"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one cell took.

    Attributes:
        seconds: CPU seconds, trainings left out; those until it was ended where it was.
        training: CPU seconds of trainings.
        peak_gb: the most resident memory, the target included; 0 where that is not known.
        why: it has no number because of this; empty where it has.
    """

    seconds: float
    training: float = 0.0
    peak_gb: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.why and self.why != OVER:
            return self.why
        trained = f" (+ {self.training:.1f})" if self.training >= 0.05 else ""
        return f"{'> ' if self.why else ''}{self.seconds:.1f} s{trained}, {self.peak_gb:.1f} GB"


def probes(profile: str = "standard") -> list[str]:
    """Every probe of a profile for one graph, in the order of the registry."""
    return [
        name
        for name, probe in registry.probes().items()
        if profile in probe.profiles and "node" in probe.tasks and not probe.defenses
    ]


def print_growth(nodes: Sequence[int], chosen: Sequence[str], limit: float = LIMIT_S) -> None:
    """A table of sizes and probes, with the exponent of the growth in arcs."""
    found = {n: _in_a_process(n, chosen, limit) for n in nodes}
    arcs = {n: graph(n).num_edges for n in nodes}
    print("| probe | " + " | ".join(f"{n:,} nodes, {arcs[n]:,} arcs" for n in nodes) + " | exponent |")
    print("|---|" + "---|" * (len(nodes) + 1))
    for probe in chosen:
        costs = [found[n].get(probe, Cost(0.0, why="not reached")) for n in nodes]
        told = [(arcs[n], cost.seconds) for n, cost in zip(nodes, costs, strict=True) if not cost.why]
        growth = exponent([size for size, _ in told], [seconds for _, seconds in told])
        print(f"| {probe} | {' | '.join(map(str, costs))} | {growth} |")
    print(f"\nCPU seconds of one cell (+ trainings in it), peak memory; one thread; limit {limit:.0f} s.")


def exponent(arcs: Sequence[int], seconds: Sequence[float]) -> str:
    """The slope between neighbouring sizes, and over all of them by least squares; both on logarithmic scales."""
    if len(arcs) < 2:
        return "–"
    x, y = np.log(arcs), np.log(seconds)
    steps = ", ".join(f"{slope:.2f}" for slope in np.diff(y) / np.diff(x))
    return f"{np.polyfit(x, y, 1)[0]:.2f} ({steps})"


def _in_a_process(nodes: int, chosen: Sequence[str], limit: float) -> dict[str, Cost]:
    command = [sys.executable, "-m", "benchmarks.runs.growth", str(nodes), str(limit), *chosen]
    found: dict[str, Cost] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**KEEP_FREED, **os.environ}) as process:
        assert process.stdout is not None
        for line in process.stdout:
            probe, cost = json.loads(line)
            found[probe] = Cost(**cost)
            print(f"{nodes:,} nodes, {probe}: {found[probe]}", file=sys.stderr, flush=True)
    if process.returncode:
        raise RuntimeError(f"the target of {nodes} nodes was not made: exit code {process.returncode}")
    return found


def measured(nodes: int, chosen: Sequence[str], limit: float) -> Iterator[tuple[str, Cost]]:
    """What each probe costs on a graph of that size, as they finish; needs `fork`."""
    import torch
    from torch_geometric.nn.models import GCN

    import auditor
    from auditor.data.fields import Fields
    from auditor.runner.bench import Bench
    from auditor.runner.job import Job

    torch.set_num_threads(1)
    data = graph(nodes)
    build = functools.partial(GCN, data.num_features, HIDDEN, 2, int(data.y.max()) + 1, dropout=0.5)
    target = auditor.load_target(build(), data, build=build, recipe=RECIPE)
    target = target.retrained(target.graph, seed=0)
    target.clean_logits()
    regions = replace(target, graph=replace(target.graph, fields=Fields(node={"region": data.region})))
    for probe in chosen:
        asked = ",".join(probes()[:-1] if probe == CHECKS else [ASKED.get(probe, probe)])
        bench = Bench.of(regions if probe in ASKED else target, Job(path="", only=asked, side=SIDE))
        yield probe, _in_a_copy(functools.partial(_spent, bench, probe == CHECKS, limit))


def _in_a_copy(measure: Callable[[], Cost]) -> Cost:
    """What `measure` answers in a copy of this process, or that it was ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        code = 1
        with contextlib.suppress(BaseException):
            os.write(writer, json.dumps(asdict(measure())).encode())
            code = 0
        os._exit(code)
    os.close(writer)
    with open(reader, "rb") as answer:
        raw = answer.read()
    _, status, used = os.wait4(child, 0)
    if raw:
        return Cost(**json.loads(raw))
    code, took = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    return Cost(took, peak_gb=used.ru_maxrss / 2**20, why=OVER if code < 0 else f"ended with exit code {code}")


def _spent(bench: Any, checks: bool, limit: float) -> Cost:
    """Carries out the one cell of a bench, or its checks, within the limit of CPU time, trainings not counted."""
    from auditor.targets.recipe import TrainRecipe

    trained = [0.0]

    def timed(fit: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **more: Any) -> Any:
            before, start = trained[0], time.process_time()
            try:
                return fit(*given, **more)
            finally:  # a training inside another is counted once
                trained[0] = before + time.process_time() - start
                _limit(limit + trained[0])

        return run

    for name in ("fit", "fit_many"):
        setattr(TrainRecipe, name, timed(getattr(TrainRecipe, name)))
    _limit(limit)
    start = time.process_time()
    if checks:
        bench.describe()
        return Cost(
            time.process_time() - start - trained[0],
            trained[0],
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        )
    (cell,) = bench.cells
    row = bench.run_one(cell, lambda *_: None, lambda _, text: print(text, file=sys.stderr)).row
    spent = time.process_time() - start - trained[0]
    why = "" if row.status == "ok" else f"{row.status}: {row.reason}"
    return Cost(spent, trained[0], (row.peak_rss_mb or 0.0) / 1024, why)


def _limit(seconds: float) -> None:
    """CPU seconds from the birth of this process after which the kernel ends it."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds + GRACE_S), resource.RLIM_INFINITY))


if __name__ == "__main__":
    for name, cost in measured(int(sys.argv[1]), sys.argv[3:], float(sys.argv[2])):
        print(json.dumps([name, asdict(cost)]), flush=True)
