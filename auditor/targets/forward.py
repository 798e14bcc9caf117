"""Calls a model by the contract `logits(x, edge_index, edge_weight, batch, fields)`; see `Call` for any other model."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from auditor.data.fields import NO_FIELDS, Fields
from auditor.errors import CapabilityError

WEIGHT_NAMES = ("edge_weight", "edge_weights", "edge_attr")
CACHE_NAMES = ("_cached_edge_index", "_cached_adj_t", "_cached_x", "_cached_h")


def drop_caches(model: nn.Module) -> list[str]:
    """Empties every PyG layer cache and switches caching off; returns the names of layers that held one.

    A cached layer ignores the edge_index it is given: edits would change nothing, and the cache is the private graph.
    """
    held = []
    for name, module in model.named_modules():
        for cache in CACHE_NAMES:
            if getattr(module, cache, None) is not None:
                setattr(module, cache, None)
                held.append(name or type(module).__name__)
        if getattr(module, "cached", False) is True:
            module.cached = False
    return held


class ForwardAdapter:
    """Maps the contract's inputs to the parameters of one model's forward."""

    def __init__(self, model: nn.Module, *, embedding_layer: str | None = None) -> None:
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        self._weight_name = next((n for n in WEIGHT_NAMES if n in parameters), None)
        # PyG's BasicGNN lists edge_weight in its signature for every model and refuses it in some.
        if getattr(model, "supports_edge_weight", True) is False and self._weight_name == "edge_weight":
            self._weight_name = None
        self._takes_batch = "batch" in parameters
        self._takes_fields = "fields" in parameters
        self._embedding_layer = embedding_layer

    @property
    def takes_edge_weight(self) -> bool:
        """Whether forward has an edge weight argument that the model accepts."""
        return self._weight_name is not None

    def logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        batch: Tensor | None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """[N, C], or [B, C] when the model pools by `batch`."""
        arguments: dict[str, Any] = {}
        if edge_weight is not None:
            if self._weight_name is None:
                raise CapabilityError(
                    f"{type(self._model).__name__}.forward takes no edge weight; edit edge_index instead."
                )
            arguments[self._weight_name] = edge_weight
        if batch is not None and self._takes_batch:
            arguments["batch"] = batch
        if self._takes_fields:
            arguments["fields"] = fields
        out = self._model(x, edge_index, **arguments)
        if isinstance(out, tuple):  # (logits, embedding) is a common habit
            out = out[0]
        return out  # type: ignore[no-any-return]

    def embeddings(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        batch: Tensor | None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Input of the embedding layer, [N, d]."""
        layer = self._find_embedding_layer()
        seen: list[Tensor] = []

        def remember(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            first = args[0] if args else kwargs["x"]
            seen.append((first[0] if isinstance(first, tuple) else first).clone())  # forward may go on to write on it

        hook = layer.register_forward_pre_hook(remember, with_kwargs=True)
        try:
            self.logits(x, edge_index, edge_weight, batch, fields)
        finally:
            hook.remove()
        if not seen:
            raise CapabilityError(f"{type(self._model).__name__} did not call its embedding layer in forward.")
        return seen[-1]

    def _find_embedding_layer(self) -> nn.Module:
        if self._embedding_layer is not None:
            modules: dict[str, nn.Module] = dict(self._model.named_modules())
            if self._embedding_layer not in modules:
                raise CapabilityError(
                    f"embedding_layer {self._embedding_layer!r} is not in the model; "
                    f"it has {', '.join(filter(None, modules))}."
                )
            return modules[self._embedding_layer]
        layers: list[nn.Module] = [m for m in self._model.modules() if isinstance(m, MessagePassing)]
        if not layers:
            raise CapabilityError(f"{type(self._model).__name__} has no message-passing layer to take embeddings from.")
        return layers[-1]
