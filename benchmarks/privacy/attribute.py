"""Whether answers tell a sensitive column beyond what is known without them (`python -m benchmarks.privacy.attribute`).

- `cora`: GCNs of width 16 by the recipe of `auditor train`, public split, training seeds 0, 1 and 2. Columns are the
  three words that stand in the most documents, with and without the columns of neighbours. No better than imputation
  is the expected answer.
- `planted`: answers of a perceptron to which a column is added that nothing else tells, 400 nodes, 20 runs: found.
- `null`: the same perceptron without it: not found.

Seeds, columns and models were fixed before the first run. Each number is one cell of the probe as it ships.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from auditor import registry
from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.document import Estimate, Measured
from auditor.probe import Cell
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.statistics.seeds import joined
from auditor.targets.config import TargetFile
from auditor.targets.live import live_target
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge
from benchmarks.trust.graphs import blocks, split
from benchmarks.trust.models import Edgeless, trained
from benchmarks.trust.settings import CLASSES, HIDDEN, NODES, RECIPE, TRAIN_SHARE

TRAINING_SEEDS, COLUMNS = (0, 1, 2), 3
SEED, RUNS, DEGREE, MIXING, STRENGTH = 4_505, 20, 8.0, 0.2, 1.0


class Telling(nn.Module):
    """A perceptron whose logits carry one column besides, times `strength`: what it is fed there it hands on.

    The inner network does not see the column.
    """

    def __init__(self, inner: nn.Module, strength: float) -> None:
        super().__init__()
        self.inner, self.strength = inner, strength

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, 1 + F], the column first."""
        out: Tensor = self.inner(x[:, 1:], edge_index)
        return out + self.strength * x[:, :1] * torch.eye(out.shape[1])[0]


def measure(target: Target, seed: int, side: SideKnowledge) -> Measured:
    """The judged number of one cell."""
    probe = registry.find_probe("attribute-inference")
    attacks, own = build_attacks(probe, {})
    cell = Cell(target, probe, attacks, own, "standard", seed, side, TrainedCache())
    (found,) = registry.load_location(probe.evaluation)(cell).measured
    assert isinstance(found, Measured)
    return found


def synthetic(number: int, strength: float) -> Target:
    """A fresh graph, whose first column is a coin for each node, and a perceptron that was trained on the others."""
    rng = np.random.default_rng((SEED, number))
    graph = blocks(rng, n=NODES, classes=CLASSES, degree=DEGREE, mixing=MIXING)
    parts = split(rng, NODES, TRAIN_SHARE)
    inner = trained(
        lambda: Edgeless(graph.x.shape[1], HIDDEN, CLASSES), graph, parts["train"], RECIPE, int(rng.integers(2**31))
    )
    coin = torch.from_numpy(rng.integers(2, size=(NODES, 1))).float()
    data = Data(x=torch.cat([coin, graph.x], dim=1), edge_index=graph.edge_index, y=graph.y)
    masks = {name: torch.zeros(NODES, dtype=torch.bool).index_fill(0, ids, True) for name, ids in parts.items()}
    return live_target(Telling(inner, strength).eval(), data, TargetFile(), masks=masks)


def cora() -> None:
    """One line for each column and what the adversary sees of neighbours, joined over training seeds."""
    data = load_data("cora", root=resolve_root(None))
    targets = []
    for seed in TRAINING_SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            targets.append(train_reference(data, "gcn", hidden=16, seed=seed, out_dir=Path(folder) / "target"))
    often = torch.argsort((data.graph.x != 0).sum(dim=0), descending=True, stable=True)[:COLUMNS]
    print("| column | neighbours | nodes with it | with the answers | strongest guess without | difference |")
    print("|---|---|---|---|---|---|")
    for column in often.tolist():
        for neighbours in (False, True):
            side = SideKnowledge(sensitive=column, neighbours=neighbours)
            rows = [measure(target, seed, side) for seed, target in zip(TRAINING_SEEDS, targets, strict=True)]
            best = joined([row.control.estimate for row in rows if row.control is not None])
            apart = joined([row.contrast for row in rows if row.contrast is not None])
            own, there = joined([row.estimate for row in rows]), int((data.graph.x[:, column] != 0).sum())
            seen = "seen" if neighbours else "not seen"
            print(f"| {column} | {seen} | {there} | {_shown(own)} | {_shown(best)} | {_shown(apart)} |", flush=True)


def planted() -> None:
    """How often a column that the answers carry is found."""
    _counted(STRENGTH, "carried by the answers", f"goal: {RUNS} of {RUNS}")


def null() -> None:
    """How often one that they do not carry is claimed."""
    _counted(0.0, "not carried by the answers", "goal: at most 1")


def _counted(strength: float, what: str, goal: str) -> None:
    rows = [measure(synthetic(number, strength), number, SideKnowledge(sensitive=0)) for number in range(RUNS)]
    excess = [row.excess for row in rows if row.excess is not None]
    claimed = sum(each.lo is not None and each.lo > 0 for each in excess)
    print(f"A column {what}: found in {claimed} of {RUNS} runs; {goal}. First run: {_shown(excess[0])}.", flush=True)


def _shown(estimate: Estimate) -> str:
    ends = "" if estimate.lo is None else f" [{estimate.lo:.3f}, {estimate.hi:.3f}]"
    return f"{estimate.value:.3f}{ends}"


PARTS: dict[str, Callable[[], None]] = {"cora": cora, "planted": planted, "null": null}


def main(arguments: Sequence[str] | None = None) -> None:
    """The parts asked for, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    asked = parser.parse_args(arguments).parts or list(PARTS)
    torch.set_num_threads(1)
    for part in asked:
        if part not in PARTS:
            parser.error(f"no part is called {part}; known: {', '.join(PARTS)}")
        print(f"\n### {part}\n", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
