"""What a model that serves by clusters and prototypes offers to whoever audits it; no defence is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class ServesByClusters(Protocol):
    """A model whose answers read a prototype of each node's cluster.

    `mode` says what is had anew on the graph it is asked about: nothing (`frozen`), the prototypes (`live`) or the
    partition as well (`recluster`).
    """

    @property
    def mode(self) -> str:
        """`frozen`, `live` or `recluster`."""
        ...

    def in_mode(self, mode: str) -> nn.Module:
        """A copy that serves in another mode."""
        ...

    def clusters_on(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """The cluster of each node of a graph, int64 [N]; negative: none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ClusterLayout:
    """Where clusters and prototypes come from, read from a model's buffers.

    Attributes:
        model: serves by clusters.
        table: cluster of each node, int64 [N]; negative: none.
        members: nodes whose mean embedding is a prototype, int64 [P].
        member_cluster: the cluster of each of them, int64 [P].
    """

    model: ServesByClusters
    table: Tensor
    members: Tensor
    member_cluster: Tensor

    @classmethod
    def of(cls, model: nn.Module, train_mask: Tensor) -> ClusterLayout | None:
        """The layout of `model`; None where it serves by no stored table of clusters for these nodes.

        A model in mode `frozen` does not keep who its prototype nodes were: the training nodes, bool [N], stand in.
        """
        table = getattr(model, "table", None)
        if not isinstance(model, ServesByClusters) or not isinstance(table, Tensor) or table.shape != train_mask.shape:
            return None
        members, cluster = getattr(model, "members", None), getattr(model, "member_cluster", None)
        if not isinstance(members, Tensor) or not isinstance(cluster, Tensor):
            members = torch.nonzero(train_mask & (table >= 0)).flatten()
            cluster = table[members]
        return cls(model, table, members, cluster)

    def prototype_nodes(self, cluster: int) -> Tensor:
        """Nodes whose mean is this cluster's prototype, int64 [P_k]."""
        return self.members[self.member_cluster == cluster]

    def clusters(self, items: Tensor) -> tuple[int, ...]:
        """Clusters that hold some of `items` and have prototype nodes, ascending."""
        held = torch.unique(self.table[items])
        return tuple(int(k) for k in held if k >= 0 and bool((self.member_cluster == k).any()))


LEAST_OCCUPANCY = 5
"""Training nodes that a prototype stands for at least: k-anonymity of five."""


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """What an artefact that serves by prototypes ships, read from a model's buffers.

    Attributes:
        values: prototypes, float [K, d].
        place: cluster of each node, int64 [N]: the table's entry (negative: none), else the nearest prototype.
        sizes: nodes behind each prototype, int64 [K].
        sizes_known: whether the artefact tells who they are; without a table and without ids `sizes` counts the
            training nodes nearest to each prototype.
        rest: what a prototype holds beside the mean of those nodes (noise), float [K, d]; 0 where they are not known.
        ids: prototype nodes whose ids the file holds, int64 [P]; none where prototypes are stored means.
        mode: how the prototypes are had at prediction.
    """

    values: Tensor
    place: Tensor
    sizes: Tensor
    sizes_known: bool
    rest: Tensor
    ids: Tensor
    mode: str

    @classmethod
    def of(cls, model: nn.Module, train_mask: Tensor, z: Tensor) -> Prototypes | None:
        """The prototypes of `model`; None where it has none.

        Args:
            model: of a target.
            train_mask: its training nodes, bool [N].
            z: its embeddings, [N, d].
        """
        values = getattr(model, "prototypes", None)
        if not isinstance(values, Tensor) or not isinstance(model, ServesByClusters):
            return None
        layout, ids = ClusterLayout.of(model, train_mask), kept_ids(model)
        place = torch.cdist(z, values).argmin(dim=1) if layout is None else layout.table
        if layout is not None:
            nodes, cluster = layout.members, layout.member_cluster
        elif ids.numel():
            nodes, cluster = ids, model.get_buffer("member_cluster")
        else:
            nodes = torch.nonzero(train_mask).flatten()
            cluster = place[nodes]
        known, sizes = layout is not None or ids.numel() > 0, torch.bincount(cluster, minlength=values.shape[0])
        means = torch.zeros_like(values).index_add(0, cluster, z[nodes]) / sizes.clamp_min(1)[:, None]
        rest = torch.where((sizes > 0)[:, None], values - means, 0.0) if known else torch.zeros_like(values)
        return cls(values, place, sizes, known, rest, ids, model.mode)


def kept_ids(model: nn.Module) -> Tensor:
    """Ids of prototype nodes that a model keeps, int64 [P]."""
    members = getattr(model, "members", None)
    return members if isinstance(members, Tensor) else torch.zeros(0, dtype=torch.int64)
