"""The graph a target belongs to, and its split: plain, validated, immutable values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from auditor.data.fields import NO_FIELDS, Fields, Places, origin_of
from auditor.data.keys import distinct, without
from auditor.errors import GraphError, SplitError
from auditor.tasks import Task

EditedAs = Literal["auto", "pairs", "arcs"]
MAX_CLASSES = 1 << 16  # beyond this, a label is an id or damage: tables over classes would fill the memory


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """One graph (task `node`) or many graphs side by side (task `graph`, told apart by `batch`).

    Attributes:
        x: features, float32 [N, F], finite; F is 0 for a graph without any.
        edge_index: directed edges, int64 [2, E], every id in [0, N).
        y: labels, int64, [N] for one graph and [B] for many; -1 for an item without a label.
        edge_weight: float32 [E] or None.
        batch: the graph of each node, int64 [N], non-decreasing, 0..B-1; None for one graph.
        name: what the report calls it.
        fields: everything else that the file holds and the model may read.
        whole_x: the features are whole numbers, which the model reads as such (ids, categories).
        flat_x: the features lie in the data as [N], so that the model may read them so.
        withheld: names of what lies beside it in the data and never reaches a model: the split, what is no numbers.
        edited_as: what one edit of an edge toggles: `pairs`, `arcs`, or what the graph looks like (`EdgeSpace`).
        columns: what else the file says about each item and the model does not read, [items] or [items, ...] each: a
            user may name one to cut the test items by it.

    Raises:
        GraphError: on construction, when any of the above does not hold. Node and edge counts are in the message.
    """

    x: Tensor
    edge_index: Tensor
    y: Tensor
    edge_weight: Tensor | None = None
    batch: Tensor | None = None
    name: str = "graph"
    fields: Fields = NO_FIELDS
    whole_x: bool = False
    flat_x: bool = False
    withheld: tuple[str, ...] = ()
    edited_as: EditedAs = "auto"
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    _one_way: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def task(self) -> Task:
        """What is predicted on it: a class of each node of one graph, or of each of many graphs."""
        return Task("node" if self.batch is None else "graph")

    @property
    def num_nodes(self) -> int:
        """N."""
        return int(self.x.shape[0])

    @property
    def num_edges(self) -> int:
        """E, directed edges as stored."""
        return int(self.edge_index.shape[1])

    @property
    def num_features(self) -> int:
        """F."""
        return int(self.x.shape[1])

    @property
    def num_items(self) -> int:
        """What is classified: N nodes or B graphs."""
        return int(self.y.shape[0])

    @property
    def labelled(self) -> Tensor:
        """Which items have a label, bool [N] or [B]."""
        return self.y >= 0

    @property
    def is_undirected(self) -> bool:
        """Whether every arc has its reverse (loops aside)."""
        return self.num_one_way == 0

    @property
    def num_one_way(self) -> int:
        """Distinct arcs without their reverse (loops aside); counted once for as long as nobody writes to the arcs."""
        state = -1 if self.edge_index.is_inference() else self.edge_index._version
        if state not in self._one_way or state < 0:
            keys = self.arc_keys(include_loops=False)
            reverse = distinct((keys % self.num_nodes) * self.num_nodes + keys // self.num_nodes)
            self._one_way.clear()
            self._one_way[state] = 0 if torch.equal(keys, reverse) else without(keys, reverse).numel()
        return self._one_way[state]

    def arc_keys(self, *, include_loops: bool = True) -> Tensor:
        """Distinct arcs as int64 keys u * N + v, sorted."""
        u, v = self.edge_index[0], self.edge_index[1]
        keys = u * self.num_nodes + v
        return distinct(keys if include_loops else keys[u != v])

    def pair_keys(self) -> Tensor:
        """Distinct unordered pairs as int64 keys min * N + max, sorted; loops left out. E of the privacy family."""
        u, v = self.edge_index.min(dim=0).values, self.edge_index.max(dim=0).values
        return distinct((u * self.num_nodes + v)[u != v])

    def with_edges(self, edge_index: Tensor, edge_weight: Tensor | None = None) -> Graph:
        """The same nodes with other edges; fields of edges follow by `origin_of`.

        Raises:
            GraphError: an edge with fields is added to a graph without any.
        """
        return replace(self, edge_index=edge_index, edge_weight=edge_weight, fields=self.fields_on(edge_index))

    def fields_on(self, edge_index: Tensor) -> Fields:
        """The fields as they are with other edges, int64 [2, E'] on the same nodes.

        Raises:
            GraphError: an edge with fields is added to a graph without any.
        """
        if not self.fields.edge:
            return self.fields
        fields = self.fields.take(arcs=origin_of(self.edge_index, edge_index, self.num_nodes))
        if self.batch is None:
            return fields
        of = self.batch[edge_index[0]]  # an added edge copies values, but not whose it is
        own = {name: of.to(rows.dtype) for name, rows in fields.edge.items() if name in fields.ids}
        return replace(fields, edge={**fields.edge, **own})

    def keeping(self, arcs: Tensor) -> Graph:
        """The same nodes with some of the arcs, by bool [E] or int64 [E'], in the order given."""
        arcs = torch.nonzero(arcs).flatten() if arcs.dtype == torch.bool else arcs
        weight = None if self.edge_weight is None else self.edge_weight[arcs]
        fields = self.fields.take(arcs=arcs)
        return replace(self, edge_index=self.edge_index[:, arcs], edge_weight=weight, fields=fields)

    def induced(self, node_ids: Tensor) -> Graph:
        """The subgraph on `node_ids` (int64, distinct, ascending), nodes and graphs renumbered in their old order.

        Edges with both ends inside stay, in their old order; graphs without a node left vanish.
        """
        items = node_ids if self.batch is None else torch.unique(self.batch[node_ids])
        return self.taking(node_ids, items)

    def taking(self, nodes: Tensor, items: Tensor, arcs: Tensor | None = None) -> Graph:
        """The graph on some nodes, in the order given: the one gather that everything a graph holds goes through.

        Args:
            nodes: old ids, int64 [N'], distinct; of many graphs, those of one graph side by side.
            items: old ids of what is classified, in the order it has then, int64 [N'] or [B'].
            arcs: old places of the arcs, int64 [E'], both ends inside; None for all with both ends inside.

        Raises:
            SkippedError: a field names a node that is not among them.
        """
        place = torch.full((self.num_nodes,), -1, dtype=torch.int64)
        place[nodes] = torch.arange(nodes.numel())
        if arcs is None:
            arcs = torch.nonzero((place[self.edge_index] >= 0).all(dim=0)).flatten()
        batch = order = None
        if self.batch is not None:
            order = torch.full((self.num_items,), -1, dtype=torch.int64)
            order[items] = torch.arange(items.numel())
            batch = order[self.batch[nodes]]
        return replace(
            self,
            x=self.x[nodes],
            edge_index=place[self.edge_index[:, arcs]],
            y=self.y[items],
            edge_weight=None if self.edge_weight is None else self.edge_weight[arcs],
            batch=batch,
            fields=self.fields.take(
                nodes, arcs, None if self.batch is None else items, Places(place, order, self.batch, batch, self.name)
            ),
            columns={name: rows[items] for name, rows in self.columns.items()},
        )

    def digest(self) -> str:
        """sha256 over shapes and bytes of every tensor, in a fixed order."""
        sha = hashlib.sha256()
        for part in (self.x, self.edge_index, self.y, self.edge_weight, self.batch):
            _add_to(sha, part)
        for name, part in [*sorted(self.fields), *sorted(self.columns.items())]:
            sha.update(name.encode())
            _add_to(sha, part)
        return sha.hexdigest()


def _add_to(sha: hashlib._Hash, part: Tensor | None) -> None:
    sha.update(repr(None if part is None else (tuple(part.shape), str(part.dtype))).encode())
    if part is not None:
        sha.update(part.detach().cpu().contiguous().numpy().tobytes())


UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which items were trained on, chose the checkpoint, and test it; bool [N] or [B] each, disjoint.

    `spec` is what it is called (`public`, `in the file`, `yours`, `per-class:20`, …), `seed` where it was drawn (None:
    not drawn). A split that nobody knows is `Split.unknown`: no item is known to be of any part.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    spec: str = "file"
    seed: int | None = None

    def __post_init__(self) -> None:
        masks = {"train": self.train, "val": self.val, "test": self.test}
        for name, mask in masks.items():
            if mask.dtype != torch.bool or mask.dim() != 1 or mask.shape != self.train.shape:
                raise SplitError(
                    f"{name} mask is {mask.dtype} {list(mask.shape)}; expected bool [{self.train.shape[0]}]. "
                    "Give three boolean masks of equal length."
                )
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            shared = torch.nonzero(masks[a] & masks[b]).flatten()
            if shared.numel():
                raise SplitError(
                    f"{shared.numel()} items are in both {a} and {b} (first: {shared[:5].tolist()}); "
                    "expected disjoint masks. Remove them from one of the two."
                )
        for name in ("train", "test") if self.is_known else ():
            if not masks[name].any():
                raise SplitError(f"the {name} mask is empty; expected at least one item. Check the split file.")

    @classmethod
    def unknown(cls, items: int) -> Split:
        """The split of a model whose training items nobody named, for `items` nodes or graphs."""
        none = torch.zeros(items, dtype=torch.bool)
        return cls(none, none.clone(), none.clone(), spec=UNKNOWN)

    @property
    def is_known(self) -> bool:
        """Whether anybody said what it was trained on."""
        return self.spec != UNKNOWN

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of train, validation and test items."""
        return int(self.train.sum()), int(self.val.sum()), int(self.test.sum())

    def check_fits(self, graph: Graph) -> None:
        """Raises SplitError when the masks do not have one entry per item of `graph`."""
        if self.train.shape[0] != graph.num_items:
            raise SplitError(
                f"the masks have {self.train.shape[0]} entries, {graph.name} has {graph.num_items} items; expected one "
                "entry per item. Give masks in the order of y."
            )
        for part in ("train", "val", "test"):
            bare = torch.nonzero(getattr(self, part) & ~graph.labelled).flatten()
            if bare.numel():
                raise SplitError(
                    f"{bare.numel()} items of the {part} mask have no label (first: {bare[:5].tolist()}); expected a "
                    "label for each. Take them out of the mask; elsewhere, items without a label may stay."
                )


def _check(graph: Graph) -> None:
    """Every invariant of Graph, each with the values seen."""
    x, edge_index, y, n = graph.x, graph.edge_index, graph.y, int(graph.x.shape[0])
    if x.dim() != 2 or n == 0:
        raise GraphError(f"{graph.name}: x is {list(x.shape)}; expected [N, F] with N > 0.")
    if not torch.is_floating_point(x):
        raise GraphError(f"{graph.name}: x is {x.dtype}; expected a floating dtype. Convert the features to float32.")
    # A sum is finite only if every value is, and costs a tenth; one that overflows is looked at value by value.
    if not torch.isfinite(x.sum()) and not torch.isfinite(x).all():
        bad = torch.nonzero(~torch.isfinite(x))[0].tolist()
        raise GraphError(
            f"{graph.name}: x[{bad[0]}, {bad[1]}] is {x[bad[0], bad[1]].item()}; expected finite features. "
            "Fill or drop missing values before the audit."
        )
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise GraphError(
            f"{graph.name}: edge_index is {edge_index.dtype} {list(edge_index.shape)}; expected int64 [2, E]. "
            "Store one column per directed edge, source first."
        )
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= n):
        raise GraphError(
            f"{graph.name}: edge_index holds ids from {int(edge_index.min())} to {int(edge_index.max())}; "
            f"expected ids in [0, {n}), one per row of x. Renumber the nodes, or add the missing rows."
        )
    items = n if graph.batch is None else None
    if graph.batch is not None:
        if graph.batch.shape != (n,) or graph.batch.dtype != torch.int64 or int(graph.batch.min()) != 0:
            raise GraphError(
                f"{graph.name}: batch is {graph.batch.dtype} {list(graph.batch.shape)}; expected int64 [{n}] from 0."
            )
        steps = graph.batch[1:] - graph.batch[:-1]
        if steps.numel() and (int(steps.min()) < 0 or int(steps.max()) > 1):
            raise GraphError(
                f"{graph.name}: batch skips or returns to a graph; expected 0..B-1, each with a node, in order."
            )
        if edge_index.numel() and not torch.equal(graph.batch[edge_index[0]], graph.batch[edge_index[1]]):
            raise GraphError(f"{graph.name}: an edge joins two graphs; expected edges inside one graph each.")
        items = int(graph.batch[-1]) + 1
    if y.dtype != torch.int64 or y.dim() != 1 or y.shape[0] != items:
        raise GraphError(
            f"{graph.name}: y is {y.dtype} {list(y.shape)}; expected int64 [{items}], one class index per item. "
            "Regression and multi-label targets are not audited."
        )
    if int(y.min()) < -1:
        raise GraphError(
            f"{graph.name}: y holds {int(y.min())}; expected class indices from 0, and -1 where there is no label."
        )
    if int(y.max()) >= MAX_CLASSES:
        raise GraphError(
            f"{graph.name}: y holds {int(y.max())}; expected class indices below {MAX_CLASSES}. Number the classes "
            "from 0, as the model was trained on them."
        )
    if int(y.max()) < 0:
        raise GraphError(
            f"{graph.name}: no item has a label; expected class indices in y. Link prediction, recommendation and "
            "self-supervised models are not audited."
        )
    weight = graph.edge_weight
    if weight is not None and (weight.shape != (edge_index.shape[1],) or not torch.isfinite(weight).all()):
        raise GraphError(
            f"{graph.name}: edge_weight is {list(weight.shape)}; expected finite values [{edge_index.shape[1]}]."
        )
    graph.fields.check(n, int(edge_index.shape[1]), None if graph.batch is None else items, graph.name)
