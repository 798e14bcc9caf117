"""Edits at the nodes behind one cluster's prototype, so that the prototype carries the harm to the whole cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.losses import Outputs, tanh_loss
from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.targets.relaxation import Relaxation
from auditor.view import View
from defenses.joint_cluster.layout import ClusterLayout


@parameters
class PrototypeEdit:
    """For each cluster, greedy flips of pairs with one end at a prototype node, by the gradient through the prototype.

    A round scores every candidate by the gradient of the mean tanh margin of the cluster's attacked nodes, tries the
    best `tried` on the edited graph and keeps the best of them. A flip is never taken back; the first b rounds are the
    claim at budget b, named `cluster=k`.

    Attributes:
        tried: candidates of a round that are tried on real edges.
        candidates: most pairs scored at once; above it, existing edges and a uniform draw of the others.
    """

    tried: Annotated[int, Field(ge=1)] = 4
    candidates: Annotated[int, Field(ge=1)] = 200_000

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per cluster and budget.

        Raises:
            SkippedError: the model stores no clusters, or has no gradient to edges.
        """
        space, relaxation = EdgeSpace.of(view.graph), view.relaxation
        layout = ClusterLayout.of(view.model.on_cpu, view.train_mask)
        if layout is None:
            raise SkippedError("the model serves by no stored table of clusters: there is no prototype to move")
        if relaxation.kind == "none":
            raise SkippedError("no gradient reaches an edge of this model")
        climb = _Climb(space, view.x, view.y, relaxation, self.tried)
        clusters = layout.clusters(view.items)
        points, variants, left_out = [], [], 0
        for done, k in enumerate(clusters):
            attempt.tick(done / len(clusters), f"cluster {k}")
            pairs = _pairs_at(layout.prototype_nodes(k), space)
            kept = _at_most(pairs, space, self.candidates, attempt.torch_rng)
            left_out += pairs.numel() - kept.numel()
            keys = climb.flips(kept, view.items[layout.table[view.items] == k], max(attempt.budgets, default=0))
            points += [FlipSet(budget, keys[:budget]) for budget in attempt.budgets]
            variants += [f"cluster={k}"] * len(attempt.budgets)
        notes = {
            "relaxation": relaxation.kind,
            "gap": relaxation.gap,
            "gaps": relaxation.gaps,
            "pairs_left_out": left_out,
        }
        return FlipOutcome(tuple(points), tuple(variants), notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Climb:
    """Greedy flips against one set of nodes."""

    space: EdgeSpace
    x: Tensor
    y: Tensor
    relaxation: Relaxation
    tried: int

    def flips(self, pairs: Tensor, nodes: Tensor, rounds: int) -> Tensor:
        """Distinct keys among `pairs`, in the order they were chosen, int64 [<= rounds]."""
        taken = torch.empty(0, dtype=torch.int64)
        outputs = Outputs.of(self._exact(taken)[nodes], self.y[nodes])
        for _ in range(min(rounds, pairs.numel())):
            gain = self._gains(pairs, taken, nodes, outputs)
            gain[torch.isin(pairs, taken)] = float("-inf")
            count = min(self.tried, pairs.numel() - taken.numel())
            best = pairs[torch.topk(gain, count).indices]
            losses = [
                float(tanh_loss(outputs.read(self._exact(torch.cat([taken, key[None]]))[nodes]), self.y[nodes]))
                for key in best
            ]
            taken = torch.cat([taken, best[max(range(count), key=losses.__getitem__)][None]])
        return taken

    def _exact(self, keys: Tensor) -> Tensor:
        """Outputs on the really edited graph, [N, C]."""
        graph = self.space.toggled(torch.sort(keys).values)
        return self.relaxation.exact_logits(self.x, graph.edge_index, graph.edge_weight, None, graph.fields)

    def _gains(self, pairs: Tensor, taken: Tensor, nodes: Tensor, outputs: Outputs) -> Tensor:
        """First-order gain of the loss by toggling each pair of the graph with `taken` toggled, [K]."""
        graph = self.space.toggled(torch.sort(taken).values)
        absent = pairs[~EdgeSpace.of(graph).exists(pairs)]
        arcs = self.space.arcs(absent)
        ones = torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight
        there = ones.clone().requires_grad_()
        new = torch.zeros(arcs.shape[1], requires_grad=True)
        edges = torch.cat([graph.edge_index, arcs], dim=1)
        z = self.relaxation.logits(self.x, edges, torch.cat([there, new]), None, graph.fields_on(edges))
        loss = tanh_loss(outputs.read(z[nodes]), self.y[nodes])
        g_there, g_new = torch.autograd.grad(loss, (there, new))
        n = self.space.graph.num_nodes
        u, v = graph.edge_index if self.space.directed else torch.sort(graph.edge_index, dim=0).values
        every, place = torch.unique(
            torch.cat([u * n + v, absent.repeat(1 if self.space.directed else 2)]), return_inverse=True
        )
        weight = 1.0 if graph.edge_weight is None else float(ones.median())
        gain = torch.zeros(every.numel()).index_add_(0, place, torch.cat([-g_there * ones, g_new * weight]))
        return gain[torch.searchsorted(every, pairs)].nan_to_num(nan=float("-inf"))


def _pairs_at(nodes: Tensor, space: EdgeSpace) -> Tensor:
    """Keys of every pair with an end in `nodes`, sorted int64 [about |nodes| x N]."""
    n = space.graph.num_nodes
    u, v = nodes.repeat_interleave(n), torch.arange(n).repeat(nodes.numel())
    u, v = u[u != v], v[u != v]
    if space.directed:
        both: Tensor = torch.unique(torch.cat([u * n + v, v * n + u]))
        return both
    once: Tensor = torch.unique(torch.minimum(u, v) * n + torch.maximum(u, v))
    return once


def _at_most(pairs: Tensor, space: EdgeSpace, count: int, rng: torch.Generator) -> Tensor:
    """`pairs` if there are no more than `count`; else the existing edges among them and uniform others, sorted."""
    if pairs.numel() <= count:
        return pairs
    there = space.exists(pairs)
    others = pairs[~there]
    room = max(count - int(there.sum()), 0)
    drawn = others[torch.randperm(others.numel(), generator=rng)[:room]]
    return torch.sort(torch.cat([pairs[there], drawn])).values
