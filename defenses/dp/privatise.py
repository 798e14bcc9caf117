"""Rewrites a network so that each record has a gradient of its own, or says why it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch_geometric import nn as pyg

from auditor.errors import SkippedError
from auditor.targets.copying import copied
from auditor.targets.user_imports import with_forward
from defenses.dp.record_layers import RecordBias, RecordContext, RecordLinear

LINEAR = (nn.Linear, pyg.Linear)
CONVOLUTIONS = (pyg.GCNConv, pyg.GINConv, pyg.SAGEConv)
POOLS = (pyg.SumAggregation, pyg.MeanAggregation, pyg.MaxAggregation)
NORMS = (
    "BatchNorm", "HeteroBatchNorm", "InstanceNorm", "LayerNorm", "HeteroLayerNorm", "GraphNorm", "GraphSizeNorm",
    "PairNorm", "MeanSubtractionNorm", "DiffGroupNorm",
)  # fmt: skip
_NORMS = (_NormBase, *(getattr(pyg, name) for name in NORMS if hasattr(pyg, name)))
SUPPORTED = "GCNConv, GINConv with fixed eps, SAGEConv with mean or add aggregation, Linear; add or mean pooling"


def privatise(model: nn.Module, context: RecordContext) -> nn.Module:
    """A copy of `model` on the same Parameters whose layers have per-record gradients.

    A convolution is a parameter-free aggregation before or after its linear layers, so it is enough to replace these
    and the bias. The function computed is the same.

    Args:
        model: left as it is.
        context: of the batch in work; shared by every layer of the copy.

    Raises:
        SkippedError: see `refuse_layers`.
    """
    refuse_layers(model)
    twin = copied(model)
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if type(module) in LINEAR:  # a subclass may compute something else
            _put(twin, name, RecordLinear(module.weight, module.bias, context, name))
    for name, module in modules.items():
        if isinstance(module, pyg.GCNConv) and module.bias is not None:
            conv = twin.get_submodule(name)
            conv.register_parameter("bias", None)
            conv.add_bias = RecordBias(module.bias, context, f"{name}.bias")
            with_forward(conv, _biased)
    return twin


def _biased(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A convolution without bias, and the bias after it; still an instance of its class."""

    def biased(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = self.get_submodule("add_bias")(forward(self, *args, **kwargs))
        return out

    return biased


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    """Replaces the submodule `name`."""
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, module)


def refuse_layers(model: nn.Module) -> None:
    """Nothing, for a network whose every trainable layer has per-record gradients.

    Raises:
        SkippedError: normalisation over the batch, an unknown layer, a trainable GIN eps, learned pooling; the message
            names the layer, the reason and what is supported.
    """
    for name, module in model.named_modules():
        reason = _refusal(module)
        if reason:
            layer = f"{name} ({type(module).__name__})" if name else type(module).__name__
            raise SkippedError(f"per-record gradients: layer {layer} is refused: {reason}. Supported: {SUPPORTED}.")


def _refusal(module: nn.Module) -> str:
    """Why this layer has no per-record gradient; empty when it has, or trains nothing."""
    if isinstance(module, _NORMS):
        return (
            "it normalises over rows of other records or keeps statistics of them, so that one record changes the "
            "gradients of all others; build the model without it"
        )
    if isinstance(module, pyg.GCNConv):
        return "cached=True serves the edges of its first batch for ever; build it without" if module.cached else ""
    if isinstance(module, pyg.SAGEConv) and module.aggr not in ("mean", "add", "sum"):
        return f'its aggregation is {module.aggr!r}; set aggr = "mean"'
    if isinstance(module, pyg.GINConv) and isinstance(module.eps, nn.Parameter):
        return "its eps is trained and has no per-record gradient here; build it with train_eps = false"
    if isinstance(module, pyg.MessagePassing) and not isinstance(module, CONVOLUTIONS):
        return "it is an unknown convolution, whose rows may be edges or heads and not nodes"
    if isinstance(module, pyg.Aggregation) and not isinstance(module, POOLS):
        return "its pooling is learned or sorted; pool by sum or mean"
    if type(module) in LINEAR:
        return ""
    own = [name for name, value in module.named_parameters(recurse=False) if value.requires_grad]
    if own and not isinstance(module, CONVOLUTIONS):
        return f"its {', '.join(own)} have no per-record gradient here"
    return ""
