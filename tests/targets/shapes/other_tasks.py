"""46-51: tasks that are not audited, each of them named."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData, TemporalData

from tests.targets.shapes.graphs import changed, communities, without
from tests.targets.shapes.shape import Refused, Shape

HGT = """
    import torch
    from torch_geometric.nn import HGTConv, Linear

    METADATA = (["author", "paper"], [("author", "writes", "paper"), ("paper", "rev_writes", "author")])


    class HGT(torch.nn.Module):
        def __init__(self, hidden_channels, out_channels, num_heads):
            super().__init__()
            self.lin_dict = torch.nn.ModuleDict({node_type: Linear(12, hidden_channels) for node_type in METADATA[0]})
            self.conv = HGTConv(hidden_channels, hidden_channels, METADATA, num_heads)
            self.lin = Linear(hidden_channels, out_channels)

        def forward(self, x_dict, edge_index_dict):
            x_dict = {node_type: self.lin_dict[node_type](x).relu_() for node_type, x in x_dict.items()}
            x_dict = self.conv(x_dict, edge_index_dict)
            return self.lin(x_dict["author"])


    def build():
        return HGT(16, 4, num_heads=2)
"""

TGN = """
    import torch
    from torch_geometric.nn import TransformerConv
    from torch_geometric.nn.models.tgn import TimeEncoder


    class GraphAttentionEmbedding(torch.nn.Module):
        def __init__(self, in_channels, out_channels, msg_dim, time_dim):
            super().__init__()
            self.time_enc = TimeEncoder(time_dim)
            self.conv = TransformerConv(in_channels, out_channels // 2, heads=2, edge_dim=msg_dim + time_dim)

        def forward(self, x, last_update, edge_index, t, msg):
            rel_t = last_update[edge_index[0]] - t
            edge_attr = torch.cat([self.time_enc(rel_t.to(x.dtype)), msg], dim=-1)
            return self.conv(x, edge_index, edge_attr)


    def build():
        return GraphAttentionEmbedding(12, 16, 6, 8)
"""

STEMGNN = """
    import torch


    class StemGNN(torch.nn.Module):
        def __init__(self, nodes, window, horizon, hidden):
            super().__init__()
            self.gru = torch.nn.GRU(window, hidden)
            self.query = torch.nn.Linear(hidden, hidden)
            self.key = torch.nn.Linear(hidden, hidden)
            self.block = torch.nn.Linear(window, window)
            self.forecast = torch.nn.Linear(window, horizon)

        def forward(self, x):
            series = x.permute(2, 0, 1).contiguous()
            states, _ = self.gru(series)
            states = states.permute(1, 0, 2)
            attention = torch.softmax(self.query(states) @ self.key(states).transpose(1, 2), dim=-1).mean(dim=0)
            laplacian = torch.diag(attention.sum(dim=1)) - attention
            mixed = torch.einsum("ij,bwj->bwi", laplacian, x).transpose(1, 2)
            return self.forecast(torch.relu(self.block(mixed))).transpose(1, 2)


    def build():
        return StemGNN(7, 12, 3, 16)
"""

PPI = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GATConv


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = GATConv(12, 16, heads=2)
            self.lin1 = torch.nn.Linear(12, 32)
            self.conv2 = GATConv(32, 9, heads=2, concat=False)

        def forward(self, x, edge_index):
            x = F.elu(self.conv1(x, edge_index) + self.lin1(x))
            return self.conv2(x, edge_index)


    def build():
        return Net()
"""

ZINC = """
    import torch
    from torch_geometric.nn import GINEConv, global_add_pool


    class Net(torch.nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.node_emb = torch.nn.Embedding(28, channels)
            self.edge_emb = torch.nn.Embedding(4, channels)
            self.conv = GINEConv(torch.nn.Sequential(torch.nn.Linear(channels, channels), torch.nn.ReLU()))
            self.mlp = torch.nn.Linear(channels, 1)

        def forward(self, x, edge_index, edge_attr, batch):
            x = self.conv(self.node_emb(x.squeeze(-1)), edge_index, self.edge_emb(edge_attr))
            return self.mlp(global_add_pool(x, batch)).squeeze(-1)


    def build():
        return Net(16)
"""

GAE = """
    import torch
    from torch_geometric.nn import GAE, GCNConv


    class GCNEncoder(torch.nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.conv1 = GCNConv(in_channels, 2 * out_channels)
            self.conv2 = GCNConv(2 * out_channels, out_channels)

        def forward(self, x, edge_index):
            x = self.conv1(x, edge_index).relu()
            return self.conv2(x, edge_index)


    def build():
        return GAE(GCNEncoder(12, 16))
"""

SCORER = """
    import torch
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels):
            super().__init__()
            self.conv = GCNConv(in_channels, hidden_channels)

        def forward(self, x, edge_index, edge_label_index):
            z = self.conv(x, edge_index)
            return (z[edge_label_index[0]] * z[edge_label_index[1]]).sum(dim=-1)


    def build():
        return Net(12, 16)
"""

RECOMMENDER = """
    from torch_geometric.nn import LightGCN


    def build():
        return LightGCN(num_nodes=180, embedding_dim=16, num_layers=2)
"""


def hetero() -> HeteroData:
    graph = communities(seed=30)
    data = HeteroData()
    data["author"].x, data["author"].y = graph.x[:90], graph.y[:90]
    data["author"].train_mask, data["author"].test_mask = graph.train_mask[:90], graph.test_mask[:90]
    data["paper"].x = graph.x[90:]
    links = graph.edge_index[:, (graph.edge_index[0] < 90) & (graph.edge_index[1] >= 90)] - torch.tensor([[0], [90]])
    data["author", "writes", "paper"].edge_index = links
    data["paper", "rev_writes", "author"].edge_index = links.flip(0)
    return data


def homogeneous() -> Data:
    """A graph of one kind, as every other model here has it."""
    return communities(seed=30)


def events() -> TemporalData:
    rng = torch.Generator().manual_seed(31)
    return TemporalData(
        src=torch.randint(90, (400,), generator=rng),
        dst=torch.randint(90, 180, (400,), generator=rng),
        t=torch.arange(400),
        msg=torch.randn(400, 6, generator=rng),
    )


def windows() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(32)
    return {"x": torch.randn(40, 12, 7, generator=rng), "y": torch.randn(40, 3, 7, generator=rng)}


def proteins() -> list[Data]:
    """Several graphs whose nodes have any number of nine labels."""
    rng = torch.Generator().manual_seed(33)
    graphs = [communities(nodes=60, seed=33 + i) for i in range(3)]
    return [
        changed(
            without(graph, "train_mask", "val_mask", "test_mask"), y=(torch.rand(60, 9, generator=rng) < 0.3).float()
        )
        for graph in graphs
    ]


def drugs() -> list[Data]:
    """Small graphs with a number each."""
    rng = torch.Generator().manual_seed(34)
    made = []
    for _ in range(30):
        n = int(torch.randint(6, 12, (1,), generator=rng))
        path = torch.stack([torch.arange(n - 1), torch.arange(1, n)])
        edge_index = torch.cat([path, path.flip(0)], dim=1)
        made.append(
            Data(
                x=torch.randint(28, (n, 1), generator=rng),
                edge_index=edge_index,
                edge_attr=torch.randint(4, (edge_index.shape[1],), generator=rng),
                y=torch.randn(1, generator=rng),
            )
        )
    return made


def pairs() -> Data:
    data = communities(seed=35)
    rng = torch.Generator().manual_seed(35)
    chosen = torch.randint(data.num_nodes, (2, 300), generator=rng)
    return changed(
        without(data, "y", "train_mask", "val_mask", "test_mask"),
        edge_label_index=chosen,
        edge_label=(data.y[chosen[0]] == data.y[chosen[1]]).float(),
    )


def interactions() -> Data:
    """Users and items, and who bought what: no features, no labels."""
    data = communities(seed=36)
    return Data(edge_index=data.edge_index, num_nodes=data.num_nodes)


def not_measured(model: nn.Module, data: Any) -> Tensor:
    raise AssertionError("nothing of this task is measured")


def shape(id_: str, name: str, source: str, data: Any, *says: str) -> Shape:
    return Shape(id_, name, source, data, not_measured, Refused(says), steps=0)


SHAPES = (
    shape("46", "HGT", HGT, hetero, "heterogeneous", "to_homogeneous"),
    shape("46-model", "HGT on a graph of one kind", HGT, homogeneous, "heterogeneous"),
    shape("47", "TGN", TGN, events, "temporal", "not audited"),
    shape("47-model", "TGN on a graph without times", TGN, homogeneous, "temporal"),
    shape("48", "StemGNN", STEMGNN, windows, "forecaster"),
    shape("49", "PPI", PPI, proteins, "multi-label"),
    shape("50", "ZINC", ZINC, drugs, "regression"),
    shape("51-gae", "GAE", GAE, homogeneous, "link prediction"),
    shape("51-scorer", "a scorer of pairs", SCORER, pairs, "link prediction"),
    shape("51-scorer-labels", "a scorer of pairs on a graph with labels", SCORER, homogeneous, "link prediction"),
    shape("51-recommender", "LightGCN", RECOMMENDER, interactions, "recommendation"),
)
