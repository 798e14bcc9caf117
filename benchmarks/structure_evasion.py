"""Our structure evasion beside PyG's PRBCD on the same weights, both through our verifier.

    OMP_NUM_THREADS=1 python -m benchmarks.structure_evasion out/cora-gcn64 --eps 0.05 --seeds 0 1 2

PRBCD runs with its defaults (125 epochs) and a block of 50,000 pairs, once per loss and budget, and sees the model
through the same relaxation, so that models without an edge weight can take part. CPU seconds are of one process.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.contrib.nn import PRBCDAttack

from auditor.data.edits import EdgeSpace
from auditor.evaluate.robustness.budgets import flips_for
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.probe import Attempt, Registered
from auditor.targets.load import load_target
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Target
from auditor.view import grant_graph
from benchmarks.graphmi import registered

BLOCK, EPOCHS = 50_000, 125
THEIR_LOSSES = {"tanh": "tanh_margin", "prob": "prob_margin"}


class Weighted(nn.Module):
    """The target as PRBCD wants it: a module whose forward takes an edge weight."""

    def __init__(self, relaxation: Relaxation) -> None:
        super().__init__()
        self.relaxation = relaxation

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """[N, F] -> [N, C]."""
        return self.relaxation.logits(x, edge_index, edge_weight)


def prbcd(target: Target, items: Tensor, budget: int, loss: str, seed: int) -> FlipSet:
    """PRBCD's flips as keys."""
    relaxation = grant_graph(target, registered("active-set").access, with_test_labels=True).relaxation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attack = PRBCDAttack(Weighted(relaxation), block_size=BLOCK, epochs=EPOCHS, loss=THEIR_LOSSES[loss], log=False)
        _, flips = attack.attack(target.graph.x, target.graph.edge_index, target.graph.y, budget, items)
    low, high = torch.aminmax(flips, dim=0)
    return FlipSet(budget, low * target.graph.num_nodes + high)


def ours(target: Target, budget: int, loss: str, seed: int) -> FlipSet:
    """Active-set's flips."""
    return _run(registered("active-set", losses=(loss,)), target, budget, seed)[0]


def _run(attack: Registered, target: Target, budget: int, seed: int) -> tuple[FlipSet, ...]:
    view = grant_graph(target, attack.access, with_test_labels=True)
    attempt = Attempt(np.random.default_rng(seed), torch.Generator().manual_seed(seed), budgets=(budget,))
    outcome = attack.run(view, attempt)
    assert isinstance(outcome, FlipOutcome)
    return outcome.points


def main() -> None:
    """Prints one line per target, budget, seed, method and loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", type=Path, help="folders that auditor train wrote")
    parser.add_argument("--eps", nargs="+", default=["0.05"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--skip-prbcd", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    root = os.environ.get("AUDITOR_DATA")
    head = ("target", "eps", "seed", "method", "loss", "accuracy", "flips", "CPU s", "MB")
    print("{:<16}{:>6}{:>5}  {:<12}{:<6}{:>9}{:>7}{:>8}{:>7}".format(*head))
    for folder in given.targets:
        target = load_target(folder, data_root=Path(root) if root else None)
        space = EdgeSpace.of(target.graph)
        items = torch.nonzero(target.split.test).flatten()
        verifier = Verifier(target, items)
        for eps in given.eps:
            budget = flips_for(eps, space.m)
            for rule in (registered("dice"), registered("random", draws=5)):
                left = [verifier.check(point).accuracy for point in _run(rule, target, budget, 0)]
                print(f"{target.name:<16}{eps:>6}{0:>5}  {rule.id:<12}{'':<6}{np.mean(left):>9.3f}{budget:>7}")
            for seed in given.seeds:
                for loss in THEIR_LOSSES:
                    runs = {"active-set": lambda: ours(target, budget, loss, seed)}  # noqa: B023 – called at once
                    if not given.skip_prbcd:
                        runs["prbcd"] = lambda: prbcd(target, items, budget, loss, seed)  # noqa: B023
                    for name, method in runs.items():
                        start = time.process_time()
                        claim = method()
                        seconds = time.process_time() - start
                        accuracy = verifier.check(claim).accuracy
                        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                        print(
                            f"{target.name:<16}{eps:>6}{seed:>5}  {name:<12}{loss:<6}{accuracy:>9.3f}"
                            f"{claim.keys.numel():>7}{seconds:>8.1f}{peak:>7.0f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
