"""Which calls of a forward the rules allow: every parameter gets what the graph holds for it.

The rules choose; nothing is chosen for being the most accurate. What they cannot decide is decided by something that
the user knows, or asked (see `auditor.targets.resolve` and docs/methods/call-convention.md).
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from auditor.data.graph import Graph
from auditor.data.named import LISTS, MASKS, SPLITS
from auditor.errors import CallError, ConfigError, TaskError, nearest
from auditor.targets.call import (
    ADJACENCIES,
    DATA,
    FLAT,
    WEIGHTED,
    WITH_ADJ_T,
    AbsentError,
    Call,
    Handed,
    Inputs,
    answers_of,
    parts_of,
    pick,
)
from auditor.targets.call_failures import (
    NAMED,
    NotRunError,
    does_not_run,
    held_by,
    holds_scores,
    is_withheld,
    no_names,
    no_scores,
    reads_labels,
)
from auditor.targets.field_use import Idle, idle_parameters, ignores_the_split
from auditor.tasks import output_kind

NAMES: Mapping[str, tuple[str, ...]] = {
    "x": (
        "x",
        "feat",
        "feats",
        "features",
        "node_feat",
        "node_features",
        "node_attr",
        "node_feats",
        "input",
        "inputs",
        "h",
    ),
    "edge_index": ("edge_index", "edges", "edge_list", "ei"),
    "adj": ("adj_t", "adj", "A"),
    "edge_weight": ("edge_weight", "edge_weights", "ew", "weight"),
    "edge_attr": ("edge_attr", "edge_attrs", "edge_feat", "edge_features", "edge_feats", "e_feat", "e"),
    "edge_type": ("edge_type", "edge_types", "etype", "rel_type"),
    "batch": ("batch", "batch_index", "batch_idx"),
    "n_id": ("n_id", "node_id", "node_ids", "node_index"),
    "num_graphs": ("num_graphs", "batch_size"),
    "data": ("data", "graph", "g", "batched_data", "batch_data"),
}
"""What parameters that mean the same are called; the first name of each is its slot."""

MADE = ("ptr", "num_nodes", "num_graphs")
"""Slots that are made where a parameter without a default asks for them."""

FOREIGN: Mapping[str, str] = {
    "x_dict": "forward takes x_dict: a heterogeneous model. Heterogeneous graphs are not audited yet; a model of "
    "to_homogeneous() data is.",
    "edge_index_dict": "forward takes edge_index_dict: a heterogeneous model. Heterogeneous graphs are not audited "
    "yet; a model of to_homogeneous() data is.",
    "adjs": "forward takes adjs, the blocks of a neighbour sampler; give a forward of the whole graph.",
    "t": "forward takes t, times of events: a temporal model. Temporal graphs are not audited.",
    "msg": "forward takes msg, messages of events: a temporal model. Temporal graphs are not audited.",
    "edge_label_index": "forward takes edge_label_index: a link prediction model. It is not audited; a classifier of "
    "nodes or graphs is.",
}
"""Parameters that belong to tasks which are not audited, and the sentence for each."""

SPLIT_NAMES = (*MASKS, *LISTS, *SPLITS)
OUTPUT_KEYS = ("logits", "logit", "out", "output", "pred", "scores", "log_probs", "probs")
MAX_CALLS = 24
SAME = 1e-4  # answers within this share of their scale are one


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A call that ran, with the logits [n, C] that it gave on the graph it was tried on."""

    call: Call
    logits: Tensor
    asked: tuple[tuple[str, str], ...]

    def prepared(self, graph: Graph) -> Graph:
        """`graph` as this call reads it: a field that holds weights becomes them, what nothing takes is left out."""
        return _prepared(self.asked, (), graph)[1]


