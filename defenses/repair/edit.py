"""One edit: steps until the wanted nodes are right, the last one cut to the shortest that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auditor.tasks import Task
from defenses.repair.direction import is_spent, rewired
from defenses.repair.weights import EditedModel, Nodes

BISECTIONS = 6
SPENT = "no direction corrects it without hurting training nodes"
STEPS_USED = "still wrong after the last step"
NO_GRADIENT = "its loss has no finite gradient"


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
    """What one edit came to; when it failed the weights are as they were."""

    success: bool
    steps: int
    reason: str = ""
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
            return Attempt(False, step - 1, NO_GRADIENT, inactive)
        u, left_out = rewired(g, rows[1:]) if steps.project else (g, 0)
        inactive = max(inactive, left_out)
        if is_spent(u, g):
            model.restore(start)
            return Attempt(False, step - 1, SPENT, inactive)
        model.move(before, u, steps.length)
        if _right(model, wanted):
            _shorten(model, before, u, steps.length, wanted)
            return Attempt(True, step, "", inactive)
    model.restore(start)
    return Attempt(False, steps.most, STEPS_USED, inactive)


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
