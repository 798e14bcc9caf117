"""Whether the edges that a target is handed can change its answers. See docs/methods/robustness.md."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.targets.relabelling import TOLERANCE, Relabelling, apart, scale_of
from auditor.targets.rng import forked_rng
from auditor.targets.target import ModelHandle, Target

NAMED = 3
_INNER = ("_parameters", "_buffers", "_modules", "_store", "_mapping")
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), type, ModuleType)


@dataclass(frozen=True, slots=True)
class EdgeUse:
    """What the edges that are handed in do to the answers.

    Attributes:
        kind: `used`: they change them, however little. `unused`: no edge can. `doubtful`: they change nothing, and yet
            the model may use edges: of its own, or how many there are.
        evidence: what was seen.
    """

    kind: Literal["used", "unused", "doubtful"]
    evidence: str

    @classmethod
    def of(cls, target: Target, rng: np.random.Generator) -> EdgeUse:
        """Tried on the target's own graph, which has an edge, with one copy of the model whose caches are dropped.

        `unused` needs all of: logits equal, bit for bit, on the graph, on as many random edges, without edges, on a
        single one and on twice as many; not the same ones for every item, for a network that is dead here may not be
        elsewhere; nothing that the model holds by then has a side that counts nodes or edges (a graph of its own, or
        one that it kept from the first call); and another order of the nodes is nothing but another order of the
        answers, which finds a graph that is kept elsewhere.
        """
        graph, handle = target.graph, target.handle()
        with forked_rng():  # a model that draws in eval mode draws from the global generators
            clean = _logits(handle, graph)
            many = graph.num_edges
            if moved := _moved(handle, redrawn(graph, many, rng), clean):
                return cls("used", f"{many} random edges move logits by {moved:.2g}")
            others = {
                "without edges": graph.keeping(torch.empty(0, dtype=torch.int64)),
                "on a single random one": redrawn(graph, 1, rng),
                "on twice as many": redrawn(graph, 2 * many, rng),
            }
            equal = f"logits are equal, bit for bit, on the graph and on {many} random edges"
            for where, other in others.items():
                if moved := _moved(handle, other, clean):
                    evidence = f"{equal}, and move by {moved:.2g} {where}: the number of edges changes the answers"
                    return cls("doubtful", evidence)
            equal = f"{equal}, {', '.join(others)}"
            if bool((clean == clean[0]).all()):
                evidence = f"{equal}; but every item gets the same ones: a network that is dead on these graphs"
                return cls("doubtful", f"{evidence} may not be on others")
            if held := _held(handle.model, _counts(graph)):
                return cls("doubtful", f"{equal}; but {', '.join(held[:NAMED])}: the model may use a graph of its own")
            if moved := _order_matters(target, clean, rng):
                evidence = f"{equal}; but another order of the nodes moves them by {moved:.2g}"
                return cls("doubtful", f"{evidence}: the model may use a graph of its own")
        return cls(
            "unused",
            f"no edge can change an answer: {equal}; the model holds nothing with a side of {graph.num_nodes} nodes or "
            f"{many} edges",
        )


def beside(graph: Graph, nodes: Tensor, rng: np.random.Generator) -> Tensor:
    """A uniform node of the graph that each of `nodes` (int64 [k]) lies in, int64 [k]."""
    if graph.batch is None:
        return torch.from_numpy(rng.integers(0, graph.num_nodes, nodes.numel()))
    sizes = torch.bincount(graph.batch)
    owner = graph.batch[nodes]
    offset = torch.from_numpy(rng.random(nodes.numel())) * sizes[owner]
    return (sizes.cumsum(0) - sizes)[owner] + offset.long().clamp(max=sizes[owner] - 1)


def redrawn(graph: Graph, count: int, rng: np.random.Generator) -> Graph:
    """The same nodes with `count` random arcs; each has weight and fields of some arc, and ends in the same graph."""
    drawn = graph.keeping(torch.from_numpy(rng.integers(0, graph.num_edges, count)))
    anywhere = drawn.edge_index[0]
    return replace(drawn, edge_index=torch.stack([beside(graph, anywhere, rng) for _ in range(2)]))


def _logits(handle: ModelHandle, graph: Graph) -> Tensor:
    with torch.no_grad():
        return handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)


def _moved(handle: ModelHandle, graph: Graph, clean: Tensor) -> float:
    """Largest change of a logit; 0 where all are equal."""
    return float(apart(_logits(handle, graph), clean).max())


def _order_matters(target: Target, clean: Tensor, rng: np.random.Generator) -> float:
    """How far another order of the nodes moves logits, beyond what summing in another order does."""
    graph, order = target.graph, Relabelling.draw(target.graph, rng)
    handle = target.handle() if graph.batch is not None else target.with_nodes(order.nodes)
    moved = _moved(handle, order.graph(graph), order.answers(clean, graph))
    return moved if moved > TOLERANCE * scale_of(clean) else 0.0


def _counts(graph: Graph) -> dict[int, str]:
    """Sides that a stored graph has: of a matrix, of a list of arcs or pairs, with and without loops, also flat."""
    n = graph.num_nodes
    proper, pairs = int(graph.arc_keys(include_loops=False).numel()), int(graph.pair_keys().numel())
    edges = {count for lines in (graph.num_edges, proper, pairs, 2 * pairs) for count in (lines, lines + n, 2 * lines)}
    return {**dict.fromkeys(edges - {0}, "edges"), n: "nodes", n * n: "pairs of nodes"}


def _held(model: nn.Module, counts: Mapping[int, str]) -> list[str]:
    """What the model holds with such a side: `conv.adj [2, 10556] has a side that counts edges`."""
    found = []
    for name, shape in _sized(model, "", {}):
        counted = [counts[side] for side in shape if side in counts]
        if counted:
            found.append(f"{name} {list(shape)} has a side that counts {counted[0]}")
    return found


def _sized(value: Any, name: str, seen: dict[int, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every array and container inside `value`: parameters, buffers, attributes of any depth.

    Nothing of the user's is called: tensors, arrays and Python's own containers say their size, of anything else the
    attributes are looked at.
    """
    if id(value) in seen or isinstance(value, _PLAIN):
        return
    seen[id(value)] = value  # held, so that its id is nobody else's
    if isinstance(value, Tensor | np.ndarray):
        yield name, tuple(value.shape)
        return
    if isinstance(value, dict | list | tuple | set | frozenset | deque | range):
        yield name, (len(value),)
    if isinstance(value, range):
        return
    for key, part in _parts(value):
        inner = str(key) not in _INNER
        yield from _sized(part, ".".join(filter(None, (name, str(key)))) if inner else name, seen)


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """Contents of a container, or attributes of anything else."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(enumerate(value))
    slots = [slot for kind in type(value).__mro__ for slot in vars(kind).get("__slots__", ()) if hasattr(value, slot)]
    return [*getattr(value, "__dict__", {}).items(), *((slot, getattr(value, slot)) for slot in slots)]
