"""A private copy of a model whose weights are edited as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.targets.copying import copied
from auditor.targets.forward import ForwardAdapter, drop_caches

Floats = NDArray[np.float64]
Nodes = tuple[Tensor, Tensor]


class EditedModel:
    """Eval mode throughout: dropout would make the anchors noise.

    Raises:
        SkippedError: the model has no parameter that a gradient reaches.
    """

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        self.model = copied(model).eval()
        drop_caches(self.model)
        self._parameters = [p.requires_grad_(True) for p in self.model.parameters() if p.is_floating_point()]
        self._forward, self._graph = ForwardAdapter(self.model), graph
        if not self._parameters or not self._logits().requires_grad:
            raise SkippedError("repair edits weights; this model has none that a gradient reaches.")

    def theta(self) -> list[Tensor]:
        """Copies of the parameters, bit for bit."""
        return [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def restore(self, theta: Sequence[Tensor]) -> None:
        """Sets the parameters to what `theta()` returned."""
        for parameter, value in zip(self._parameters, theta, strict=True):
            parameter.copy_(value)

    @torch.no_grad()
    def move(self, theta: Sequence[Tensor], direction: Floats, length: float) -> None:
        """Sets the parameters to theta - length * |theta| * direction / |direction|."""
        size = float(np.sqrt(sum(float(value.double().square().sum()) for value in theta)))
        step = torch.from_numpy(direction * (length * size / np.linalg.norm(direction)))
        start = 0
        for parameter, value in zip(self._parameters, theta, strict=True):
            part = step[start : start + value.numel()].view_as(value)
            parameter.copy_((value.double() - part).to(value.dtype))
            start += value.numel()

    def gradients(self, groups: Sequence[Nodes]) -> Floats:
        """Gradient of the mean cross-entropy of each group (ids, classes), float64 [groups, P]; one forward pass."""
        logits, rows = self._logits(), []
        for ids, y in groups:
            loss = functional.cross_entropy(logits[ids], y)
            found = torch.autograd.grad(loss, self._parameters, retain_graph=True, allow_unused=True)
            parts = [torch.zeros_like(p) if d is None else d for p, d in zip(self._parameters, found, strict=True)]
            rows.append(torch.cat([part.flatten().double() for part in parts]).numpy())
        return np.stack(rows)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Logits of every node, [N, C]."""
        return self._logits()

    def finished(self) -> nn.Module:
        """The model, frozen."""
        return self.model.requires_grad_(False)

    def _logits(self) -> Tensor:
        g = self._graph
        return self._forward.logits(g.x, g.edge_index, g.edge_weight, None, g.fields)
