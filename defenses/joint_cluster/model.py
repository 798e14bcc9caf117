"""The model that joint-cluster serves: encoder, head, prototypes and the table of clusters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import CapabilityError
from defenses.joint_cluster.edge_filter import drop_unlike
from defenses.joint_cluster.encoder import Encoder, encoder_of
from defenses.joint_cluster.heads import make_joint_head, marginal
from defenses.joint_cluster.merge import FALLBACK, merge_small
from defenses.joint_cluster.partition import partition

UNSEEN = -2
Mode = Literal["frozen", "live", "recluster"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a served model needs to know beside its tensors.

    Attributes:
        kind: `joint` (pairs), `cluster` (plain head on [z, m]) or `plain` (plain head on z).
        classes: C.
        tau: temperature of the joint head at prediction.
        rank: of the joint head, None for full.
        nearest: whether a node's cluster is that of the nearest prototype, not its entry in the table.
        mode: `frozen`, `live` or `recluster`.
        threshold: edges less similar than this are dropped at prediction; 0 for none.
        floor: added to probabilities before their logarithm (upstream's choice); 0 for none.
        partition: name, clusters, seed and least occupancy, for `recluster`.
    """

    kind: str
    classes: int
    tau: float = 1.0
    rank: int | None = None
    nearest: bool = False
    mode: str = "frozen"
    threshold: float = 0.0
    floor: float = 0.0
    partition: tuple[str, int, int, int] = ("bfs", 2, 0, 5)


