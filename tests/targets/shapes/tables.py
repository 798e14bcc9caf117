"""16-18: models with a row per node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from tests.targets.shapes.graphs import changed, communities, without
from tests.targets.shapes.plain import called
from tests.targets.shapes.shape import Shape, Works

LINKX = """
    from torch_geometric.nn import LINKX


    def build():
        return LINKX(num_nodes=180, in_channels=12, hidden_channels=16, out_channels=4, num_layers=1, dropout=0.3)
"""

EMBEDDING = """
    import torch
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self, num_nodes, dim, num_classes):
            super().__init__()
            self.emb = torch.nn.Embedding(num_nodes, dim)
            self.conv1 = GCNConv(dim, dim)
            self.conv2 = GCNConv(dim, num_classes)

        def forward(self, edge_index):
            x = self.conv1(self.emb.weight, edge_index).relu()
            return self.conv2(x, edge_index)


    def build():
        return Net(180, 16, 4)
"""

RGCN = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import RGCNConv


    class Net(torch.nn.Module):
        def __init__(self, num_nodes, num_relations, num_classes):
            super().__init__()
            self.conv1 = RGCNConv(num_nodes, 16, num_relations, num_bases=5)
            self.conv2 = RGCNConv(16, num_classes, num_relations, num_bases=5)

        def forward(self, edge_index, edge_type):
            x = F.relu(self.conv1(None, edge_index, edge_type))
            x = self.conv2(x, edge_index, edge_type)
            return F.log_softmax(x, dim=1)


    def build():
        return Net(180, 3, 4)
"""


def of_edges(model: nn.Module, data: Any) -> Tensor:
    return model(data.edge_index)  # type: ignore[no-any-return]


def of_relations(model: nn.Module, data: Any) -> Tensor:
    return model(data.edge_index, data.edge_type)  # type: ignore[no-any-return]


def relations(seed: int = 3) -> Data:
    """Two kinds of edges inside classes, one between them."""
    data = communities(seed=seed)
    u, v = data.edge_index
    kind = torch.where(data.y[u] == data.y[v], (u + v) % 2, torch.tensor(2))
    return changed(without(data, "x"), edge_type=kind, num_nodes=data.num_nodes)


def featureless() -> Data:
    data = communities(seed=2)
    return changed(without(data, "x"), num_nodes=data.num_nodes)


SHAPES = (
    Shape("16", "LINKX", LINKX, communities, called, Works(fixed_nodes=True)),
    Shape("17", "node embedding, no x", EMBEDDING, featureless, of_edges, Works(fixed_nodes=True)),
    Shape("18", "RGCN without x", RGCN, relations, of_relations, Works(fixed_nodes=True)),
)
