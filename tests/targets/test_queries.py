"""Queries of a served graph: every engine answers as the model itself, and the handle holds nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp
from torch_geometric.nn import APPNP, GCN, TAGConv, TransformerConv
from torch_geometric.nn.models import PNA, GraphSAGE

from auditor.compare.arms import make_defense
from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.errors import CapabilityError, SkippedError
from auditor.runner.execute import TrainedCache
from auditor.targets import queries as module
from auditor.targets.push import Push
from auditor.targets.queries import Ball, Full, Oracle, check_features, open_queries
from auditor.targets.target import Target
from tests.toys import sbm_graph, toy_target

GRAPH = sbm_graph(60, degree=3.0)


class Stack(nn.Module):
    """A layer behind a linear map."""

    def __init__(self, conv: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.first, self.conv, self.last = nn.Linear(24, width), conv, nn.Linear(width, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.last(torch.tanh(self.conv(torch.tanh(self.first(x)), edge_index)))


class Residual(nn.Module):
    """Adds the features to what two layers make of them."""

    def __init__(self) -> None:
        super().__init__()
        self.gcn, self.skip = GCN(24, 8, 2, 3), nn.Linear(24, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.gcn(x, edge_index) + self.skip(x)


class Summing(nn.Module):
    """Two steps of plain index arithmetic, which no layer tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(24, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.lin(x)
        degree = torch.bincount(edge_index[1], minlength=x.shape[0]).clamp(min=1)[:, None]
        for _ in range(2):
            h = torch.tanh(h + torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]]) / degree)
        return h


class Coupled(nn.Module):
    """Takes the mean answer off, so that every node hears of every other."""

    def __init__(self) -> None:
        super().__init__()
        self.gcn = GCN(24, 8, 2, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.gcn(x, edge_index)
        return h - h.mean(dim=0)


class AtRandom(Coupled):
    """Adds noise to every answer."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.gcn(x, edge_index) + 0.1 * torch.randn(x.shape[0], 3)


class Single(Summing):
    """Runs in float32 alone."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) + torch.ones(x.shape[0], 1, dtype=torch.float32) @ self.lin.weight[:1, :3]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "gcn, joined": lambda: GCN(24, 8, 3, 3, jk="cat"),
    "gcn, norm": lambda: GCN(24, 8, 2, 3, norm="BatchNorm"),
    "sage, max": lambda: GraphSAGE(24, 8, 2, 3, aggr="max"),
    "appnp": lambda: Stack(APPNP(4, 0.1)),
    "tag": lambda: Stack(TAGConv(8, 8, K=2)),
    "transformer": lambda: Stack(TransformerConv(8, 8)),
    "pna": lambda: PNA(
        24, 8, 2, 3, aggregators=["mean", "std"], scalers=["amplification"], deg=torch.tensor([1, 5, 9, 9])
    ),
    "residual": Residual,
}


