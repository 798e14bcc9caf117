"""40-43: classifiers of many graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from tests.targets.shapes.graphs import batch_of, changed, molecules, one_hot, save_list, save_processed
from tests.targets.shapes.shape import Shape, Works

GIN = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import MLP, GINConv, global_add_pool


    class GIN(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, num_layers):
            super().__init__()
            self.convs = torch.nn.ModuleList()
            for _ in range(num_layers):
                self.convs.append(GINConv(MLP([in_channels, hidden_channels, hidden_channels]), train_eps=False))
                in_channels = hidden_channels
            self.mlp = MLP([hidden_channels, hidden_channels, out_channels], norm=None, dropout=0.2)

        def forward(self, x, edge_index, batch):
            for conv in self.convs:
                x = conv(x, edge_index).relu()
            return self.mlp(global_add_pool(x, batch))


    def build():
        return GIN(5, 16, 2, num_layers=2)
"""

MOLECULE = """
    import torch
    from torch_geometric.nn import MessagePassing, global_mean_pool


    class Conv(MessagePassing):
        def __init__(self, emb_dim):
            super().__init__(aggr="add")
            self.mlp = torch.nn.Sequential(
                torch.nn.Linear(emb_dim, 2 * emb_dim),
                torch.nn.BatchNorm1d(2 * emb_dim),
                torch.nn.ReLU(),
                torch.nn.Linear(2 * emb_dim, emb_dim),
            )
            self.bond_encoder = torch.nn.Embedding(4, emb_dim)

        def forward(self, x, edge_index, edge_attr):
            return self.mlp(x + self.propagate(edge_index, x=x, edge_attr=self.bond_encoder(edge_attr)))

        def message(self, x_j, edge_attr):
            return torch.relu(x_j + edge_attr)


    class GNN(torch.nn.Module):
        def __init__(self, num_tasks, emb_dim):
            super().__init__()
            self.atom_encoder = torch.nn.Embedding(8, emb_dim)
            self.conv = Conv(emb_dim)
            self.graph_pred_linear = torch.nn.Linear(emb_dim, num_tasks)

        def forward(self, batched_data):
            h = self.atom_encoder(batched_data.x).sum(dim=1)
            h = self.conv(h, batched_data.edge_index, batched_data.edge_attr)
            return self.graph_pred_linear(global_mean_pool(h, batched_data.batch))


    def build():
        return GNN(2, 16)
"""

PNA = """
    import torch
    from torch_geometric.nn import BatchNorm, PNAConv, global_add_pool


    class Net(torch.nn.Module):
        def __init__(self, deg):
            super().__init__()
            self.node_emb = torch.nn.Embedding(6, 16)
            self.edge_emb = torch.nn.Embedding(4, 8)
            self.conv = PNAConv(
                16, 16, ["mean", "min", "max", "std"], ["identity", "amplification"], deg, edge_dim=8, towers=2
            )
            self.norm = BatchNorm(16)
            self.mlp = torch.nn.Linear(16, 2)

        def forward(self, x, edge_index, edge_attr, batch):
            x = self.node_emb(x.squeeze())
            edge_attr = self.edge_emb(edge_attr)
            x = self.norm(self.conv(x, edge_index, edge_attr)).relu()
            return self.mlp(global_add_pool(x, batch))


    def build():
        return Net(torch.tensor([0, 150, 180, 100, 40, 10, 5]))
"""

TOPK = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GraphConv, TopKPooling
    from torch_geometric.nn import global_max_pool as gmp
    from torch_geometric.nn import global_mean_pool as gap


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = GraphConv(5, 16)
            self.pool1 = TopKPooling(16, ratio=0.5)
            self.conv2 = GraphConv(16, 16)
            self.pool2 = TopKPooling(16, ratio=0.5)
            self.lin = torch.nn.Linear(32, 2)

        def forward(self, x, edge_index, batch):
            x = F.relu(self.conv1(x, edge_index))
            x, edge_index, _, batch, _, _ = self.pool1(x, edge_index, None, batch)
            x1 = torch.cat([gmp(x, batch), gap(x, batch)], dim=1)
            x = F.relu(self.conv2(x, edge_index))
            x, edge_index, _, batch, _, _ = self.pool2(x, edge_index, None, batch)
            x2 = torch.cat([gmp(x, batch), gap(x, batch)], dim=1)
            return F.log_softmax(self.lin(x1 + x2), dim=-1)


    def build():
        return Net()
"""


def kinds_as_columns(seed: int) -> Batch:
    """Each atom's kind as one of five columns, no bonds: the form of the TU sets."""
    graphs = molecules(seed=seed)
    return batch_of([changed(g, x=one_hot(g.x[:, 0], 5), edge_attr=None) for g in graphs])


def numbers(seed: int) -> Batch:
    return batch_of(molecules(seed=seed))


def as_graphs(batch: Any) -> list[Data]:
    return [without_none(graph) for graph in batch.to_data_list()]


def without_none(graph: Any) -> Data:
    return Data(**{key: value for key, value in graph.to_dict().items() if value is not None})


def columns_of_labels(batch: Any) -> list[Data]:
    """Molecules as OGB has them: y [1, 1]."""
    return [changed(graph, y=graph.y[:, None]) for graph in as_graphs(batch)]


def pooled(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index, data.batch)  # type: ignore[no-any-return]


def bonded(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index, data.edge_attr, data.batch)  # type: ignore[no-any-return]


def batched(model: nn.Module, data: Any) -> Tensor:
    return model(data)  # type: ignore[no-any-return]


def no_bonds(model: nn.Module, data: Any) -> Tensor:
    bare = data.clone()
    bare.edge_attr = torch.zeros_like(data.edge_attr)
    return model(bare)  # type: ignore[no-any-return]


BESIDE = {"data": {"split": "file:split.npz"}}

SHAPES = (
    Shape(
        "40",
        "GIN, a processed tuple",
        GIN,
        lambda: kinds_as_columns(20),
        pooled,
        stored=as_graphs,
        save_graph=save_processed,
        tables=BESIDE,
    ),
    Shape(
        "41",
        "molecules, forward(batched_data)",
        MOLECULE,
        lambda: numbers(21),
        batched,
        stored=columns_of_labels,
        save_graph=save_list,
        tables=BESIDE,
        decoys={"no bonds": no_bonds},
        steps=120,
    ),
    Shape("42", "PNA, a Batch with whole numbers", PNA, lambda: numbers(22), bonded),
    Shape("43", "TopK pooling", TOPK, lambda: kinds_as_columns(23), pooled, Works(warns=("ties",))),
)
