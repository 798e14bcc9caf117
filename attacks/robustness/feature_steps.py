"""An attacked model as a function of its features: exact errors, and the gradient of a loss by them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.robustness.losses import Loss, Outputs
from auditor.data.feature_space import Within
from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import TOLERANCE, apart, scale_of
from auditor.targets.surroundings import Surroundings
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
        clean: outputs for the items, [n, C].
        part: where the graph is a part of another one, which part.
    """

    handle: ModelHandle
    graph: Graph
    items: Tensor
    y: Tensor
    outputs: Outputs
    clean: Tensor
    part: Surroundings | None = None

    @classmethod
    def of(cls, view: View) -> Reader:
        """The model behind a view."""
        return cls.on(view.model, view.graph, view.items, view.y[view.items])

    @classmethod
    def on(cls, handle: ModelHandle, graph: Graph, items: Tensor, y: Tensor) -> Reader:
        """The model on a graph, with items that are attacked, int64 [n], and their labels, int64 [n]."""
        with torch.no_grad():
            clean = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)[items]
        return cls(handle, graph, items, y, Outputs.of(clean, y), clean)

    @property
    def near(self) -> Reader:
        """The same on the surroundings of the items, for edits at them alone.

        The reader itself where these are no saving, or the model answers otherwise there (a norm over all nodes, a
        virtual node).
        """
        part = Surroundings.of(self.graph, self.items, self.handle.model)
        if part is None:
            return self
        try:
            near = replace(Reader.on(self.handle, part.graph, part.place(self.items), self.y), part=part)
        except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
            return self
        return near if float(apart(near.clean, self.clean).max()) <= TOLERANCE * scale_of(self.clean) else self

    def ids(self, nodes: Tensor) -> Tensor:
        """What nodes of the graph, int64, are called in the whole one."""
        return nodes if self.part is None else self.part.ids[nodes]

    def places(self, ids: Tensor) -> Tensor:
        """Where nodes of the whole graph, int64, stand in this one."""
        return ids if self.part is None else self.part.place(ids)

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