def target_of(model: Callable[[], nn.Module], graph: Graph = GRAPH) -> Target:
    """An untrained model on a graph: what it computes is all that counts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dataclasses.replace(toy_target("mlp", graph=graph, epochs=1), model=model())


def ring(n: int = 90) -> Graph:
    """A cycle, where balls stay small, without a label."""
    ids = torch.arange(n)
    arcs = torch.stack([torch.cat([ids, (ids + 1) % n]), torch.cat([(ids + 1) % n, ids])])
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 24))).float()
    return Graph(x, arcs, ids % 3, name="ring")


def oracle(target: Target) -> Oracle:
    return Oracle(target, outputs="probs", digits=None)


def hops(graph: Graph) -> Tensor:
    """Hops between nodes, [N, N]; N where there is no path."""
    n = graph.num_nodes
    near = torch.eye(n, dtype=torch.bool)
    step = near.clone()
    step[graph.edge_index[0], graph.edge_index[1]] = True
    found = torch.full((n, n), n)
    for depth in range(n):
        found[near & (found == n)] = depth
        near = (near.double() @ step.double()) > 0
    return found


TOYS = ("gcn", "gat", "sage", "gin")


@pytest.mark.parametrize("kind", [*TOYS, *MODELS])
def test_push_answers_as_the_model_itself(kind: str) -> None:
    target = toy_target(kind, graph=GRAPH, epochs=0) if kind in TOYS else target_of(MODELS[kind])
    made = oracle(target)
    assert made.checked.engine == "push"
    nodes = torch.arange(GRAPH.num_nodes)
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 24)))
    full = Full(target, torch.float64)
    assert made._apart(made._engine.changed(nodes, rows), full.changed(nodes, rows)) <= 1e-9 * made._scale


def test_queries_that_reach_much_are_computed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    target = toy_target("gcn", graph=GRAPH, epochs=0)
    whole = Push(Full(target, torch.float64).copy(), Full(target, torch.float64).graph, whole=False)
    nodes, rows = torch.arange(20), 2 * GRAPH.x[:20].double()
    together = whole.changed(nodes, rows)
    monkeypatch.setattr("auditor.targets.push.ARCS", 30)
    monkeypatch.setattr("auditor.targets.push.MESSAGES", 16)
    for one, other in zip(together, whole.changed(nodes, rows), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["gcn", "summing"])
def test_a_ball_of_one_more_hop_than_twice_the_reach_answers_as_the_model_itself(kind: str) -> None:
    graph = ring()
    target = toy_target("gcn", graph=graph, epochs=0) if kind == "gcn" else target_of(Summing, graph)
    full = Full(target, torch.float64)
    nodes = torch.arange(0, 90, 7)
    rows = 2 * full.graph.x[nodes]
    truth = full.changed(nodes, rows)
    ball = Ball(full, nodes, truth)
    assert ball._hops == 2
    assert ball._inside(0)[0].size == 11
    found = ball.changed(nodes, rows)
    assert oracle(target)._apart(found, truth) <= 1e-12
    ball._hops = 1  # one hop fewer, and the check that chooses an engine would turn it down
    assert oracle(target)._apart(ball.changed(nodes, rows), truth) > 1e-6


def test_the_first_engine_that_agrees_is_taken() -> None:
    assert oracle(target_of(Summing, ring())).checked.engine == "ball"
    assert oracle(target_of(Summing)).checked.engine == "full"  # its balls are most of the graph
    assert oracle(target_of(Coupled)).checked.engine == "full"  # everything moves


def test_a_way_that_forgets_edges_is_turned_down_where_most_nodes_have_none() -> None:
    inside = (GRAPH.edge_index < 8).all(dim=0)
    few = GRAPH.keeping(inside)
    assert 0 < few.num_edges < 20
    made = oracle(target_of(Summing, few))  # index arithmetic, of which no layer tells
    u, v = few.edge_index[:, 0].tolist()
    assert v in made.ask(torch.tensor([u]), 3 * few.x[u : u + 1] + 1)[1].tolist()


@pytest.mark.parametrize("kind", [*TOYS, "appnp", "tag"])
def test_a_small_change_is_the_derivative_and_beyond_the_reach_it_is_exactly_nothing(kind: str) -> None:
    """Influence per unit of change is the Jacobian-vector product of log-posteriors in the direction of the row."""
    target = toy_target(kind, graph=GRAPH, epochs=0) if kind in TOYS else target_of(MODELS[kind])
    made, full = oracle(target), Full(target, torch.float64)
    model, x, step = full.copy().model, full.graph.x, 1e-5
    far = hops(GRAPH) > {"appnp": 4}.get(kind, 2)
    for v in (0, 7, 31):
        moved = torch.zeros(2, 60, 3, dtype=torch.float64)
        for place, sign in enumerate((1, -1)):
            _which, ids, rows = made.ask(torch.tensor([v]), x[v : v + 1] * (1 + sign * step))
            moved[place] = made.answers.log()
            moved[place, ids] = rows.log()
            assert not far[v, ids].any()
        direction = torch.zeros_like(x)
        direction[v] = x[v]

        def log_p(features: Tensor, model: nn.Module = model) -> Tensor:
            return model(features, GRAPH.edge_index).log_softmax(dim=1)

        _value, exact = jvp(log_p, (x,), (direction,))
        torch.testing.assert_close((moved[0] - moved[1]) / (2 * step), exact, rtol=0, atol=1e-6)


def test_a_model_without_edges_is_moved_at_the_node_alone() -> None:
    query = open_queries(toy_target("mlp", graph=GRAPH), outputs="probs", digits=None)
    for v in range(60):
        ids, _rows = query(v, 3 * GRAPH.x[v] + 1)
        assert ids.tolist() == [v]


def test_calls_are_counted_and_an_unchanged_row_changes_nothing() -> None:
    query = open_queries(toy_target("gat", graph=GRAPH, epochs=2), outputs="probs", digits=None)
    assert query.count == 0
    assert query.checked.moved == 0
    assert query(3, GRAPH.x[3])[0].numel() == 0
    query.many(torch.arange(5), GRAPH.x[:5])
    assert query.count == 6


def test_a_model_that_answers_at_random_changes_without_a_change() -> None:
    checked = oracle(target_of(AtRandom)).checked
    assert checked.moved > 0
    assert checked.engine == "full"


def test_a_model_of_single_precision_has_its_resolution() -> None:
    assert oracle(target_of(Summing)).resolution == 0
    made = oracle(target_of(Single))
    assert made.resolution == module.SINGLE
    assert made.answers.dtype == torch.float64


@pytest.mark.parametrize(
    "spec", ["coarse-outputs:digits=1", "coarse-outputs:top-k=1", "coarse-outputs:labels-only=true"]
)
def test_what_is_served_answers(spec: str) -> None:
    base = toy_target("gcn", graph=GRAPH)
    target = make_defense(spec).fit(base, DefenseTask(0, TrainedCache()))
    made = oracle(target)
    assert made.checked.engine == "push"
    served = Full(target, torch.float64)  # the model with its answers made coarser
    for v in range(0, 60, 11):
        row = 3 * GRAPH.x[v : v + 1].double()
        table = made.answers
        _which, ids, rows = made.ask(torch.tensor([v]), row)
        table = table.clone()
        table[ids] = rows
        whole = served.logits.clone()
        _which, ids, rows = served.changed(torch.tensor([v]), row)
        whole[ids] = rows
        torch.testing.assert_close(table, whole.exp(), rtol=0, atol=1e-9)


def test_a_service_that_rounds_answers_rounded_and_says_its_resolution() -> None:
    query = open_queries(toy_target("gcn", graph=GRAPH), outputs="probs", digits=2)
    assert query.resolution == 0.01
    _ids, rows = query(4, 10 * GRAPH.x[4])
    assert torch.equal(rows, rows.round(decimals=2))


def test_queries_of_a_release_read_no_edge() -> None:
    target = make_defense("gap").fit(toy_target("gcn", graph=GRAPH), DefenseTask(0, TrainedCache()))
    query = open_queries(target, outputs="probs", digits=None)
    served = target.clean_logits().double().softmax(dim=1)
    torch.testing.assert_close(query.answers, served, rtol=0, atol=1e-4)
    assert query(9, 5 * GRAPH.x[9] + 1)[0].tolist() == [9]


class Blind(Summing):
    """Reads no features."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(torch.ones_like(x), edge_index)


MLP = toy_target("mlp", epochs=1, graph=GRAPH)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (dataclasses.replace(MLP, graph=dataclasses.replace(GRAPH, x=GRAPH.x[:, :0])), "has none"),
        (dataclasses.replace(MLP, graph=dataclasses.replace(GRAPH, whole_x=True)), "whole numbers"),
        (target_of(Blind), "answers the same whatever they are"),
        (dataclasses.replace(target_of(Blind), fixed_nodes=("emb.weight [60, 8]",)), "a row of its own for each node"),
    ],
)
def test_a_model_without_features_to_change_is_not_asked(target: Target, words: str) -> None:
    with pytest.raises(SkippedError, match=words):
        check_features(target)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_sparse_adjacency_is_not_followed() -> None:
    class Sparse(Residual):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            n = x.shape[0]
            ones = torch.ones(edge_index.shape[1], dtype=x.dtype)
            return self.gcn(x, torch.sparse_coo_tensor(edge_index.flip(0), ones, (n, n)).coalesce().to_sparse_csr())

    full = Full(target_of(Sparse), torch.float64)
    with pytest.raises(CapabilityError, match="sparse"):
        Push(full.copy(), full.graph, whole=True)
    assert oracle(target_of(Sparse)).checked.engine == "full"
