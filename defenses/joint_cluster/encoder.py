"""Turns a fresh model of the target's architecture into an encoder (x, edge_index, edge_weight) -> z [N, d]."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, MessagePassing, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.models.basic_gnn import BasicGNN

from auditor.errors import CapabilityError
from auditor.targets.forward import ForwardAdapter
from auditor.targets.models import Stack


class Propagate(MessagePassing):  # type: ignore[misc]
    """One GCN propagation without a weight: the head that follows is that weight."""

    def __init__(self, like: GCNConv) -> None:
        super().__init__(aggr="add", flow=like.flow)
        self.improved, self.normalized, self.loops = like.improved, like.normalize, like.add_self_loops

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N, d] -> [N, d]."""
        if self.normalized:
            edge_index, edge_weight = gcn_norm(
                edge_index, edge_weight, x.shape[0], self.improved, self.loops, self.flow, x.dtype
            )
        return self.propagate(edge_index, x=x, edge_weight=edge_weight)  # type: ignore[no-any-return]

    def message(self, x_j: Tensor, edge_weight: Tensor | None) -> Tensor:
        """The neighbour's row times the weight of the edge."""
        return x_j if edge_weight is None else edge_weight[:, None] * x_j


class Encoder(nn.Module):
    """A model read at its output (`inner` False) or at the input of its embedding layer.

    For GCN the last layer keeps its propagation and loses its weight; other families of PyG get a last layer as wide as
    the one before. Any other model is read where its embeddings are, one message-passing layer before the output.

    Attributes:
        form: which of the three it is, for the report.
    """

    def __init__(self, net: nn.Module, *, form: str, inner: bool = False, layer: str | None = None) -> None:
        super().__init__()
        self.net, self.form, self._inner = net, form, inner
        self._forward = ForwardAdapter(net, embedding_layer=layer)

    @property
    def supports_edge_weight(self) -> bool:
        """Whether the model below takes edge weights."""
        return self._forward.takes_edge_weight

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Embeddings z, [N, d]."""
        call = self._forward.embeddings if self._inner else self._forward.logits
        return call(x, edge_index, edge_weight, None)


def encoder_of(net: nn.Module, *, layer: str | None = None) -> Encoder:
    """The encoder form of a freshly built model, which is changed in place.

    Raises:
        CapabilityError: a model of no known family, with no message-passing layer.
    """
    if layer is None and isinstance(net, BasicGNN):
        return _of_basic(net)
    if layer is None and isinstance(net, Stack) and isinstance(net.get_submodule(f"conv{net.num_layers}"), GCNConv):
        name = f"conv{net.num_layers}"
        setattr(net, name, Propagate(net.get_submodule(name)))
        return Encoder(net, form="last propagation kept, its weight moved into the head")
    if layer is None and not any(isinstance(module, MessagePassing) for module in net.modules()):
        raise CapabilityError(f"{type(net).__name__} has no message-passing layer to take embeddings from.")
    return Encoder(net, form="input of the embedding layer", inner=True, layer=layer)


def _of_basic(net: Any) -> Encoder:
    """PyG's ready-made models: jumping knowledge is read before its last linear layer."""
    if net.jk_mode is not None:
        net.lin = nn.Identity()
        return Encoder(net, form="jumping knowledge, before its linear layer")
    last = net.convs[-1]
    if isinstance(last, GCNConv):
        net.convs[-1] = Propagate(last)
        return Encoder(net, form="last propagation kept, its weight moved into the head")
    width = int(net.hidden_channels)
    if isinstance(last, GINConv):
        net.convs[-1] = net.init_conv(int(last.nn.channel_list[0]), width)
    elif isinstance(last, SAGEConv):
        options = {"normalize": last.normalize, "root_weight": last.root_weight, "project": last.project}
        net.convs[-1] = net.init_conv(last.in_channels, width, aggr=last.aggr, **options)
    elif hasattr(last, "heads"):
        net.convs[-1] = net.init_conv(last.in_channels, width, heads=last.heads, add_self_loops=last.add_self_loops)
    else:
        return Encoder(net, form="input of the embedding layer", inner=True)
    return Encoder(net, form="last layer as wide as the one before")
