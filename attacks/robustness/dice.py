"""DICE: delete internally, connect externally. A fixed rule that needs labels and no model."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.flips import within_caps
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import Only, parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class Dice:
    """A share of new edges between different labels, the rest of the budget spent on edges inside a label.

    Attributes:
        additions: that share.

    Source: Waniek et al., "Hiding individuals and communities in a social network", 2018; shares of the code of
    Geisler et al., "Robustness of Graph Neural Networks at Scale", 2021 (60 % additions).
    """

    additions: Annotated[float, Field(ge=0, le=1), Only(level="node")] = 0.6

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per budget.

        Raises:
            SkippedError: a graph-level target: its labels belong to graphs, not to nodes.
        """
        if view.task.level == "graph":
            raise SkippedError("dice needs a label on each node; the labels of this target belong to whole graphs")
        space, y = EdgeSpace.of(view.graph), view.y
        largest = max(attempt.budgets, default=0)
        u, v = space.ends(space.existing)
        inside = space.existing[y[u] == y[v]]
        inside = inside[torch.from_numpy(attempt.rng.permutation(inside.numel()))]
        outside = _new_edges_between(space, y, largest, attempt.rng)
        points = []
        for budget in attempt.budgets:
            deletions = min(budget - round(self.additions * budget), inside.numel())
            keys = torch.cat([outside[: budget - deletions], inside[:deletions]])
            if attempt.node_caps is not None:  # neither kind takes all the room at a node
                keys = keys[torch.from_numpy(attempt.rng.permutation(keys.numel()))]
            points.append(FlipSet(budget, within_caps(keys, space.graph.num_nodes, attempt.node_caps, budget)))
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
