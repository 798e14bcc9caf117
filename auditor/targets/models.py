"""Builds the models a `[model]` table can name: PyG's own, the tutorial stack, and the graph classifier on top."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric import nn as pyg
from torch_geometric.nn import models as pyg_models

from auditor.errors import ConfigError, nearest
from auditor.reading.archives import EASY_BYTES
from auditor.reading.files import first_line, library_errors


class MLP(pyg_models.MLP):  # type: ignore[misc]
    """PyG's MLP, called and sized like its graph models: the reference without edges. `edge_index` is never read."""

    supports_edge_weight = False

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int | None = None,
        *,
        dropout: float = 0.0,
        act: str = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            out_channels=out_channels or hidden_channels,
            num_layers=num_layers,
            dropout=dropout,
            act=act,
            bias=bias,
            norm=None,  # PyG's MLP has BatchNorm by default, its graph models have none
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] -> [N, C]."""
        return super().forward(x)  # type: ignore[no-any-return]


CLASSES: Mapping[str, type[nn.Module]] = {
    "MLP": MLP,
    **{name: getattr(pyg_models, name) for name in ("GCN", "GAT", "GraphSAGE", "GIN", "PNA", "EdgeCNN")},
}
"""PyG's ready-made models; `**kwargs` of their constructor go to the layer below."""

MAX_LAYERS, MAX_WIDTH, MAX_PARTS = 1_000, 1 << 16, 2_000
SIZES: Mapping[str, int] = {
    "in_channels": 100 * MAX_WIDTH,
    "hidden_channels": MAX_WIDTH,
    "num_layers": MAX_LAYERS,
    "out_channels": MAX_WIDTH,
}
"""The sizes that every table gives, and the most that each may be."""
SHOWN = 60  # characters of an option in a message

LAYERS: Mapping[str, type[nn.Module]] = {
    "GCN": pyg.GCNConv,
    "GAT": pyg.GATConv,
    "GraphSAGE": pyg.SAGEConv,
    "GIN": pyg.GINConv,
    "PNA": pyg.PNAConv,
    "EdgeCNN": pyg.EdgeConv,
}
"""The layer of each model that passes messages."""
STACKABLE = (
    "GCNConv",
    "GATConv",
    "GATv2Conv",
    "SAGEConv",
    "GraphConv",
    "SGConv",
    "TAGConv",
    "ChebConv",
    "TransformerConv",
    "ARMAConv",
    "LEConv",
    "ClusterGCNConv",
)
"""Layers that are built from (in_channels, out_channels) alone, hence can be stacked by a table."""

POOLS: Mapping[str, Callable[..., Tensor]] = {
    "add": pyg.global_add_pool,
    "mean": pyg.global_mean_pool,
    "max": pyg.global_max_pool,
}
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
}
# What the model passes to its layers by itself, and `cached`: a cached layer ignores the edges it is given.
_RESERVED = frozenset({"self", "args", "kwargs", "nn", "in_channels", "out_channels", "cached"})


