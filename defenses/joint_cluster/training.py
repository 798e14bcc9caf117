"""Fits encoder and head of one arm: joint, its controls at equal capacity, all by one loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.data.graph import Graph, Split
from auditor.errors import CapabilityError, ConfigError, EvaluationError
from auditor.targets.recipe import Optimizer
from auditor.targets.rng import forked_rng
from defenses.joint_cluster.edge_filter import drop_unlike
from defenses.joint_cluster.encoder import encoder_of
from defenses.joint_cluster.heads import joint_loss, marginal
from defenses.joint_cluster.merge import FALLBACK, Merged
from defenses.joint_cluster.model import ClusterModel, Plan

VALIDATE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the recipe says about training; what it leaves out is as for the usual two-layer GCN.

    Attributes:
        optimizer: `adam` or `sgd`.
        lr: learning rate.
        weight_decay: L2 penalty on every parameter.
        epochs: full-batch steps.
    """

    optimizer: Optimizer = "adam"
    lr: float = 0.01
    weight_decay: float = 5e-4
    epochs: int = 200

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Schedule:
        """From `[target.train]`."""
        return cls(**{name: table[name] for name in cls.__dataclass_fields__ if name in table})

    def make(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a fresh model."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """The clusters of the fit, the fallback counted as one more.

    Attributes:
        assign: int64 [N], -1 for fallback.
        place: the same with the fallback as number K', int64 [N].
        q: label mixture of each cluster's training nodes, the fallback's last, float [K' + 1, C].
        members: ids of prototype nodes that are in a cluster, int64 [P].
    """

    assign: Tensor
    place: Tensor
    q: Tensor
    members: Tensor

    @classmethod
    def of(cls, merged: Merged, graph: Graph, train: Tensor, prototype_nodes: Tensor, classes: int) -> Clusters:
        """Mixtures and members of merged clusters.

        Raises:
            ConfigError: a cluster without training nodes, which upstream's choices (`compat`) allow.
        """
        place = torch.where(merged.assign == FALLBACK, merged.clusters, merged.assign)
        inside = train[merged.assign[train] >= 0]
        counts = torch.zeros(merged.clusters, classes)
        counts.index_put_((merged.assign[inside], graph.y[inside]), torch.ones(inside.shape[0]), accumulate=True)
        size = counts.sum(dim=1)
        if bool((size == 0).any()):
            empty = torch.nonzero(size == 0).flatten().tolist()
            raise ConfigError(
                f"clusters {empty[:5]} hold no training node, so that their mean is 0/0; expected at least one each. "
                "Lower clusters, or leave out compat."
            )
        q = torch.cat([counts / size[:, None], counts.sum(dim=0)[None] / size.sum()])
        members = prototype_nodes[merged.assign[prototype_nodes] >= 0]
        return cls(merged.assign, place, q, members)


def fit(
    build: Callable[[], nn.Module],
    graph: Graph,
    split: Split,
    plan: Plan,
    schedule: Schedule,
    clusters: Clusters | None,
    *,
    seed: int,
    layer: str | None = None,
    by_marginal: bool = False,
    train_tau: float | None = None,
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None,
) -> tuple[ClusterModel, float]:
    """The fitted model, in mode `live`, frozen, in eval mode; and its best validation accuracy (0 without any).

    The state with the best validation accuracy is kept, looked at every fifth epoch through the model's own inference
    path; ties go to the lower loss. Without validation items the last one is.

    Args:
        build: makes a fresh model of the target's architecture from the global generator, which is forked and seeded.
        graph: as delivered.
        split: which nodes train, and which choose the state.
        plan: of the served model.
        schedule: of the target's recipe.
        clusters: None for a plain head.
        seed: of initial weights and dropout.
        layer: embedding layer of a model that is no ready-made one.
        by_marginal: whether the joint head is trained by the likelihood of its marginal alone.
        train_tau: temperature in training where it is not the plan's (`compat`).
        tick: progress observer.
    """
    train = torch.nonzero(split.train).flatten()
    tau = plan.tau if train_tau is None else train_tau
    edges, weight = drop_unlike(graph.x, graph.edge_index, graph.edge_weight, plan.threshold)
    graph = graph.with_edges(edges, weight)  # filtered once here, not at every step
    with forked_rng(seed):
        encoder = encoder_of(build(), layer=layer)
        width = _width(encoder, graph)
        model = ClusterModel(encoder, width, graph.num_nodes, replace(plan, threshold=0.0))
        model.requires_grad_(True)
        if clusters is not None:
            model.members, model.member_cluster = clusters.members, clusters.assign[clusters.members]
            model.table = None if plan.nearest else clusters.assign
        optimizer = schedule.make(model)
        best: tuple[float, float] | None = None
        kept: dict[str, Tensor] | None = None
        for epoch in range(schedule.epochs):
            model.train()
            optimizer.zero_grad()
            loss = _loss(model, graph, train, clusters, tau, by_marginal)
            if not bool(torch.isfinite(loss)):
                raise EvaluationError(
                    f"joint-cluster: the training loss is {loss.item()} in epoch {epoch}; expected a finite one. Raise "
                    "tau, or scale the features."
                )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if bool(split.val.any()) and ((epoch + 1) % VALIDATE_EVERY == 0 or epoch + 1 == schedule.epochs):
                score = _score(model, graph, split.val)
                if best is None or score > best:
                    best, kept = score, copy.deepcopy(model.state_dict())
                tick((epoch + 1) / schedule.epochs, "training")
        if kept is not None:
            model.load_state_dict(kept)
    model.eval().requires_grad_(False)
    if clusters is not None:
        with torch.no_grad():
            stored = model.current_prototypes(model.embed(graph.x, graph.edge_index, graph.edge_weight))
        model.prototypes, model.fallback = stored[:-1].clone(), stored[-1].clone()
    model.serve_by(plan)
    return model, 0.0 if best is None else best[0]


def _loss(
    model: ClusterModel, graph: Graph, train: Tensor, clusters: Clusters | None, tau: float, by_marginal: bool
) -> Tensor:
    """Mean loss over the training nodes; the gradient flows through the prototypes."""
    z, y = model.embed(graph.x, graph.edge_index, graph.edge_weight), graph.y[train]
    if clusters is None:
        return functional.cross_entropy(model.head(z[train]), y)
    prototypes = model.current_prototypes(z)
    place = clusters.place[train]
    own, theirs = z[train], prototypes[place]
    if model.plan.kind == "cluster":
        return functional.cross_entropy(model.head(torch.cat([own, theirs], dim=1)), y)
    if by_marginal:
        return functional.nll_loss(marginal(model.head, own, prototypes, place, tau), y)
    return joint_loss(model.head(own, theirs), model.head(theirs, own), y, clusters.q[place], tau)


@torch.no_grad()
def _score(model: ClusterModel, graph: Graph, mask: Tensor) -> tuple[float, float]:
    """(accuracy, -loss) of the items of `mask` in eval mode; a non-finite loss loses every tie."""
    model.eval()
    out = model(graph.x, graph.edge_index, graph.edge_weight)[mask]
    loss = float(functional.nll_loss(out, graph.y[mask]))
    accuracy = float(graph.task.quality(out, graph.y[mask]).mean())
    return accuracy, -loss if loss == loss else -float("inf")


@torch.no_grad()
def _width(encoder: nn.Module, graph: Graph) -> int:
    """d, found by running the encoder once.

    Raises:
        CapabilityError: the encoder gives no [N, d].
    """
    encoder.eval()
    z = encoder(graph.x, graph.edge_index, graph.edge_weight)
    if z.dim() != 2 or z.shape[0] != graph.num_nodes:
        raise CapabilityError(
            f"the embeddings are {list(z.shape)}; expected one row for each of {graph.num_nodes} nodes."
        )
    return int(z.shape[1])