def find_calls(model: nn.Module, graph: Graph, pinned: Mapping[str, str | int] | None = None) -> tuple[Answer, ...]:
    """The calls that run on `graph` and answer differently, the first choice first.

    Args:
        model: in eval mode; as its class was written, or an adapter's.
        graph: what it is run on.
        pinned: the `[call]` table: parameter = slot, `adj`, `output`.

    Raises:
        CallError: no call runs: a parameter that nothing in the graph fills, or what forward raised.
        TaskError: forward belongs to a task that is not audited.
        ConfigError: `pinned` names a parameter or a slot that does not exist.
    """
    pinned = dict(pinned or {})
    key = pinned.pop("output", None)
    found: list[Answer] = []
    failed: list[CallError] = []
    calls = list(_calls(model, graph, pinned))
    for place in range(MAX_CALLS):
        if place == len(calls):
            break
        asked, inexact = calls[place]
        try:
            answers = _tried(model, asked, inexact, graph, key)
        except CallError as error:
            failed.append(error)
            continue
        new = [made for made in answers if not any(_same(made.logits, other.logits) for other in found)]
        if new:
            idle = idle_parameters(model, [(made.call, made.logits) for made in new], new[0].prepared(graph), graph)
            found += [_without(made, idle, graph) for made in new]
            calls += _weights_instead(model, asked, idle, graph, pinned)
    if found:
        return tuple(found)
    raise min(failed, key=lambda error: isinstance(error, NotRunError))  # a known cause says more than any other


def _without(made: Answer, idle: Idle, graph: Graph) -> Answer:
    """The same answer, called without what changes none; what forward must be given all the same is told."""
    asked = tuple((name, slot) for name, slot in made.asked if name not in idle.dropped)
    call, _ = _prepared(asked, made.call.inexact, graph)
    still = tuple(_field_of(slot) for name, slot in asked if name in idle.given)
    call = replace(call, output=made.call.output, answers=made.call.answers, unused=(*call.unused, *still))
    return replace(made, call=call, asked=asked)


