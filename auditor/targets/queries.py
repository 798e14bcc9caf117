"""Queries: what a service answers when the features of one node change, on the graph that it is served on.

Whoever asks holds a `Queries`, which names the oracle behind it and holds nothing: the oracle reads the private edges,
and the harness runs it. Every call is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from auditor.errors import AuditorError, CapabilityError, SkippedError
from auditor.targets.push import Arcs, Ints, Push
from auditor.targets.target import AnswersFromRelease, ModelHandle, ServedModel, Target
from auditor.tasks import log_probabilities, output_kind

Engine = Literal["full", "ball", "push"]
COMPARED = 20
"""Nodes on which a cheaper way to answer is compared with the model itself."""
UNCHANGED = 3
"""Nodes that are asked about with the row that they have."""
APART = 1e-9
"""How far the two may be apart, on the scale of the logits, in float64."""
ROUNDING = 1e-13
"""A logit has changed when it moved by more than this of the scale: what differs by the order of a sum has not."""
SINGLE = 1e-6
"""The resolution of answers that can be had in float32 alone."""
WORTH_IT = 0.5
"""Share of the arcs above which a subgraph is no cheaper than the graph."""
FAILURES = (AuditorError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What a user's forward may raise on a part of its graph, or in another precision."""

Changed = tuple[Tensor, Tensor, Tensor]
"""The query, the node and the row of each answer, in this order: int64 [m], int64 [m] and [m, C]."""


@dataclass(frozen=True, slots=True)
class QueryCheck:
    """What is known of an oracle before anybody asks it.

    Attributes:
        engine: how it answers.
        apart: how far its answers were from the model's own on `COMPARED` nodes, in logits; 0 for `full`.
        moved: how many answers changed though no row did.
    """

    engine: Engine
    apart: float
    moved: int


class Queries:
    """A service that can be asked what changes when one node's features do: `query(v, row) -> (ids, rows)`.

    An opaque handle: it holds neither model nor graph.
    """

    __slots__ = ("__weakref__", "count")

    def __init__(self) -> None:
        self.count = 0
        """Queries so far."""

    @property
    def answers(self) -> Tensor:
        """What is answered on the unchanged graph, float64 [N, C]; it changes nothing and counts as no query."""
        return _ORACLES[self].answers.clone()

    @property
    def outputs(self) -> str:
        """`probs` or `logits`: what is answered."""
        return _ORACLES[self].outputs

    @property
    def resolution(self) -> float:
        """The smallest step that answers can take: of a service that rounds, or of float32; 0 for exact ones."""
        return _ORACLES[self].resolution

    @property
    def checked(self) -> QueryCheck:
        """How it was checked."""
        return _ORACLES[self].checked

    def __call__(self, v: int, row: Tensor) -> tuple[Tensor, Tensor]:
        """Answers that change when node v's features become `row` [F]: ids int64 [m] ascending, rows [m, C]."""
        _which, ids, rows = self.many(torch.tensor([v]), row[None, :])
        return ids, rows

    def many(self, nodes: Tensor, rows: Tensor) -> Changed:
        """One query for each of `nodes` int64 [q] with `rows` [q, F]; each changes its own node alone."""
        self.count += nodes.shape[0]
        return _ORACLES[self].ask(nodes, rows)


def open_queries(target: Target, *, outputs: str, digits: int | None) -> Queries:
    """A handle to the service that `target` is; it lives as long as the handle.

    Args:
        target: whose graph is served; many graphs cannot be asked so.
        outputs: `probs` or `logits`.
        digits: decimals that the service rounds to; None for exact.
    """
    handle = Queries()
    _ORACLES[handle] = Oracle(target, outputs=outputs, digits=digits)
    return handle


