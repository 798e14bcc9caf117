"""Relaxations: which method suits a model, and that its weights mean what they say."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch_geometric.nn import APPNP, GATConv, GATv2Conv, GCNConv, GINConv, GraphConv, SAGEConv

from auditor.data.graph import Graph
from auditor.targets.memo import LinearMemo
from auditor.targets.relaxation import MAX_GAP, Relaxation, synthetic_graph
from auditor.targets.soft_edges import soft_edges
from auditor.targets.target import ModelHandle
from tests.toys import MLP, GraphGIN, sbm_graph, small_graphs

F_IN, HIDDEN, C = 24, 8, 3


class TwoLayers(nn.Module):
    """conv – relu – conv, with or without an edge weight in forward."""

    def __init__(self, make) -> None:
        super().__init__()
        self.one, self.two = make(F_IN, HIDDEN), make(HIDDEN, C)

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).relu(), edge_index)


class Signed(TwoLayers):
    """Hidden values of both signs, so that a message scaled to 0 is not the same as none under a maximum."""

    def forward(self, x, edge_index):
        return self.two(self.one(x - 0.5, edge_index).tanh(), edge_index)


class Weighted(TwoLayers):
    def forward(self, x, edge_index, edge_weight=None):
        return self.two(self.one(x, edge_index, edge_weight).relu(), edge_index, edge_weight)


class WeightIgnored(TwoLayers):
    def forward(self, x, edge_index, edge_weight=None):
        return super().forward(x, edge_index)


class WrongWeight(TwoLayers):
    """A scalar edge attribute that is no edge weight: 1 everywhere is not the same as none."""

    def forward(self, x, edge_index, edge_attr=None):
        attr = None if edge_attr is None else edge_attr.view(-1, 1)
        return self.two(self.one(x, edge_index, edge_attr=attr).relu(), edge_index, edge_attr=attr)


class Propagated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(F_IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, C))
        self.propagate = APPNP(K=4, alpha=0.1)

    def forward(self, x, edge_index):
        return self.propagate(self.layers(x), edge_index)


class NonDifferentiable(TwoLayers):
    def forward(self, x, edge_index):
        with torch.no_grad():
            return super().forward(x, edge_index)


def gin(a, b):
    return GINConv(nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, b)))


MODELS = {
    "gcn-weighted": (lambda: Weighted(GCNConv), "native"),
    "graphconv-weighted": (lambda: Weighted(GraphConv), "native"),
    "gcn": (lambda: TwoLayers(GCNConv), "adaptor"),
    "gcn-weight-ignored": (lambda: WeightIgnored(GCNConv), "adaptor"),
    "graphconv": (lambda: TwoLayers(GraphConv), "mask"),
    "gin": (lambda: TwoLayers(gin), "mask"),
    "sage-sum": (lambda: TwoLayers(lambda a, b: SAGEConv(a, b, aggr="sum")), "mask"),
    "sage-mean": (lambda: TwoLayers(lambda a, b: SAGEConv(a, b, aggr="mean")), "adaptor"),
    "gat": (lambda: TwoLayers(lambda a, b: GATConv(a, b, heads=2, concat=False)), "adaptor"),
    "gat-edge-dim": (lambda: WrongWeight(lambda a, b: GATConv(a, b, edge_dim=1)), "adaptor"),
    "gatv2": (lambda: TwoLayers(lambda a, b: GATv2Conv(a, b, heads=2, concat=False)), "adaptor"),
    "appnp": (Propagated, "adaptor"),
    "sage-max": (lambda: Signed(lambda a, b: SAGEConv(a, b, aggr="max")), "ranking"),
    "not-differentiable": (lambda: NonDifferentiable(GCNConv), "none"),
    "mlp": (lambda: MLP(F_IN, HIDDEN, C), "none"),
}
EXACT = [name for name, (_, kind) in MODELS.items() if kind in ("native", "mask", "adaptor")]


def handle_of(name: str) -> ModelHandle:
    torch.manual_seed(0)
    return ModelHandle(MODELS[name][0]())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("where", ["given", "synthetic"])
def test_every_model_gets_the_method_that_suits_it(name, where):
    graph = sbm_graph() if where == "given" else None
    relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node", graph=graph)
    assert relaxation.kind == MODELS[name][1], relaxation.gaps
    assert relaxation.is_exact == (name in EXACT)
    if relaxation.is_exact:
        assert relaxation.gap <= MAX_GAP


class NanWhereRemoved(TwoLayers):
    """Divides by each weight: right at 1, NaN at 0, which is not "removed"."""

    def forward(self, x, edge_index, edge_weight=None):
        weight = torch.ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        return super().forward(x, edge_index) * (weight / weight.detach()).mean()


def test_an_answer_that_is_not_finite_is_no_small_gap():
    torch.manual_seed(0)
    relaxation = Relaxation.choose(ModelHandle(NanWhereRemoved(GCNConv)), num_features=F_IN, level="node")
    assert dict(relaxation.gaps)["native"] == float("inf")
    assert relaxation.kind == "adaptor"


@pytest.mark.parametrize("name", EXACT)
def test_weights_zero_and_one_equal_edits_of_another_graph(name):
    """The method is chosen on a synthetic graph; it must hold on one it has not seen, isolated nodes included."""
    relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node")
    graph = sbm_graph(seed=3)
    keep = (graph.edge_index != 5).all(dim=0) & (torch.arange(graph.num_edges) % 3 > 0)  # node 5 loses every edge
    soft = relaxation.logits(graph.x, graph.edge_index, keep.float())
    torch.testing.assert_close(soft, handle_of(name).logits(graph.x, graph.edge_index[:, keep]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXACT)
def test_gradient_agrees_with_finite_differences(name):
    graph = sbm_graph(n=30)
    handle = handle_of(name)
    handle.model.double()
    method = MODELS[name][1]
    relaxation = Relaxation(method, 0.0, handle, method)
    x = graph.x.double()
    pairs = torch.combinations(torch.arange(30)).T
    pairs = pairs[:, torch.randperm(pairs.shape[1], generator=torch.Generator().manual_seed(1))[:10]]
    edges = torch.cat([graph.edge_index, pairs], dim=1)

    def loss(w):
        weight = torch.cat([torch.ones(graph.num_edges, dtype=torch.float64), w])
        return relaxation.logits(x, edges, weight).tanh()[:, 0].sum()

    w = torch.full((10,), 0.3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(w), w)
    step = 1e-6
    with torch.no_grad():
        numeric = torch.stack([(loss(w + step * e) - loss(w - step * e)) / (2 * step) for e in torch.eye(10).double()])
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient, numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["gcn", "gat", "sage-mean", "gin"])
def test_gradient_flows_at_weight_zero(name):
    graph = sbm_graph(n=30)
    relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node")
    w = torch.zeros(4, requires_grad=True)
    edges = torch.cat([graph.edge_index, torch.tensor([[0, 1, 2, 3], [20, 21, 22, 23]])], dim=1)
    relaxation.logits(graph.x, edges, torch.cat([torch.ones(graph.num_edges), w])).square().sum().backward()
    assert torch.isfinite(w.grad).all()
    assert (w.grad != 0).all()


def test_graph_model_pools_and_gets_masked_messages():
    torch.manual_seed(0)
    model = GraphGIN(2, 8, 2)
    for graph in (None, small_graphs(20)):
        relaxation = Relaxation.choose(ModelHandle(model), num_features=2, level="graph", graph=graph)
        assert relaxation.kind == "mask"
    graph = small_graphs(20)
    z = relaxation.logits(graph.x, graph.edge_index, torch.ones(graph.num_edges), graph.batch)
    assert z.shape == (20, 2)


@pytest.mark.parametrize("name", ["sage-mean", "sage-sum", "gin"])
def test_sums_over_sparse_features_equal_sums_over_messages(name, monkeypatch):
    base = sbm_graph()
    rng = torch.Generator().manual_seed(0)
    sparse = (torch.rand(base.x.shape, generator=rng) < 0.05).float() * torch.rand(base.x.shape, generator=rng)
    graph = Graph(sparse, torch.cat([base.edge_index, torch.tensor([[7], [7]])], dim=1), base.y)
    answers = []
    for entries in (True, False):
        relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node")
        if not entries:
            monkeypatch.setattr("auditor.targets.memo.SparseRows.of", lambda x: None)
        w = torch.linspace(0, 1, graph.num_edges, requires_grad=True)
        z = relaxation.logits(graph.x, graph.edge_index, w)
        (gradient,) = torch.autograd.grad(z.tanh().sum(), w)
        answers.append((z.detach(), gradient))
        assert (relaxation._memo.rows is not None) == entries
        assert "propagate" not in relaxation.handle.model.one.__dict__
    assert answers[0][1].abs().max() > 0
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-6)


def test_embeddings_follow_the_weights():
    graph = sbm_graph()
    for name in ("gat", "gcn-weighted"):
        relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node")
        keep = torch.arange(graph.num_edges) % 2 > 0
        soft = relaxation.embeddings(graph.x, graph.edge_index, keep.float())
        real = handle_of(name).embeddings(graph.x, graph.edge_index[:, keep])
        assert soft.shape == (graph.num_nodes, HIDDEN)
        torch.testing.assert_close(soft, real, rtol=1e-4, atol=1e-5)


def test_self_loops_of_the_graph_are_left_alone():
    base = sbm_graph(n=40)
    graph = base.with_edges(
        torch.cat([base.edge_index[:, :10], torch.tensor([[0, 7], [0, 7]]), base.edge_index[:, 10:]], 1)
    )
    for name in ("gat", "gcn", "gin", "sage-mean"):
        relaxation = Relaxation.choose(handle_of(name), num_features=F_IN, level="node", graph=graph)
        assert relaxation.kind == MODELS[name][1]


def test_hooks_are_gone_afterwards_even_after_an_error():
    model = handle_of("gat").model
    graph = sbm_graph()
    clean = model(graph.x, graph.edge_index)
    for method in ("mask", "adaptor"):
        with (
            pytest.raises(ZeroDivisionError),
            soft_edges(model, graph.edge_index, torch.rand(graph.num_edges), method=method),
        ):
            raise ZeroDivisionError
        assert torch.equal(model(graph.x, graph.edge_index), clean)


def test_the_target_is_never_patched():
    torch.manual_seed(0)
    model = TwoLayers(lambda a, b: GATConv(a, b)).eval()
    before = [set(m.__dict__) for m in model.modules()]
    relaxation = Relaxation.choose(ModelHandle(model), num_features=F_IN, level="node")
    assert [set(m.__dict__) for m in model.modules()] == before
    assert [set(m.__dict__) for m in relaxation.handle.model.modules()] != before  # the copy is memoised


def test_choice_is_the_same_twice_and_leaves_the_global_generator_alone():
    handles = [handle_of("gat"), handle_of("gat")]
    state = torch.get_rng_state()
    gaps = [Relaxation.choose(handle, num_features=F_IN, level="node").gaps for handle in handles]
    assert gaps[0] == gaps[1]
    assert torch.equal(state, torch.get_rng_state())


class CountingLinear(nn.Linear):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return super().forward(x)


def test_memo_answers_a_known_x_only_while_it_is_unchanged():
    CountingLinear.calls = 0
    model = nn.Sequential(CountingLinear(4, 3)).requires_grad_(False)
    reference = copy.deepcopy(model)
    memo = LinearMemo(model)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    memo.fix(x)
    for _ in range(3):
        assert torch.equal(model(x), nn.functional.linear(x, reference[0].weight, reference[0].bias))
    assert CountingLinear.calls == 1
    assert torch.equal(model(x.clone()), model(x))  # another tensor is computed
    assert CountingLinear.calls == 2
    x.mul_(2)
    memo.fix(x)
    torch.testing.assert_close(model(x), nn.functional.linear(x, reference[0].weight, reference[0].bias))


def test_memo_survives_an_in_place_activation():
    model = nn.Sequential(nn.Linear(4, 3), nn.Hardtanh(0.1, 0.2, inplace=True)).requires_grad_(False)
    clean = copy.deepcopy(model)
    memo = LinearMemo(model)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    memo.fix(x)
    assert torch.equal(model[0](x), clean[0](x))
    for _ in range(2):
        assert torch.equal(model(x), clean(x))
        assert torch.equal(model[0](x), clean[0](x))


def test_memo_keeps_the_gradient_of_features():
    model = nn.Sequential(nn.Linear(4, 3)).requires_grad_(False)
    memo = LinearMemo(model)
    x = torch.randn(5, 4, requires_grad=True)
    memo.fix(x)
    model(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("task", ["node", "graph"])
def test_synthetic_graph_is_symmetric_and_always_the_same(task):
    graph = synthetic_graph(10, task)
    assert isinstance(graph, Graph)
    assert graph.task.level == task
    assert graph.is_undirected
    assert graph.digest() == synthetic_graph(10, task).digest()
