"""One way to call a model's forward, and the module that is called in it. See docs/methods/call-convention.md."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj

from auditor.data.fields import NO_FIELDS, Fields
from auditor.data.graph import Graph
from auditor.errors import CallError
from auditor.targets.user_imports import with_forward

ADJACENCIES = ("edge_index", "csr", "gcn-norm", "dense")
FLAT = " [N]"
"""Ends a slot of features that are handed on without their second dimension, as they lie in the data."""

WITH_ADJ_T = {f"{slot}{form}": f"{slot} with adj_t{form}" for slot in ("data", "whole data") for form in ("", FLAT)}
DATA = frozenset({*WITH_ADJ_T, *WITH_ADJ_T.values()})
"""Slots of the whole graph as PyG's `Data`."""

WEIGHTED = frozenset({"edge_weight", "csr", "gcn-norm", "dense"}) | DATA
"""Slots through which a weight on each edge reaches the model."""


class AbsentError(AttributeError, KeyError):
    """Forward looks up a field that its `data` does not have; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(f"data has no {name}")
        self.name: str = name


class Handed(Data):  # type: ignore[misc]  # PyG is untyped
    """What a forward of the whole graph is given: PyG's Data, which says which field is looked up in vain."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__["_missed"] = set()  # one for all shallow copies

    @property
    def missed(self) -> frozenset[str]:
        """Fields that were looked up in vain so far, also by `hasattr`, `in` or with a default."""
        return frozenset(self.__dict__["_missed"])

    def __getattr__(self, key: str) -> Any:
        """A field by its name."""
        try:
            return super().__getattr__(key)
        except AttributeError:
            self._miss(key)
            raise AbsentError(key) from None

    def __getitem__(self, key: str) -> Any:
        """A field by its name."""
        try:
            return super().__getitem__(key)
        except KeyError:
            self._miss(key)
            raise AbsentError(key) from None

    def __contains__(self, key: str) -> bool:
        """Whether there is a field of that name."""
        there = bool(super().__contains__(key))
        if not there:
            self._miss(key)
        return there

    def _miss(self, key: str) -> None:
        self.__dict__.get("_missed", set()).add(key)


