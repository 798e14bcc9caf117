"""19-21: what stands on edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from tests.targets.shapes.graphs import changed, communities
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Refused, Shape

REQUIRED = """
    import torch
    from torch_geometric.nn import NNConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, edge_dim):
            super().__init__()
            net = torch.nn.Sequential(
                torch.nn.Linear(edge_dim, 8), torch.nn.ReLU(), torch.nn.Linear(8, in_channels * hidden_channels)
            )
            self.conv1 = NNConv(in_channels, hidden_channels, net, aggr="mean")
            self.lin = torch.nn.Linear(hidden_channels, out_channels)

        def forward(self, x, edge_index, edge_attr):
            return self.lin(self.conv1(x, edge_index, edge_attr).relu())


    def build():
        return Net(12, 12, 4, 3)
"""

OPTIONAL = """
    import torch
    from torch_geometric.nn import GENConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, edge_dim):
            super().__init__()
            self.conv1 = GENConv(in_channels, hidden_channels, aggr="mean", edge_dim=edge_dim, norm="layer")
            self.conv2 = GENConv(hidden_channels, out_channels, aggr="mean", edge_dim=edge_dim, norm="layer")

        def forward(self, x, edge_index, edge_attr=None):
            x = self.conv1(x, edge_index, edge_attr).relu()
            return self.conv2(x, edge_index, edge_attr)


    def build():
        return Net(12, 16, 4, 5)
"""


def telling(columns: int, seed: int = 7) -> Data:
    """Edges whose attributes say a lot about the class of their ends, and features that say little."""
    data = communities(noise=2.0, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    hint = torch.nn.functional.one_hot(data.y[data.edge_index[0]], columns).float()
    noise = torch.randn(hint.shape, generator=rng)
    return changed(data, edge_attr=2 * hint + 0.5 * noise)


def weighted(seed: int = 11) -> Data:
    """One weight an edge, small between classes."""
    data = communities(noise=3.2, seed=seed)
    u, v = data.edge_index
    rng = torch.Generator().manual_seed(seed)
    size = torch.where(data.y[u] == data.y[v], 1.5, 0.3)
    return changed(data, edge_attr=size * (0.5 + torch.rand(u.shape[0], generator=rng)))


def three_kinds() -> Data:
    data = communities(noise=2.5, seed=8)
    u, v = data.edge_index
    kind = torch.where(data.y[u] == data.y[v], data.y[u] % 2, torch.tensor(2))
    return changed(data, edge_attr=torch.nn.functional.one_hot(kind, 3).float())


def with_attr(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index, data.edge_attr)  # type: ignore[no-any-return]


def zeros(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index, torch.zeros_like(data.edge_attr))  # type: ignore[no-any-return]


SHAPES = (
    Shape("19", "edge_attr required", REQUIRED, three_kinds, with_attr, decoys={"zeros": zeros}),
    Shape("20", "edge_attr optional", OPTIONAL, lambda: telling(5), with_attr, steps=100, decoys={"left out": called}),
    Shape(
        "21-claim",
        "weights in edge_attr, accuracy known",
        GCN,
        weighted,
        with_attr,
        claim=True,
        decoys={"left out": called},
    ),
    Shape(
        "21-bare",
        "weights in edge_attr, nothing known",
        GCN,
        weighted,
        with_attr,
        Refused(("edge_attr", "edge_weight", "claimed_accuracy")),
        decoys={"left out": called},
    ),
    Shape(
        "21-pinned",
        "weights in edge_attr, pinned",
        GCN,
        weighted,
        with_attr,
        tables={"call": {"edge_weight": "edge_attr"}},
        decoys={"left out": called},
    ),
)
