"""Gives every arc a weight in models whose forward takes none, through PyG's message hooks.

Two ways. `mask` multiplies each message by its arc's weight: right where messages are summed and nothing is normalised.
`adaptor` does for each layer what a removed arc would do to it:

- a layer that takes `edge_weight` in its own forward (GCNConv, APPNP, …) is given it;
- attention computed in `edge_update` (GATConv, GATv2Conv) becomes w_e alpha_e / (sum of w alpha over the same target);
- mean aggregation (SAGEConv) becomes sum of w h / max(1, sum of w): the mean at w in {0, 1}, continuous where a node
  has no other neighbour;
- anything else: the message is multiplied.

None of it is believed: `Relaxation.choose` measures the gap to really edited graphs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINConv, MessagePassing, SAGEConv
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation

from auditor.errors import CapabilityError
from auditor.targets.sparse_rows import SparseRows

Method = Literal["mask", "adaptor"]


@contextmanager
def soft_edges(
    model: nn.Module, edge_index: Tensor, weight: Tensor, *, method: Method, rows: SparseRows | None = None
) -> Iterator[None]:
    """While open, every message-passing layer of `model` scales its arcs by `weight`; all hooks are removed on leaving.

    Args:
        model: a private copy; its layers must pass on `edge_index`, or `edge_index` with self-loops moved to the end.
        edge_index: the arcs the weights belong to, int64 [2, E].
        weight: [E], in [0, 1].
        method: see the module's docstring.
        rows: entries of a fixed sparse x; layers that only add up its rows then build no message per arc.

    Raises:
        CapabilityError: from the forward call, when a layer sees arcs that cannot be matched with `edge_index`.
    """
    handles = []
    try:
        for layer in message_passing_layers(model):
            handles.append(_install(layer, edge_index, weight, method, rows))
        yield
    finally:
        for handle in handles:
            handle.remove()


def message_passing_layers(model: nn.Module) -> list[MessagePassing]:
    """Every message-passing layer of the model, in order of registration."""
    return [module for module in model.modules() if isinstance(module, MessagePassing)]


def align(layer_edges: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
    """The weights of the arcs that a layer really uses, [E']; self-loops that the layer put at the end get 1.

    Raises:
        CapabilityError: the layer reordered, dropped or converted the arcs.
    """
    if not isinstance(layer_edges, Tensor) or layer_edges.is_sparse or layer_edges.dim() != 2:
        raise CapabilityError("a layer converts edge_index to another form; edge weights cannot be matched to it.")
    if layer_edges is edge_index or torch.equal(layer_edges, edge_index):
        return weight
    kept = edge_index[0] != edge_index[1]
    for arcs, w in ((edge_index, weight), (edge_index[:, kept], weight[kept])):
        count = arcs.shape[1]
        added = layer_edges[:, count:]
        if layer_edges.shape[1] > count and torch.equal(layer_edges[:, :count], arcs) and torch.equal(*added):
            return torch.cat([w, w.new_ones(added.shape[1])])
    raise CapabilityError(
        f"a layer works on {layer_edges.shape[1]} arcs that do not begin with the {edge_index.shape[1]} given ones; "
        "edge weights cannot be matched to them."
    )


def _install(layer: MessagePassing, edge_index: Tensor, weight: Tensor, method: Method, rows: SparseRows | None) -> Any:
    """One removable hook on one layer."""
    if method == "adaptor":
        if "edge_weight" in inspect.signature(layer.forward).parameters:
            return layer.register_forward_pre_hook(_inject(layer, edge_index, weight), with_kwargs=True)
        if layer.inspector.implements("edge_update"):
            return layer.register_edge_update_forward_hook(_renormalise(edge_index, weight))
    mean = method == "adaptor" and isinstance(layer.aggr_module, MeanAggregation)
    hooks = _Hooks(layer, edge_index, weight, mean=mean)
    if rows is not None and _only_adds_rows(layer) and (mean or isinstance(layer.aggr_module, SumAggregation)):
        hooks.add_up_entries(layer, rows)
    return hooks


def _only_adds_rows(layer: MessagePassing) -> bool:
    """Whether the layer's messages are the rows of x themselves, and nothing happens to them but aggregation."""
    kind = type(layer)
    return (
        kind.message in (SAGEConv.message, GINConv.message, MessagePassing.message)
        and kind.aggregate is MessagePassing.aggregate
        and kind.update is MessagePassing.update
        and layer.flow == "source_to_target"
        and layer.node_dim in (-2, 0)
    )


def _inject(layer: MessagePassing, edge_index: Tensor, weight: Tensor) -> Callable[..., Any]:
    """Passes the weights to a layer that takes them although its model does not."""
    signature = inspect.signature(layer.forward)

    def hook(
        _layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call = signature.bind(*args, **kwargs)
        if call.arguments.get("edge_weight") is not None:
            raise CapabilityError("a layer already gets an edge weight from its model; a second one cannot be passed.")
        call.arguments["edge_weight"] = align(call.arguments["edge_index"], edge_index, weight)
        return call.args, call.kwargs

    return hook


def _renormalise(edge_index: Tensor, weight: Tensor) -> Callable[..., Tensor]:
    """Attention over the arcs that are there: softmax of (score + log w), written without the logarithm."""

    def hook(layer: MessagePassing, inputs: tuple[Any, ...], alpha: Tensor) -> Tensor:
        arcs = inputs[0]
        w = align(arcs, edge_index, weight)
        weighted = alpha * w.view(-1, *[1] * (alpha.dim() - 1))  # [E', heads]
        to = _target_of(layer, arcs)
        total = weighted.new_zeros(int(arcs.max()) + 1, *weighted.shape[1:]).index_add(0, to, weighted)
        return weighted / total.clamp_min(1e-8)[to]

    return hook


class _Hooks:
    """Remembers the arcs that enter `propagate`, then scales the messages that go along them."""

    def __init__(self, layer: MessagePassing, edge_index: Tensor, weight: Tensor, *, mean: bool) -> None:
        self._edge_index, self._weight, self._mean = edge_index, weight, mean
        self._factor: Tensor | None = None
        self._patched: MessagePassing | None = None
        self._handles = (
            layer.register_propagate_forward_pre_hook(self._enter),
            layer.register_message_forward_hook(self._scale),
        )

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        if self._patched is not None:
            self._patched.__dict__.pop("propagate", None)

    def add_up_entries(self, layer: MessagePassing, rows: SparseRows) -> None:
        """Replaces `propagate` on this private copy for calls on the fixed x; other calls go the usual way."""
        if "propagate" in layer.__dict__:  # something else stands there already
            return
        usual = layer.propagate

        def propagate(edge_index: Tensor, size: Any = None, **kwargs: Any) -> Any:
            x = kwargs.get("x")
            source = x[0] if isinstance(x, tuple) else x
            if source is not rows.x or size is not None or set(kwargs) - {"x", "edge_weight"}:
                return usual(edge_index, size=size, **kwargs)
            if kwargs.get("edge_weight") is not None:
                return usual(edge_index, size=size, **kwargs)
            share, _ = self._shares(layer, edge_index)
            return rows.weighted_sum(edge_index[0], edge_index[1], share)

        layer.__dict__["propagate"] = propagate
        self._patched = layer

    def _enter(self, layer: MessagePassing, inputs: tuple[Any, ...]) -> None:
        self._factor = self._shares(layer, inputs[0])[1]

    def _shares(self, layer: MessagePassing, arcs: Tensor) -> tuple[Tensor, Tensor]:
        """What each arc's message counts for in a sum, [E'], and in the layer's own aggregation, [E']."""
        w = align(arcs, self._edge_index, self._weight)
        if not self._mean or not w.numel():
            return w, w
        to = _target_of(layer, arcs)
        size = int(arcs.max()) + 1
        count = w.new_zeros(size).index_add(0, to, torch.ones_like(w))
        total = w.new_zeros(size).index_add(0, to, w)
        share = w / total.clamp_min(1.0)[to]
        return share, share * count[to]  # the layer divides by the count itself

    def _scale(self, layer: MessagePassing, _inputs: tuple[Any, ...], message: Tensor) -> Tensor:
        if self._factor is None:
            raise CapabilityError(f"{type(layer).__name__} calls message without propagate.")
        shape = [1] * message.dim()
        shape[layer.node_dim] = -1
        return message * self._factor.view(shape)


def _target_of(layer: MessagePassing, arcs: Tensor) -> Tensor:
    """The receiving node of each arc, int64 [E']."""
    return arcs[1] if layer.flow == "source_to_target" else arcs[0]
