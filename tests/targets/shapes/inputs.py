"""22-24, 45: what forward takes and gives, and in which precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE

from tests.targets.shapes.graphs import changed, communities
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Shape

OF_DATA = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = GCNConv(12, 16)
            self.conv2 = GCNConv(16, 4)

        def forward(self, data):
            x, edge_index = data.x, data.edge_index
            x = F.relu(self.conv1(x, edge_index))
            x = F.dropout(x, training=self.training)
            return F.log_softmax(self.conv2(x, edge_index), dim=1)


    def build():
        return Net()
"""

ENCODED = """
    import torch
    from torch_geometric.nn import SAGEConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, pe_dim, hidden_channels, out_channels):
            super().__init__()
            self.node_lin = torch.nn.Linear(in_channels, hidden_channels - pe_dim)
            self.pe_lin = torch.nn.Linear(pe_dim, pe_dim)
            self.conv = SAGEConv(hidden_channels, out_channels)

        def forward(self, x, pe, edge_index):
            x = torch.cat([self.node_lin(x), self.pe_lin(pe)], dim=1).relu()
            return self.conv(x, edge_index)


    def build():
        return Net(12, 6, 24, 4)
"""

DICTIONARY = """
    import torch
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = GCNConv(12, 16)
            self.lin = torch.nn.Linear(16, 4)

        def forward(self, x, edge_index):
            h = self.conv1(x, edge_index).relu()
            return {"embedding": h, "logits": self.lin(h)}


    def build():
        return Net()
"""


def with_pe() -> Data:
    """Positions that say much about the class: eigenvectors of the communities."""
    data = communities(noise=2.5, seed=9)
    pe = AddLaplacianEigenvectorPE(k=6, attr_name="pe", is_undirected=True)(data).pe
    return changed(data, pe=pe * data.num_nodes**0.5)


def of_data(model: nn.Module, data: Any) -> Tensor:
    return model(data)  # type: ignore[no-any-return]


def with_positions(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.pe, data.edge_index)  # type: ignore[no-any-return]


def without_positions(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, torch.zeros_like(data.pe), data.edge_index)  # type: ignore[no-any-return]


def by_key(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index)["logits"]  # type: ignore[no-any-return]


def double() -> Data:
    data = communities(seed=10)
    return changed(data, x=data.x.double())


SHAPES = (
    Shape("22", "forward(data)", OF_DATA, communities, of_data),
    Shape("23", "a pe argument", ENCODED, with_pe, with_positions, decoys={"zeros": without_positions}),
    Shape("24", "a dictionary of outputs", DICTIONARY, communities, by_key),
    Shape("45", "float64, model and features", GCN, double, called, double=True),
)
