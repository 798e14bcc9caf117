"""What DP-SGD over graphs and subgraphs costs, which planted bugs audits catch (`python -m benchmarks.dp_training`).

PROTEINS: GCN of 3 layers and width 32, sum pooling, random 60/20/20 splits; Cora: as in `benchmarks.dp_utility`. One
seed fixes split, initial weights, batches and noise of every row, so that differences are paired. Nothing is tuned:
every parameter is the defence's default, and test sets are read once, here.

Audits: claim ε = 1. Bugs are planted by replacing one function while the mechanism runs; the code under audit, the
canaries and the tests are those of `auditor dp-claim`. Black box: 400 canaries, α = .05, δ = 1e-3.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.data.sources import load_data, resolve_root
from auditor.data.splits import make_split
from auditor.defense import Defense, DefenseTask
from auditor.document.facts import ClaimFacts
from auditor.evaluate.dp_claim.harness import judged_before, run
from auditor.evaluate.dp_claim.question import Question
from auditor.runner.asked import Asked
from auditor.runner.claiming import ask_defense
from auditor.runner.execute import TrainedCache
from auditor.statistics.dp import correct_guesses, rejects_claim
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.rng import forked_rng
from auditor.targets.target import Capability, Target
from benchmarks.dp_utility import difference, untrained, worth
from defenses.dp import steps
from defenses.dp.gap import Gap
from defenses.dp.graph import DPGraph, fit_private
from defenses.dp.node import DPNode, NoiseSchedule
from defenses.dp.records import RecordBatch, RecordModel

ALPHA = 0.05
Plant = Callable[[], AbstractContextManager[object]]


def task(seed: int, noise_scale: float = 1.0) -> DefenseTask:
    """An evaluation's: every draw follows from the seed."""
    return DefenseTask(seed, TrainedCache(), noise_scale=noise_scale)


def many_graphs(root: Path | None, seed: int) -> tuple[Target, float]:
    """PROTEINS under an untrained GCN-32, and the share of the test split's larger class."""
    data = load_data("tu_proteins", root=root)
    graph, split = data.graph, make_split("random:0.6/0.2/0.2", data, seed)
    table = {"class": "GCN", "in_channels": graph.num_features, "hidden_channels": 32, "num_layers": 3}
    recipe = TrainRecipe(partial(build_model, {**table, "out_channels": 2, "readout": "add"}), weight_decay=0.0)
    target = Target(
        "proteins", graph, split, 2, frozenset(Capability), "benchmark", f"proteins-{seed}", {}, recipe.build(),
        recipe.build, recipe,
    )  # fmt: skip
    counts = graph.y[split.test].bincount()
    return target, float(counts.max() / counts.sum())


def without_both(base: Target, seed: int) -> Target:
    """The batches and steps of dp-graph with neither noise nor clip."""
    assert base.build is not None
    with forked_rng(seed):
        model = base.build()
    count = DPGraph().planned(base, task(seed)).mechanism["steps"]
    train = torch.nonzero(base.split.train).flatten()
    fit_private(
        model.requires_grad_(True), base.graph, train, 2, DPGraph(), steps=int(count), std=0.0, task=task(seed),
        clip=math.inf,
    )  # fmt: skip
    return replace(base, model=model.eval())


def fitted(defense: Defense, noise_scale: float = 1.0) -> Callable[[Target, int], Target]:
    """A row of a utility table."""
    return lambda base, seed: defense.fit(base, task(seed, noise_scale))


@dataclass(frozen=True)
class Utility:
    """One table: rows, the row that is the edge-free control of each private row, and what to subtract first."""

    title: str
    make: Callable[[Path | None, int], tuple[Target, float]]
    rows: dict[str, Callable[[Target, int], Target]]
    controls: dict[str, str]
    reference: str


