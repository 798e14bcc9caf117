"""L2R-GNN against its controls on generated tasks: mechanism, harm, gain, oracle, cost (`python -m benchmarks.l2r`).

A target is a 3-layer GIN of width 32 with sum pooling and a linear head, trained for 100 epochs by the recipe of
`auditor train`. One seed fixes data, initial weights and batch order for every mode. Test sets are read once, here.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch_geometric.nn import GIN, global_add_pool

from auditor.data.synthetic import SyntheticSet, basis_concept, spurious_motif
from auditor.defense import Defense, DefenseTask
from auditor.document import Decision, Difference
from auditor.document.codes import Indicative, Recovery
from auditor.policy.differences import LEVEL, of_recovery, of_reweighting, over_seeds, p_value
from auditor.runner.execute import TrainedCache
from auditor.statistics.multiplicity import holm_levels
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Target
from defenses.group_balanced import GroupBalanced
from defenses.l2r.method import L2R
from defenses.random_weights import RandomWeights
from defenses.uniform_refit import UniformRefit

RANDOM = "random-weights"
GENERATORS: dict[str, Callable[..., SyntheticSet]] = {"spurious-motif": spurious_motif, "basis-concept": basis_concept}
HEAD: dict[str, Defense] = {
    "uniform-refit": UniformRefit(),
    RANDOM: RandomWeights(),
    "l2r": L2R(),
    "l2r:normalise=global": L2R(normalise="global"),
    "group-balanced": GroupBalanced(),
}
END_TO_END: dict[str, Defense] = {
    "erm": L2R("erm"),
    RANDOM: RandomWeights("l2r"),
    "all": L2R("all"),
    "l2r": L2R("l2r"),
}
Scores = dict[str, dict[str, list[float]]]


class SumGIN(nn.Module):
    """Three GIN layers, sum pooling, a linear head."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.gnn = GIN(1, hidden, 3)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        """[N, 1] -> [B, C]."""
        out: Tensor = self.head(global_add_pool(self.gnn(x, edge_index), batch))
        return out


def make_target(data: SyntheticSet, name: str, seed: int, epochs: int) -> Target:
    """The target of one seed."""
    classes = int(data.graph.y.max()) + 1
    recipe = TrainRecipe(partial(SumGIN, 32, classes), weight_decay=0.0, epochs=epochs, batch_size=64)
    split = data.split("ood")
    model = recipe.fit(data.graph, split, seed).model
    return Target(
        name, data.graph, split, classes, frozenset(Capability), "factory", f"{name}-{seed}", {}, model, recipe.build,
        recipe,
    )  # fmt: skip


def score(target: Target, data: SyntheticSet, into: dict[str, list[float]]) -> None:
    """Appends accuracy and balanced accuracy on every test set."""
    predicted = target.clean_logits().argmax(dim=1)
    for name in ("id", "ood", "flip"):
        if name in data.sets:
            mask = data.sets[name]
            y, found = data.graph.y[mask].numpy(), predicted[mask].numpy()
            into[name].append(float((y == found).mean()))
            into[f"{name} balanced"].append(float(balanced_accuracy_score(y, found)))


def run_head(name: str, seeds: int, epochs: int) -> tuple[Scores, list[dict[str, float]], list[float]]:
    """Scores per method and set, notes of `l2r`, and CPU seconds of `l2r` with both controls, per seed."""
    scores: Scores = defaultdict(lambda: defaultdict(list))
    notes, cost = [], []
    for seed in range(seeds):
        data = GENERATORS[name](rng=np.random.default_rng(seed))
        target = make_target(data, name, seed, epochs)
        score(target, data, scores["erm"])
        task, spent = DefenseTask(seed, TrainedCache(), data.group), 0.0
        for method, defense in HEAD.items():
            start = time.process_time()
            fitted = defense.fit(target, task)
            if method in ("l2r", "uniform-refit", RANDOM):
                spent += time.process_time() - start
            score(fitted, data, scores[method])
            if method == "l2r" and fitted.defense is not None:
                notes.append(dict(fitted.defense.notes))
        cost.append(spent)
    return scores, notes, cost


def run_end_to_end(name: str, seeds: int, epochs: int) -> tuple[Scores, dict[str, list[float]]]:
    """Scores and CPU seconds of a training per mode."""
    scores: Scores = defaultdict(lambda: defaultdict(list))
    cost: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        data = GENERATORS[name](rng=np.random.default_rng(seed))
        target = make_target(data, name, seed, 1)  # end-to-end modes do not look at its weights
        assert isinstance(target.recipe, TrainRecipe)
        target = replace(target, recipe=replace(target.recipe, epochs=epochs))
        task = DefenseTask(seed, TrainedCache(), data.group)
        for method in ("erm", "all", "l2r", RANDOM):  # the twin of random weights is fitted before it
            start = time.process_time()
            fitted = END_TO_END[method].fit(target, task)
            cost[method].append(time.process_time() - start)
            score(fitted, data, scores[method])
    return scores, cost


def line(values: list[float]) -> str:
    """Mean and standard error in points."""
    v = 100 * np.asarray(values)
    return f"{v.mean():.1f} ± {v.std(ddof=1) / np.sqrt(len(v)):.1f}"


def beside(control: str, own: list[float], other: list[float]) -> Difference:
    """Own − control, seed by seed."""
    return over_seeds(control, [a - b for a, b in zip(own, other, strict=True)])


def decided(control: str, own: list[float], other: list[float]) -> str:
    """What may be said of one difference to one control."""
    return said(of_reweighting({control: beside(control, own, other)}, [control]))


def said(decision: Decision) -> str:
    """Difference in points with its interval, and the word."""
    estimate = decision.estimate
    assert estimate is not None
    ends = [100 * end for end in (estimate.lo, estimate.hi) if end is not None]
    flag = " (indicative)" if any(isinstance(code, Indicative) for code in decision.codes) else ""
    interval = f" [{ends[0]:+.1f}, {ends[1]:+.1f}]" if ends else ""
    return f"{100 * (estimate.value or 0.0):+.1f}{interval} {decision.status}{flag}"


def table(scores: Scores, control: str, methods: list[str]) -> None:
    """Accuracy per set, and the balanced accuracy against the mode's own control (Holm over the table)."""
    sets = [s for s in ("id", "ood", "flip") if s in scores["erm"]]
    print(
        "| method | " + " | ".join(sets) + " | " + " | ".join(f"{s} balanced, against {control}" for s in sets) + " |"
    )
    print("|" + "---|" * (1 + 2 * len(sets)))
    found = {
        (m, s): {
            other: beside(other, scores[m][f"{s} balanced"], scores[other][f"{s} balanced"])
            for other in (control, RANDOM)
            if other != m
        }
        for m in methods
        for s in sets
        if m not in ("erm", control)
    }
    p_values = [p_value(against[control]) for against in found.values()]
    levels = holm_levels([1.0 if p is None else p for p in p_values], LEVEL)
    shown = {
        cell: said(of_reweighting(against, [control], random=RANDOM, level=level, together=len(found)))
        for (cell, against), level in zip(found.items(), levels, strict=True)
    }
    for method in methods:
        cells = [line(scores[method][s]) for s in sets] + [shown.get((method, s), "") for s in sets]
        print(f"| {method} | " + " | ".join(cells) + " |")