class Stack(nn.Module):
    """The tutorial form: `conv1 … convL` of one layer, one activation and dropout between them."""

    def __init__(
        self,
        layer: str,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        act: str = "relu",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        kind = getattr(pyg, layer)
        heads = int(options.get("heads", 1)) if options.get("concat", True) else 1
        self.num_layers, self.dropout = num_layers, dropout
        self._act = ACTIVATIONS[act]
        width = in_channels
        for i in range(1, num_layers + 1):
            last = i == num_layers
            # The tutorial's attention stack ends with a single averaged head: H * heads -> C.
            own = options | ({"heads": 1, "concat": False} if last and "heads" in options else {})
            self.add_module(f"conv{i}", kind(width, out_channels if last else hidden_channels, **own))
            width = hidden_channels * heads
        names = inspect.signature(kind.forward).parameters
        self.supports_edge_weight = "edge_weight" in names

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N, F] and [2, E] -> [N, C]."""
        for i in range(1, self.num_layers + 1):
            conv = self.get_submodule(f"conv{i}")
            x = conv(x, edge_index) if edge_weight is None else conv(x, edge_index, edge_weight)
            if i < self.num_layers:
                x = functional.dropout(self._act(x), p=self.dropout, training=self.training)
        return x


class GraphClassifier(nn.Module):
    """Node embeddings, pooled by `readout`, through a two-layer head.

    The head has no normalisation (PyG's MLP defaults to BatchNorm, which mixes the records of a batch). Its weights
    are saved under `head.`, those of the model below under `gnn.`.
    """

    def __init__(self, gnn: nn.Module, hidden_channels: int, out_channels: int, readout: str) -> None:
        super().__init__()
        self.gnn = gnn
        self.head = pyg.MLP([hidden_channels, hidden_channels, out_channels], norm=None)
        self._pool = POOLS[readout]
        self.supports_edge_weight = bool(getattr(gnn, "supports_edge_weight", False))

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """[N, F], [2, E] and batch [N] -> [B, C]; one graph without `batch`."""
        h = self.gnn(x, edge_index) if edge_weight is None else self.gnn(x, edge_index, edge_weight)  # [N, H]
        if batch is None:
            batch = x.new_zeros(x.shape[0], dtype=torch.long)
        return self.head(self._pool(h, batch))  # type: ignore[no-any-return]


def build_model(table: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised model from a `[model]` table; draws its weights from torch's global generator.

    Args:
        table: `class` (one of PyG's) or `stack` (a layer), `in_channels`, `hidden_channels`, `num_layers`,
            `out_channels`, for graph targets `readout`, and any keyword of that constructor or its layer.

    Raises:
        ConfigError: an unknown class or keyword (the nearest one is offered), or a value of the wrong type.
    """
    rest = dict(table)
    name, stack, readout = rest.pop("class", None), rest.pop("stack", None), rest.pop("readout", None)
    if (name is None) == (stack is None):
        raise ConfigError(
            f"[model] has {'both class and stack' if name else 'neither class nor stack'}; expected one of them, "
            f'as in class = "GCN" or stack = "GCNConv". Any other model is given by [target] factory.'
        )
    sizes: dict[str, Any] = {key: _size(rest, key, most) for key, most in SIZES.items()}
    _check_counts(sizes["num_layers"], rest)
    if readout is not None and readout not in POOLS:
        raise ConfigError(f'[model] readout is "{readout}"; {nearest(str(readout), POOLS)}')
    if stack is not None:
        _check_stack(stack, rest)
        if readout is not None:
            raise ConfigError('[model] readout needs class = "…"; a stack classifies nodes. Use class, or a factory.')
        return _construct(Stack, {"layer": str(stack), **sizes, **rest})
    _check_class(name, rest)
    if "deg" in rest:
        rest["deg"] = torch.tensor(rest["deg"], device="cpu")
    kind = CLASSES[name]
    if readout is None:
        return _construct(kind, sizes | rest)
    classes = sizes.pop("out_channels")
    return GraphClassifier(_construct(kind, sizes | rest), sizes["hidden_channels"], classes, readout)


def _construct(kind: type[nn.Module], options: Mapping[str, Any]) -> nn.Module:
    """The model, with a constructor's own complaint turned into ours."""
    try:
        return kind(**options)
    except library_errors() as error:
        given = ", ".join(f"{key}={value!r}"[:SHOWN] for key, value in options.items())
        raise ConfigError(
            f"[model] cannot be built as {kind.__name__}({given}): {first_line(error)}. Correct the table."
        ) from None


def check_size(table: Mapping[str, Any], held: int, file: str) -> None:
    """Builds the model of a table without its memory, and refuses one that the weights cannot be of.

    Args:
        table: as `build_model` takes it.
        held: bytes of the weights.
        file: of the weights, for messages.

    Raises:
        ConfigError: as `build_model`, or the weights that it makes take more than 256 MiB and four times those given.
    """
    with torch.device("meta"):
        model = build_model(table)
    made = sum(value.nbytes for value in model.state_dict().values())
    if made > max(EASY_BYTES, 4 * held):
        raise ConfigError(
            f"[model] builds weights of {made} bytes, {file} holds {held}; expected about as many. Correct "
            "hidden_channels, num_layers and the other sizes."
        )


def _check_counts(layers: int, options: Mapping[str, Any]) -> None:
    """Raises ConfigError for options that would build more parts than any model has."""
    numbers = {k: v for k, v in options.items() if isinstance(v, int) and not isinstance(v, bool)}
    parts = layers
    for key, value in numbers.items():
        if abs(value) > MAX_WIDTH:
            raise ConfigError(f"[model] {key} is {value}; expected at most {MAX_WIDTH}. Correct it.")
        parts *= 1 if key == "edge_dim" else max(1, abs(value))
    if parts > MAX_PARTS:
        raise ConfigError(
            f"[model] num_layers times {', '.join(numbers)} is {parts}; expected at most {MAX_PARTS}. Correct them."
        )


def _size(table: dict[str, Any], key: str, most: int) -> int:
    """One of the four sizes, taken out of the table."""
    if key not in table:
        close = difflib.get_close_matches(key, table, n=1, cutoff=0.7)
        hint = f' It has "{close[0]}": did you mean {key}?' if close else ""
        raise ConfigError(f"[model] has no {key}; expected a whole number above 0, as in {key} = 16.{hint}")
    value = table.pop(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"[model] {key} is {value!r}; expected a whole number above 0.")
    if value > most:
        raise ConfigError(f"[model] {key} is {value}; expected at most {most}. Correct it.")
    return value


def _check_class(name: object, options: Mapping[str, Any]) -> None:
    if name not in CLASSES:
        raise ConfigError(
            f'[model] class is "{name}". {nearest(str(name), CLASSES)} Any other model is given by [target] factory.'
        )
    hints = _keywords(CLASSES[str(name)])
    if name in LAYERS:
        hints = _keywords(pyg.MessagePassing) | _keywords(LAYERS[str(name)]) | hints
    _check_options(str(name), options, hints | ({"v2": bool} if name == "GAT" else {}))


def _check_stack(layer: object, options: Mapping[str, Any]) -> None:
    if layer not in STACKABLE:
        raise ConfigError(
            f'[model] stack is "{layer}". {nearest(str(layer), STACKABLE)} '
            "Any other model is given by [target] factory."
        )
    kind = getattr(pyg, str(layer))
    hints = _keywords(pyg.MessagePassing) | _keywords(kind) | {"act": str, "dropout": float}
    _check_options(str(layer), options, hints)
    if options.get("act", "relu") not in ACTIVATIONS:
        raise ConfigError(f'[model] act is "{options["act"]}". {nearest(str(options["act"]), ACTIVATIONS)}')


def _check_options(owner: str, options: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Every option is a keyword of the constructor and has its type."""
    for key, value in options.items():
        if key not in hints:
            raise ConfigError(f"[model] {key} is no keyword of {owner}. {nearest(key, hints)}")
        if key == "deg":
            if not (isinstance(value, list) and value and all(isinstance(d, int) for d in value)):
                raise ConfigError("[model] deg is the degree histogram of PNA; expected a list of whole numbers.")
            continue
        try:
            TypeAdapter(hints[key], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
        except PydanticSchemaGenerationError:
            continue  # a type that no TOML value can have; the constructor will say so
        except ValidationError:
            raise ConfigError(
                f"[model] {key} is {value!r}; {owner} expects {_words(hints[key])}. Correct the value or drop the key."
            ) from None


def _keywords(kind: type[nn.Module]) -> dict[str, Any]:
    """Keyword names of a constructor with their types."""
    names = [n for n in inspect.signature(kind.__init__).parameters if n not in _RESERVED]
    hints = get_type_hints(kind.__init__)
    return {name: hints.get(name, Any) for name in names}


def _words(hint: Any) -> str:
    """A type in words."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "nothing"}
    if hint in names:
        return names[hint]
    parts = [names[part] for part in getattr(hint, "__args__", ()) if part in names]
    return " or ".join(parts) or str(hint).replace("typing.", "")