PROTEINS = Utility(
    "PROTEINS, dp-graph",
    many_graphs,
    {
        "no noise, no clip": without_both,
        "dp-graph:epsilon=8,hops=0": fitted(DPGraph(hops="0")),
        "dp-graph:epsilon=8": fitted(DPGraph()),
        "dp-graph:epsilon=8,sat-rho=0.5": fitted(DPGraph(sat_rho=0.5)),
        "dp-graph:epsilon=1,hops=0": fitted(DPGraph(1.0, hops="0")),
        "dp-graph:epsilon=1": fitted(DPGraph(1.0)),
    },
    {
        "dp-graph:epsilon=8": "dp-graph:epsilon=8,hops=0",
        "dp-graph:epsilon=8,sat-rho=0.5": "dp-graph:epsilon=8,hops=0",
        "dp-graph:epsilon=1": "dp-graph:epsilon=1,hops=0",
    },
    "no noise, no clip",
)
CORA = Utility(
    "Cora, dp-node",
    partial(untrained, "cora"),
    {
        "GCN": lambda base, seed: base.retrained(seed=seed),
        "dp-node, no noise": fitted(DPNode(), 0.0),
        "dp-node:epsilon=8,hops=0": fitted(DPNode(hops=0)),
        "dp-node:epsilon=8": fitted(DPNode()),
        "dp-node:epsilon=32,hops=0": fitted(DPNode(32.0, hops=0)),
        "dp-node:epsilon=32": fitted(DPNode(32.0)),
    },
    {"dp-node:epsilon=8": "dp-node:epsilon=8,hops=0", "dp-node:epsilon=32": "dp-node:epsilon=32,hops=0"},
    "GCN",
)


def utility(table: Utility, root: Path | None, seeds: int) -> Iterator[str]:
    """Markdown lines of one table."""
    accuracy: dict[str, list[float]] = {row: [] for row in table.rows}
    seconds: dict[str, list[float]] = {row: [] for row in table.rows}
    majority = []
    for seed in range(seeds):
        base, constant = table.make(root, seed)
        majority.append(constant)
        for row, make in table.rows.items():
            started = time.process_time()
            accuracy[row].append(make(base, seed).accuracy())
            seconds[row].append(time.process_time() - started)
    constant = mean(majority)
    yield f"\n## {table.title}, seeds 0..{seeds - 1}, constant predictor {100 * constant:.1f} %\n"
    yield f"| model | accuracy, ± std | - {table.reference} | - same without edges | CPU s | words |"
    yield "|---|---|---|---|---|---|"
    for row, found in accuracy.items():
        points = [100 * value for value in found]
        control = table.controls.get(row)
        beside = "" if control is None else difference(found, accuracy[control])
        words = "" if control is None else worth(found, {control: accuracy[control]}, constant)
        yield (
            f"| {row} | {mean(points):.1f} ± {stdev(points):.1f} | {difference(found, accuracy[table.reference])} | "
            f"{beside} | {mean(seconds[row]):.1f} | {words} |"
        )


def weaker_noise(share: float) -> AbstractContextManager[object]:
    """Bug: every step adds `share` of its noise."""
    honest = steps.add_noise
    return mock.patch.object(steps, "add_noise", lambda sums, std, rng: honest(sums, share * std, rng))


def clip_per_node() -> AbstractContextManager[object]:
    """Bug: each node's gradient is clipped, so that a graph of n nodes is bounded by n C."""

    def private_sum(model: RecordModel, batch: RecordBatch, clip: float) -> list[Tensor]:
        nodes = torch.bincount(batch.record, minlength=batch.records).to(batch.x.dtype)
        gradients = model.gradients(batch)
        norms = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0).sqrt()
        factor = (clip * nodes / norms.clamp_min(1e-30)).clamp_max(1.0)
        return [torch.einsum("b,b...->...", factor, g) for g in gradients]

    return mock.patch.object(steps, "private_sum", private_sum)


class ForgetsTerms(DPNode):
    """Bug: the noise of one term under an account of M."""

    def _schedule(self, target: Target) -> NoiseSchedule:
        honest = DPNode._schedule(self, target)
        return replace(honest, std=honest.std / honest.terms)


class HalfNoiseGap(Gap):
    """Bug: sensitivity 1 on an undirected graph, and every hop spends the whole budget."""

    def noise_std(self, delta: float) -> float:
        """See the class."""
        return Gap.noise_std(self, delta) / math.sqrt(2 * self.hops)


def asked(target: Target, defense: Defense, seed: int, access: str, m: int, delta: float) -> tuple[str, str]:
    """The word of `auditor dp-claim`, and its highest 95 % bound beside the reach twin's."""
    claim = Asked(f"1,{delta:g}", access=access, canaries=m, alpha=ALPHA, seed=seed)
    question = ask_defense(target, defense, claim, models=TrainedCache(), tick=lambda _fraction, _note: None)
    assert isinstance(question, Question)
    before, power = judged_before(question)
    assert before is None, before
    answer = run(question, power, seed)
    assert answer.row.status == "ok", answer.row.reason
    judged = answer.measured[0]  # the highest bound; its one control is the reach twin's
    assert isinstance(judged.facts, ClaimFacts)
    return judged.facts.verdict, f"{judged.estimate.value:.2f} ({judged.controls[0].estimate.value:.2f})"


