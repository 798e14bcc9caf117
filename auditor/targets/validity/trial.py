"""What every row is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.targets.relabelling import TOLERANCE, Relabelling, apart, scale_of
from auditor.targets.target import ModelHandle, Target


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The target, one private copy of its model, its clean logits and randomness.

    Attributes:
        rng: of the rows that every target has, in their order.
        spare: of what is tried on some targets only, so that no other row's draws depend on it.
    """

    target: Target
    handle: ModelHandle
    clean: Tensor
    scale: float
    rng: np.random.Generator
    spare: np.random.Generator

    @classmethod
    def of(cls, target: Target, rng: np.random.Generator) -> Trial:
        """Of a target, with its clean logits."""
        handle, clean = target.handle(), target.clean_logits()
        return cls(target, handle, clean, scale_of(clean), rng, rng.spawn(1)[0])

    @property
    def tolerance(self) -> float:
        """How far two ways to compute one answer may be apart."""
        return TOLERANCE * self.scale

    def run(self, graph: Graph) -> Tensor:
        """Logits on a graph with nodes as they are, no gradient."""
        return _logits(self.handle, graph)

    def distance(self, logits: Tensor, other: Tensor | None = None) -> float:
        """Largest difference to the clean logits (or `other`); equal non-finite entries are equal."""
        return float(apart(logits, self.clean if other is None else other).max())

    def moved(self, order: Relabelling, graph: Graph | None = None, clean: Tensor | None = None) -> Tensor:
        """How far each item's logits move in another order, [N] or [B]; of another graph than the target's: `clean`."""
        graph, clean = graph or self.target.graph, self.clean if clean is None else clean
        handle = self.handle if graph.batch is not None else self.target.with_nodes(order.nodes)
        return apart(_logits(handle, order.graph(graph)), order.answers(clean, graph)).amax(dim=1)

    def labels(self, order: Relabelling) -> Tensor:
        """Which items have another label in another order, bool in that order."""
        graph = self.target.graph
        handle = self.handle if graph.batch is not None else self.target.with_nodes(order.nodes)
        answers = self.target.task.answers
        return answers(_logits(handle, order.graph(graph))) != answers(order.answers(self.clean, graph))


def _logits(handle: ModelHandle, graph: Graph) -> Tensor:
    with torch.no_grad():
        return handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
