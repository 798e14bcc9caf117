"""GraphMI against plain transcriptions of its equations, finite differences, and its own dense form."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import GATConv, GCNConv, GINConv, GraphConv, SAGEConv
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

from attacks.layer_stack import LayerStack, Rows, at_pairs
from attacks.privacy import graphmi
from attacks.privacy.attention import Attention
from attacks.privacy.graphmi import GraphMI
from attacks.privacy.neighbours import ROWS
from attacks.privacy.soft_graphs import CandidateGraph, DenseGraph, Objective, project_
from auditor import registry
from auditor.errors import ConfigError, SkippedError
from auditor.parameters import build
from auditor.probe import Attempt
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import ModelHandle
from auditor.view import Access, SideKnowledge, grant_privacy
from tests.toys import sbm_graph, toy_target

ACCESS = frozenset(map(Access, registry.find("attacks", "graphmi").access))


def attempt(profile="standard"):
    return Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0), profile)


def view_of(target, side=None, attacked=None):
    return grant_privacy(target, ACCESS, side or SideKnowledge(), np.random.default_rng(0), attacked=attacked)


def all_pairs(n):
    return torch.combinations(torch.arange(n)).T.contiguous()


@pytest.fixture(scope="module")
def small():
    return toy_target("gcn", graph=sbm_graph(60, degree=5.0))


def test_projection_hand_number():
    a = torch.tensor([0.9, 0.8, 0.3])
    project_(a, 1.0)
    torch.testing.assert_close(a, torch.tensor([0.55, 0.45, 0.0]))


def test_projection_clips_when_the_budget_is_kept_and_never_exceeds_it():
    a = torch.tensor([1.4, -0.2, 0.3])
    project_(a, 5.0)
    torch.testing.assert_close(a, torch.tensor([1.0, 0.0, 0.3]))
    b = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 2
    project_(b, 20.0)
    assert float(b.sum()) == pytest.approx(20.0, abs=1e-3)
    assert float(b.min()) >= 0
    assert float(b.max()) <= 1


def test_projection_of_a_symmetric_matrix_counts_each_pair_once():
    pairs, a = all_pairs(12), torch.rand(66, generator=torch.Generator().manual_seed(1))
    matrix = torch.zeros(12, 12)
    matrix[pairs[0], pairs[1]] = a
    matrix += matrix.T.clone()
    project_(a, 7.0)
    project_(matrix, 7.0, copies=2)
    torch.testing.assert_close(matrix[pairs[0], pairs[1]], a)


class Convs(torch.nn.Module):
    """Two message-passing layers and an activation."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


def mlp(*widths):
    return torch.nn.Sequential(torch.nn.Linear(*widths[:2]), torch.nn.ReLU(), torch.nn.Linear(*widths[1:]))


ADDING = {
    "gcn": lambda f, c: GCN(f, 8, 2, c),
    "sage": lambda f, c: GraphSAGE(f, 8, 2, c),
    "sage of sums": lambda f, c: Convs(SAGEConv(f, 3, aggr="sum", normalize=True), SAGEConv(3, c, root_weight=False)),
    "gin": lambda f, c: GIN(f, 8, 2, c, train_eps=True, eps=0.3),
    "gin of sequences": lambda f, c: Convs(GINConv(mlp(f, 8, 5)), GINConv(mlp(5, 8, c))),
    "graph-conv": lambda f, c: Convs(GraphConv(f, 8), GraphConv(8, c, aggr="mean")),
    "mixed": lambda f, c: Convs(GCNConv(f, 8), SAGEConv(8, c)),
}
"""Models whose layers add up or average, by name."""


def adding(kind, f, c):
    torch.manual_seed(1)
    return ModelHandle(ADDING[kind](f, c).eval())


def adjacency_of(graph):
    dense = torch.zeros(graph.num_nodes, graph.num_nodes)
    dense[graph.edge_index[0], graph.edge_index[1]] = 1
    return dense


