"""44 and 53: what fails, and nothing beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from tests.targets.shapes.graphs import changed, communities
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Shape, Works

ALWAYS = GCN.replace("F.dropout(x, p=0.3, training=self.training)", "F.dropout(x, p=0.5)")

MEAN = """
    import torch
    from torch_geometric.utils import degree, scatter


    class Conv(torch.nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.lin = torch.nn.Linear(in_channels, out_channels)

        def forward(self, x, edge_index):
            row, col = edge_index
            out = scatter(self.lin(x)[row], col, dim=0, dim_size=x.size(0), reduce="sum")
            return out / degree(col, x.size(0)).view(-1, 1)


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = Conv(12, 16)
            self.skip = torch.nn.Linear(12, 16)
            self.lin = torch.nn.Linear(16, 4)

        def forward(self, x, edge_index):
            return self.lin((self.conv(x, edge_index) + self.skip(x)).relu())


    def build():
        return Net()
"""


def with_isolated() -> Data:
    """Eight test nodes have lost every edge."""
    data = communities(seed=25)
    alone = data.test_mask.nonzero().flatten()[:8]
    kept = ~torch.isin(data.edge_index, alone).any(dim=0)
    return changed(data, edge_index=data.edge_index[:, kept])


def trained_without_isolated(model: nn.Module, data: Any) -> Tensor:
    """The graph that the script trains on has no such node; the one that it is used on has."""
    if not model.training:
        return called(model, data)
    joined = torch.zeros(data.num_nodes, dtype=torch.bool)
    joined[data.edge_index.flatten()] = True
    part = data.subgraph(joined)
    scores = torch.zeros(data.num_nodes, 4)
    scores[joined] = called(model, part)
    return scores


SHAPES = (
    Shape(
        "44",
        "dropout is always on",
        ALWAYS,
        communities,
        called,
        Works(fails=("deterministic",), says=("training=self.training",), counts=False),
    ),
    Shape(
        "53",
        "NaN on isolated nodes",
        MEAN,
        with_isolated,
        trained_without_isolated,
        Works(fails=("finite",), says=("isolated",), counts=False),
    ),
)
