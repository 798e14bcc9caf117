"""Cells of the membership harness on toy targets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor import registry
from auditor.data.graph import Split
from auditor.document import Measured
from auditor.evaluate.membership.harness import evaluate
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.target import Fitted, Target
from auditor.view import SideKnowledge
from tests.toys import random_split, sbm_graph, toy_target


class Known(nn.Module):
    """Answers logits that do not depend on any edge: `rows` [N, C], one of each node."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.rows.clone()


def answering(target: Target, strength: float, seed: int, *, remembers: Tensor | None = None) -> Target:
    """The target with answers about class and noise alone; of what it `remembers` it is surer by `strength`."""
    y, n = target.graph.y, target.graph.num_nodes
    rows = 2 * torch.randn(n, target.num_classes, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(n, dtype=torch.bool) if remembers is None else remembers
    rows[torch.arange(n), y] += 2 + strength * mask
    made = dataclasses.replace(target, model=Known(rows), fixed_nodes=("rows",), build=None)
    return dataclasses.replace(made, digest=f"{target.digest}-{seed}-{strength}")


@dataclass(frozen=True)
class Remembering:
    """A recipe whose models remember what they were trained on."""

    target: Target
    strength: float

    def fit(self, graph, split: Split, seed: int) -> Fitted:
        return Fitted(answering(self.target, self.strength, seed, remembers=split.train).model)

    def describe(self) -> dict[str, str]:
        return {}


def base(n: int = 400, seed: int = 0) -> Target:
    """An untrained target; half of the nodes are members, a tenth validates."""
    graph = sbm_graph(n, degree=3.0, seed=seed)
    target = toy_target("mlp", graph=graph, epochs=1)
    return dataclasses.replace(target, split=random_split(n, 0.45, 0.1, seed))


def cell(
    target: Target,
    probe: str,
    *,
    profile: registry.Profile = "quick",
    seed: int = 0,
    side: SideKnowledge | None = None,
    **params: str,
) -> Cell:
    """A cell of a probe with few replicates."""
    entry = registry.find_probe(probe)
    attacks, own = build_attacks(entry, {"replicates": "100", **params})
    return Cell(target, entry, attacks, own, profile, seed, side or SideKnowledge(), TrainedCache())


def run(target: Target, probe: str, **how: object) -> CellResult:
    return evaluate(cell(target, probe, **how))  # type: ignore[arg-type]


def row(result: CellResult, metric: str = "headroom", subset: str = "full") -> Measured:
    (found,) = [m for m in result.measured if (m.metric, m.subset) == (metric, subset)]
    return found
