"""25-29: labels and classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.data import Data

from tests.targets.shapes.graphs import changed, communities, save_npz
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Shape

ONE_LOGIT = """
    import torch
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels):
            super().__init__()
            self.conv1 = GCNConv(in_channels, hidden_channels)
            self.conv2 = GCNConv(hidden_channels, 1)

        def forward(self, x, edge_index):
            x = self.conv1(x, edge_index).relu()
            return self.conv2(x, edge_index){end}


    def build():
        return Net(12, 16)
"""


def binary(seed: int) -> Data:
    return communities(classes=2, noise=2.2, seed=seed)


def bce(scores: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(scores.view(-1), y.float())


def bce_of_probability(scores: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy(scores.view(-1), y.float())


def positive(scores: Tensor) -> Tensor:
    return (scores.view(-1) > 0).long()


def likely(scores: Tensor) -> Tensor:
    return (scores.view(-1) > 0.5).long()


def column(data: Any) -> Data:
    return changed(data, y=data.y[:, None])


def partly_labelled(data: Any) -> Data:
    """Half of the validation nodes lose label and mask."""
    lost = data.val_mask.nonzero().flatten()[::2]
    y, mask = data.y.clone(), data.val_mask.clone()
    y[lost], mask[lost] = -1, False
    return changed(data, y=y, val_mask=mask)


def one_class_never_seen(*, last: bool) -> Data:
    """Labels 0, 1, 3 or 0, 1, 2 for a model of four."""
    data = communities(classes=3, seed=14)
    return data if last else changed(data, y=torch.tensor([0, 1, 3])[data.y])


SHAPES = (
    Shape("25", "one logit", ONE_LOGIT.format(end=""), lambda: binary(12), called, loss=bce, predict=positive),
    Shape(
        "25-flat",
        "one probability, [N]",
        ONE_LOGIT.format(end=".sigmoid().squeeze(-1)"),
        lambda: binary(12),
        called,
        loss=bce_of_probability,
        predict=likely,
    ),
    Shape(
        "26",
        "y of floats, one logit",
        ONE_LOGIT.format(end=".squeeze(-1)"),
        lambda: binary(13),
        called,
        stored=lambda data: changed(data, y=data.y.float()),
        loss=bce,
        predict=positive,
    ),
    Shape("27", "y [N, 1]", GCN, communities, called, stored=column),
    Shape("28", "y = -1 outside the masks", GCN, communities, called, stored=partly_labelled, save_graph=save_npz),
    Shape("29", "the last class is unused", GCN, lambda: one_class_never_seen(last=True), called, save_graph=save_npz),
    Shape("29-inner", "an inner class is unused", GCN, lambda: one_class_never_seen(last=False), called),
)
