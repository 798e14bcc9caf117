"""The gradient of a loss at every pair of nodes of an attention model, as two thin factors.

A head of a GAT layer gives node v the mean of h_u over the arcs (u, v) and its loop, by weights proportional to
w_uv e_uv, with e_uv = exp(leaky(s_u + t_v)), and w = 1 on the loop. With Z_v their sum and G = dL/dout,

    dL/dw_uv = e_uv / Z_v (<G_v, h_u> - <G_v, out_v>).

e_uv is no product of a number of u and one of v, but the larger of two that are: exp(s_u) exp(t_v), and the same with
s and t times the slope that leaky has below 0. Their sum is between e_uv and twice it. So each head's part of the
gradient keeps its sign and comes out at most doubled, which is good enough to say which pairs are worth a look: whether
one of them is given a weight is decided by the model's own gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch_geometric.nn import GATConv
from torch_geometric.nn.aggr import SumAggregation

from auditor.targets.relaxation import Relaxation
from auditor.targets.soft_edges import message_passing_layers


@dataclass(slots=True, eq=False)
class _Seen:
    """What one layer computed last: s and t [N, H]; h, out and G = dL/dout [N, H, d]; the weights of loops [N, H]."""

    s: Tensor
    t: Tensor
    h: Tensor
    out: Tensor
    loops: Tensor
    gradient: Tensor | None = None


class Attention:
    """Watches the attention layers of a relaxed model, which is a private copy of the target's."""

    def __init__(self, layers: list[GATConv]) -> None:
        self._layers = layers
        self._seen: dict[int, _Seen] = {}
        for layer in layers:
            layer.register_propagate_forward_hook(self._summed)

    @classmethod
    def of(cls, relaxation: Relaxation) -> Attention | None:
        """None where some message-passing layer is no plain GAT layer with loops."""
        layers = message_passing_layers(relaxation.handle.model)
        return cls(layers) if layers and all(map(_is_plain, layers)) else None

    def pair_factors(self) -> tuple[Tensor, Tensor] | None:
        """(L, R), [N, K] each: dL/dw_uv of an undirected pair is about (L R^T)_uv; None before the first gradient."""
        senders, receivers = list[Tensor](), list[Tensor]()
        for layer in self._layers:
            seen = self._seen.get(id(layer))
            if seen is None or seen.gradient is None:
                return None
            for sender, receiver in _halves(seen, float(layer.negative_slope)):
                senders.append(sender)
                receivers.append(receiver)
        sent, received = torch.cat(senders, dim=1), torch.cat(receivers, dim=1)
        return torch.cat([received, sent], dim=1), torch.cat([sent, received], dim=1)

    def _summed(self, layer: GATConv, inputs: tuple[Any, ...], out: Tensor) -> None:
        (h, to), alpha = inputs[-1]["x"], inputs[-1]["alpha"]
        s, t = (h * layer.att_src).sum(dim=-1), (to * layer.att_dst).sum(dim=-1)
        loops = alpha[-out.shape[0] :]  # the layer puts them at the end
        seen = self._seen[id(layer)] = _Seen(*(each.detach() for each in (s, t, h, out, loops)))
        if out.requires_grad:
            out.register_hook(lambda gradient: setattr(seen, "gradient", gradient.detach()))  # type: ignore[no-untyped-call]


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is GATConv
        and layer.add_self_loops
        and layer.edge_dim is None
        and layer.flow == "source_to_target"
        and isinstance(layer.aggr_module, SumAggregation)
        and 0 <= layer.negative_slope <= 1
    )


def _halves(seen: _Seen, slope: float) -> list[tuple[Tensor, Tensor]]:
    """What u sends and v receives, [N, H (d + 1)] each, for both products that e_uv is the larger one of."""
    assert seen.gradient is not None
    s, t = seen.s.double(), seen.t.double()
    per_sum = seen.loops.double() / leaky_relu(s + t, slope).exp()  # 1 / Z_v
    own = (seen.gradient * seen.out).sum(dim=-1)
    halves = []
    for power in (1.0, slope):
        sends, takes = (power * s).exp()[..., None].float(), ((power * t).exp() * per_sum)[..., None].float()
        sender = torch.cat([sends * seen.h, sends], dim=-1)
        receiver = torch.cat([takes * seen.gradient, -takes * own[..., None]], dim=-1)
        halves.append((sender.flatten(1), receiver.flatten(1)))
    return halves