@dataclass(frozen=True, slots=True)
class Call:
    """One way to call a forward.

    Attributes:
        arguments: (parameter, slot) of each argument; a slot is a field's name, `x`, `whole x`, `edge_index`, `csr`,
            `gcn-norm`, `dense`, `edge_weight`, `batch`, `one batch` (zeros), `ptr`, `num_nodes`, `num_graphs`, `data`,
            `data with adj_t`, `whole data`, `whole data with adj_t`; those with x also with ` [N]` behind them.
        output: which of several outputs holds the answers; None for the only one.
        answers: `as is`, `logit` or `probability` of the second of two classes, or `probabilities`.
        inexact: choices that rest on a guess, in words.
        unused: what the graph holds and no parameter takes, or what changes no answer.
        shown: the arguments as they are told, those that hold something: under the name that the graph has for it;
            None for all as they are.
    """

    arguments: tuple[tuple[str, str], ...]
    output: int | str | None = None
    answers: str = "as is"
    inexact: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    shown: tuple[tuple[str, str], ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the contract itself, (x, edge_index, edge_weight, batch)."""
        names = [name for name, _ in self.arguments]
        own = all(name == slot and name in ("x", "edge_index", "edge_weight", "batch") for name, slot in self.arguments)
        return own and names[:2] == ["x", "edge_index"] and self.output is None and self.answers == "as is"

    @property
    def fields(self) -> frozenset[str]:
        """Names of the fields that are passed on; `data` passes all."""
        return frozenset(slot for _, slot in self.arguments)

    def describe(self) -> str:
        """`forward(x, edge_index, edge_weight=edge_attr)`."""
        told = self.arguments if self.shown is None else self.shown
        words = [name if name == slot else f"{name}={slot}" for name, slot in told]
        return f"forward({', '.join(words)})"

    def bound(self, model: nn.Module) -> nn.Module:
        """The same module, called as `model(x, edge_index, edge_weight, batch, fields)`, giving logits [n, C]."""
        return model if self.is_plain else with_forward(model, functools.partial(_bind, self))


def _bind(call: Call, forward: Callable[..., Any]) -> Callable[..., Any]:
    takes_weight = bool(WEIGHTED & call.fields)

    @functools.wraps(forward)
    def called(
        self: nn.Module,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        inputs = Inputs(x, edge_index, edge_weight, batch, fields)
        out = forward(self, **inputs.arguments(call))
        return answers_of(pick(out, call.output, inputs.items), call.answers)

    called.__signature__ = _signature(takes_weight)  # type: ignore[attr-defined]
    return called


def _signature(takes_weight: bool) -> inspect.Signature:
    names = ["self", "x", "edge_index", *(["edge_weight"] if takes_weight else []), "batch", "fields"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    given = [inspect.Parameter(n, kind, default=empty if i < 3 else None) for i, n in enumerate(names)]
    return inspect.Signature(given)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What one call may be given: every slot of one graph."""

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor | None
    batch: Tensor | None
    fields: Fields

    @classmethod
    def of(cls, graph: Graph) -> Inputs:
        """Every slot of `graph`."""
        return cls(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)

    def arguments(self, call: Call) -> dict[str, Any]:
        """What forward is given by name; parameters whose slot is empty keep their default."""
        return {name: value for name, slot in call.arguments if (value := self.get(slot)) is not None}

    @property
    def nodes(self) -> int:
        """N."""
        return int(self.x.shape[0])

    @property
    def items(self) -> int:
        """What is classified: N nodes or B graphs."""
        return self.nodes if self.batch is None else int(self.batch[-1]) + 1

    def get(self, slot: str) -> Any:
        """What a slot holds; None leaves the parameter's own default.

        Raises:
            CallError: a field that the graph does not carry, or not with one row per edge.
        """
        if slot.endswith(FLAT):
            return replace(self, x=self.x[:, 0]).get(slot.removesuffix(FLAT))
        made = {
            "x": lambda: self.x,
            "whole x": lambda: self.x.long(),
            "edge_index": lambda: self.edge_index,
            "edge_weight": lambda: self.edge_weight,
            "csr": self._csr,
            "gcn-norm": lambda: self._normalised(),
            "dense": lambda: to_dense_adj(self.edge_index, edge_attr=self.edge_weight, max_num_nodes=self.nodes)[0],
            "batch": lambda: self.batch,
            "one batch": lambda: self.x.new_zeros(self.nodes, dtype=torch.long),
            "ptr": self._ptr,
            "num_nodes": lambda: self.nodes,
            "num_graphs": lambda: 1 if self.batch is None else self.items,
            "data": lambda: self._data(self.x),
            "whole data": lambda: self._data(self.x.long()),
            "data with adj_t": lambda: self._data(self.x, adj_t=self._csr()),
            "whole data with adj_t": lambda: self._data(self.x.long(), adj_t=self._csr()),
        }
        if slot in made:
            return made[slot]()  # type: ignore[no-untyped-call]
        value = self.fields.get(slot)
        if value is None:
            raise CallError(f"forward needs {slot}, which this edited graph does not carry.")
        rows = self.edge_index.shape[1] if slot in self.fields.edge else None
        if rows is not None and value.shape[0] != rows:
            raise CallError(f"{slot} has {value.shape[0]} rows for {rows} edges; they must be edited together.")
        return value

    def _csr(self, weight: Tensor | None = None, edge_index: Tensor | None = None) -> Tensor:
        """The transposed adjacency as torch's compressed sparse rows, as PyG's layers read it."""
        arcs = self.edge_index if edge_index is None else edge_index
        values = self.edge_weight if weight is None else weight
        values = torch.ones(arcs.shape[1], device=arcs.device) if values is None else values
        size = (self.nodes, self.nodes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its compressed layout beta, once a process
            return torch.sparse_coo_tensor(arcs.flip(0), values, size).coalesce().to_sparse_csr()

    def _normalised(self) -> Tensor:
        arcs, weight = gcn_norm(self.edge_index, self.edge_weight, self.nodes)
        return self._csr(weight, arcs)

    def _ptr(self) -> Tensor:
        counts = torch.tensor([self.nodes], device=self.x.device) if self.batch is None else self.batch.bincount()
        return functional.pad(counts.cumsum(0), (1, 0))

    def _data(self, x: Tensor, **more: Tensor) -> Data:
        content: dict[str, Any] = {"x": x if x.dim() == 1 or x.shape[1] else None, "edge_index": self.edge_index}
        content |= {"edge_weight": self.edge_weight, "edge_attr": None, **dict(self.fields), **more}
        if self.batch is None:
            return Handed(**content, batch=None, num_nodes=self.nodes)
        return Batch(_base_cls=Handed, **content, batch=self.batch, ptr=self._ptr(), num_nodes=self.nodes)


def parts_of(out: Any) -> dict[int | str, Any]:
    """The parts of a forward's answer by place or key; {} for a plain tensor."""
    if isinstance(out, Mapping):
        return dict(out)
    if is_dataclass(out) and not isinstance(out, type):
        return {f.name: getattr(out, f.name) for f in fields(out)}
    if isinstance(out, tuple) and hasattr(out, "_fields"):
        return {**dict(enumerate(out)), **dict(zip(out._fields, out, strict=True))}
    return dict(enumerate(out)) if isinstance(out, (tuple, list)) else {}


def pick(out: Any, key: int | str | None, items: int) -> Tensor:
    """The part of `out` that holds the answers."""
    if key is None:
        return out  # type: ignore[no-any-return]
    parts = parts_of(out)
    if key not in parts:
        raise CallError(f"[call] output is {key!r}; forward answers {', '.join(map(repr, parts)) or 'one tensor'}.")
    return parts[key]  # type: ignore[no-any-return]


def answers_of(out: Tensor, kind: str) -> Tensor:
    """Logits [n, C] from what the model answers."""
    if kind == "as is":
        return out
    tiny = torch.finfo(out.dtype).tiny
    if kind == "probabilities":
        return out.clamp_min(tiny).log()
    z = out.view(-1, 1)
    if kind == "probability":
        return torch.cat([(1 - z).clamp_min(tiny).log(), z.clamp_min(tiny).log()], dim=1)
    return torch.cat([torch.zeros_like(z), z], dim=1)