@pytest.mark.parametrize("kind", ADDING)
def test_stack_on_zero_and_one_equals_the_model_on_the_real_graph(small, kind):
    graph = small.graph
    handle = adding(kind, graph.num_features, 3)
    stack, dense = LayerStack.of(handle, graph.x), adjacency_of(graph)
    found = stack.logits(dense.mm, dense.sum(dim=1))
    torch.testing.assert_close(found, handle.logits(graph.x, graph.edge_index), atol=1e-5, rtol=1e-5)
    embedded = stack.embeddings(dense.mm, dense.sum(dim=1))
    torch.testing.assert_close(embedded, handle.embeddings(graph.x, graph.edge_index), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
def test_weights_of_zero_and_one_equal_the_model_on_the_real_graph(arch):
    target = toy_target(arch, graph=sbm_graph(40, degree=5.0))
    pairs, dense = all_pairs(40), adjacency_of(target.graph)
    graph = CandidateGraph(
        view_of(target).relaxation, target.graph.x, pairs, Objective(target.graph.y, torch.arange(40), 1, 1, 0, 0)
    )
    graph._a = dense[pairs[0], pairs[1]]
    torch.testing.assert_close(graph.embeddings(), target.clean_embeddings(), atol=1e-5, rtol=1e-5)
    arcs, weights = torch.cat([pairs, pairs.flip(0)], dim=1), torch.cat([graph._a, graph._a])
    found = view_of(target).relaxation.logits(target.graph.x, arcs, weights)
    torch.testing.assert_close(found, target.clean_logits(), atol=1e-5, rtol=1e-5)


def test_sage_that_takes_the_largest_is_skipped_with_a_reason(small):
    torch.manual_seed(0)
    model = GraphSAGE(small.graph.num_features, 8, 2, 3, aggr="max").eval()
    target = dataclasses.replace(small, model=model, digest="max")
    assert LayerStack.of(target.handle(), target.graph.x) is None
    with pytest.raises(SkippedError, match="differentiable edge weight whose 0 means no edge"):
        GraphMI().run(view_of(target), attempt())


def test_stack_refuses_what_it_cannot_stand_for():
    x = torch.rand(20, 6)
    assert LayerStack.of(ModelHandle(GAT(6, 8, 2, 3)), x) is None
    assert LayerStack.of(ModelHandle(GCN(6, 8, 2, 3, improved=True)), x) is None

    class Degree(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gcn = GCN(6, 8, 2, 3)

        def forward(self, x, edge_index):
            return self.gcn(x, edge_index) + 0.1 * edge_index.shape[1]

    assert LayerStack.of(ModelHandle(Degree()), x) is None
    assert LayerStack.of(ModelHandle(GCN(6, 8, 3, 3, jk="cat")), x) is not None


@pytest.mark.parametrize("out", [2, 9])
def test_a_layer_sends_its_thinner_side_and_the_gradient_is_that_of_every_pair(out):
    torch.manual_seed(0)
    x, y, pairs = torch.rand(12, 6, dtype=torch.float64), torch.arange(12) % out, all_pairs(12)
    stack = LayerStack.of(ModelHandle(GCN(6, 4, 2, out).double().eval()), x)
    a = torch.rand(pairs.shape[1], dtype=torch.float64)

    def loss(weights):
        dense = torch.zeros(12, 12, dtype=torch.float64)
        dense[pairs[0], pairs[1]] = weights
        dense = dense + dense.T
        return functional.cross_entropy(stack.logits(dense.mm, dense.sum(dim=1)), y)

    left, right = stack.pair_factors(loss(a))
    assert left.shape[1] == 2 * (4 + min(4, out)) + 2
    read_off = at_pairs(left, right, pairs)
    torch.testing.assert_close(read_off, (left @ right.T)[pairs[0], pairs[1]])
    for i in range(0, pairs.shape[1], 7):
        step = torch.zeros_like(a)
        step[i] = 1e-5
        with torch.no_grad():
            slope = (loss(a + step) - loss(a - step)) / 2e-5
        torch.testing.assert_close(read_off[i], slope, rtol=1e-4, atol=1e-8)


def test_compressed_rows_multiply_as_scipy_does_with_their_zeros_and_without():
    rng = np.random.default_rng(0)
    dense = rng.random((9, 9)) * (rng.random((9, 9)) < 0.5)
    dense[[0, 8]] = 0
    matrix = csr_array(dense)
    matrix.data[::3] = 0
    starts, columns = (torch.from_numpy(part).int() for part in (matrix.indptr[:-1], matrix.indices))
    rows, h = Rows(starts, columns, torch.from_numpy(matrix.data)), rng.random((9, 4))
    kept = rows.without_zeros()
    assert kept.weights.numel() < rows.weights.numel()
    for each in (rows, kept):
        np.testing.assert_allclose(each.times(torch.from_numpy(h)), matrix @ h, rtol=1e-12)
    nothing = Rows(starts, columns, torch.zeros_like(rows.weights)).without_zeros()
    assert not nothing.times(torch.from_numpy(h)).any()


@pytest.mark.parametrize("kind", ADDING)
def test_gradient_of_cross_entropy_at_every_pair_equals_finite_differences(kind):
    graph = sbm_graph(20, degree=4.0)
    x, y, pairs = graph.x.double(), graph.y, all_pairs(20)
    handle = adding(kind, graph.num_features, 3)
    handle.model.double()
    rng = torch.Generator().manual_seed(0)
    a = torch.rand(pairs.shape[1], generator=rng, dtype=torch.float64) * (torch.rand(190, generator=rng) < 0.3)

    def loss(weights, stack):
        dense = torch.zeros(20, 20, dtype=torch.float64)
        dense[pairs[0], pairs[1]] = weights
        dense = dense + dense.T
        return functional.cross_entropy(stack.logits(dense.mm, dense.sum(dim=1)), y)

    stack = LayerStack.of(handle, x)
    left, right = stack.pair_factors(loss(a, stack))
    found = (left @ right.T)[pairs[0], pairs[1]]
    for i in range(0, 190, 13):
        step = torch.zeros_like(a)
        step[i] = 1e-5
        with torch.no_grad():
            expected = (loss(a + step, stack) - loss(a - step, stack)) / 2e-5
        assert float(found[i]) == pytest.approx(float(expected), rel=1e-4, abs=1e-9)


def test_gradient_of_attention_equals_finite_differences():
    target = toy_target("gat", graph=sbm_graph(20, degree=4.0))
    x, y, pairs = target.graph.x.double(), target.graph.y, all_pairs(20)
    relaxation = view_of(target).relaxation
    relaxation.handle.model.double()
    arcs = torch.cat([pairs, pairs.flip(0)], dim=1)
    rng = torch.Generator().manual_seed(0)
    a = torch.rand(190, generator=rng, dtype=torch.float64) * (torch.rand(190, generator=rng) < 0.3) + 0.01
    a.requires_grad_(True)

    def loss(weights):
        return functional.cross_entropy(relaxation.logits(x, arcs, torch.cat([weights, weights])), y)

    (found,) = torch.autograd.grad(loss(a), a)
    for i in range(0, 190, 13):
        step = torch.zeros(190, dtype=torch.float64)
        step[i] = 1e-5
        with torch.no_grad():
            expected = (loss(a + step) - loss(a - step)) / 2e-5
        assert float(found[i]) == pytest.approx(float(expected), rel=1e-4, abs=1e-9)


def test_factors_of_one_head_are_right_within_a_factor_of_two():
    torch.manual_seed(0)
    graph, pairs = sbm_graph(30, degree=4.0), all_pairs(30)
    model = GATConv(graph.num_features, 3, heads=1).eval()
    model.att_src.data *= 3  # scores on both sides of 0
    relaxation = Relaxation.choose(ModelHandle(model), num_features=graph.num_features, level="node")
    attention = Attention.of(relaxation)
    assert attention.pair_factors() is None
    arcs, a = torch.cat([pairs, pairs.flip(0)], dim=1), torch.full((435,), 0.1, requires_grad=True)
    z = relaxation.logits(graph.x, arcs, torch.cat([a, a]))
    (exact,) = torch.autograd.grad(functional.cross_entropy(z[:1], graph.y[:1]), a)  # node 0 receives alone
    left, right = attention.pair_factors()
    at_node = pairs[0] == 0
    ratio = (left @ right.T)[pairs[0], pairs[1]][at_node] / exact[at_node]
    assert float(ratio.min()) > 1 - 1e-4
    assert float(ratio.max()) < 2 + 1e-4
    assert float(ratio.max()) - float(ratio.min()) > 0.1
    torch.testing.assert_close((left @ right.T)[1:, 1:], torch.zeros(29, 29), atol=1e-6, rtol=0)


def transcription(target, y, known, budget, steps, eta, alpha, beta, smooth_from):
    """The equations as written, dense, autograd through one symmetric matrix; returns all a_t, a_0 first."""
    graph, n = target.graph, target.graph.num_nodes
    x, pairs = graph.x, all_pairs(n)
    convs, a, history = list(target.model.convs), torch.zeros(pairs.shape[1]), []

    def forward(weights, first_only=False):
        dense = torch.zeros(n, n).index_put((pairs[0], pairs[1]), weights)
        dense = dense + dense.T + torch.eye(n)
        scale = torch.diag(dense.sum(dim=1) ** -0.5)
        norm = scale @ dense @ scale
        h = torch.relu(norm @ (x @ convs[0].lin.weight.T) + convs[0].bias)
        return h if first_only else norm @ (h @ convs[1].lin.weight.T) + convs[1].bias

    for t in range(steps):
        history.append(a)
        w = a.clone().requires_grad_(True)
        loss = functional.cross_entropy(forward(w)[known], y[known]) + alpha * torch.linalg.vector_norm(w)
        if t >= smooth_from:
            d = torch.zeros(n).index_add(0, pairs[0], w).index_add(0, pairs[1], w) + 1e-3
            g, norm2 = x @ x.T, (x * x).sum(dim=1)
            u, v = pairs
            term = norm2[u] / d[u] + norm2[v] / d[v] - 2 * g[u, v] / (d[u] * d[v]).sqrt()
            loss = loss + beta * (w * term).sum()
        (gradient,) = torch.autograd.grad(loss, w)
        a = a - eta * gradient
        if a.clamp(0, 1).sum() <= budget:
            a = a.clamp(0, 1)
        else:
            low, high = float(a.min()) - 1, float(a.max())
            for _ in range(40):
                mu = (low + high) / 2
                low, high = (mu, high) if (a - mu).clamp(0, 1).sum() > budget else (low, mu)
            a = (a - high).clamp(0, 1)
    with torch.no_grad():
        return a, [forward(h, first_only=True) for h in (a, history[-1])]


def relative_gap(found, expected):
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize("smooth_from", [6, 12])
def test_dense_and_all_candidates_equal_the_transcription(small, smooth_from):
    # A tight budget (projection active) and both penalties at work.
    y, known, x = small.graph.y, torch.arange(0, 60, 2), small.graph.x
    objective = Objective(y, known, 12.0, 5.0, 1e-3, 1e-4)
    expected, _ = transcription(small, y, known, 12.0, 12, 5.0, 1e-3, 1e-4, smooth_from)
    dense = DenseGraph(LayerStack.of(small.handle(), x), x, objective)
    pairs = all_pairs(60)
    fast = CandidateGraph(LayerStack.of(small.handle(), x), x, pairs, objective)
    slow = CandidateGraph(view_of(small).relaxation, x, pairs, objective)
    for graph in (dense, fast, slow):
        for t in range(12):
            graph.step(smooth=t >= smooth_from)
    assert float(expected.sum()) > 1
    for found in (dense.matrix[pairs[0], pairs[1]], fast.weights, slow.weights):
        assert relative_gap(found, expected) < 1e-4


def test_paper_protocol_equals_the_transcription(small):
    attacked = torch.arange(5, 60, 4)
    outcome = GraphMI(protocol="paper", steps=10, eta=3.0).run(view_of(small, attacked=attacked), attempt())
    budget = 4.0 / 60 * attacked.numel() ** 2 / 2
    _, (_, before) = transcription(small, small.graph.y, attacked, budget, 10, 3.0, 1e-3, 1e-4, 5)
    pairs = all_pairs(60)
    unit = functional.normalize(before.double(), dim=1)
    expected = (unit[pairs[0]] * unit[pairs[1]]).sum(dim=1).clamp_min(0)
    torch.testing.assert_close(outcome.score(pairs), expected, atol=1e-5, rtol=0)
    assert outcome.notes["labels_used"] == attacked.numel()


def test_refill_keeps_weights_and_finds_the_steepest_pairs(small):
    x, n = small.graph.x, 60
    objective = Objective(small.graph.y, torch.arange(60), 30.0, 5.0, 1e-3, 1e-4)
    graph = CandidateGraph(LayerStack.of(small.handle(), x), x, torch.tensor([[0, 1, 2], [5, 9, 30]]), objective)
    graph.refill(3)
    assert graph.pairs.shape[1] == 3  # nothing is known before the first step
    graph.step(smooth=False)
    kept = {(int(u), int(v)): float(w) for (u, v), w in zip(graph.pairs.T, graph.weights, strict=True) if w > 0}
    graph.refill(3)
    after = {(int(u), int(v)): float(w) for (u, v), w in zip(graph.pairs.T, graph.weights, strict=True)}
    assert all(after[pair] == weight for pair, weight in kept.items())
    dense = DenseGraph(LayerStack.of(small.handle(), x), x, objective)
    dense.step(smooth=False)
    u, v = divmod(int(dense.matrix.argmax()), n)
    assert (min(u, v), max(u, v)) in after


@pytest.mark.parametrize("kind", ADDING)
def test_nothing_of_a_step_is_kept_until_somebody_collects_it(kind):
    """A ledger that holds its own history would keep the products of every step: a gigabyte on 20,000 nodes."""
    graph = sbm_graph(40)
    stack, dense = LayerStack.of(adding(kind, graph.num_features, 3), graph.x), adjacency_of(graph)
    gc.disable()
    try:
        stack.pair_factors(functional.cross_entropy(stack.logits(dense.mm, dense.sum(dim=1)), graph.y))
        ledger = weakref.ref(stack._ledger.factors[0][0])
        stack.logits(dense.mm, dense.sum(dim=1))
        assert ledger() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
def test_an_edge_outside_of_the_first_candidates_is_found(arch):
    """The one that the loss most wants is left out; without a refill it can have no weight."""
    target = toy_target(arch, graph=sbm_graph(80))
    x, view, pairs = target.graph.x, view_of(target), all_pairs(80)
    objective = Objective(target.graph.y, torch.arange(80), 30.0, 0.01, 1e-3, 1e-4)
    model = LayerStack.of(target.handle(), x) or view.relaxation
    _, gradient = CandidateGraph(model, x, pairs, objective)._cross_entropy_gradient()
    planted = int(gradient.argmin())
    assert float(gradient[planted]) < 0
    others = [i for i in range(0, pairs.shape[1], 97) if i != planted]
    graph = CandidateGraph(model, x, pairs[:, others], objective)
    assert graph.refills
    graph.step(smooth=False)
    graph.refill(3)
    graph.step(smooth=False)
    held = {(int(u), int(v)): float(w) for (u, v), w in zip(graph.pairs.T, graph.weights, strict=True)}
    assert held[tuple(pairs[:, planted].tolist())] > 0


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any tensor made meanwhile has."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("kind", ["gcn", "gat"])
def test_a_refill_never_makes_a_matrix_of_all_pairs(kind):
    n = 3 * ROWS
    torch.manual_seed(0)
    x, y = torch.rand(n, 4), torch.arange(n) % 3
    pairs = torch.stack([torch.arange(n - 1), torch.arange(1, n)])
    handle = ModelHandle((GCN if kind == "gcn" else GAT)(4, 4, 2, 3).eval())
    model = LayerStack.of(handle, x) or Relaxation.choose(handle, num_features=4, level="node")
    graph = CandidateGraph(model, x, pairs, Objective(y, torch.arange(n), 100.0, 1.0, 1e-3, 1e-4))
    graph.step(smooth=False)
    with Largest() as largest:
        graph.refill(2)
    assert graph.pairs.shape[1] > n  # it did look for others
    assert largest.numbers <= ROWS * n < n * n


def test_dense_and_candidate_form_agree_on_the_toy(small):
    pairs = all_pairs(60)
    dense = GraphMI(form="dense").run(view_of(small), attempt()).score(pairs)
    knn = GraphMI(form="knn", k=10).run(view_of(small), attempt()).score(pairs)
    assert np.corrcoef(dense.numpy(), knn.numpy())[0, 1] > 0.95


def test_a_large_graph_gets_fewer_candidates_and_searches_and_says_so(small, monkeypatch):
    whole = GraphMI(form="knn").run(view_of(small), attempt())
    assert "limits" not in whole.notes
    searches = []
    refill = CandidateGraph.refill
    monkeypatch.setattr(CandidateGraph, "refill", lambda graph, k: searches.append(k) or refill(graph, k))
    monkeypatch.setattr(graphmi, "ALL_PAIRS", 59)
    monkeypatch.setattr(graphmi, "MOST_OF_A_SOURCE", 60 * 5 + 1)
    limited = GraphMI(form="knn").run(view_of(small), attempt())
    assert searches == [5, 5, 5]  # before the first step nothing is known to search by
    assert limited.notes["candidates"] < whole.notes["candidates"]
    assert limited.notes["limits"] == (
        "60 nodes: 5 candidates a node and source, refilled after 1 step and every 50, looked for in 24 of 15 cells"
    )


def test_private_edges_replaced_by_noise_leave_the_scores_unchanged():
    """A cached layer would hand GraphMI the true adjacency."""
    graph = sbm_graph(60, degree=5.0)
    target = toy_target("gcn", graph=graph)
    for conv in target.model.convs:
        conv.cached = True
    target.model(graph.x, graph.edge_index)
    assert target.model.convs[0]._cached_edge_index is not None
    pairs = all_pairs(60)
    with_cache = GraphMI(k=5).run(view_of(target), attempt()).score(pairs)
    noise = torch.randint(60, (2, 300), generator=torch.Generator().manual_seed(0))
    for conv in target.model.convs:
        conv._cached_edge_index = (noise, torch.rand(300))
    assert torch.equal(GraphMI(k=5).run(view_of(target), attempt()).score(pairs), with_cache)


def test_no_label_is_a_skip_and_partial_labels_are_used(small):
    with pytest.raises(SkippedError, match="labels"):
        GraphMI().run(view_of(small, SideKnowledge(labels="none")), attempt())
    outcome = GraphMI(k=5, steps=3).run(view_of(small, SideKnowledge(labels="train")), attempt())
    assert outcome.notes["labels_used"] == int(small.split.train.sum())


def test_a_model_without_edges_is_skipped_or_leaves_nothing_to_follow():
    target = toy_target("mlp", graph=sbm_graph(60))
    with pytest.raises(SkippedError, match="differentiable edge weight"):
        GraphMI().run(view_of(target), attempt())


def test_identity_features_take_the_dense_form():
    graph = sbm_graph(80)
    target = toy_target("gcn", graph=type(graph)(torch.eye(80), graph.edge_index, graph.y, name="identity"))
    assert GraphMI(steps=2).run(view_of(target), attempt()).notes["form"] == "dense"


@pytest.mark.parametrize("arch", ["gat", "sage", "gin"])
def test_other_layers_are_refilled_and_run_densely(arch):
    target = toy_target(arch, graph=sbm_graph(80))
    outcome = GraphMI(k=5, steps=4).run(view_of(target), attempt())
    assert outcome.notes["form"] == "knn"
    assert "note" not in outcome.notes
    assert outcome.notes["candidates_end"] != outcome.notes["candidates"]
    assert outcome.notes["loss_end"] < outcome.notes["loss_start"]
    assert bool(torch.isfinite(outcome.score(all_pairs(80))).all())
    assert GraphMI(form="dense", steps=2).run(view_of(target), attempt()).notes["form"] == "dense"


def test_layers_that_tell_nothing_of_other_pairs_keep_their_candidates_and_say_so():
    target = toy_target("gat", graph=sbm_graph(80))
    torch.manual_seed(0)
    target = dataclasses.replace(target, model=GAT(24, 16, 2, 3, v2=True).eval(), digest="v2")
    notes = GraphMI(k=5, steps=4).run(view_of(target), attempt()).notes
    assert notes["candidates_end"] == notes["candidates"]
    assert "candidates stay as found" in notes["note"]


@pytest.mark.parametrize(
    "words",
    [
        {"form": "sparse"},
        {"protocol": "papr"},
        {"k": "0"},
        {"steps": "0"},
        {"eta": "0"},
        {"alpha": "-1"},
        {"beta": "-1"},
    ],
)
def test_bad_parameters_are_refused(words):
    (name,) = words
    with pytest.raises(ConfigError, match=f"graphmi: {name}"):
        build(GraphMI, words, owner="graphmi")