def report_head(name: str, seeds: int, epochs: int) -> None:
    """Goals L1, L2, L3, L5, L6 on one generator."""
    scores, notes, cost = run_head(name, seeds, epochs)
    print(f"\n## {name}, head modes, seeds 0..{seeds - 1}, {epochs} epochs\n")
    table(scores, "uniform-refit", ["erm", *HEAD])
    print("\nMechanism (l2r), mean [min, max] over seeds:")
    for key in ("d_ratio", "d_ratio_permuted", "d_permuted_share", "ess", "minority_weight", "class_prior_drift"):
        values = [n[key] for n in notes]
        print(f"- {key}: {np.mean(values):.3f} [{min(values):.3g}, {max(values):.3g}]")
    below = sum(n["d_ratio"] < n["d_ratio_permuted"] and n["d_ratio"] <= 0.5 for n in notes)
    print(f"- L1: D ratio <= .5 and below the permuted one in {below} of {seeds} seeds")
    erm, refit, own, oracle = (scores[m] for m in ("erm", "uniform-refit", "l2r", "group-balanced"))
    for goal, data_set in (("L2 ID", "id"), ("L2/L3 OOD", "ood")):
        print(f"- {goal}, l2r against erm: {decided('erm', own[data_set], erm[data_set])}")
    print(f"- OOD, uniform-refit against erm: {decided('erm', refit['ood'], erm['ood'])}")
    print(f"- L5 OOD, group-balanced against uniform-refit: {decided('uniform-refit', oracle['ood'], refit['ood'])}")
    gained, room = (beside("uniform-refit", each["ood"], refit["ood"]) for each in (own, oracle))
    share = of_recovery(gained, room, "group-balanced")
    shares = [] if share is None else [code.share for code in share.codes if isinstance(code, Recovery)]
    print(f"- L4 recovery: {f'{shares[0]:.0%}' if shares else 'not shown (the oracle gains nothing)'}")
    print(f"- L6 CPU seconds of l2r with both controls: {np.mean(cost):.1f}, at most {max(cost):.1f}", flush=True)


def report_end_to_end(name: str, seeds: int, epochs: int) -> None:
    """End-to-end modes and their cost on one generator."""
    scores, cost = run_end_to_end(name, seeds, epochs)
    print(f"\n## {name}, end to end, seeds 0..{seeds - 1}, {epochs} epochs\n")
    table(scores, "erm", list(END_TO_END))
    base = np.mean(cost["erm"])
    for method, seconds in cost.items():
        print(f"- {method}: {np.mean(seconds):.1f} CPU s, {np.mean(seconds) / base:.2f} x erm")


def main() -> None:
    """Runs what was asked for and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 seeds, 20 epochs: whether it runs, not what it says")
    parser.add_argument("--seeds", type=int, default=10, help="head modes; 0 leaves them out")
    parser.add_argument("--end-to-end-seeds", type=int, default=10, help="0 leaves them out")
    parser.add_argument("--epochs", type=int, default=100)
    asked = parser.parse_args()
    seeds, full_seeds, epochs = (2, 2, 20) if asked.quick else (asked.seeds, asked.end_to_end_seeds, asked.epochs)
    torch.set_num_threads(1)
    for name in GENERATORS if seeds >= 2 else ():
        report_head(name, seeds, epochs)
    if full_seeds >= 2:
        report_end_to_end("spurious-motif", full_seeds, epochs)


if __name__ == "__main__":
    main()
