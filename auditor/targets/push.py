"""One row of the features changes: only the rows that it can reach are computed again, layer by layer.

The user's own forward runs on those rows alone. What every layer was given and what it passed along the arcs on the
unchanged graph is remembered, so that a sum over neighbours is the old one plus what its changed neighbours add, and
any other layer is computed again where a neighbour changed. Whoever uses this compares it with a whole forward first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.nn import GCNConv, MessagePassing

from auditor.data.graph import Graph
from auditor.errors import CapabilityError
from auditor.targets.target import ModelHandle

Ints = NDArray[np.int64]
LINEAR = 1e-9
"""How far a weighted sum over neighbours may be from what a layer passed on, on the scale of that."""
MESSAGES = 8_000_000  # numbers sent along arcs at once: 64 MB of float64
TABLE = 1 << 24  # keys that are looked up in a table: 16 MB
ARCS = 1_000_000  # arcs of a hop that are followed at once


class TooWideError(Exception):
    """The queries reach too much to be computed together."""


@dataclass(frozen=True, slots=True, eq=False)
class Arcs:
    """Arcs sorted by the node that they are followed from.

    Attributes:
        start: where each node's own begin, int64 [N + 1].
        end: the node at the other end, int64 [E].
        place: of each in the order that they were given, int64 [E].
    """

    start: Ints
    end: Ints
    place: Ints

    @classmethod
    def of(cls, tail: Tensor, head: Tensor, num_nodes: int) -> Arcs:
        """Arcs from `tail` to `head`, int64 [E] each."""
        order = torch.argsort(tail, stable=True)
        start = np.zeros(num_nodes + 1, np.int64)
        np.cumsum(torch.bincount(tail, minlength=num_nodes).numpy(), out=start[1:])
        return cls(start, head[order].numpy(), order.numpy())

    def follow(self, nodes: Ints) -> tuple[Ints, Ints]:
        """For each arc that leaves `nodes`: which of them it leaves, and its position here, int64 [arcs] each."""
        count = self.start[nodes + 1] - self.start[nodes]
        first = np.cumsum(count) - count
        of = np.repeat(np.arange(nodes.size), count)
        return of, np.arange(of.size) + (self.start[nodes] - first)[of]


@dataclass(frozen=True, slots=True, eq=False)
class _Hop:
    """One step along arcs on the unchanged graph.

    Attributes:
        arcs: followed the way that messages go.
        back: the same, followed to where messages come from; None for a weighted sum.
        given: what was summed, [N, d]; None where it is no weighted sum.
        passed: the sums, [N, d]; likewise.
        weight: of each arc in the sums, [E]; likewise.
    """

    arcs: Arcs
    back: Arcs | None = None
    given: Tensor | None = None
    passed: Tensor | None = None
    weight: Tensor | None = None


@dataclass(slots=True, eq=False)
class _Layer:
    """A message-passing layer as it was called on the unchanged graph."""

    module: MessagePassing
    forward: Callable[..., Tensor]
    propagate: Callable[..., Tensor]
    given: Tensor
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    answered: Tensor
    hops: list[_Hop] = field(default_factory=list)

    @property
    def is_sum(self) -> bool:
        """Whether everything that it passes on is a weighted sum over neighbours."""
        return all(hop.weight is not None for hop in self.hops)

    @property
    def edge_index(self) -> Tensor:
        """The arcs that it was handed, int64 [2, E]."""
        arcs = self.arguments[0] if self.arguments else self.keywords.get("edge_index")
        return _plain(arcs)

    def along(self, places: Tensor, local: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What it was called with beside the features, for some of its arcs, in other numbers."""
        arcs = self.edge_index

        def part(value: Any) -> Any:
            if value is arcs:
                return local
            along = isinstance(value, Tensor) and value.dim() and value.shape[0] == arcs.shape[1]
            return value[places] if along else value

        return tuple(map(part, self.arguments)), {name: part(value) for name, value in self.keywords.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A hop of the queries under way: the keys (query, node) that it can have changed, and the arcs to them."""

    before: Ints
    reached: Ints
    tail: Ints
    place: Ints
    head: Ints


@dataclass(slots=True, eq=False)
class _Pass:
    """One forward on the rows of some queries.

    Attributes:
        steps: every hop of the model.
        rows: keys of the rows that are carried now.
        changed: keys of those that can have changed.
        layer: how many layers ran.
        hop: how many hops they took.
    """

    steps: list[_Step]
    rows: Ints
    changed: Ints
    layer: int = 0
    hop: int = 0


class Push:
    """Logits of the nodes that a changed row can reach.

    Args:
        handle: a private copy of the model, of the features' type; its layers are replaced.
        graph: the graph that it is served on, without fields.
        whole: whether the rows of the last layer are carried from the first one on, which a model needs that adds or
            joins what several layers gave; otherwise each layer adds those that it reaches.

    Raises:
        CapabilityError: a layer is called in a way that is not followed.
    """

    def __init__(self, handle: ModelHandle, graph: Graph, *, whole: bool) -> None:
        self._handle, self._graph, self._whole = handle, graph, whole
        self._layers: list[_Layer] = []
        self._known: list[tuple[Tensor, bool, Arcs]] = []
        modules = [module for module in handle.model.modules() if isinstance(module, MessagePassing)]
        for module in modules:
            setattr(module, "forward", partial(self._record, module, module.forward))  # noqa: B010
        with torch.no_grad():
            handle.logits(graph.x, graph.edge_index, graph.edge_weight, None, graph.fields)
        for module in modules:
            setattr(module, "forward", partial(self._again, module))  # noqa: B010
        self._hops = [hop for layer in self._layers for hop in layer.hops]
        self._pass = _Pass([], np.empty(0, np.int64), np.empty(0, np.int64))

    def changed(self, nodes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each query, `rows[i]` in place of the features of `nodes[i]`: the nodes that it can reach.

        Returns:
            the query, the node and its logits: int64 [m], int64 [m] and [m, C].
        """
        own = np.arange(nodes.shape[0]) * self._graph.num_nodes + nodes.numpy()
        try:
            steps = self._reach(own)
        except TooWideError:
            half = nodes.shape[0] // 2
            first, second = self.changed(nodes[:half], rows[:half]), self.changed(nodes[half:], rows[half:])
            which, ids, logits = (torch.cat(each) for each in zip(first, second, strict=True))
            which[first[0].shape[0] :] += half
            return which, ids, logits
        keys, logits = self._run(own, steps, rows)
        return torch.from_numpy(keys // self._graph.num_nodes), self._nodes(keys), logits

    def _reach(self, own: Ints) -> list[_Step]:
        n, steps, before = self._graph.num_nodes, list[_Step](), own
        for hop in self._hops:
            tail, arc = hop.arcs.follow(before % n)
            if arc.size > ARCS and own.size > 1:
                raise TooWideError
            head = before[tail] // n * n + hop.arcs.end[arc]
            reached = _distinct(before, head, own.size * n)
            steps.append(_Step(before, reached, tail, hop.arcs.place[arc], head))
            before = reached
        return steps

    def _run(self, own: Ints, steps: list[_Step], rows: Tensor) -> tuple[Ints, Tensor]:
        graph, last = self._graph, steps[-1].reached if steps else own
        x, keys = rows, own
        if self._whole:
            x, keys = self._extended(graph.x, last, own, rows), last
        self._pass = _Pass(steps, keys, own)
        weight = None if graph.edge_weight is None else graph.edge_weight[:0]
        with torch.no_grad():
            logits = self._handle.logits(x, graph.edge_index[:, :0], weight)
        if self._pass.layer != len(self._layers) or logits.shape[0] != last.size:
            raise CapabilityError("the rows of this model cannot be computed apart")
        return last, logits

    def _nodes(self, keys: Ints) -> Tensor:
        return torch.from_numpy(keys % self._graph.num_nodes)

    def _extended(self, unchanged: Tensor, keys: Ints, own: Ints, rows: Tensor) -> Tensor:
        """The rows of `keys`: those of `own` as given, the others as they are on the unchanged graph."""
        found = unchanged[self._nodes(keys)]
        found[_places(own, keys)] = rows
        return found

    # --- on the unchanged graph ---------------------------------------------------------------------------------------

    def _record(
        self, module: MessagePassing, forward: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        if not isinstance(x, Tensor) or module.flow != "source_to_target":
            raise CapabilityError(f"{type(module).__name__} is called in a way that is not followed")
        layer = _Layer(module, forward, module.propagate, x, args, kwargs, x)
        setattr(module, "propagate", partial(self._record_hop, layer))  # noqa: B010
        layer.answered = forward(x, *args, **kwargs)
        setattr(module, "propagate", layer.propagate)  # noqa: B010
        if not layer.is_sum:
            if len(layer.hops) != 1:
                raise CapabilityError(f"{type(module).__name__} takes {len(layer.hops)} steps that are no sums")
            source, target = layer.edge_index
            layer.hops = [_Hop(self._arcs(source, target), self._arcs(target, source, back=True))]
        self._layers.append(layer)
        return layer.answered

    def _record_hop(self, layer: _Layer, edge_index: Any, **kwargs: Any) -> Tensor:
        passed: Tensor = layer.propagate(edge_index, **kwargs)
        source, target = _plain(edge_index)
        x = kwargs.get("x")
        given = x[0] if isinstance(x, tuple) else x
        weight = _sum_weights(layer.module, source, target, given, kwargs.get("edge_weight"), passed)
        arcs = self._arcs(source, target)
        layer.hops.append(_Hop(arcs) if weight is None else _Hop(arcs, None, given, passed, weight))
        return passed

    def _arcs(self, tail: Tensor, head: Tensor, *, back: bool = False) -> Arcs:
        both = torch.stack([tail, head])
        for known, way, arcs in self._known:
            if way == back and torch.equal(known, both):
                return arcs
        made = Arcs.of(tail, head, self._graph.num_nodes)
        self._known.append((both, back, made))
        return made

    # --- on the rows that queries reach -------------------------------------------------------------------------------

    def _again(self, module: MessagePassing, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        state = self._pass
        if state.layer >= len(self._layers) or self._layers[state.layer].module is not module:
            raise CapabilityError("layers are called in another order")
        layer = self._layers[state.layer]
        steps = state.steps[state.hop : state.hop + len(layer.hops)]
        reached = steps[-1].reached if steps else state.changed
        rows = state.rows if self._whole else reached
        given = state.rows
        # A GCN layer adds nothing of the node itself to its sum, so that it needs no other row than the changed ones.
        if not self._whole and type(module) is not GCNConv:
            x, given = self._extended(layer.given, rows, state.rows, x), rows
        if layer.is_sum:
            answer = self._summed(layer, x, given, rows, args, kwargs)
        else:
            answer = self._anew(layer, x, rows, steps[0])
        state.rows, state.changed, state.layer = rows, reached, state.layer + 1
        state.hop += len(layer.hops)
        return answer

    def _summed(
        self, layer: _Layer, x: Tensor, given: Ints, rows: Ints, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """The layer's own forward, in which every sum over neighbours is the old one and what changed in it.

        x has the rows of the keys `given`, the answer those of `rows`.
        """
        hops = iter(zip(layer.hops, self._pass.steps[self._pass.hop :], strict=False))

        def propagate(_edge_index: Any, **handed: Any) -> Tensor:
            hop, step = next(hops)
            assert hop.given is not None
            assert hop.passed is not None
            assert hop.weight is not None
            now = handed["x"][0] if isinstance(handed["x"], tuple) else handed["x"]
            change = now[_places(step.before, given)] - hop.given[self._nodes(step.before)]
            passed = hop.passed[self._nodes(rows)]
            _add(passed, _places(step.head, rows), change, torch.from_numpy(step.tail), hop.weight, step.place)
            return passed

        setattr(layer.module, "propagate", propagate)  # noqa: B010
        try:
            return layer.forward(x, *args, **kwargs)
        finally:
            setattr(layer.module, "propagate", layer.propagate)  # noqa: B010

    def _anew(self, layer: _Layer, x: Tensor, rows: Ints, step: _Step) -> Tensor:
        """The layer's own forward on the arcs into what it reaches; the other rows as they were."""
        (hop,), n = layer.hops, self._graph.num_nodes
        assert hop.back is not None
        tail, arc = hop.back.follow(step.reached % n)
        source = step.reached[tail] // n * n + hop.back.end[arc]
        near = np.unique(np.concatenate([step.reached, source]))
        given = self._extended(layer.given, near, step.before, x[_places(step.before, rows)])
        local = torch.stack([_places(source, near), _places(step.reached, near)[tail]])
        args, kwargs = layer.along(torch.from_numpy(hop.back.place[arc]), local)
        answer = layer.forward(given, *args, **kwargs)[_places(step.reached, near)]
        return self._extended(layer.answered, rows, step.reached, answer)


def _distinct(first: Ints, second: Ints, size: int) -> Ints:
    """The distinct keys of both, ascending, all below `size`: by a table, faster than any sort on dense graphs."""
    if size > TABLE:
        return np.unique(np.concatenate([first, second]))
    seen = np.zeros(size, dtype=np.bool_)
    seen[first] = seen[second] = True
    return np.flatnonzero(seen)


def _plain(edge_index: Any) -> Tensor:
    if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
        raise CapabilityError("a sparse adjacency is not followed")
    return edge_index


def _places(keys: Ints, among: Ints) -> Tensor:
    """Where sorted `among` holds each of `keys`, all of which are there."""
    return torch.from_numpy(np.searchsorted(among, keys))


def _sum_weights(
    module: MessagePassing, source: Tensor, target: Tensor, given: Any, weight: Any, passed: Tensor
) -> Tensor | None:
    """Weight of each arc, [E], where what was passed on is that weighted sum; None where it is none."""
    if not isinstance(given, Tensor) or given.dim() != 2 or given.shape != passed.shape:
        return None
    arcs = given.new_ones(source.shape[0]) if weight is None else weight.reshape(-1)
    if module.aggr == "mean":
        arcs = arcs / torch.bincount(target, minlength=given.shape[0]).clamp(min=1)[target]
    if arcs.shape != source.shape:
        return None
    found = torch.zeros_like(passed)
    _add(found, target, given, source, arcs)
    scale = float(passed.abs().max().clamp(min=1.0)) if passed.numel() else 1.0
    gap = float((found - passed).abs().max()) if passed.numel() else 0.0
    return arcs if gap <= LINEAR * scale else None


def _add(total: Tensor, to: Tensor, rows: Tensor, source: Tensor, weight: Tensor, places: Ints | None = None) -> None:
    """total[to] += weight * rows[source] in place, arc by arc; `places` of the weights where they are not in order."""
    weight = weight if places is None else weight[torch.from_numpy(places)]
    size = max(1, MESSAGES // max(1, rows.shape[1]))
    for start in range(0, to.shape[0], size):
        part = slice(start, start + size)
        total.index_add_(0, to[part], weight[part, None] * rows[source[part]])
