"""What is left without any edge: the target's own recipe trained again on no edges, or the commonest class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document.facts import NoEdgeFree
from auditor.errors import AuditorError
from auditor.probe import Cell
from auditor.statistics import draws
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.target import Capability

HARNESS = "robustness"
"""Name of the random stream of the one training that all arms and seeds of a run share; fixed for ever."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeFree:
    """A model that sees no edges, on the attacked items.

    Attributes:
        correct: bool [n].
        missing: why the commonest class stands in for the retrained model; empty where it does not.
        reason: what kept it from being trained, in the words of the error; empty where nothing did.
    """

    correct: NDArray[np.bool_]
    missing: NoEdgeFree = ""
    reason: str = ""

    @property
    def name(self) -> Literal["edge-free", "constant"]:
        """Which of the two it is."""
        return "constant" if self.missing else "edge-free"

    @property
    def accuracy(self) -> float:
        """Share of items that are right."""
        return float(self.correct.mean())


def edge_free_reference(cell: Cell, items: Tensor, commonest: int) -> EdgeFree:
    """The undefended recipe trained without edges, or always the commonest class where that is as good.

    As good on the validation items: test items choose nothing. It is trained once a run, with a seed of its own: attack
    seeds are tries on one target, arms of a comparison defences of one recipe, and the question is the same for all.

    Args:
        cell: its target; a defence is left out, since some of them add edges of their own.
        items: where it is tested, int64 [n].
        commonest: the class that a constant predictor names.
    """
    target = cell.target if cell.target.base is None else cell.target.base
    graph, validation = target.private_graph, target.split.val
    constant = (graph.y[items] == commonest).numpy()
    if target.recipe is None or Capability.RETRAIN not in target.capabilities:
        return EdgeFree(constant, "no-recipe")
    cell.tick(None, "the same recipe without edges")
    try:
        twin = cell.models.twin(target, without_edges(graph), draws.integer(0, HARNESS, "edge-free"))
        right = target.task.correct(twin.clean_logits(), graph.y)
    except (*TRIAL_ERRORS, AuditorError) as error:
        return EdgeFree(constant, "failed", f"{type(error).__name__}: {error}")
    if validation.any() and right[validation].sum() <= (graph.y[validation] == commonest).sum():
        return EdgeFree(constant, "not-better")
    return EdgeFree(right[items].numpy())


def without_edges(graph: Graph) -> Graph:
    """The same nodes, and no edge."""
    return graph.keeping(torch.empty(0, dtype=torch.int64))