class ClusterModel(nn.Module):
    """Log-probabilities of each node's class from its embedding and its cluster's prototype.

    Buffers, where the plan has them: `prototypes` [K, d], `fallback` [d], `table` int64 [N] (-1: fallback); `members`
    and `member_cluster` int64 [P] (live modes: the prototype nodes and their clusters), `clean_threshold` [].

    A table is keyed by node position. A graph with more nodes than entries has its new nodes at the end; a graph with
    fewer has no entry for any, and every node goes to the nearest prototype: `with_nodes` says which node is which.
    """

    prototypes: Tensor | None
    fallback: Tensor | None
    table: Tensor | None
    members: Tensor | None
    member_cluster: Tensor | None
    clean_threshold: Tensor | None

    def __init__(self, encoder: Encoder, width: int, nodes: int, plan: Plan) -> None:
        super().__init__()
        self.encoder, self.width, self.nodes = encoder, width, nodes
        self.supports_edge_weight = encoder.supports_edge_weight
        self.embedding = nn.Identity()  # its input is z: what the contract calls the embedding
        if plan.kind == "joint":
            self.head: nn.Module = make_joint_head(width, plan.classes, plan.rank)
        else:
            self.head = nn.Linear(width * (2 if plan.kind == "cluster" else 1), plan.classes)
        for name in ("prototypes", "fallback", "table", "members", "member_cluster"):
            self.register_buffer(name, None)
        self.register_buffer("clean_threshold", None)
        self.serve_by(plan)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N', F] and [2, E] -> log-probabilities [N', C]."""
        plan = self.plan
        z = self.embed(x, edge_index, edge_weight)
        if plan.kind == "plain":
            return functional.log_softmax(self.head(z), dim=1)
        table = self.table
        if plan.mode == "recluster" and self._knows(z) and self.members is not None:
            table, members, clusters = self._clusters_again(x, edge_index, edge_weight, self.members)
            prototypes = self.with_fallback(*self.means(z, members, clusters))
        else:
            prototypes = self.current_prototypes(z)
        place = self._place(z, edge_index, edge_weight, prototypes, table)
        if plan.kind == "cluster":
            return functional.log_softmax(self.head(torch.cat([z, prototypes[place]], dim=1)), dim=1)
        out = marginal(self.head, z, prototypes, place, plan.tau)
        return out if plan.floor == 0 else torch.log(out.exp() + plan.floor)

    def embed(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Embeddings z [N', d], on the filtered graph where the plan filters."""
        edge_index, edge_weight = drop_unlike(x, edge_index, edge_weight, self.plan.threshold)
        z: Tensor = self.embedding(self.encoder(x, edge_index, edge_weight))
        return z

    def means(self, z: Tensor, members: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean embedding of each cluster's members [K, d] and their number [K]; the gradient flows."""
        count = int(clusters.max()) + 1 if clusters.numel() else 0
        if self.prototypes is not None and self.plan.mode != "recluster":
            count = max(count, self.prototypes.shape[0])
        size = torch.bincount(clusters, minlength=count).to(z.dtype)
        sums = z.new_zeros(count, z.shape[1]).index_add(0, clusters, z[members])
        return sums / size.clamp_min(1)[:, None], size

    def with_fallback(self, prototypes: Tensor, size: Tensor) -> Tensor:
        """Prototypes and, as the last row, their mean weighted by `size`: of kept clusters only, [K + 1, d]."""
        mean = (prototypes * size[:, None]).sum(dim=0) / size.sum().clamp_min(1)
        return torch.cat([prototypes, mean[None]])

    def current_prototypes(self, z: Tensor) -> Tensor:
        """The prototypes that serve now, the fallback last, [K + 1, d]: stored, or recomputed from z."""
        if self.members is None or self.member_cluster is None or not self._knows(z):
            return self._stored()
        live, size = self.means(z, self.members, self.member_cluster)
        if self.prototypes is not None:  # a cluster whose members are not in this graph keeps its stored prototype
            live = torch.where((size > 0)[:, None], live, self.prototypes)
        return self.with_fallback(live, size)

    @property
    def mode(self) -> str:
        """How prototypes and clusters are had at prediction: `frozen`, `live` or `recluster`."""
        return self.plan.mode

    def clusters_on(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Cluster of each node of this graph, int64 [N] (-1: fallback): found anew in mode `recluster`, else stored.

        Raises:
            CapabilityError: no table is kept.
        """
        if self.table is None:
            raise CapabilityError(
                "this model keeps no table of clusters; expected assignment=table and an arm with one."
            )
        if self.plan.mode != "recluster" or self.members is None:
            return self.table.clone()
        return self._clusters_again(x, edge_index, None, self.members)[0]

    def serve_by(self, plan: Plan) -> None:
        """Answers by `plan` from now on; a threshold is saved with the tensors."""
        self.plan = plan
        self.clean_threshold = torch.tensor(plan.threshold) if plan.threshold > 0 else None

    def in_mode(self, mode: str) -> ClusterModel:
        """A copy that serves in `mode`; `frozen` drops who the prototype nodes were."""
        other = copy.deepcopy(self)
        other.plan = replace(self.plan, mode=mode)
        if mode == "frozen":
            other.members = other.member_cluster = None
        return other

    def with_nodes(self, ids: Tensor) -> ClusterModel:
        """A copy for a graph whose node i is node ids[i] of the fitted one (-1: unseen), ids int64 [N']."""
        other = copy.deepcopy(self)
        other.nodes = ids.shape[0]
        if self.table is not None:
            other.table = torch.where(ids >= 0, self.table[ids.clamp_min(0)], UNSEEN)
        if self.members is not None and self.member_cluster is not None:
            last = max(int(self.members.max()), int(ids.max()))
            place = torch.full((last + 1,), -1, dtype=torch.int64)
            place[ids[ids >= 0]] = torch.nonzero(ids >= 0).flatten()
            moved = place[self.members]
            other.members, other.member_cluster = moved[moved >= 0], self.member_cluster[moved >= 0]
        return other

    def for_adversary(self) -> ClusterModel:
        """Itself: whoever holds the file holds everything that it serves by."""
        return self

    def _knows(self, z: Tensor) -> bool:
        """Whether node positions mean something in a graph of this size, and some prototype node is in it."""
        return z.shape[0] >= self.nodes and (self.members is None or self.members.numel() > 0)

    def _stored(self) -> Tensor:
        assert self.prototypes is not None and self.fallback is not None  # noqa: PT018 - set together by the fit
        return torch.cat([self.prototypes, self.fallback[None]])

    def _place(
        self, z: Tensor, edge_index: Tensor, edge_weight: Tensor | None, prototypes: Tensor, table: Tensor | None
    ) -> Tensor:
        """Row of `prototypes` of each node, int64 [N']; the fallback is the last row."""
        kept = prototypes.shape[0] - 1
        if self.plan.nearest or table is None or z.shape[0] < self.nodes:
            return _nearest(z, prototypes[:kept])
        entry = functional.pad(table, (0, z.shape[0] - table.shape[0]), value=UNSEEN)
        place = torch.where(entry == FALLBACK, kept, entry)
        unseen = torch.nonzero(entry == UNSEEN).flatten()
        if unseen.numel():
            place = place.index_copy(0, unseen, _adopt(unseen, entry, edge_index, edge_weight, z, prototypes[:kept]))
        return place

    def _clusters_again(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None, members: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Table, members and their clusters of the graph as it is now; edges of weight 0 are not there. No gradient."""
        name, clusters, seed, least = self.plan.partition
        n = x.shape[0]
        there = edge_index if edge_weight is None else edge_index[:, edge_weight.detach() > 0]
        with torch.no_grad():
            there = drop_unlike(x, there, None, self.plan.threshold)[0]
            there = there.cpu()  # a partition is found there
            found = partition(name, there, n, min(clusters, n), seed=seed, x=x.detach().cpu())
            table = merge_small(found.assign, members.cpu(), there, least).assign.to(x.device)
        inside = members[table[members] >= 0]
        return table, inside, table[inside]


def untrained(build: Callable[[], nn.Module], layer: str | None, width: int, nodes: int, plan: Plan) -> ClusterModel:
    """The same architecture with fresh weights, and one cluster of everybody: nothing in it was made from a graph."""
    model = ClusterModel(encoder_of(build(), layer=layer), width, nodes, replace(plan, mode="frozen"))
    if plan.kind != "plain":
        model.prototypes, model.fallback = torch.zeros(1, width), torch.zeros(width)
        model.table = None if plan.nearest else torch.zeros(nodes, dtype=torch.int64)
    return model


def _nearest(z: Tensor, prototypes: Tensor) -> Tensor:
    """Index of the prototype at least distance, int64 [n]; the lowest on ties."""
    with torch.no_grad():
        squares = prototypes.square().sum(dim=1) - 2 * z @ prototypes.T  # |z|^2 is the same for all
        return squares.argmin(dim=1)


def _adopt(
    unseen: Tensor, entry: Tensor, edge_index: Tensor, edge_weight: Tensor | None, z: Tensor, prototypes: Tensor
) -> Tensor:
    """Cluster of nodes without an entry: the plurality of its neighbours'; nearest prototype on a tie or none."""
    place = torch.full_like(entry, -1)
    place[unseen] = torch.arange(unseen.numel(), device=z.device)
    ends = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    if edge_weight is not None:
        ends = ends[:, torch.cat([edge_weight, edge_weight]).detach() > 0]
    node, other = ends[:, (place[ends[0]] >= 0) & (entry[ends[1]] >= 0)]
    votes = prototypes.new_zeros(unseen.numel(), prototypes.shape[0])
    votes.index_put_((place[node], entry[other]), votes.new_ones(node.shape[0]), accumulate=True)
    top = votes.max(dim=1, keepdim=True).values
    clear = (top[:, 0] > 0) & ((votes == top).sum(dim=1) == 1)
    return torch.where(clear, votes.argmax(dim=1), _nearest(z[unseen], prototypes))
