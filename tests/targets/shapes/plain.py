"""1-15: one graph, and a forward of features and edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_geometric.transforms import ToSparseTensor
from torch_geometric.utils import to_dense_adj

from tests.targets.shapes.graphs import communities, save_npz
from tests.targets.shapes.shape import Refused, Shape, Works


def called(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index)  # type: ignore[no-any-return]


def first(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index)[0]  # type: ignore[no-any-return]


def in_one_batch(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.edge_index, torch.zeros(data.num_nodes, dtype=torch.long))  # type: ignore[no-any-return]


def save_tensors(model: nn.Module, folder: Path) -> None:
    save_file(model.state_dict(), folder / "model.pt")


GCN = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GCNConv


    class GCN(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.conv1 = GCNConv(in_channels, hidden_channels)
            self.conv2 = GCNConv(hidden_channels, out_channels)

        def forward(self, x, edge_index, edge_weight=None):
            x = F.dropout(x, p=0.3, training=self.training)
            x = self.conv1(x, edge_index, edge_weight).relu()
            return self.conv2(x, edge_index, edge_weight)


    def build():
        return GCN(12, 16, 4)
"""

GAT = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GATConv


    class GAT(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, heads):
            super().__init__()
            self.conv1 = GATConv(in_channels, hidden_channels, heads, dropout=0.2)
            self.conv2 = GATConv(hidden_channels * heads, out_channels, heads=1, concat=False)

        def forward(self, x, edge_index):
            x = F.elu(self.conv1(x, edge_index))
            x = F.dropout(x, p=0.2, training=self.training)
            return F.log_softmax(self.conv2(x, edge_index), dim=-1)


    def build():
        return GAT(12, 8, 4, heads=4)
"""

ARMA = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import ARMAConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.conv1 = ARMAConv(in_channels, hidden_channels, num_stacks=2, num_layers=2, shared_weights=True)
            self.conv2 = ARMAConv(
                hidden_channels, out_channels, num_stacks=2, num_layers=2, shared_weights=True, act=lambda x: x
            )

        def forward(self, x, edge_index):
            x = F.relu(self.conv1(x, edge_index))
            return F.log_softmax(self.conv2(x, edge_index), dim=1)


    def build():
        return Net(12, 16, 4)
"""

SAGE = """
    import torch
    from torch_geometric.nn import SAGEConv


    class SAGE(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.convs = torch.nn.ModuleList()
            self.convs.append(SAGEConv(in_channels, hidden_channels))
            self.convs.append(SAGEConv(hidden_channels, out_channels))

        def forward(self, x, edge_index):
            for i, conv in enumerate(self.convs):
                x = conv(x, edge_index)
                if i < len(self.convs) - 1:
                    x = x.relu()
            return x


    def build():
        return SAGE(12, 16, 4)
"""

