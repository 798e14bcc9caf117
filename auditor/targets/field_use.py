"""Whether what a parameter of forward is given changes an answer: tried on the graph, never read off its name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.targets.call import Call, Handed, Inputs, answers_of, pick
from auditor.targets.rng import forked_rng


@dataclass(frozen=True, slots=True)
class Idle:
    """Parameters whose field changes no answer: `dropped` can be left out, `given` have no default."""

    dropped: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()


def idle_parameters(model: nn.Module, answers: Sequence[tuple[Call, Tensor]], graph: Graph, whole: Graph) -> Idle:
    """The parameters whose field could hold anything, bit for bit, on this graph.

    Other numbers of the same type and range must leave every logit as it is, and so must leaving the argument out
    where it has a default: a forward that takes another path with it reads that it is there. Nothing is concluded from
    a network that gives every item the same answer.

    Args:
        model: as it was called.
        answers: one call, and the logits of each output that may hold the answers.
        graph: as that call reads it.
        whole: everything that there is; what is made on demand is no field of it.
    """
    call = answers[0][0]
    fields = [(n, s) for n, s in call.arguments if s == "edge_weight" or whole.fields.get(s) is not None]
    given = Inputs.of(graph).arguments(call)
    fields = [(name, slot) for name, slot in fields if name in given and given[name].numel()]
    if not fields or any(bool((logits == logits[0]).all()) for _, logits in answers):
        return Idle()
    optional = {p.name for p in inspect.signature(model.forward).parameters.values() if p.default is not p.empty}
    calls = [call for call, _ in answers]
    clean = _logits(model, given, calls, graph)
    dropped, still = set(), set()
    for name, _ in fields:
        other = _others(given[name])
        if other is None or not _equal(clean, _logits(model, {**given, name: other}, calls, graph)):
            continue
        if name not in optional:
            still.add(name)
            continue
        less = {key: value for key, value in given.items() if key != name}
        if _equal(clean, _logits(model, less, calls, graph)):
            dropped.add(name)
            given = less
    return Idle(frozenset(dropped), frozenset(still))


def ignores_the_split(model: nn.Module, answers: Sequence[tuple[Call, Tensor]], graph: Graph, name: str) -> bool:
    """Whether a forward that looks up the mask `name` answers alike with any: made-up ones are handed to it alone."""
    calls = [call for call, _ in answers]
    given = Inputs.of(graph).arguments(calls[0])
    clean = _logits(model, given, calls, graph)
    rng = torch.Generator().manual_seed(0)
    for share in (0.0, 0.5, 1.0):
        given = Inputs.of(graph).arguments(calls[0])
        for value in given.values():
            if isinstance(value, Handed):
                value[name] = torch.rand(graph.num_items, generator=rng) < share
        if not _equal(clean, _logits(model, given, calls, graph)):
            return False
    return True


def _logits(model: nn.Module, given: Mapping[str, Any], calls: Sequence[Call], graph: Graph) -> list[Tensor] | None:
    """Every answer of one forward, whose draws are the same each time; None where it does not run."""
    items = Inputs.of(graph).items
    try:
        with torch.no_grad(), forked_rng(0):
            out = model(**given)
        return [answers_of(pick(out, call.output, items), call.answers) for call in calls]
    except Exception:  # a user's forward may raise anything
        return None


def _equal(a: list[Tensor] | None, b: list[Tensor] | None) -> bool:
    if a is None or b is None:
        return False
    return all(x.shape == y.shape and torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b, strict=True))


def _others(value: Tensor) -> Tensor | None:
    """Other numbers of the same type: floats raised by up to their scale, others drawn from their range; None for one.

    A single whole number may be the only valid one.
    """
    rng = torch.Generator().manual_seed(0)
    if value.dtype == torch.bool:
        return ~value
    if value.is_floating_point():
        scale = float(value.nan_to_num(0.0, 0.0, 0.0).abs().max()) or 1.0
        return value + scale * torch.rand(value.shape, generator=rng)
    low, high = int(value.min()), int(value.max())
    if low == high:
        return None
    return torch.randint(low, high + 1, value.shape, generator=rng, dtype=value.dtype)
