"""A target's loss as a function of relaxed flips: w_p = 0 leaves pair p as it is, 1 toggles it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from attacks.robustness.losses import Loss, Outputs
from attacks.robustness.sparse_flips import SparseFlips, SparseModel
from auditor.data.edits import EdgeSpace
from auditor.data.fields import Fields
from auditor.errors import SkippedError
from auditor.targets.relaxation import Relaxation
from auditor.targets.soft_edges import message_passing_layers
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
        width: numbers that the model's widest message has.
        sparse: the same model on sparse products, for large graphs and layers that add up or average; None elsewhere.
    """

    space: EdgeSpace
    relaxation: Relaxation
    items: Tensor
    y: Tensor
    outputs: Outputs
    width: int
    sparse: SparseModel | None = None

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
        with _widest_message(relaxation.handle.model) as width:
            clean = relaxation.exact_logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        y = view.y[items]
        outputs, widest = Outputs.of(clean[items], y), max(width, default=graph.num_features)
        return cls(space, relaxation, items, y, outputs, widest, SparseModel.of(view.model, space))

    def at(self, keys: Tensor) -> RelaxedFlips | SparseFlips:
        """The pairs `keys` int64 [K] made ready to be flipped by weights, as often as wanted."""
        return RelaxedFlips.of(self, keys) if self.sparse is None else self.sparse.at(keys, self.loss_of)

    def loss_of(self, logits: Tensor, loss: Loss) -> Tensor:
        """A loss of the attacked items, from the model's outputs for all."""
        return loss(self.outputs.read(logits.index_select(0, self.items)), self.y)

    def gradient_at_zero(self, keys: Tensor, w: Tensor, others: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw over keys and then others [K + R], L) at (w, 0).

        `others` that add an arc are taken in pieces that bound the memory: a pair at weight 0 changes nothing for the
        rest. Those that are edges already cost nothing.
        """
        size = max(SMALLEST_CHUNK, CHUNK_VALUES // max(1, self.width))
        there = self.space.exists(others)
        absent, edges = torch.nonzero(~there).flatten(), torch.nonzero(there).flatten()
        pieces = list(torch.split(absent, size)) if absent.numel() else [absent]
        pieces[0] = torch.cat([edges, pieces[0]])
        found, value, own = torch.empty(others.numel()), 0.0, torch.zeros_like(w)
        for piece in pieces:
            relaxed = self.at(torch.cat([keys, others[piece]]))
            gradient, value = relaxed.gradient(torch.cat([w, torch.zeros(piece.numel())]), loss)
            own, found[piece] = gradient[: keys.numel()], gradient[keys.numel() :]
        return torch.cat([own, found]), value

    def logits(self, keys: Tensor) -> Tensor:
        """What the model says of the attacked items on the edited graph, [n, C].

        From sparse products where there are some: the model's own answers up to the order of sums.
        """
        if self.sparse is not None:
            with torch.no_grad():
                return self.sparse.at(keys, self.loss_of).logits(torch.ones(keys.numel()))[self.items]
        graph = self.space.toggled(keys)
        logits = self.relaxation.exact_logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        return logits[self.items]

    def tried(self, keys: Tensor) -> Tensor:
        """As `correct`, up to the order of sums."""
        return self.right(self.logits(keys))

    def right(self, logits: Tensor) -> Tensor:
        """Which attacked items have the right answer, bool [n], by logits [n, C]."""
        return self.space.graph.task.correct(logits, self.y)

    def correct(self, keys: Tensor) -> Tensor:
        """Which attacked items are still right on the really edited graph, bool [n]."""
        graph = self.space.toggled(keys)
        logits = self.relaxation.exact_logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        return graph.task.correct(logits[self.items], self.y)


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedFlips:
    """Pairs to flip by weights, with everything that does not depend on the weights.

    Attributes:
        victim: whose edges they are.
        edges, absent: places of those that are there and of those that are not, int64 [K1] and [K2].
        stored: arcs of the former in the graph, int64 [K'].
        owners: the edge that each of these is an arc of, int64 [K'], in [0, K1).
        arcs: the graph's arcs and those of the absent ones, int64 [2, E'].
        base: the graph's weights, [E].
        fields: of these arcs.
    """

    victim: Victim
    edges: Tensor
    absent: Tensor
    stored: Tensor
    owners: Tensor
    arcs: Tensor
    base: Tensor
    fields: Fields

    @classmethod
    def of(cls, victim: Victim, keys: Tensor) -> RelaxedFlips:
        """See `Victim.at`."""
        space, graph = victim.space, victim.space.graph
        there = space.exists(keys)
        arcs = torch.cat([graph.edge_index, space.arcs(keys[~there])], dim=1)
        places = space.places[torch.searchsorted(space.existing, keys[there])]
        distinct = torch.ones_like(places, dtype=torch.bool)
        distinct[:, 1:] = places[:, 1:] != places[:, :1]  # an edge that is there one way only
        return cls(
            victim,
            torch.nonzero(there).flatten(),
            torch.nonzero(~there).flatten(),
            places[distinct],
            torch.nonzero(distinct)[:, 0],
            arcs,
            torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight,
            graph.fields_on(arcs),
        )

    def scores(self, w: Tensor) -> Tensor:
        """Scores of the attacked items, [n, C], with w [K] in [0, 1].

        Pair p gets the weight a_p + (1 - 2 a_p) w_p, a_p in {0, 1} being whether it is an edge.
        """
        space, graph = self.victim.space, self.victim.space.graph
        left = (1 - w.index_select(0, self.edges)).index_select(0, self.owners)
        weight = self.base.index_put((self.stored,), self.base[self.stored] * left)
        added = w.index_select(0, self.absent)
        if graph.edge_weight is not None:
            added = added * graph.edge_weight.median()
        weights = torch.cat([weight] + [added] * (1 if space.directed else 2))
        logits = self.victim.relaxation.logits(graph.x, self.arcs, weights, graph.batch, self.fields)
        return self.victim.outputs.read(logits[self.victim.items])

    def gradient(self, w: Tensor, loss: Loss) -> tuple[Tensor, float]:
        """(dL/dw [K], L) of a loss."""
        at = w.clone().requires_grad_(True)
        value = loss(self.scores(at), self.victim.y)
        (gradient,) = torch.autograd.grad(value, at)
        return torch.nan_to_num(gradient), float(value.detach())


@contextmanager
def _widest_message(model: nn.Module) -> Iterator[list[int]]:
    """While open, how many numbers each layer of message passing sends along an arc; empty without any layer."""
    seen: list[int] = []

    def look(layer: MessagePassing, _inputs: object, message: Tensor) -> None:
        seen.append(message.numel() // max(1, message.shape[layer.node_dim]))

    handles = [layer.register_message_forward_hook(look) for layer in message_passing_layers(model)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