CACHED = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GCNConv


    class GCN(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.conv1 = GCNConv(in_channels, hidden_channels, cached=True)
            self.conv2 = GCNConv(hidden_channels, out_channels, cached=True)

        def forward(self, x, adj_t):
            x = self.conv1(x, adj_t).relu()
            x = F.dropout(x, p=0.3, training=self.training)
            return self.conv2(x, adj_t).log_softmax(dim=-1)


    def build():
        return GCN(12, 16, 4)
"""


def with_adj_t(*, seed: int, attr: str | None = None, layout: torch.layout | None = torch.sparse_csr) -> Any:
    """The graph after PyG's ToSparseTensor, which leaves adj_t alone."""
    return ToSparseTensor(attr=attr, layout=layout, remove_edge_index=True)(communities(seed=seed))


def on_adj_t(model: nn.Module, data: Any) -> Tensor:
    return model(data.x, data.adj_t)  # type: ignore[no-any-return]


GCN2 = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GCN2Conv


    class GCN2(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, num_layers, alpha, theta):
            super().__init__()
            self.lins = torch.nn.ModuleList()
            self.lins.append(torch.nn.Linear(in_channels, hidden_channels))
            self.lins.append(torch.nn.Linear(hidden_channels, out_channels))
            self.convs = torch.nn.ModuleList()
            for layer in range(num_layers):
                self.convs.append(GCN2Conv(hidden_channels, alpha, theta, layer + 1, normalize=False))

        def forward(self, x, adj_t):
            x = x_0 = self.lins[0](x).relu()
            for conv in self.convs:
                x = conv(F.dropout(x, 0.2, training=self.training), x_0, adj_t).relu()
            return self.lins[1](x).log_softmax(dim=-1)


    def build():
        return GCN2(12, 16, 4, num_layers=6, alpha=0.1, theta=0.5)
"""


def normalised(model: nn.Module, data: Any) -> Tensor:
    """As the script: symmetric normalisation with self-loops, in memory."""
    adj = to_dense_adj(data.edge_index, max_num_nodes=data.num_nodes)[0] + torch.eye(data.num_nodes)
    root = adj.sum(dim=1).rsqrt()
    return model(data.x, (root[:, None] * adj * root[None]).to_sparse_csr())  # type: ignore[no-any-return]


def not_normalised(model: nn.Module, data: Any) -> Tensor:
    adj = to_dense_adj(data.edge_index, max_num_nodes=data.num_nodes)[0]
    return model(data.x, adj.to_sparse_csr())  # type: ignore[no-any-return]


GLOBAL = """
    import os.path as osp

    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import {layer}

    path = osp.join(osp.dirname(osp.realpath(__file__)), "graph.pt")
    data = torch.load(path, weights_only=False)


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            {made}

        def forward(self):
            {run}
            return F.log_softmax(x, dim=1)


    def build():
        return Net()
"""
SGC = GLOBAL.format(
    layer="SGConv",
    made="self.conv1 = SGConv(data.num_features, 4, K=2, cached=True)",
    run="x = self.conv1(data.x, data.edge_index)",
)
UNET = GLOBAL.format(
    layer="GraphUNet",
    made="self.unet = GraphUNet(data.num_features, 16, 4, depth=2, pool_ratios=0.5)",
    run="x = self.unet(data.x, data.edge_index)",
)


def of_global_data(model: nn.Module, data: Any) -> Tensor:
    return model()  # type: ignore[no-any-return]


SUPERGAT = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import SuperGATConv


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = SuperGATConv(12, 4, heads=4, attention_type="MX", edge_sample_ratio=0.8, is_undirected=True)
            self.conv2 = SuperGATConv(16, 4, heads=4, concat=False, attention_type="MX", is_undirected=True)

        def forward(self, x, edge_index):
            x = F.elu(self.conv1(x, edge_index))
            att_loss = self.conv1.get_attention_loss()
            x = self.conv2(x, edge_index)
            att_loss += self.conv2.get_attention_loss()
            return F.log_softmax(x, dim=-1), att_loss


    def build():
        return Net()
"""

ENCODER_FIRST = """
    import torch
    from torch_geometric.nn import GCNConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.encoder = torch.nn.Sequential(torch.nn.Linear(in_channels, hidden_channels), torch.nn.ReLU())
            self.conv = GCNConv(hidden_channels, hidden_channels)
            self.head = torch.nn.Linear(hidden_channels, out_channels)

        def forward(self, x, edge_index):
            return self.head(self.conv(self.encoder(x), edge_index).relu())


    def build():
        return Net(12, 24, 4)
"""

OUTPUT_FIRST = """
    import torch
    from torch_geometric.nn import GraphConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels):
            super().__init__()
            self.conv2 = GraphConv(hidden_channels, out_channels, aggr="mean")
            self.conv1 = GraphConv(in_channels, hidden_channels, aggr="mean")

        def forward(self, x, edge_index):
            x = self.conv1(x, edge_index).relu()
            return self.conv2(x, edge_index)


    def build():
        return Net(12, 24, 4)
"""

GENIEPATH = """
    import torch
    from torch_geometric.nn import GATConv


    class Breadth(torch.nn.Module):
        def __init__(self, in_dim, out_dim):
            super().__init__()
            self.gatconv = GATConv(in_dim, out_dim, heads=1)

        def forward(self, x, edge_index):
            return torch.tanh(self.gatconv(x, edge_index))


    class Depth(torch.nn.Module):
        def __init__(self, in_dim, hidden):
            super().__init__()
            self.lstm = torch.nn.LSTM(in_dim, hidden, 1, bias=False)

        def forward(self, x, h, c):
            x, (h, c) = self.lstm(x, (h, c))
            return x, (h, c)


    class GeniePath(torch.nn.Module):
        def __init__(self, in_dim, dim, lstm_hidden, out_dim, layers=2):
            super().__init__()
            self.lin1 = torch.nn.Linear(in_dim, dim)
            self.breadth = torch.nn.ModuleList([Breadth(dim, dim) for _ in range(layers)])
            self.depth = torch.nn.ModuleList([Depth(dim * 2, lstm_hidden) for _ in range(layers)])
            self.lin2 = torch.nn.Linear(lstm_hidden, out_dim)

        def forward(self, x, edge_index):
            x = self.lin1(x)
            h = torch.zeros(1, x.shape[0], self.lin2.in_features, device=x.device)
            c = torch.zeros_like(h)
            h_tmps = [breadth(x, edge_index) for breadth in self.breadth]
            x = x[None, :]
            for depth, h_tmp in zip(self.depth, h_tmps):
                x, (h, c) = depth(torch.cat([h_tmp[None, :], x], -1), h, c)
            return self.lin2(x[0])


    def build():
        return GeniePath(12, 16, 16, 4)
"""

DNA = """
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import DNAConv


    class Net(torch.nn.Module):
        def __init__(self, in_channels, hidden_channels, out_channels, num_layers, heads=2, groups=4):
            super().__init__()
            self.lin1 = torch.nn.Linear(in_channels, hidden_channels)
            self.convs = torch.nn.ModuleList(
                [DNAConv(hidden_channels, heads, groups, dropout=0.1) for _ in range(num_layers)]
            )
            self.lin2 = torch.nn.Linear(hidden_channels, out_channels)

        def forward(self, x, edge_index):
            x = F.relu(self.lin1(x))
            x_all = x.view(-1, 1, self.lin1.out_features)
            for conv in self.convs:
                x = F.relu(conv(x_all, edge_index)).view(-1, 1, self.lin1.out_features)
                x_all = torch.cat([x_all, x], dim=1)
            return torch.log_softmax(self.lin2(x_all[:, -1]), dim=1)


    def build():
        return Net(12, 16, 4, num_layers=3)
"""

SGFORMER = """
    from torch_geometric.nn.models import SGFormer


    def build():
        return SGFormer(12, 16, 4, trans_num_layers=1, trans_dropout=0.2, gnn_num_layers=2, gnn_dropout=0.2)
"""

POLYNORMER = """
    from torch_geometric.nn.models import Polynormer


    def build():
        return Polynormer(12, 16, 4, local_layers=2, global_layers=1, in_dropout=0.1, dropout=0.2, global_dropout=0.2)
"""

SHAPES = (
    Shape("1", "GCN", GCN, communities, called, save_graph=save_npz),
    Shape("2", "GAT, log-probabilities", GAT, communities, called),
    Shape("3", "ARMA, saved as safetensors", ARMA, communities, called, save_weights=save_tensors),
    Shape("4", "SAGE, layers in a list", SAGE, communities, called, save_graph=save_npz),
    Shape("5", "cached GCN of adj_t alone", CACHED, lambda: with_adj_t(seed=5), on_adj_t),
    Shape(
        "5-sparsetensor",
        "cached GCN, adj_t as torch_sparse has it",
        CACHED,
        lambda: with_adj_t(seed=5, layout=None),
        on_adj_t,
        needs="torch_sparse",
    ),
    Shape(
        "6-advice",
        "GCN2 of an adjacency that the script normalised: the cause is named",
        GCN2,
        communities,
        normalised,
        Works(fails=("call",), explained=("clean-accuracy",), says=("gcn-norm",), counts=False),
        claim=True,
        decoys={"not normalised": not_normalised},
    ),
    Shape(
        "6-pinned",
        "GCN2, the advice followed",
        GCN2,
        communities,
        normalised,
        claim=True,
        tables={"call": {"adj": "gcn-norm"}},
        decoys={"not normalised": not_normalised},
    ),
    Shape("7", "SGC on global data", SGC, communities, of_global_data, Refused(("reads the global data",))),
    Shape("8", "U-Net on global data", UNET, communities, of_global_data, Refused(("reads the global data",))),
    Shape("9", "SuperGAT, (logits, loss)", SUPERGAT, communities, first, steps=40),
    Shape("10", "an encoder before the first layer", ENCODER_FIRST, communities, called),
    Shape("11", "the output layer declared first", OUTPUT_FIRST, communities, called),
    Shape("12", "GeniePath", GENIEPATH, communities, called),
    Shape("13", "DNA", DNA, communities, called, steps=25),
    Shape("14", "SGFormer, required batch", SGFORMER, communities, in_one_batch),
    Shape("15", "Polynormer, required batch", POLYNORMER, communities, in_one_batch),
)
