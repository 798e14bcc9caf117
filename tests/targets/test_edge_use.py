"""What is called 0, because no edge can change an answer, and what only looks so."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

from auditor.data.graph import Graph
from auditor.targets.edge_use import EdgeUse, redrawn
from auditor.targets.target import Target
from auditor.targets.validity import validity_rows
from tests.toys import MLP, sbm_graph, toy_target

TOY = toy_target("mlp")
GCN = toy_target("gcn")
EDGES = TOY.graph.edge_index


def use_of(target: Target) -> EdgeUse:
    return EdgeUse.of(target, np.random.default_rng(0))


def with_model(model: nn.Module) -> Target:
    return replace(TOY, model=model)


class Stored(MLP):
    """Ignores the edges that it is handed, and adds up over a graph of its own."""

    def __init__(self, hold) -> None:
        super().__init__(24, 16, 3)
        hold(self)

    def own(self) -> torch.Tensor:
        return self.kept

    def forward(self, x, edge_index):
        return self.layers(x.index_add(0, self.own()[1], x[self.own()[0]]))


def as_attribute(model: nn.Module) -> None:
    model.kept = EDGES


def as_buffer(model: nn.Module) -> None:
    model.register_buffer("kept", EDGES, persistent=False)


class InADeepPlace(Stored):
    def own(self) -> torch.Tensor:
        return self.config["data"][0].edge_index


def deep(model: nn.Module) -> None:
    model.config = {"data": [Graph(torch.zeros(120, 1), EDGES, torch.zeros(120).long())]}


class Pairs(Stored):
    def own(self) -> torch.Tensor:
        return torch.tensor(self.pairs).T


def as_pairs(model: nn.Module) -> None:
    model.pairs = EDGES.T.tolist()


class Dense(Stored):
    def own(self) -> torch.Tensor:
        return self.adj.nonzero().T


def as_matrix(model: nn.Module) -> None:
    adj = torch.zeros(120, 120)
    adj[EDGES[0], EDGES[1]] = 1
    model.adj = nn.Parameter(adj)


class Remembers(Stored):
    """Keeps the first graph that it is handed, and answers from that ever after."""

    def forward(self, x, edge_index):
        if self.kept is None:
            self.kept = edge_index
        return super().forward(x, edge_index)


def nothing_yet(model: nn.Module) -> None:
    model.kept = None


class Elsewhere(Stored):
    def own(self) -> torch.Tensor:
        return EDGES


def test_a_network_on_features_alone_is_unmoved_by_any_edge():
    found = use_of(TOY)
    assert found.kind == "unused"
    assert "bit for bit" in found.evidence
    assert f"120 nodes or {EDGES.shape[1]} edges" in found.evidence


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin", "graph-gin"])
def test_a_network_on_edges_is_moved(arch):
    assert use_of(toy_target(arch, seed=2)).kind == "used"


@pytest.mark.parametrize(
    ("kind", "hold", "name"),
    [
        (Stored, as_attribute, "kept [2, 706] has a side that counts edges"),
        (Stored, as_buffer, "kept [2, 706] has a side that counts edges"),
        (InADeepPlace, deep, "config.data.0"),
        (Pairs, as_pairs, "pairs [706] has a side that counts edges"),
        (Dense, as_matrix, "adj [120, 120] has a side that counts nodes"),
        (Remembers, nothing_yet, "kept [2, 706] has a side that counts edges"),
        (Elsewhere, nothing_yet, "another order of the nodes moves them"),
    ],
)
def test_a_graph_of_its_own_is_found_and_named(kind, hold, name):
    found = use_of(with_model(kind(hold)))
    assert found.kind == "doubtful"
    assert name in found.evidence
    assert "a graph of its own" in found.evidence


class Dead(MLP):
    """One answer for everybody: its units do not fire here, and would on a graph of higher degrees."""

    def forward(self, x, edge_index):
        degree = torch.bincount(edge_index[1], minlength=x.shape[0])[:, None]
        return torch.relu(degree - 100.0) + torch.tensor([0.1, 0.2, 0.3])


def test_a_network_that_is_dead_here_is_not_called_unmoved():
    off = toy_target("gin")
    with torch.no_grad():
        off.model.convs[-1].nn.lins[-1].weight.zero_()  # every unit of that GIN's head is off
    for target in (with_model(Dead(24, 16, 3)), off):
        found = use_of(target)
        assert found.kind == "doubtful"
        assert "every item gets the same ones" in found.evidence


@pytest.mark.parametrize("epochs", [1, 2, 20, 60])
@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin", "graph-gin"])
def test_every_toy_on_edges_lives(arch, epochs):
    """One that gives every item the same answer moves under nothing: a test about it could not fail."""
    target = toy_target(arch, epochs=epochs)
    assert float(target.clean_logits().std(dim=0).min()) > 1e-3
    assert use_of(target).kind == "used"


class Counted(MLP):
    """Reads how many edges there are, and nothing else of them."""

    def forward(self, x, edge_index):
        return self.layers(x) + 0.001 * edge_index.shape[1]


def test_a_model_that_counts_edges_is_not_called_unmoved():
    found = use_of(with_model(Counted(24, 16, 3)))
    assert found.kind == "doubtful"
    assert "without edges: the number of edges changes the answers" in found.evidence


class Barely(MLP):
    def forward(self, x, edge_index):
        degree = torch.bincount(edge_index[1], minlength=x.shape[0])[:, None]
        return self.layers(x) + 1e-8 * degree * torch.tensor([1.0, 0.0, 0.0])


def test_a_dependence_of_next_to_nothing_is_not_nothing():
    assert use_of(with_model(Barely(24, 16, 3))).kind == "used"


def test_a_cache_of_pyg_is_dropped_first():
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = GCNConv(24, 3, cached=True)

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    model = Cached().eval()
    model(TOY.graph.x, EDGES)
    assert model.conv._cached_edge_index is not None
    assert use_of(with_model(model)).kind == "used"


def test_nothing_is_changed_by_asking():
    model = copy.deepcopy(TOY.model.state_dict())
    state = torch.get_rng_state()
    use_of(TOY)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, TOY.model.state_dict()[key]) for key, value in model.items())


def test_random_edges_stay_inside_their_graph_and_carry_fields():
    graph = toy_target("graph-gin").graph
    other = redrawn(replace(graph, edge_weight=torch.rand(graph.num_edges)), 50, np.random.default_rng(0))
    assert other.num_edges == 50
    assert other.edge_weight.shape == (50,)
    assert torch.equal(graph.batch[other.edge_index[0]], graph.batch[other.edge_index[1]])


def rows_of(target: Target):
    return {row.id: row for row in validity_rows(target, np.random.default_rng(0))}


def test_the_checks_of_a_target_pass_a_model_that_no_edge_can_move_and_fail_one_that_hides_a_graph():
    rows = rows_of(TOY)
    assert [rows[id_].status for id_ in ("edge-dependence", "gradient", "relaxation-gap")] == [
        "pass",
        "pass",
        "not_checked",
    ]
    hidden = rows_of(with_model(Stored(as_attribute)))
    assert [hidden[id_].status for id_ in ("edge-dependence", "gradient")] == ["fail", "fail"]
    assert "kept [2, 706]" in hidden["edge-dependence"].evidence
    assert rows_of(with_model(Barely(24, 16, 3)))["edge-dependence"].status == "fail"


def test_counts_of_a_stored_graph_know_loops_and_both_directions():
    graph = sbm_graph()
    for kept in (
        torch.cat([graph.edge_index, torch.arange(120).expand(2, 120)], dim=1),
        graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]],
        graph.edge_index.flatten(),
    ):

        def hold(model, kept=kept):
            model.table = kept
            model.kept = torch.empty(2, 0, dtype=torch.int64)

        assert "table" in use_of(with_model(Stored(hold))).evidence
