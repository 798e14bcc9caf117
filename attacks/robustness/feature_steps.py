"""An attacked model as a function of its features: exact errors, and the gradient of a loss by them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.robustness.losses import Loss, Outputs
from auditor.data.feature_space import Within
from auditor.data.graph import Graph
from auditor.targets.target import ModelHandle
from auditor.view import View

TRY_EVERY = 5
"""Steps of values between two counts of what is still right."""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """The model on a graph whose features or nodes change.

    Attributes:
        handle: the model.
        graph: clean.
        items: attacked items, int64 [n].
        y: their labels, int64 [n].
        outputs: how the model's outputs are read.
    """

    handle: ModelHandle
    graph: Graph
    items: Tensor
    y: Tensor
    outputs: Outputs

    @classmethod
    def of(cls, view: View) -> Reader:
        """The model behind a view."""
        return cls.on(view.model, view.graph, view.items, view.y[view.items])

    @classmethod
    def on(cls, handle: ModelHandle, graph: Graph, items: Tensor, y: Tensor) -> Reader:
        """The model on a graph, with items that are attacked, int64 [n], and their labels, int64 [n]."""
        with torch.no_grad():
            clean = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        return cls(handle, graph, items, y, Outputs.of(clean[items], y))

    def logits(self, x: Tensor, graph: Graph | None = None) -> Tensor:
        """Outputs for the attacked items, [n, C], on these features (of another graph, where one is given)."""
        on = self.graph if graph is None else graph
        return self.handle.logits(x, on.edge_index, on.edge_weight, on.batch, on.fields)[self.items]

    def loss(self, x: Tensor, loss: Loss, graph: Graph | None = None) -> Tensor:
        """A loss of the attacked items; gradients flow."""
        return loss(self.outputs.read(self.logits(x, graph)), self.y)

    def right(self, x: Tensor, graph: Graph | None = None) -> float:
        """Share of the attacked items that are answered right."""
        with torch.no_grad():
            found = self.graph.task.correct(self.logits(x, graph), self.y)
        return float(found.double().mean())


def direction(gradient: Tensor, within: Within) -> Tensor:
    """The steepest way up, of length 1 by the norm, [N, F]."""
    clean = gradient.nan_to_num(0.0)
    if within == "linf":
        return clean.sign()
    return clean / clean.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-30)
