"""Whether a model has a row per node of its graph: an embedding of node ids, a layer on rows of the adjacency.

Such a model knows these nodes only. The test is exact: relabelling the nodes moves its answers, and no longer does when
its tensors with a side of that length are permuted along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.targets.relabelling import TOLERANCE, Relabelling, apart, scale_of
from auditor.targets.rng import forked_rng
from auditor.targets.target import ModelHandle, ServedModel

MAX_ALONE = 16


@dataclass(frozen=True, slots=True)
class NodeTable:
    """Tensors that have a row per node.

    Attributes:
        tensors: each with its shape, `emb.weight [400, 16]`.
        moved: how far relabelling alone moves the logits.
        left: how far it moves them when these tensors are permuted along.
    """

    tensors: tuple[str, ...]
    moved: float
    left: float


@dataclass(frozen=True, slots=True)
class _Side:
    """One axis of one tensor of a model that is as long as there are nodes."""

    name: str
    axis: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A tensor that a model holds, and how to put another one in its place."""

    name: str
    value: Tensor
    put: Callable[[Tensor], None]


def may_have_a_table(model: nn.Module, num_nodes: int) -> bool:
    """Whether any tensor of the model has a side of that length; costs no forward."""
    return bool(_sides(model, num_nodes))


def find_node_table(
    model: nn.Module, graph: Graph, *, relabelling: Relabelling | None = None, clean: Tensor | None = None
) -> NodeTable | None:
    """The tensors with a row per node, None for a model without.

    Args:
        model: called by the contract; left as it is.
        graph: one graph; many graphs have no nodes to know.
        relabelling: which to try; None for one with a fixed seed.
        clean: logits on `graph`; None to compute them.
    """
    if graph.batch is not None:
        return None
    sides = _sides(model, graph.num_nodes)
    if not sides:
        return None
    order = relabelling or Relabelling.draw(graph, np.random.default_rng(0))
    moved = order.graph(graph)
    with forked_rng():
        try:
            clean = _answer(ModelHandle(model), graph) if clean is None else clean
            expected, scale = order.answers(clean, graph), scale_of(clean)

            def left(chosen: Sequence[_Side]) -> float:
                own = model.with_nodes(order.nodes) if isinstance(model, ServedModel) else model
                handle = ModelHandle(own)
                _permute(handle.model, order.nodes, chosen)
                return float(apart(_answer(handle, moved), expected).max())

            alone = left(())
            if alone <= TOLERANCE * scale:
                return None
            tried = [*([side] for side in sides[:MAX_ALONE]), sides]
            found = next((chosen for chosen in tried if left(chosen) <= TOLERANCE * scale), None)
            if found is None:
                return None
            for side in list(found) if 1 < len(found) <= MAX_ALONE else ():
                fewer = [other for other in found if other is not side]
                if fewer and left(fewer) <= TOLERANCE * scale:
                    found = fewer
            names = dict.fromkeys(f"{side.name} {list(side.shape)}" for side in found)
            return NodeTable(tuple(names), alone, left(found))
        except (AuditorError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            return None  # a user's forward may fail in any of these ways on another order


def _answer(handle: ModelHandle, graph: Graph) -> Tensor:
    with torch.no_grad():
        return handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)


def _sides(model: nn.Module, num_nodes: int) -> list[_Side]:
    return [
        _Side(held.name, axis, tuple(held.value.shape))
        for held in _held(model)
        for axis, length in enumerate(held.value.shape)
        if length == num_nodes
    ]


def _permute(model: nn.Module, order: Tensor, chosen: Sequence[_Side]) -> None:
    """Permutes axes of the model's tensors, in place."""
    for held in list(_held(model)) if chosen else ():
        value = held.value
        for side in chosen:
            if side.name == held.name:
                value = value.index_select(side.axis, order)
        if value is not held.value:
            held.put(value)


def _held(model: nn.Module) -> Iterator[_Held]:
    """Every dense tensor of a model once: parameters, buffers, plain attributes, those in lists and dicts of them."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for key, value, put in _own(module):
            if is_lazy(value) or value.layout != torch.strided or id(value) in seen:
                continue
            seen.add(id(value))
            yield _Held(f"{prefix}.{key}" if prefix else key, value, put)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor, Callable[[Tensor], None]]]:
    """What one module holds itself."""
    for key, parameter in module._parameters.items():
        if parameter is not None:
            yield key, parameter, _setter_of_data(parameter)
    for owner in (module._buffers, module.__dict__):
        for key, value in list(owner.items()):
            if isinstance(value, Tensor):
                yield key, value, _setter(owner, key)
            elif isinstance(value, list):
                yield from ((f"{key}.{i}", v, _setter(value, i)) for i, v in enumerate(value) if isinstance(v, Tensor))
            elif isinstance(value, dict) and not key.startswith("_"):
                yield from ((f"{key}.{k}", v, _setter(value, k)) for k, v in value.items() if isinstance(v, Tensor))


def _setter_of_data(parameter: Tensor) -> Callable[[Tensor], None]:
    def put(value: Tensor) -> None:
        parameter.data = value.data

    return put


def _setter(owner: Any, key: Any) -> Callable[[Tensor], None]:
    def put(value: Tensor) -> None:
        owner[key] = value

    return put
