"""Which edges of a graph can be toggled, and the graph after toggling some.

A set of flips S is a set of keys: min * N + max for an undirected graph, u * N + v for a directed one (int64; exact for
N <= 3.0e9). G + S has every edge of S that was absent and lacks every one that was there. Self-loops stay as they are.
A graph is undirected when nearly every arc has its reverse: a few that lack it are a slip of the data, and a flip of
such a pair takes away the one arc that is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import EditedAs, Graph
from auditor.data.keys import distinct
from auditor.errors import SkippedError

SYMMETRIC = 0.99
"""Share of arcs with a reverse from which a graph is read as undirected."""
FAN = 8
"""Parts that many graphs are cut into at a time, until each is alone."""


def edited_as_pairs(graph: Graph) -> bool:
    """Whether one edit toggles a pair of nodes and not an arc: as the graph says, else by `SYMMETRIC`."""
    if graph.edited_as != "auto":
        return graph.edited_as == "pairs"
    one_way = graph.num_one_way
    return one_way == 0 or one_way <= (1 - SYMMETRIC) * graph.arc_keys(include_loops=False).numel()


def settled(graph: Graph, edited_as: EditedAs = "auto") -> Graph:
    """The graph that says what one edit of it toggles, as asked or as it looks: so do its parts and what edits leave.

    Where it is left to each of them, one of many graphs, or an edited one, may look otherwise than the whole.
    """
    asked = replace(graph, edited_as=graph.edited_as if edited_as == "auto" else edited_as)
    return replace(asked, edited_as="pairs" if edited_as_pairs(asked) else "arcs")


def canonical_graph(graph: Graph) -> Graph:
    """The graph with each arc once (first weight kept), self-loops kept; `graph` itself when it has no duplicates.

    Raises:
        SkippedError: parallel edges differ in their fields: what an edit of the pair would be is not defined.
    """
    keys = graph.edge_index[0] * graph.num_nodes + graph.edge_index[1]
    distinct, place = torch.unique(keys, return_inverse=True)
    if distinct.numel() == keys.numel():
        return graph
    first = torch.full((distinct.numel(),), keys.numel()).scatter_reduce(0, place, torch.arange(keys.numel()), "amin")
    first, order = torch.sort(first)
    place = torch.argsort(order)[place]  # of each arc, among those that stay
    for name, rows in graph.fields.edge.items():
        if not torch.equal(rows, rows[first[place]]):
            raise SkippedError(
                f"{graph.name} has parallel edges that differ in {name}; which of them an edit changes is not defined"
            )
    return graph.keeping(first)


@dataclass(frozen=True, slots=True, eq=False)
class EdgeSpace:
    """The flippable pairs (undirected) or arcs (directed) of a canonical graph.

    Attributes:
        graph: canonical, see `canonical_graph`.
        directed: whether a flip is an arc, see `edited_as_pairs`.
        existing: keys of the edges that are there, sorted int64 [m], self-loops left out.
        places: where each of them is stored in edge_index, int64 [m, 2], or [m, 1] when directed; a pair that is there
            one way only has its place twice.
    """

    graph: Graph
    directed: bool
    existing: Tensor
    places: Tensor

    @classmethod
    def of(cls, graph: Graph) -> EdgeSpace:
        """The space of `graph`, made canonical first."""
        graph = canonical_graph(graph)
        directed = not edited_as_pairs(graph)
        stored = torch.nonzero(graph.edge_index[0] != graph.edge_index[1]).flatten()
        keys, order = torch.sort(_keys(graph.edge_index[:, stored], graph.num_nodes, directed), stable=True)
        stored = stored[order]
        if directed:
            return cls(graph, True, keys, stored.view(-1, 1))
        if keys.numel() % 2 == 0 and torch.equal(keys[::2], keys[1::2]):
            return cls(graph, False, keys[::2].contiguous(), stored.view(-1, 2))
        existing, count = torch.unique_consecutive(keys, return_counts=True)
        last = torch.cumsum(count, dim=0) - 1
        return cls(graph, False, existing, stored[torch.stack([last - count + 1, last], dim=1)])

    @property
    def m(self) -> int:
        """Number of edges that are there."""
        return int(self.existing.numel())

    @property
    def num_ordered(self) -> int:
        """Ordered pairs u != v inside one graph."""
        sizes = self._sizes()
        return int((sizes * (sizes - 1)).sum())

    @property
    def num_pairs(self) -> int:
        """Everything that can be toggled: pairs, or arcs when directed."""
        return self.num_ordered if self.directed else self.num_ordered // 2

    def exists(self, keys: Tensor) -> Tensor:
        """Which keys are edges of the graph, bool [K]."""
        return self.found(keys)[1]

    def found(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(place of each key among `existing`, int64 [K]; whether it is one of them, bool [K])."""
        if not self.m:
            return torch.zeros(keys.shape, dtype=torch.int64), torch.zeros(keys.shape, dtype=torch.bool)
        place = torch.searchsorted(self.existing, keys).clamp_max_(self.m - 1)
        return place, self.existing.index_select(0, place) == keys

    def ends(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Both end nodes of each key, int64 [K] each."""
        return keys // self.graph.num_nodes, keys % self.graph.num_nodes

    def keys(self, u: Tensor, v: Tensor) -> Tensor:
        """The key of each pair, or of each arc u -> v when directed; int64 [K] each."""
        return _keys(torch.stack([u, v]), self.graph.num_nodes, self.directed)

    def at(self, node: int) -> Tensor:
        """Keys of all that can be toggled with one end at a node, sorted int64 [N − 1], or [2 N − 2] when directed."""
        n = self.graph.num_nodes
        others = torch.arange(n)
        others = others[others != node]
        if self.directed:
            return torch.sort(torch.cat([node * n + others, others * n + node])).values
        return torch.sort(others.clamp_max(node) * n + others.clamp_min(node)).values

    def arcs(self, keys: Tensor) -> Tensor:
        """The arcs behind the keys, int64 [2, 2K] (all u -> v, then all v -> u), or [2, K] when directed."""
        u, v = self.ends(keys)
        return torch.stack([u, v]) if self.directed else torch.stack([torch.cat([u, v]), torch.cat([v, u])])

    def toggled(self, keys: Tensor) -> Graph:
        """The graph with these distinct edges toggled; a new edge gets weight 1, or the median of a weighted graph."""
        graph, (where, there) = self.graph, self.found(keys)
        gone = self.places[where[there]].flatten()
        keep = torch.ones(graph.num_edges, dtype=torch.bool)
        keep[gone] = False
        new = self.arcs(keys[~there])
        weight = graph.edge_weight
        if weight is not None:
            weight = torch.cat([weight[keep], weight.median().expand(new.shape[1])])
        return graph.with_edges(torch.cat([graph.edge_index[:, keep], new], dim=1), weight)

    def sample(self, count: int, rng: np.random.Generator, *, among: Tensor | None = None) -> Tensor:
        """About `count` distinct uniform keys (with replacement, then made unique); all keys when there are no more.

        Args:
            count: how many to draw.
            rng: the only source of randomness.
            among: node ids, int64; one end of each pair then comes from these (task `node` only).

        Returns:
            Sorted int64 [<= count].
        """
        n = self.graph.num_nodes
        if among is None:
            if self.num_pairs <= count:
                return distinct(self._keys_at(torch.arange(self.num_ordered)))
            return distinct(self._keys_at(torch.from_numpy(rng.integers(0, self.num_ordered, count))))
        u = among[torch.from_numpy(rng.integers(0, among.numel(), count))]
        v = torch.from_numpy(rng.integers(0, n - 1, count))
        v = v + (v >= u).long()
        if self.directed:
            swap = torch.from_numpy(rng.random(count) < 0.5)
            u, v = torch.where(swap, v, u), torch.where(swap, u, v)
        return distinct(_keys(torch.stack([u, v]), n, self.directed))

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """Exactly `count` distinct uniform keys in random order, int64 [count]; every prefix is uniform too.

        Raises:
            ValueError: there are fewer than `count` pairs.
        """
        if count > self.num_pairs:
            raise ValueError(f"{count} flips asked for, the graph has {self.num_pairs} pairs")
        if 2 * count > self.num_pairs:
            every = distinct(self._keys_at(torch.arange(self.num_ordered)))
            return every[torch.from_numpy(rng.permutation(every.numel())[:count])]
        drawn = np.empty(0, dtype=np.int64)
        while drawn.size < count:
            more = torch.from_numpy(rng.integers(0, self.num_ordered, 2 * count + 16))
            drawn = np.concatenate([drawn, self._keys_at(more).numpy()])
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        return torch.from_numpy(drawn[:count].copy())

    def _sizes(self) -> Tensor:
        """Nodes of each graph, int64 [B]."""
        batch = self.graph.batch
        return torch.tensor([self.graph.num_nodes]) if batch is None else torch.bincount(batch)

    def _keys_at(self, places: Tensor) -> Tensor:
        """Keys of the given places in the list of ordered pairs u != v, graph by graph."""
        sizes = self._sizes()
        ends = torch.cumsum(sizes * (sizes - 1), dim=0)
        b = torch.searchsorted(ends, places, right=True)
        local = places - (ends - sizes * (sizes - 1))[b]
        first = (torch.cumsum(sizes, dim=0) - sizes)[b]
        u, v = local // (sizes[b] - 1), local % (sizes[b] - 1)
        v = v + (v >= u).long()
        return _keys(torch.stack([u + first, v + first]), self.graph.num_nodes, self.directed)


def select_graphs(graph: Graph, items: Tensor) -> tuple[Graph, Tensor]:
    """Some of many graphs side by side: (the graphs, in the order of sorted `items`; original node ids int64 [N']).

    Args:
        graph: task `graph`.
        items: graph ids, int64 [n], distinct.
    """
    if graph.batch is None:
        raise ValueError("select_graphs needs many graphs; this is one")
    chosen = torch.zeros(graph.num_items, dtype=torch.bool)
    chosen[items] = True
    nodes = torch.nonzero(chosen[graph.batch]).flatten()
    inside = chosen[graph.batch][graph.edge_index[0]]
    return graph.taking(nodes, torch.nonzero(chosen).flatten(), torch.nonzero(inside).flatten()), nodes


def single_graphs(graph: Graph, items: Tensor) -> list[tuple[Graph, Tensor]]:
    """Each of some graphs alone, and its nodes' ids among all, int64: what `select_graphs` says of one item.

    All together in the time that their number takes, not its square: parts of parts are looked through, and never the
    whole for one graph.

    Args:
        graph: task `graph`.
        items: graph ids, int64 [n], distinct and ascending.
    """
    return _halved(*select_graphs(graph, items)) if items.numel() else []


def _halved(graph: Graph, ids: Tensor) -> list[tuple[Graph, Tensor]]:
    """Each graph of the batch alone; `ids` are what its nodes are called, int64 [N]."""
    if graph.num_items == 1:
        return [(graph, ids)]
    found = []
    for places in torch.tensor_split(torch.arange(graph.num_items), min(FAN, graph.num_items)):
        part, nodes = select_graphs(graph, places)
        found += _halved(part, ids[nodes])
    return found


def _keys(arcs: Tensor, n: int, directed: bool) -> Tensor:
    """The key of each arc: u * N + v, the smaller end first unless directed."""
    if directed:
        return arcs[0] * n + arcs[1]
    low, high = torch.aminmax(arcs, dim=0)
    return low * n + high