def audits(root: Path | None, honest: int, planted: int) -> Iterator[str]:
    """Markdown lines: every bug at claim ε = 1, and honest runs of the same mechanisms."""
    graphs = many_graphs(root, 0)[0]
    nodes = untrained("cora", root, 0)[0]
    strict = DPGraph(1.0, 1e-3)
    black_box = partial(asked, graphs, strict, access="posteriors", m=400, delta=1e-3)
    sums = partial(asked, graphs, strict, access="mechanism", m=40_000, delta=1e-3)
    few = partial(asked, graphs, strict, access="mechanism", m=400, delta=1e-3)
    rows: list[tuple[str, str, int, Plant, Callable[..., tuple[str, str]]]] = [
        ("honest dp-graph", "posteriors", honest, nullcontext, black_box),
        ("dp-graph, no noise", "posteriors", planted, partial(weaker_noise, 0.0), black_box),
        ("dp-graph, clip per node", "posteriors", planted, clip_per_node, black_box),
        ("honest dp-graph", "mechanism", honest, nullcontext, sums),
        ("dp-graph, half the noise", "mechanism", planted, partial(weaker_noise, 0.5), sums),
        ("dp-graph, no noise, 400 canaries", "mechanism", planted, partial(weaker_noise, 0.0), few),
    ]
    for name, defense, count in (("honest dp-node", DPNode, honest), ("dp-node, M forgotten", ForgetsTerms, planted)):
        terms = partial(asked, nodes, defense(1.0, 1e-5), access="mechanism", m=40_000, delta=1e-5)
        rows.append((name, "mechanism", count, nullcontext, terms))
    yield f"\n## Audits at claim ε = 1, α = {ALPHA:g}\n"
    yield "| mechanism | access | VIOLATED | words by seed | highest 95 % bound (its reach twin's) by seed |"
    yield "|---|---|---|---|---|"
    for name, access, count, plant, audit in rows:
        found = []
        for seed in range(count):
            with plant():
                found.append(audit(seed=seed))
        violated = sum(word == "VIOLATED" for word, _ in found)
        words, bounds = (", ".join(part) for part in zip(*found, strict=True))
        yield f"| {name} | {access} | {violated} of {count} | {words} | {bounds} |"
    for name, gap in (("honest gap", Gap(1.0, 1e-7)), ("gap, √2 and K forgotten", HalfNoiseGap(1.0, 1e-7))):
        rejections = [audit_gap(gap, seed) for seed in range(planted)]
        yield f"| {name}, 100 000 nodes | released | {sum(rejections)} of {planted} | m = 40 000, G and A at α / 2 | |"


def audit_gap(defense: Gap, seed: int) -> bool:
    """Whether 40,000 pairs of a graph with 100,000 nodes reject claim ε = 1; Cora has too few edges for that."""
    n, m, delta = 100_000, 40_000, 1e-7
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(rng.integers(0, 3, n))
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    x[torch.arange(n), y] += 2
    edges = torch.from_numpy(rng.integers(0, n, (2, 400_000)))
    pairs = torch.from_numpy(rng.permutation(n))[: 2 * m].reshape(2, m)
    bits = rng.random(m) < 0.5
    arcs = torch.cat([edges, edges.flip(0), pairs[:, bits], pairs[:, bits].flip(0)], dim=1)
    ids = torch.arange(n)
    split = Split(ids < 2000, (ids >= 2000) & (ids < 3000), ids >= 3000)
    recipe = TrainRecipe(partial(build_model, {
        "class": "GCN", "in_channels": 8, "hidden_channels": 8, "num_layers": 2, "out_channels": 3,
    }))  # fmt: skip
    base = Target(
        "random", Graph(x, arcs, y), split, 3, frozenset(Capability), "benchmark", "random", {}, recipe.build(),
        recipe.build, recipe,
    )  # fmt: skip
    scores = defense.released_scores(base, pairs, task(seed)).numpy()
    r = m // 20
    right = correct_guesses(bits, scores, r, rng=np.random.default_rng(seed))
    return any(rejects_claim(test, 1.0, delta, m, r, right, ALPHA / 2) for test in ("A", "G"))


def main() -> None:
    """Prints every table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="of the utility tables")
    parser.add_argument("--honest", type=int, default=5, help="audits of each honest mechanism")
    parser.add_argument("--planted", type=int, default=3, help="audits of each planted bug")
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    root = resolve_root(given.data_root)
    for table in (PROTEINS, CORA):
        print("\n".join(utility(table, root, given.seeds)), flush=True)
    print("\n".join(audits(root, given.honest, given.planted)), flush=True)


if __name__ == "__main__":
    main()
