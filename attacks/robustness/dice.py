"""DICE: delete internally, connect externally. A floor that needs labels and no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.robustness.projection import within_caps
from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError, SkippedError
from auditor.probe import AttackTask, FlipOutcome, FlipSet
from auditor.targets.target import Capability
from auditor.view import Access, View


@dataclass(frozen=True, slots=True)
class Dice:
    """A share of new edges between different labels, the rest of the budget spent on edges inside a label.

    Source: Waniek et al., "Hiding individuals and communities in a social network", 2018; shares of the code of
    Geisler et al., "Robustness of Graph Neural Networks at Scale", 2021 (60 % additions).
    """

    additions: float = 0.6

    id: ClassVar[str] = "dice"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    access: ClassVar[frozenset[Access]] = frozenset({Access.GRAPH, Access.LABELS})

    def __post_init__(self) -> None:
        if not 0 <= self.additions <= 1:
            raise ConfigError(f"dice: additions={self.additions}; expected a share in [0, 1].")

    def run(self, view: View, task: AttackTask) -> FlipOutcome:
        """One flip set per budget.

        Raises:
            SkippedError: a graph-level target: its labels belong to graphs, not to nodes.
        """
        if view.task == "graph":
            raise SkippedError("dice needs a label on each node; the labels of this target belong to whole graphs")
        space, y = EdgeSpace.of(view.graph), view.y
        largest = max(task.budgets, default=0)
        u, v = space.ends(space.existing)
        inside = space.existing[y[u] == y[v]]
        inside = inside[torch.from_numpy(task.rng.permutation(inside.numel()))]
        outside = _new_edges_between(space, y, largest, task.rng)
        points = []
        for budget in task.budgets:
            deletions = min(budget - round(self.additions * budget), inside.numel())
            keys = torch.cat([outside[: budget - deletions], inside[:deletions]])
            if task.node_caps is not None:
                keys = keys[torch.from_numpy(task.rng.permutation(keys.numel()))]
                keys = keys[within_caps(torch.arange(keys.numel()), *space.ends(keys), task.node_caps, budget)]
            points.append(FlipSet(budget, keys))
        return FlipOutcome(tuple(points), ("one draw",) * len(points))


def _new_edges_between(space: EdgeSpace, y: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Up to `count` uniform absent pairs whose labels differ, in random order."""
    found = torch.empty(0, dtype=torch.int64)
    for _ in range(20):  # a graph whose labels hardly differ has few such pairs: fewer are returned
        keys = space.sample(4 * count + 64, rng)
        u, v = space.ends(keys)
        found = torch.unique(torch.cat([found, keys[(y[u] != y[v]) & ~space.exists(keys)]]))
        if found.numel() >= count:
            break
    return found[torch.from_numpy(rng.permutation(found.numel())[:count])]