def _weights_instead(
    model: nn.Module,
    asked: tuple[tuple[str, str], ...],
    idle: Idle,
    graph: Graph,
    pinned: Mapping[str, str | int],
) -> Sequence[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
    """Calls that hand over as weights of edges what one parameter takes and ignores while another one is free."""
    more = []
    free = [name for name, slot in asked if name in NAMES["edge_weight"] and slot == "edge_weight"]
    for name, slot in asked if graph.edge_weight is None else ():
        if name not in (*idle.dropped, *idle.given) or slot not in _columns_of_weights(graph):
            continue
        for weights in (other for other in free if other not in pinned):
            guess = f"{slot} [E], which changes no answer as {name}, may be {weights}"
            table = {**pinned, weights: slot}
            more += [(arguments, (*guesses, guess)) for arguments, guesses in _calls(model, graph, table)]
    return more


def pins(model: nn.Module, graph: Graph, asked: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The parameters whose slot was a choice, as a `[call]` table that leaves none; `graph` is all that there is."""
    table: dict[str, str] = {}
    for name, slot in asked:
        slot = _field_of(slot)
        if name in NAMES["adj"]:
            table["adj"] = slot
        elif name in NAMES["edge_weight"] and slot == "edge_weight" and graph.edge_weight is None:
            table[name] = "none"
        elif name != slot and (slot == "edge_weight" or graph.fields.get(slot) is not None):
            table[name] = slot
    if graph.edge_weight is not None:
        left = set(inspect.signature(model.forward).parameters) - {name for name, _ in asked}
        table |= dict.fromkeys((name for name in NAMES["edge_attr"] if name in left), "none")
    return table


def _tried(
    model: nn.Module,
    asked: tuple[tuple[str, str], ...],
    inexact: tuple[str, ...],
    graph: Graph,
    key: int | str | None,
) -> list[Answer]:
    """What one call answers; an adjacency that forward looks up in its `data` is made.

    Raises:
        CallError: it does not run, or answers no scores.
    """
    call, prepared = _prepared(asked, inexact, graph)
    given = Inputs.of(prepared).arguments(call)
    try:
        with torch.no_grad():
            out = model(**given)
    except Exception as error:  # a user's forward may raise anything
        more = tuple((name, WITH_ADJ_T.get(slot, slot)) for name, slot in asked)
        if isinstance(error, AbsentError) and error.name == "adj_t" and more != asked:
            return _tried(model, more, inexact, graph, key)
        raise does_not_run(model, call, prepared, graph, error) from None
    missed = {name for value in given.values() if isinstance(value, Handed) for name in value.missed}
    answers = _read(out, call, prepared, key, asked)
    read = [(made.call, made.logits) for made in answers]
    for name in (name for name in graph.withheld if name in missed):
        if name not in MASKS or not ignores_the_split(model, read, prepared, name):
            raise is_withheld(name, f"looks up data.{name}")
    return answers


def _calls(
    model: nn.Module, graph: Graph, pinned: Mapping[str, str | int]
) -> Sequence[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
    """(arguments, guesses) of every call that the rules allow, by how far it is from the first choices."""
    signature = list(inspect.signature(model.forward).parameters.values())
    parameters = [p for p in signature if p.name != "y" and p.kind in NAMED]
    names = [p.name for p in parameters]
    adjacency = next((name for name in names if name in NAMES["adj"]), None)
    if "adj" in pinned and adjacency is not None:  # the key stands for the parameter, whatever its name
        pinned = {adjacency: pinned["adj"], **{name: slot for name, slot in pinned.items() if name != "adj"}}
    for name in pinned:
        if name not in names and name != "adj":
            raise ConfigError(f'[call] has "{name}". {nearest(name, [*names, "adj", "output"])}')
    foreign = next((p.name for p in parameters if p.name in FOREIGN and p.default is p.empty), None)
    if foreign is not None and graph.fields.get(foreign) is None:
        raise TaskError(FOREIGN[foreign])
    if hasattr(model, "encode") and hasattr(model, "decode"):
        raise TaskError(
            f"{type(model).__name__} has encode and decode: its answers are embeddings for link prediction, not "
            "classes. Link prediction is not audited; a classifier of nodes or graphs is."
        )
    if any(p.name == "y" and p.default is p.empty for p in signature):
        raise reads_labels("needs y")
    if any(p.kind is p.POSITIONAL_ONLY for p in signature) or (signature and not parameters):
        raise no_names(model)
    if not parameters:
        raise CallError(
            "forward takes nothing: it reads the global data, so that no other graph can be given to it. Return "
            "(module, adapter) from the factory, where adapter(model, data) sets that global and calls the model."
        )
    choices = [
        [(p.name, slot, inexact) for slot, inexact in _slots(p, parameters, model, graph, pinned)] for p in parameters
    ]
    ranked = sorted(
        itertools.product(*(range(len(options)) for options in choices)), key=lambda places: (sum(places), places)
    )
    calls = []
    for places in ranked[: 4 * MAX_CALLS]:
        chosen = [options[place] for options, place in zip(choices, places, strict=True)]
        arguments = tuple((name, slot) for name, slot, _ in chosen if slot != "none")
        inexact = tuple(guess for _, _, guess in chosen if guess)
        calls.append((arguments, inexact))
    return calls


def _slots(
    parameter: inspect.Parameter,
    parameters: Sequence[inspect.Parameter],
    model: nn.Module,
    graph: Graph,
    pinned: Mapping[str, str | int],
) -> list[tuple[str, str]]:
    """(slot, guess in words or "") of one parameter, the first choice first; `none` leaves its default."""
    name = parameter.name
    optional = parameter.default is not parameter.empty
    kind = _kind(name)
    if name in pinned:
        form = str(pinned[name])
        is_field = graph.fields.get(form) is not None or form == "none"
        if kind == "adj" and form not in ADJACENCIES and not is_field:
            raise ConfigError(f'[call] adj is "{form}". {nearest(form, ADJACENCIES)}')
        return [(form if kind == "adj" else _known_slot(form, graph, name), "")]
    if kind == "adj":
        forms = ["edge_index", "csr", *(["dense"] if name != "adj_t" else [])]
        guess = f"{name} may be the transposed adjacency (csr) or not (dense)"
        exact = name == "adj_t"
        return [(form, "" if exact or form == "edge_index" else guess) for form in forms]
    if (kind == "data" or _is_data(parameter.annotation)) and not optional:
        return _data_slots(graph)
    if kind == "x":
        if graph.num_features:
            return _features_slots("x", graph)
        if not optional:
            raise CallError(
                'the graph has no x; forward needs it. Save x in the graph, or say in [data] features = "identity", '
                '"degree" or "ones" what stood in its place.'
            )
        return [("none", "")]
    if kind == "edge_index":
        return [("edge_index", "")]
    if kind == "edge_weight":
        others = {str(pinned.get(p.name, _named(p.name, graph))) for p in parameters if p.name != name}
        return _weight_slots(name, optional, model, graph, others)
    if name in graph.withheld:
        raise is_withheld(name, f"takes {name}")
    own = _named(name, graph)
    if own is not None:
        is_weight = own in {str(slot) for other, slot in pinned.items() if other in NAMES["edge_weight"]}
        return [("none" if is_weight and optional else own, "")]
    if kind == "edge_attr" and graph.edge_weight is not None:
        return [("edge_weight", f"edge_weight [E] may be {name}"), *([("none", "")] if optional else [])]
    if kind == "batch" and (graph.batch is not None or not optional):
        own_slot = ("one batch" if graph.batch is None else "batch", "")
        required = [p for p in parameters if p.default is p.empty]
        return [*(_data_slots(graph) if not optional and len(required) == 1 else []), own_slot]
    if kind == "n_id" and graph.batch is None and not optional:
        return [("n_id", "")]
    if kind in MADE and not optional:
        return [(kind, "")]
    if optional:
        return [("none", "")]
    required = [p for p in parameters if p.default is p.empty]
    if len(required) == 1:
        return _data_slots(graph)
    raise CallError(
        f"forward needs {name}; the graph holds {held_by(graph)}. Save {name} in the graph under that name, or say in "
        f'[call] {name} = "…" which field it is.'
    )


def _data_slots(graph: Graph) -> list[tuple[str, str]]:
    """Slots of a parameter for PyG's `Data`: whole numbers as such first."""
    return _features_slots("data", graph)


def _features_slots(slot: str, graph: Graph) -> list[tuple[str, str]]:
    """Ways to hand on the features: whole numbers as such first, [N] before [N, 1] where they lie so in the data."""
    forms = [f"whole {slot}", slot] if graph.whole_x else [slot]
    return [(f"{form}{end}", "") for end in ((FLAT, "") if graph.flat_x else ("",)) for form in forms]


def _kind(name: str) -> str:
    """What a parameter of that name is for: the first of the names that mean the same."""
    return next((slot for slot, names in NAMES.items() if name in names), name)


def _named(name: str, graph: Graph) -> str | None:
    """The field of that name, else one whose name means the same."""
    known = (name, *NAMES.get(_kind(name), ()))
    return next((n for n in known if graph.fields.get(n) is not None), None)


def _columns_of_weights(graph: Graph) -> list[str]:
    """Fields that could hold a weight of each edge: floats, one column."""
    edge = graph.fields.edge
    return [name for name, value in edge.items() if torch.is_floating_point(value) and _is_column(value)]


def _is_column(value: Tensor) -> bool:
    return value.dim() > 0 and value.numel() == value.shape[0]


def _weight_slots(
    name: str, optional: bool, model: nn.Module, graph: Graph, others: Collection[str]
) -> list[tuple[str, str]]:
    """Slots of a parameter for edge weights; `others` are the fields that other parameters take by their names."""
    # PyG's BasicGNN lists edge_weight in its signature for every model and refuses it in some.
    if getattr(model, "supports_edge_weight", True) is False:
        return [("none", "")]
    if graph.edge_weight is not None:
        return [("edge_weight", "")]
    own = _named(name, graph)
    if own in graph.fields.edge and _is_column(graph.fields.edge[str(own)]):
        return [(f"weights {own}", "")]
    columns = _columns_of_weights(graph)
    columns = [field for field in columns if not (optional and field in others)]
    guesses = [(f"weights {field}", f"{field} [E] may be {name}") for field in columns]
    if optional:
        return [*guesses, ("edge_weight", guesses[0][1] if guesses else "")]
    if not guesses:
        raise CallError(f"forward needs {name}; the graph holds none. Save edge_weight [E] in the graph.")
    return guesses


def _known_slot(slot: str, graph: Graph, parameter: str) -> str:
    """A slot that `[call]` names, checked."""
    if slot in ("x", "edge_index", "batch", *MADE, "data", "none", *ADJACENCIES):
        return slot
    if slot == "edge_weight" and graph.edge_weight is not None:
        return slot
    value = graph.fields.get(slot)
    if value is None:
        known = [name for name, _ in graph.fields]
        raise ConfigError(f'[call] {parameter} = "{slot}", which the graph does not hold. {nearest(slot, known)}')
    if parameter in NAMES["edge_weight"] and slot in graph.fields.edge and value.numel() == value.shape[0]:
        return f"weights {slot}"
    return slot


def _prepared(arguments: tuple[tuple[str, str], ...], inexact: tuple[str, ...], graph: Graph) -> tuple[Call, Graph]:
    """The call, and the graph as it reads it: a field that holds weights becomes them, what nothing takes is left."""
    slots = [slot for _, slot in arguments]
    asked = arguments
    weights = next((slot.removeprefix("weights ") for slot in slots if slot.startswith("weights ")), None)
    if weights is not None:
        value = graph.fields.edge[weights].reshape(-1).float()
        edge = {name: rows for name, rows in graph.fields.edge.items() if name != weights or name in slots}
        graph = replace(graph, edge_weight=value, fields=replace(graph.fields, edge=edge))
        arguments = tuple((name, "edge_weight" if slot.startswith("weights ") else slot) for name, slot in arguments)
        slots = [slot for _, slot in arguments]
    if "n_id" in slots and graph.fields.get("n_id") is None:
        node = {**graph.fields.node, "n_id": torch.arange(graph.num_nodes)}
        graph = replace(graph, fields=replace(graph.fields, node=node))
    unused: list[str] = []
    if not any(slot.startswith("whole ") for slot in slots):
        graph = replace(graph, whole_x=False)
    if not DATA & set(slots):
        if graph.num_features and not {"x", "whole x"} & {slot.removesuffix(FLAT) for slot in slots}:
            unused.append("x")
        if graph.edge_weight is not None and not WEIGHTED & set(slots):
            unused.append("edge_weight")
            graph = replace(graph, edge_weight=None)
        unused += [name for name, _ in graph.fields if name not in slots]
        of_items = graph.fields.node if graph.batch is None else graph.fields.graph
        columns = {name: rows for name, rows in of_items.items() if name in unused}
        graph = replace(graph, fields=graph.fields.only(slots), columns={**graph.columns, **columns})
    unused += [name for name in graph.withheld if name not in SPLIT_NAMES]
    empty = {slot for slot, held in (("edge_weight", graph.edge_weight), ("batch", graph.batch)) if held is None}
    shown = tuple((name, _field_of(slot)) for name, slot in asked if slot not in empty)
    return Call(arguments, inexact=inexact, unused=tuple(unused), shown=shown), graph


def _field_of(slot: str) -> str:
    """The name of what a slot holds, as the graph has it."""
    return slot.removeprefix("weights ")


def _is_data(annotation: Any) -> bool:
    names = ("Data", "Batch")
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] in names
    return isinstance(annotation, type) and issubclass(annotation, Data)


def _read(
    out: Any,
    call: Call,
    graph: Graph,
    key: int | str | None,
    asked: tuple[tuple[str, str], ...],
) -> list[Answer]:
    """The answers that one forward may mean: one, or one for each output that could hold them."""
    parts = parts_of(out)
    if key is not None:
        options: list[tuple[int | str | None, bool]] = [(key, False)]
    elif not parts:
        options = [(None, False)]
    else:
        rows = [place for place, part in parts.items() if holds_scores(part, graph.num_items)]
        named = [k for k in OUTPUT_KEYS if k in rows]
        options = [(k, False) for k in named[:1]] or [(place, len(rows) > 1) for place in rows]
    made = []
    for place, guess in options:
        logits = pick(out, place, graph.num_items)
        if not holds_scores(logits, graph.num_items):
            continue
        inexact = (*call.inexact, f"output {place!r} of {len(parts)} may hold the answers") if guess else call.inexact
        kind = _kind_of(logits)
        read = replace(call, output=place, answers=kind, inexact=inexact)
        made.append(Answer(read, answers_of(logits, kind).float(), asked))
    if not made:
        raise no_scores(out if key is None else pick(out, key, graph.num_items), graph)
    return made


def _kind_of(out: Tensor) -> str:
    if out.dim() == 1 or out.shape[1] == 1:
        inside = bool(((out >= 0) & (out <= 1)).all())
        return "probability" if inside else "logit"
    return "probabilities" if output_kind(out) == "probs" else "as is"


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    scale = max(1.0, float(b.nan_to_num(0.0, 0.0, 0.0).abs().max()))
    return torch.allclose(a, b, rtol=0.0, atol=SAME * scale, equal_nan=True)
