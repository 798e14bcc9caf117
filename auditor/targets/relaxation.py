"""Relaxation: a differentiable weight on every edge, for any message-passing model.

A weight of 0 must mean "removed" and 1 "there"; otherwise an attack climbs a landscape that is not the model's. Three
methods are tried, the most direct first; the first one whose answers agree with really edited graphs is used. See
docs/methods/relaxation.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from auditor.data.fields import NO_FIELDS, Fields
from auditor.data.graph import Graph
from auditor.errors import CapabilityError
from auditor.targets.memo import LinearMemo
from auditor.targets.relabelling import apart, scale_of
from auditor.targets.soft_edges import message_passing_layers, soft_edges
from auditor.tasks import Level

if TYPE_CHECKING:
    from auditor.targets.target import ModelHandle

Method = Literal["native", "mask", "adaptor"]
Kind = Literal[Method, "ranking", "none"]

MAX_GAP = 1e-4
NO_ANSWER = "no finite answer"
DRAWS = 3
TRIED_EDGES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """How edges are given a weight, with the gap that decided it.

    Attributes:
        kind: `native`, `mask`, `adaptor`: exact at weights in {0, 1}. `ranking`: a gradient that only orders
            candidates, every decision belongs on real edges. `none`: no edge gradient at all.
        gap: max |dz| / max(1, max |z|) of the method against really edited graphs.
        handle: a private copy of the model; answers to a fixed x are remembered (see `LinearMemo`).
        method: the way weights enter (that of the smallest gap where the kind is `ranking`).
        gaps: (method, gap) of every method that was tried; infinite where it could not run or had no gradient.
    """

    kind: Kind
    gap: float
    handle: ModelHandle
    method: Method = "native"
    gaps: tuple[tuple[str, float], ...] = ()
    _memo: LinearMemo | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._memo is None:
            object.__setattr__(self, "_memo", LinearMemo(self.handle.model))

    @classmethod
    def choose(cls, handle: ModelHandle, *, num_features: int, level: Level, graph: Graph | None = None) -> Relaxation:
        """The first method with gap <= 1e-4 and a non-zero gradient at weight 0, tried on `graph` or a synthetic one.

        Args:
            handle: a private copy of the model that nobody else uses: it is kept, and its linear layers are memoised.
            num_features: F, the width of the synthetic graph's features.
            level: `node`, or `graph` for a model that pools.
            graph: where to try; None (privacy views) for a small seeded graph that holds no private edge.
        """
        graph = graph if graph is not None else synthetic_graph(num_features, level)
        memo = LinearMemo(handle.model)
        methods: list[Method] = ["native"] if handle.takes_edge_weight else []
        if message_passing_layers(handle.model):
            methods += ["mask", "adaptor"]
        gaps: dict[Method, float] = {}
        has_gradient: dict[Method, bool] = {}
        for method in methods:
            trial = cls("none", 0.0, handle, method, _memo=memo)
            gaps[method], has_gradient[method] = trial._try_on(graph)
            if gaps[method] <= MAX_GAP and has_gradient[method]:
                return cls(method, gaps[method], handle, method, tuple(gaps.items()), memo)
        usable = [method for method in methods if has_gradient[method]]
        if not usable:
            return cls("none", min(gaps.values(), default=float("inf")), handle, "native", tuple(gaps.items()), memo)
        best = min(usable, key=lambda method: gaps[method])
        return cls("ranking", gaps[best], handle, best, tuple(gaps.items()), memo)

    def of(self, handle: ModelHandle) -> Relaxation:
        """The same choice for another private copy of the same model, which remembers nothing yet."""
        return replace(self, handle=handle, _memo=None)

    def describe(self) -> str:
        """How edges are given a weight and how far that is from really edited ones; why not, where they are not."""
        if self.kind != "none":
            gap = f"largest difference to really edited edges {self.gap:.2g} of the scale"
            return f"edge relaxation: {self.kind}, {gap if math.isfinite(self.gap) else NO_ANSWER}"
        if not self.gaps:
            reason = "forward takes no weight of an edge, and the model has no message-passing layer to scale"
        elif math.isfinite(self.gap):
            reason = "no gradient reaches the weight of an edge"
        else:
            reason = "no way to put a weight on edges runs through the model with finite answers"
        return f"no edge relaxation: {reason}"

    @property
    def is_exact(self) -> bool:
        """Whether weights of 0 and 1 give the answers of the really edited graph."""
        return self.kind == self.method

    def logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        weight: Tensor,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Logits with each arc of edge_index [2, E] scaled by weight [E] in [0, 1]; 0 means the arc is absent."""
        return self._weighted(self.handle.logits, x, edge_index, weight, batch, fields)

    def embeddings(
        self,
        x: Tensor,
        edge_index: Tensor,
        weight: Tensor,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """The same, input of the last message-passing layer [N, d]."""
        return self._weighted(self.handle.embeddings, x, edge_index, weight, batch, fields)

    def _weighted(
        self,
        answer: Callable[..., Tensor],
        x: Tensor,
        edge_index: Tensor,
        weight: Tensor,
        batch: Tensor | None,
        fields: Fields,
    ) -> Tensor:
        """What the handle answers with a weight on each arc."""
        home = x.device
        x, edge_index, scale, batch, fields = self.handle.moved(x, edge_index, weight, batch, fields)
        assert scale is not None
        self._fix(x)
        if self.method == "native":
            return answer(x, edge_index, scale, batch, fields).to(home)
        rows = None if self._memo is None else self._memo.rows
        with soft_edges(self.handle.model, edge_index, scale, method=self.method, rows=rows):
            return answer(x, edge_index, None, batch, fields).to(home)

    def exact_logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Logits on real edges, nothing relaxed: what every decision of an attack is taken on. No gradient."""
        home = x.device
        x, edge_index, edge_weight, batch, fields = self.handle.moved(x, edge_index, edge_weight, batch, fields)
        self._fix(x)
        with torch.no_grad():
            return self.handle.logits(x, edge_index, edge_weight, batch, fields).to(home)

    def _fix(self, x: Tensor) -> None:
        if self._memo is not None:
            self._memo.fix(x)

    def _try_on(self, graph: Graph) -> tuple[float, bool]:
        """(gap, whether the gradient at weight 0 is finite and not all zero); (inf, False) if the method cannot run."""
        rng = torch.Generator().manual_seed(0)
        gap, moves = 0.0, False
        try:
            for draw in range(DRAWS):
                gap = max(gap, *self._gaps(graph, rng))
                moves = moves or (draw == 0 and self._gradient_moves(graph, rng))
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, CapabilityError):
            return float("inf"), False  # a user's model may fail in any of these ways when it is given weights
        return gap, moves

    def _gaps(self, graph: Graph, rng: torch.Generator) -> tuple[float, float, float]:
        """One draw: every edge at 1, absent pairs at 0, some edges at 0, each against the graph that it should mean."""
        x, edges, base, batch, fields = graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields
        ones = torch.ones(edges.shape[1]) if base is None else base
        clean = self.exact_logits(x, edges, base, batch, fields)
        with torch.no_grad():
            all_there = self.logits(x, edges, ones, batch, fields)
            extra = _non_edges(graph, rng)
            longer = torch.cat([edges, extra], dim=1)
            appended = torch.cat([ones, torch.zeros(extra.shape[1])])
            not_there = self.logits(x, longer, appended, batch, graph.fields_on(longer))
            gone = _some_edges(graph, rng)
            zeroed = self.logits(x, edges, torch.where(gone, 0.0, ones), batch, fields)
        left = edges[:, ~gone]
        removed = self.exact_logits(x, left, None if base is None else base[~gone], batch, graph.fields_on(left))
        return _distance(all_there, clean), _distance(not_there, clean), _distance(zeroed, removed)

    def _gradient_moves(self, graph: Graph, rng: torch.Generator) -> bool:
        """Whether a random functional of the logits has a finite, non-zero gradient at non-edges of weight 0."""
        extra = _non_edges(graph, rng)
        if not extra.shape[1]:
            extra = graph.edge_index[:, :TRIED_EDGES]
        edges = torch.cat([graph.edge_index, extra], dim=1)
        ones = torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight
        new = torch.zeros(extra.shape[1], requires_grad=True)
        z = self.logits(graph.x, edges, torch.cat([ones, new]), graph.batch, graph.fields_on(edges))
        if not z.requires_grad:
            return False
        mix = torch.randn(z.shape, generator=rng, dtype=z.dtype)
        (gradient,) = torch.autograd.grad((z * mix).sum(), new, allow_unused=True)
        return gradient is not None and bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())


def synthetic_graph(num_features: int, level: Level, *, seed: int = 0, nodes: int | None = None) -> Graph:
    """A small graph (or eight) with random edges and sparse signed features, the same for every model of this width.

    `nodes` is for a model that has a row for each of so many: then one graph of that size.
    """
    if nodes is not None:
        return _wide_graph(num_features, nodes, torch.Generator().manual_seed(seed))
    rng = torch.Generator().manual_seed(seed)
    graphs, size = (8, 12) if level == "graph" else (1, 64)
    pairs = torch.combinations(torch.arange(size)).T  # [2, size (size - 1) / 2]
    edges = []
    for b in range(graphs):
        chosen = pairs[:, torch.rand(pairs.shape[1], generator=rng) < 4 / size] + b * size
        edges.append(torch.cat([chosen, chosen.flip(0)], dim=1))
    x = torch.randn(graphs * size, num_features, generator=rng)  # signed: a max over masked messages must show its gap
    x *= torch.rand(x.shape, generator=rng) < 0.2
    batch = torch.arange(graphs).repeat_interleave(size) if level == "graph" else None
    y = torch.zeros(graphs if level == "graph" else size, dtype=torch.int64)
    return Graph(x, torch.cat(edges, dim=1), y, batch=batch, name="synthetic")


def _wide_graph(num_features: int, nodes: int, rng: torch.Generator) -> Graph:
    ends = torch.randint(nodes, (2, 2 * nodes), generator=rng)
    keys = torch.unique(ends.min(dim=0).values * nodes + ends.max(dim=0).values)
    u, v = keys // nodes, keys % nodes
    pairs = torch.stack([u, v])[:, u != v]
    x = torch.randn(nodes, num_features, generator=rng) * (torch.rand(nodes, num_features, generator=rng) < 0.2)
    edges = torch.cat([pairs, pairs.flip(0)], dim=1)
    return Graph(x, edges, torch.zeros(nodes, dtype=torch.int64), name="synthetic")


def _non_edges(graph: Graph, rng: torch.Generator) -> Tensor:
    """Up to 64 random pairs that are no edges, both arcs of each, inside one graph, int64 [2, K]."""
    n = graph.num_nodes
    tries = torch.randint(n, (2, 16 * TRIED_EDGES), generator=rng)
    if graph.batch is not None:  # the partner comes from the same graph
        first = torch.searchsorted(graph.batch, graph.batch[tries[0]])
        size = torch.bincount(graph.batch)[graph.batch[tries[0]]]
        tries[1] = first + (torch.rand(tries.shape[1], generator=rng) * size).long()
    u, v = tries.min(dim=0).values, tries.max(dim=0).values
    keys = torch.unique((u * n + v)[u != v])
    keys = keys[~torch.isin(keys, graph.pair_keys())]
    keys = keys[torch.randperm(keys.numel(), generator=rng)][:TRIED_EDGES]
    u, v = keys // n, keys % n
    return torch.stack([torch.cat([u, v]), torch.cat([v, u])])


def _some_edges(graph: Graph, rng: torch.Generator) -> Tensor:
    """Which arcs belong to 64 random edges (at most half of all), bool [E]; self-loops never."""
    keys = graph.pair_keys()
    count = min(TRIED_EDGES, keys.numel() // 2)
    chosen = keys[torch.randperm(keys.numel(), generator=rng)[:count]]
    u, v = graph.edge_index.min(dim=0).values, graph.edge_index.max(dim=0).values
    return torch.isin(u * graph.num_nodes + v, chosen)


def _distance(a: Tensor, b: Tensor) -> float:
    """Max |a - b| / max(1, max |b|); infinite where one alone is not finite."""
    return float(apart(a, b).max()) / scale_of(b)
