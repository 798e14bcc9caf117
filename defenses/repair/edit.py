"""One edit: steps until the wanted nodes are right, the last one cut to the shortest that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from auditor.tasks import Task
from defenses.repair.direction import is_spent, rewired
from defenses.repair.weights import EditedModel, Nodes

BISECTIONS = 6
Outcome = Literal["repaired", "spent", "steps-used", "no-gradient"]


@dataclass(frozen=True, slots=True)
class Steps:
    """How an edit is made.

    Attributes:
        project: bend the gradient away from training nodes (GRE+); without it the loop is plain fine-tuning.
        most: steps at most.
        length: of a step, relative to |theta|. It dominates: .005 costs several points in one step on Cora.
    """

    project: bool = True
    most: int = 20
    length: float = 0.002


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one edit came to, see `RepairedNode`; when it failed the weights are as they were."""

    outcome: Outcome
    steps: int
    inactive_anchors: int = 0


def edit(model: EditedModel, wanted: Nodes, anchors: Sequence[Nodes], steps: Steps) -> Attempt:
    """Moves the weights until every wanted node is right.

    Args:
        model: is changed, or restored bit for bit.
        wanted: ids and classes to reach.
        anchors: nodes whose loss must not rise to first order: parts of the training nodes, those repaired before.
        steps: how.
    """
    start = model.theta()
    inactive = 0
    for step in range(1, steps.most + 1):
        before = model.theta()
        rows = model.gradients([wanted, *anchors] if steps.project else [wanted])
        g = rows[0]
        if not np.isfinite(rows).all() or not g.any():
            model.restore(start)
            return Attempt("no-gradient", step - 1, inactive)
        u, left_out = rewired(g, rows[1:]) if steps.project else (g, 0)
        inactive = max(inactive, left_out)
        if is_spent(u, g):
            model.restore(start)
            return Attempt("spent", step - 1, inactive)
        model.move(before, u, steps.length)
        if _right(model, wanted):
            _shorten(model, before, u, steps.length, wanted)
            return Attempt("repaired", step, inactive)
    model.restore(start)
    return Attempt("steps-used", steps.most, inactive)


def _shorten(model: EditedModel, before: list[Tensor], u: np.ndarray, length: float, wanted: Nodes) -> None:
    """Six halvings of the last step; ends at the shortest length that was seen to succeed."""
    low, high = 0.0, length
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        model.move(before, u, middle)
        if _right(model, wanted):
            high = middle
        else:
            low = middle
    model.move(before, u, high)


def _right(model: EditedModel, nodes: Nodes) -> bool:
    ids, y = nodes
    return bool(Task("node").correct(model.logits()[ids], y).all())
