"""Whether a model holds anything as long as its graph: a model without it, and blind to edges, knows features alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import isroutine
from types import ModuleType
from typing import Any

from torch import nn

from auditor.data.graph import Graph

DEPTH = 4


def graph_trace(model: nn.Module, graph: Graph) -> str:
    """`conv.adj [400, 400]`: the first thing in the model with a side of N, E, E + N or E / 2; empty for none.

    Parameters, buffers and attributes of every module count, with what lies inside containers and plain objects:
    tensors of any layout, arrays, lists, graphs. What a closure holds is not seen.
    """
    n, e = graph.num_nodes, graph.num_edges
    lengths = {n, e, e + n, e // 2} - {0, 1, 2}
    for prefix, module in model.named_modules():
        own = {key: value for key, value in vars(module).items() if key != "_modules"}
        for name, shape in _shapes(own, prefix, DEPTH):
            if lengths & set(shape):
                return f"{name} {list(shape)}"
    return ""


def _shapes(value: Any, name: str, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, sides) of everything inside `value` that has sides."""
    sides = getattr(value, "shape", None)
    if isinstance(sides, tuple):  # a tensor's size is one too
        yield name, tuple(sides)
        return
    if isinstance(value, Mapping):
        parts: dict[Any, Any] = dict(value)
    elif isinstance(value, list | tuple | set):
        yield name, (len(value),)
        parts = dict(enumerate(value))
    elif isinstance(value, nn.Module | type | ModuleType) or isroutine(value):
        return
    elif is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        parts = getattr(value, "__dict__", {})
    for key, part in parts.items() if depth else ():
        hidden = str(key) in ("_parameters", "_buffers")
        yield from _shapes(part, name if hidden else f"{name}.{key}".lstrip("."), depth - 1)