def check_features(target: Target) -> None:
    """Raises SkippedError where no row of features could be changed to see what follows."""
    graph, named = target.graph, f"queries change the features of a node; {target.name}"
    if not graph.num_features:
        raise SkippedError(f"{named} has none.")
    if graph.whole_x:
        raise SkippedError(f"{named} reads whole numbers (ids or categories), which cannot be made a little larger.")
    with torch.no_grad():
        model = target.beneath()
        moved = model.logits(2 * graph.x + 1, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    if torch.equal(moved, model.clean_logits()):
        table = (
            f" It has a row of its own for each node ({', '.join(target.fixed_nodes)})." if target.fixed_nodes else ""
        )
        raise SkippedError(f"{named} answers the same whatever they are.{table}")


class _Computes(Protocol):
    """A way to compute logits [m, C] after one row of features changed; see `Changed`."""

    def changed(self, nodes: Tensor, rows: Tensor) -> Changed:
        """Of every node that may have changed."""
        ...


class Oracle:
    """Answers queries in the cheapest way that agrees with the model itself.

    Everything is computed on the CPU, in float64 where the model can be: with sums in whatever order an accelerator
    takes them, every answer would change a little at every query.
    """

    def __init__(self, target: Target, *, outputs: str, digits: int | None) -> None:
        self.outputs, self._digits = outputs, digits
        inner = target.beneath()
        self._coarse = tuple(target.coarsening.values())
        self._full, exact = _full(inner)
        self._logits = self._full.logits
        self._scale = max(1.0, float(self._logits.nan_to_num(0, 0, 0).abs().max()))
        self._kind = output_kind(self._served_logits(self._logits))
        self.answers = self._served(self._logits)
        known = [each for each in (digits, target.served_digits) if each is not None]
        self.resolution = 10.0 ** -min(known) if known else 0.0 if exact else SINGLE
        self._engine: _Computes = self._full
        self.checked = self._choose(inner)

    def ask(self, nodes: Tensor, rows: Tensor) -> Changed:
        """See `Queries.many`."""
        which, ids, logits = self._engine.changed(nodes, rows.to(self._full.graph.x.dtype))
        before = self._logits[ids]
        gap = (logits - before).abs().amax(dim=1)
        moved = gap > self._floor
        odd = torch.nonzero(gap.isnan()).flatten()  # what was no number before has not moved by being none
        own, was = logits[odd], before[odd]
        moved[odd] = (((own - was).abs() > self._floor) | (own.isnan() != was.isnan())).any(dim=1)
        if not moved.all():
            which, ids, logits = which[moved], ids[moved], logits[moved]
        served = self._served(logits)
        kept = (served != self.answers[ids]).any(dim=1)
        return which[kept], ids[kept], served[kept]

    @property
    def _floor(self) -> float:
        return 0.0 if self._engine is self._full else ROUNDING * self._scale

    def _served_logits(self, logits: Tensor) -> Tensor:
        for part in self._coarse:
            logits = part(logits)
        return logits

    def _served(self, logits: Tensor) -> Tensor:
        """What is answered where these logits [m, C] are computed, float64 [m, C]."""
        z = self._served_logits(logits)
        answer = z.double() if self.outputs == "logits" else log_probabilities(z, kind=self._kind).exp()
        return answer if self._digits is None else answer.round(decimals=self._digits)

    def _choose(self, target: Target) -> QueryCheck:
        """Compares every way that may do with the model itself, on nodes spread over the graph; the first that agrees.

        Half of them are ends of edges, since where most nodes have none a way that forgets edges would agree on the
        others. Rows are doubled there: a large change also shows what is not linear.
        """
        full = self._full
        graph, n = full.graph, full.graph.num_nodes
        some = torch.linspace(0, graph.num_edges - 1, COMPARED // 2 if graph.num_edges else 0).long()
        spread = torch.linspace(0, n - 1, COMPARED // 2).long()
        nodes = torch.unique(torch.cat([spread, graph.edge_index[0, some]]))
        moved = int(full.changed(nodes[:UNCHANGED], graph.x[nodes[:UNCHANGED]])[0].numel())
        if moved or isinstance(target.model, ServedModel | AnswersFromRelease) or target.fixed_nodes or graph.fields:
            return QueryCheck("full", 0.0, moved)
        rows = 2 * graph.x[nodes] + graph.x.mean(dim=0)
        truth = full.changed(nodes, rows)
        ways: tuple[tuple[Engine, Callable[[], _Computes]], ...] = (
            ("push", lambda: Push(full.copy(), graph, whole=False)),
            ("push", lambda: Push(full.copy(), graph, whole=True)),
            ("ball", lambda: Ball(full, nodes, truth)),
        )
        for name, make in ways:
            try:
                engine = make()
                apart = self._apart(engine.changed(nodes, rows), truth)
            except FAILURES:
                continue
            if apart <= APART * self._scale:
                self._engine = engine
                return QueryCheck(name, apart, moved)
        return QueryCheck("full", 0.0, moved)

    def _apart(self, found: Changed, truth: Changed) -> float:
        """The largest difference of two answers to the same queries, every node counted."""
        n = self._full.graph.num_nodes
        keys = [which * n + ids for which, ids, _logits in (found, truth)]
        every = torch.unique(torch.cat(keys))
        tables = [self._logits[every % n] for _ in keys]
        for table, own, (_which, _ids, logits) in zip(tables, keys, (found, truth), strict=True):
            table[torch.searchsorted(every, own)] = logits
        gap = (tables[0] - tables[1]).abs()
        return float(gap.nan_to_num(nan=float("inf")).max()) if gap.numel() else 0.0


class Full:
    """The model itself, one forward a query: the reference."""

    def __init__(self, target: Target, dtype: torch.dtype) -> None:
        self._target, self._dtype = target, dtype
        given = target.graph

        def cast(part: Tensor) -> Tensor:
            return part.to(dtype) if torch.is_floating_point(part) else part

        weight = None if given.edge_weight is None else cast(given.edge_weight)
        unlabelled = torch.zeros_like(given.y)
        fields = given.fields.each(cast)
        self.graph = replace(given, x=given.x.to(dtype), y=unlabelled, edge_weight=weight, fields=fields)
        self._handle = self.copy()
        self.logits = self._run(self.graph.x)

    def copy(self) -> ModelHandle:
        """The model alone, in this precision."""
        handle = ModelHandle(self._target.model, embedding_layer=self._target.embedding_layer)
        handle.model.to(self._dtype)
        return handle

    def changed(self, nodes: Tensor, rows: Tensor) -> Changed:
        """Of every node whose logits are not exactly what they were; see `Changed`."""
        x, parts = self.graph.x.clone(), list[Changed]()
        for query, (v, row) in enumerate(zip(nodes.tolist(), rows, strict=True)):
            x[v] = row
            logits = self._run(x)
            x[v] = self.graph.x[v]
            moved = (logits != self.logits) & ~(logits.isnan() & self.logits.isnan())
            ids = torch.nonzero(moved.any(dim=1)).flatten()
            parts.append((torch.full_like(ids, query), ids, logits[ids]))
        which, ids, found = (torch.cat(each) for each in zip(*parts, strict=True))
        return which, ids, found

    def _run(self, x: Tensor) -> Tensor:
        g, model = self.graph, self._handle.model
        with torch.no_grad():
            if isinstance(model, AnswersFromRelease):
                return model.from_release(x)
            return self._handle.logits(x, g.edge_index, g.edge_weight, None, g.fields)


class Ball:
    """The model on what lies around a node: all that reaches the nodes whose answers it can move, and their degrees.

    With L the farthest that an answer was seen to move, answers within L hops are read off the induced subgraph of
    2 L + 1 hops: at 2 L hops the nodes at the rim would lack neighbours that a normalisation by degrees counts.

    Raises:
        CapabilityError: answers move where no path leads, or the balls are no smaller than the graph.
    """

    def __init__(self, full: Full, nodes: Tensor, truth: Changed) -> None:
        self._handle, self._graph = full.copy(), full.graph
        source, target = self._graph.edge_index
        n = self._graph.num_nodes
        self._out = Arcs.of(source, target, n)
        self._both = Arcs.of(torch.cat([source, target]), torch.cat([target, source]), n)
        self._hops = 0
        for query, v in enumerate(nodes.tolist()):
            depth = self._depths(v, n)
            seen = depth[truth[1][truth[0] == query].numpy()]
            if (seen < 0).any():
                raise CapabilityError("answers move where no path leads")
            self._hops = max(self._hops, int(seen.max(initial=0)))
        arcs = sum(self._inside(v)[1].size for v in nodes.tolist()) / nodes.shape[0]
        if arcs > WORTH_IT * self._graph.num_edges:
            raise CapabilityError("what lies around a node is most of the graph")

    def changed(self, nodes: Tensor, rows: Tensor) -> Changed:
        """Of every node within reach; see `Changed`."""
        parts = list[Changed]()
        for query, (v, row) in enumerate(zip(nodes.tolist(), rows, strict=True)):
            ids, arcs, depth = self._inside(v)
            inside = torch.from_numpy(ids)
            part = self._graph.taking(inside, inside, torch.from_numpy(arcs))
            x = part.x.clone()
            x[int(np.searchsorted(ids, v))] = row
            with torch.no_grad():
                logits = self._handle.logits(x, part.edge_index, part.edge_weight, None, part.fields)
            near = torch.from_numpy(depth <= self._hops)
            parts.append((torch.full_like(inside[near], query), inside[near], logits[near]))
        which, found, logits = (torch.cat(each) for each in zip(*parts, strict=True))
        return which, found, logits

    def _inside(self, v: int) -> tuple[Ints, Ints, Ints]:
        """Ids of the ball around v, ascending, places of the arcs inside it, and the depth of each id."""
        depth = self._depths(v, 2 * self._hops + 1)
        ids = np.flatnonzero(depth >= 0)
        _of, arc = self._out.follow(ids)
        inside = arc[depth[self._out.end[arc]] >= 0]
        return ids, np.sort(self._out.place[inside]), depth[ids]

    def _depths(self, v: int, most: int) -> Ints:
        """Hops from v to each node, whichever way an arc leads, int64 [N]; -1 beyond `most`."""
        depth = np.full(self._graph.num_nodes, -1)
        depth[v], front = 0, np.array([v])
        for hop in range(1, most + 1):
            _of, arc = self._both.follow(front)
            front = np.unique(self._both.end[arc])
            front = front[depth[front] < 0]
            if not front.size:
                break
            depth[front] = hop
        return depth


def _full(target: Target) -> tuple[Full, bool]:
    """The model itself, and whether it runs in float64."""
    try:
        return Full(target, torch.float64), True
    except FAILURES:
        return Full(target, torch.float32), False


_ORACLES: WeakKeyDictionary[Queries, Oracle] = WeakKeyDictionary()
"""What answers each handle: here, and not in it, so that no view leads to a private edge."""
