"""Why forward cannot be audited as it is, in words: it does not run, or what it returns holds no scores."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.data.named import LISTS, MASKS, SPLITS
from auditor.errors import CallError
from auditor.targets.call import DATA, AbsentError, Call, Inputs, parts_of

SHOWN = 6
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
ADAPTER = "give an adapter(model, data) that does"


class NotRunError(CallError):
    """Forward raised, and no test tells why."""


def held_by(graph: Graph) -> str:
    """Names of everything that a graph holds."""
    held = ["x"] * bool(graph.num_features) + ["edge_index"] + ["edge_weight"] * (graph.edge_weight is not None)
    return ", ".join([*held, *(name for name, _ in graph.fields), "y"])


def unnamed(model: nn.Module) -> str:
    """`forward(x, *args)` where some arguments of forward cannot be given by name; empty where all can."""
    signature = inspect.signature(model.forward)
    if all(p.kind in NAMED for p in signature.parameters.values()):
        return ""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return f"forward{inspect.Signature(bare)}"


def no_names(model: nn.Module) -> CallError:
    """Nothing tells which field each argument takes."""
    return CallError(
        f"{unnamed(model)} does not name its arguments, so that nothing tells which field of the graph each takes. "
        "Name them, as in forward(self, x, edge_index), or give an adapter(model, data) that calls it."
    )


def reads_labels(what: str) -> CallError:
    """Forward wants what it has to predict; `what` is how."""
    return CallError(
        f"forward {what}, the labels. They are never handed to a model that is audited: its answers must not depend "
        "on them. Compute the loss outside of forward, or give an adapter(model, data) that calls it without them."
    )


def does_not_run(model: nn.Module, call: Call, prepared: Graph, graph: Graph, error: Exception) -> CallError:
    """The cause of what forward raised where a test tells it, else what it raised.

    Args:
        model: as it was called.
        call: how.
        prepared: the graph that it was called on.
        graph: everything that there is.
        error: what came of it.
    """
    if isinstance(error, CallError):
        return error
    if isinstance(error, AbsentError):
        return _absent(error.name, graph)
    if DATA & call.fields and _runs_with_labels(model, call, prepared):
        return reads_labels("reads data.y")
    shapes = f"x {list(graph.x.shape)}, edge_index {list(graph.edge_index.shape)}"
    extra = "".join(f", {name} {list(value.shape)}" for name, value in graph.fields)
    hint = f"{written} has arguments without names, which are given nothing. " if (written := unnamed(model)) else ""
    return NotRunError(
        f"the model cannot be run on {graph.name} ({shapes}{extra}): {type(error).__name__}: {error}. {hint}Give the "
        "graph that it was trained on, with the same columns; or say in [call] which field each parameter of forward "
        "takes; or return (module, adapter) from the factory."
    )


def is_withheld(name: str, how: str) -> CallError:
    """Forward wants something that is in the data and is not handed on; `how` it does."""
    if name in (*MASKS, *LISTS, *SPLITS):
        return CallError(
            f"forward {how}, which items it was trained or tested on. That is never handed to a model that is "
            f"audited. Answer for every item and choose among them outside of forward, or {ADAPTER}."
        )
    return CallError(
        f"forward {how}, which is in the data and cannot be handed on: it is neither a tensor nor an array, a number "
        f"or a list of numbers. Save what forward needs of it as a tensor, or {ADAPTER}."
    )


def _absent(name: str, graph: Graph) -> CallError:
    if name == "y":
        return reads_labels("reads data.y")
    if name in (*MASKS, *LISTS, *SPLITS, *graph.withheld):
        return is_withheld(name, f"reads data.{name}")
    return CallError(
        f"forward reads data.{name}; the graph holds {held_by(graph)}. Save {name} in the graph under that name, or "
        "give an adapter(model, data) that makes it."
    )


def _runs_with_labels(model: nn.Module, call: Call, graph: Graph) -> bool:
    arguments = Inputs.of(graph).arguments(call)
    for name, slot in call.arguments:
        if slot in DATA:
            arguments[name].y = graph.y
    try:
        with torch.no_grad():
            model(**arguments)
    except Exception:  # a user's forward may raise anything
        return False
    return True


def holds_scores(part: Any, items: int) -> bool:
    """Whether `part` is logits or probabilities: a dense tensor of floats [n], [n, 1] or [n, C], n = `items`."""
    return _flaw(part) is None and part.dim() in (1, 2) and part.shape[0] == items


def no_scores(out: Any, graph: Graph) -> CallError:
    """What forward returned instead of logits, and what to return."""
    what = "node" if graph.batch is None else "graph"
    parts = parts_of(out)
    seen = ", ".join(f"{key}: {_words(part)}" for key, part in list(parts.items())[:SHOWN]) or _words(out)
    seen += f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    shown = next((part for part in parts.values() if isinstance(part, Tensor)), out)
    flaw = _flaw(shown)
    remedy = f"For graph classification set [model] readout, or save y with one label per {what}."
    if isinstance(shown, Tensor) and shown.dim() == 2 and shown.shape[1] == graph.num_items:
        remedy = f"It has a column per {what}: return its transpose, or {ADAPTER}."
    elif isinstance(shown, Tensor) and graph.batch is not None and shown.dim() == 2 and shown.shape[0] == 1:
        remedy = (
            "It takes all graphs for one. A model of dense graphs [B, n, n], as of DiffPool, needs an "
            "adapter(model, data) that makes them with to_dense_batch and to_dense_adj; any other has to read batch."
        )
    return CallError(
        f"forward returns {seen}; logits or probabilities [{graph.num_items}, C] are needed, one row per {what}. "
        f"{remedy if flaw is None else flaw[1]}"
    )


def _words(part: Any) -> str:
    """`class numbers (int64 [80])`, `numpy.ndarray [80, 3]`, `None`; the shape alone of floats."""
    flaw, shape = _flaw(part), list(getattr(part, "shape", ()))
    if flaw is None:
        return str(shape)
    if isinstance(part, Tensor):
        return f"{flaw[0]} ({str(part.dtype).removeprefix('torch.')} {shape})"
    return f"{flaw[0]} {shape}" if shape else flaw[0]


def _flaw(part: Any) -> tuple[str, str] | None:
    """(what a part is, what to return in its place); None for a dense tensor of floats."""
    if not isinstance(part, Tensor):
        kind = type(part)
        place = "" if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}."
        word = "nothing (None)" if part is None else f"{place}{kind.__qualname__}"
        return word, f"Return the tensor of scores from forward, or {ADAPTER}."
    if part.layout != torch.strided:
        return "a sparse tensor", f"Return it dense (.to_dense()), or {ADAPTER}."
    if part.is_complex():
        return "complex numbers", f"Return real scores, or {ADAPTER}."
    chosen = f"Return the scores that they were chosen by, without argmax or a threshold, or {ADAPTER}."
    if part.dtype == torch.bool:
        return "yes or no", chosen
    one_column = part.dim() < 2 or part.shape[1:].numel() == 1
    if not part.is_floating_point():
        return "class numbers" if one_column else "whole numbers", chosen
    if one_column and bool((part == part.round()).all() and (part != part[0]).any()):
        return "class numbers", chosen  # as floats: no column of scores is whole throughout
    return None
