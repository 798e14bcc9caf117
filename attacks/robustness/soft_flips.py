"""A target's loss as a function of relaxed flips: w_p = 0 leaves pair p as it is, 1 toggles it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.robustness.losses import Loss, Outputs
from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.targets.relaxation import Relaxation
from auditor.view import View

CHUNK_VALUES = 25_000_000
SMALLEST_CHUNK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Victim:
    """The attacked model on the attacked items, relaxed and exact.

    Attributes:
        space: the flippable pairs of the clean graph.
        relaxation: the model with a weight on each arc.
        items: attacked items, int64 [n].
        y: their labels, int64 [n].
        outputs: how the model's outputs are read.
    """

    space: EdgeSpace
    relaxation: Relaxation
    items: Tensor
    y: Tensor
    outputs: Outputs

    @classmethod
    def of(cls, view: View) -> Victim:
        """The victim behind a view.

        Raises:
            SkippedError: the model has no edge gradient.
        """
        relaxation = view.relaxation
        if relaxation.kind == "none":
            raise SkippedError("the model has no gradient with respect to its edges; use a black-box attack")
        space, items = EdgeSpace.of(view.graph), view.items
        graph = space.graph
        clean = relaxation.exact_logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        y = view.y[items]
        return cls(space, relaxation, items, y, Outputs.of(clean[items], y))

    def scores(self, keys: Tensor, w: Tensor) -> Tensor:
        """Scores of the attacked items with relaxed flips, [n, C]; keys int64 [K], w [K] in [0, 1].

        Pair p gets the weight a_p + (1 - 2 a_p) w_p, a_p in {0, 1} being whether it is an edge.
        """
        space, graph = self.space, self.space.graph
        there = space.exists(keys)
        base = torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight
        places = space.places[torch.searchsorted(space.existing, keys[there])]  # [k, 1 or 2]
        left = (1 - w[there]).unsqueeze(1).expand_as(places).reshape(-1)
        weight = base.index_put((places.reshape(-1),), base[places.reshape(-1)] * left)
        added = w[~there] if graph.edge_weight is None else w[~there] * graph.edge_weight.median()
        arcs = torch.cat([graph.edge_index, space.arcs(keys[~there])], dim=1)
        weights = torch.cat([weight] + [added] * (1 if space.directed else 2))
        logits = self.relaxation.logits(graph.x, arcs, weights, graph.batch, graph.fields_on(arcs))
        return self.outputs.read(logits[self.items])

    def gradient(self, keys: Tensor, w: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw [K], L) of a loss at relaxed flips."""
        at = w.clone().requires_grad_(True)
        value = loss(self.scores(keys, at), self.y)
        (gradient,) = torch.autograd.grad(value, at)
        return torch.nan_to_num(gradient), float(value.detach())

    def gradient_at_zero(self, keys: Tensor, w: Tensor, others: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw over keys and then others [K + R], L) at (w, 0).

        `others` are taken in pieces that bound the memory: a pair at weight 0 changes nothing for the rest.
        """
        size = max(SMALLEST_CHUNK, CHUNK_VALUES // self.space.graph.num_features)
        parts, value, own = [], 0.0, torch.zeros_like(w)
        for start in range(0, max(1, others.numel()), size):
            piece = others[start : start + size]
            both = torch.cat([keys, piece])
            gradient, value = self.gradient(both, torch.cat([w, torch.zeros(piece.numel())]), loss)
            own = gradient[: keys.numel()]
            parts.append(gradient[keys.numel() :])
        return torch.cat([own, *parts]), value

    def correct(self, keys: Tensor) -> Tensor:
        """Which attacked items are still right on the really edited graph, bool [n]."""
        graph = self.space.toggled(keys)
        logits = self.relaxation.exact_logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        return graph.task.correct(logits[self.items], self.y)
