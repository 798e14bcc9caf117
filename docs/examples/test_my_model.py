"""Run it with: pytest test_my_model.py --auditor-profile quick."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from torch_geometric.utils import stochastic_blockmodel_graph

from auditor.testing import assert_no_link_leak, assert_robust


@pytest.fixture(scope="module")
def data() -> Data:
    """Three groups of 60; put your own graph here."""
    torch.manual_seed(0)
    y = torch.arange(3).repeat_interleave(60)
    edges = stochastic_blockmodel_graph([60] * 3, torch.full((3, 3), 0.01) + 0.06 * torch.eye(3))
    order = torch.randperm(180)
    train_mask = torch.zeros(180, dtype=torch.bool)
    train_mask[order[:60]] = True
    x = torch.nn.functional.one_hot(y, 3) + torch.randn(180, 3)
    return Data(x=x, edge_index=edges, y=y, train_mask=train_mask, test_mask=~train_mask)


@pytest.fixture(scope="module")
def model(data: Data) -> torch.nn.Module:
    net = GCN(data.num_features, hidden_channels=16, num_layers=2, out_channels=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=5e-4)
    for _ in range(60):
        optimizer.zero_grad()
        out = net(data.x, data.edge_index)
        torch.nn.functional.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    return net


def test_answers_do_not_give_away_edges(model: torch.nn.Module, data: Data) -> None:
    # Answers come from a store here: nobody can ask again with other features, as influence does.
    assert_no_link_leak(model, data, max_excess=0.3, skip="influence")


def test_a_few_edges_do_not_turn_it(model: torch.nn.Module, data: Data) -> None:
    assert_robust(model, data, max_drop=0.4, eps=0.02)


def test_the_report_says_more(gnn_audit, model: torch.nn.Module, data: Data) -> None:
    report = gnn_audit(model, data, only="strata")
    assert report["strata"].value is not None
    assert not [row for row in report.validity if row.kind == "integrity" and row.status == "fail"]
