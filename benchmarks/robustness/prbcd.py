"""Our structure evasion beside PyG's PRBCD and GRBCD on the same weights, all through our verifier.

    OMP_NUM_THREADS=1 python -m benchmarks.robustness.prbcd out/cora-gcn --eps 0.05 --seeds 0

Theirs run with their defaults (125 epochs) and a block of 50,000 pairs, once per loss, and see the model through our
relaxation: models without an edge weight can take part, and products with the fixed features are remembered for both.
The ratio of times is then that of the algorithms and of how they multiply. `active-set` runs both losses in one call;
theirs is the sum of two. Graphs to be classified as a whole are attacked one by one, each with its own budget.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.contrib.nn import GRBCDAttack, PRBCDAttack

from auditor.data.edits import EdgeSpace, select_graphs
from auditor.data.roots import resolve_root
from auditor.document import Estimate
from auditor.errors import SkippedError
from auditor.evaluate.robustness.budgets import flips_for, graph_levels
from auditor.evaluate.robustness.strength import MORE
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.probe import Attempt, Registered
from auditor.registry import Profile
from auditor.statistics.shares import paired, share
from auditor.targets.load import load_target
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Target
from auditor.view import grant_graph
from benchmarks.privacy.graphmi import registered
from benchmarks.robustness.networks import appnp
from benchmarks.shift.cells import shown

BLOCK, EPOCHS = 50_000, 125
GRAPHS = 40
THEIR_LOSSES = {"tanh": "tanh_margin", "prob": "prob_margin"}
THEIRS: Mapping[str, type[PRBCDAttack]] = {"PRBCD": PRBCDAttack, "GRBCD": GRBCDAttack}
OURS, AGAIN, STRONGEST = "active-set", "twice the steps", "PRBCD"
"""Our search, the same run again as `standard` runs it at the budget that is judged, and the strongest of theirs."""
MOST_ABOVE = 0.005
"""Points by which what our search leaves may be above what PRBCD leaves."""
Bools = NDArray[np.bool_]
Claims = list[tuple[str, FlipSet]]
"""Flip sets with the loss or draw that each comes from."""


@dataclass(frozen=True)
class Budget:
    """Flips in all, and in each attacked graph where there are many."""

    flips: int
    item_flips: Tensor | None = None


class Weighted(nn.Module):
    """The target as theirs want it: a module whose forward takes an edge weight."""

    def __init__(self, relaxation: Relaxation) -> None:
        super().__init__()
        self.relaxation = relaxation

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, batch: Tensor | None = None) -> Tensor:
        """[N, F] -> [N, C], or [B, C] with a batch."""
        return self.relaxation.logits(x, edge_index, edge_weight, batch)


def theirs(method: str, target: Target, items: Tensor, budget: Budget, loss: str, seed: int) -> FlipSet:
    """Flips of one of PyG's attacks as keys."""
    view = grant_graph(target, registered("active-set").access, with_test_labels=True)
    graph, model = target.graph, Weighted(view.relaxation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if budget.item_flips is None:
            attack = THEIRS[method](model, block_size=BLOCK, epochs=EPOCHS, loss=THEIR_LOSSES[loss], log=False)
            _, flips = attack.attack(graph.x, graph.edge_index, graph.y, budget.flips, items)
            return FlipSet(budget.flips, _keys(flips, torch.arange(graph.num_nodes), graph.num_nodes))
        keys = []
        for item, own in zip(items, budget.item_flips.tolist(), strict=True):
            part, nodes = select_graphs(graph, item.view(1))
            pairs = part.num_nodes * (part.num_nodes - 1) // 2
            attack = THEIRS[method](model, block_size=pairs, epochs=EPOCHS, loss=THEIR_LOSSES[loss], log=False)
            _, flips = attack.attack(part.x, part.edge_index, part.y, own, batch=part.batch)
            keys.append(_keys(flips, nodes, graph.num_nodes))
        return FlipSet(budget.flips, torch.cat(keys))


def _keys(flips: Tensor, nodes: Tensor, n: int) -> Tensor:
    """Keys of flips [2, k] between nodes of a part; each once, since theirs list some twice."""
    low, high = torch.aminmax(nodes[flips], dim=0)
    distinct: Tensor = torch.unique(low * n + high)
    return distinct


def ours(
    attack: Registered,
    target: Target,
    items: Tensor,
    budget: Budget,
    seed: int,
    profile: Profile,
    *,
    effort: float = 1.0,
) -> Claims:
    """Flip sets of one of our attacks."""
    view = grant_graph(target, attack.access, with_test_labels=True).with_items(items)
    attempt = Attempt(
        np.random.default_rng(seed),
        torch.Generator().manual_seed(seed),
        profile,
        budgets=(budget.flips,),
        item_budgets=() if budget.item_flips is None else (budget.item_flips,),
        effort=effort,
    )
    outcome = attack.run(view, attempt)
    assert isinstance(outcome, FlipOutcome)
    return list(zip(outcome.variant, outcome.points, strict=True))


def main() -> None:
    """One table for each target, budget and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", type=Path, help="folders that auditor train wrote")
    parser.add_argument("--appnp", nargs="*", type=Path, default=[], help="such folders: an APPNP on their data")
    parser.add_argument("--eps", nargs="+", default=["0.05"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", default=["random", "dice", OURS, AGAIN, *THEIRS])
    parser.add_argument("--profile", default="standard", choices=("quick", "standard", "full"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for folder, change in [*((each, None) for each in given.targets), *((each, appnp) for each in given.appnp)]:
        target = load_target(folder, data_root=resolve_root(None))
        target = target if change is None else change(target)
        items = torch.nonzero(target.split.test).flatten()
        items = items[:GRAPHS] if target.task.level == "graph" else items
        for eps in given.eps:
            for seed in given.seeds:
                compare(target, items, eps, seed, given.methods, given.profile)


def compare(target: Target, items: Tensor, eps: str, seed: int, methods: list[str], profile: Profile) -> None:
    """Prints what each method leaves, by loss and at best, and how far that is from the best of PRBCD."""
    space = EdgeSpace.of(target.graph)
    budget = Budget(flips_for(eps, space.m))
    if target.task.level == "graph":
        (level,) = graph_levels(space, items, (eps,), profile)
        budget = Budget(level.budget, level.item_budgets)
    verifier = Verifier(target, items)
    print(
        f"{target.name}: {items.numel():,} {target.task.level}s, {shown(share(verifier.clean().correct))} % right; "
        f"{budget.flips:,} flips are {eps} of the edges; seed {seed}\n"
    )
    print("| method | % right, by loss | worst [95 %] | beside the worst of PRBCD, paired | flips | CPU s |")
    print("|---|---|---|---|---|---|")
    found: dict[str, tuple[Bools | None, str, str]] = {}
    for method in methods:
        found[method] = _tried(method, target, items, budget, seed, profile, verifier)
    theirs_left = found[STRONGEST][0] if STRONGEST in found else None
    for method, (right, by_loss, cost) in found.items():
        beside = ""
        if theirs_left is not None and right is not None and method != STRONGEST:
            gained = paired(right, theirs_left)
            beside = signed(gained)
        print(f"| {method} | {by_loss} | {'' if right is None else shown(share(right))} | {beside} | {cost} |")
    _judge(
        [right for method in (OURS, AGAIN) if method in found and (right := found[method][0]) is not None], theirs_left
    )
    print(flush=True)


def _tried(
    method: str, target: Target, items: Tensor, budget: Budget, seed: int, profile: Profile, verifier: Verifier
) -> tuple[Bools | None, str, str]:
    """Which items are right under the worst of a method's flip sets (of random ones: the mean counts, so none here)."""
    start = time.process_time()
    try:
        claims = _claims(method, target, items, budget, seed, profile)
    except SkippedError as reason:
        return None, f"does not apply: {reason}", " | "
    seconds = time.process_time() - start
    checked = [verifier.check(claim, item_budgets=budget.item_flips) for _, claim in claims]
    best = min(checked, key=lambda each: each.accuracy)
    cost = f"{best.additions + best.deletions:,} | {seconds:.1f}"
    if method == "random":
        return None, f"mean of {len(checked)}: {100 * np.mean([each.accuracy for each in checked]):.1f}", cost
    by_loss = ", ".join(f"{name} {100 * each.accuracy:.1f}" for (name, _), each in zip(claims, checked, strict=True))
    # of a graph-level target each item has its own budget, so that the worst is per item
    right = best.correct if best.flips is None else np.logical_and.reduce([each.correct for each in checked])
    return right, by_loss, cost


def _claims(method: str, target: Target, items: Tensor, budget: Budget, seed: int, profile: Profile) -> Claims:
    if method in THEIRS:
        return [(loss, theirs(method, target, items, budget, loss, seed)) for loss in THEIR_LOSSES]
    if method == AGAIN:
        return ours(registered(OURS), target, items, budget, seed, profile, effort=MORE)
    return ours(registered(method), target, items, budget, seed, profile)


def signed(difference: Estimate) -> str:
    """`-6.9 [-9.1, -4.7]`, in points."""
    value, lo, hi = (100 * (each or 0.0) for each in (difference.value, difference.lo, difference.hi))
    return f"{value:+.1f} [{lo:+.1f}, {hi:+.1f}]"


def _judge(own: list[Bools], theirs_left: Bools | None) -> None:
    """Prints how far the better of our two runs is from the best of PRBCD, and whether that is above the goal."""
    if not own or theirs_left is None:
        return
    gained = paired(min(own, key=lambda right: float(right.mean())), theirs_left)
    word = "met" if (gained.value or 0.0) <= MOST_ABOVE else "**missed**"
    print(f"\nOurs less theirs: {signed(gained)} points; goal at most {100 * MOST_ABOVE:.1f}: {word}")


if __name__ == "__main__":
    main()
