from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

from auditor.errors import SkippedError
from defenses.l2r.head import LinearMap, agrees, find_head, head_inputs, read_head, refit, with_head
from defenses.l2r.items import freeze
from defenses.l2r.method import refitted
from tests.defenses.synthetic_targets import same_tensors, small_concept
from tests.toys import GraphGIN, sbm_graph, small_graphs

GRAPH = sbm_graph()
F, C = GRAPH.num_features, 3


def _seeded(build):  # type: ignore[no-untyped-def]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval().requires_grad_(False)


NODE_MODELS = [
    ("gcn", "convs.1", lambda: GCN(F, 8, 2, C)),
    ("gcn", "convs.1", lambda: GCN(F, 8, 2, C, normalize=False)),
    ("sage", "convs.1", lambda: GraphSAGE(F, 8, 2, C)),
    ("sage", "convs.1", lambda: GraphSAGE(F, 8, 2, C, root_weight=False)),
    ("linear", "convs.1.nn.lins.1", lambda: GIN(F, 8, 2, C)),
    ("linear", "lin", lambda: GCN(F, 8, 2, C, jk="cat")),
    ("linear", "lin", lambda: GAT(F, 8, 2, C, jk="last")),
]


@pytest.mark.parametrize(("kind", "name", "build"), NODE_MODELS)
def test_the_head_is_found_and_reproduces_the_logits(kind: str, name: str, build) -> None:  # type: ignore[no-untyped-def]
    model = _seeded(build)
    head = find_head(model, GRAPH)
    assert (head.kind, head.name) == (kind, name)
    z, logits = head_inputs(model, head, GRAPH)
    assert agrees(read_head(model, head), z, logits)
    # another last layer, put into the network, gives the logits that it gives outside
    old = read_head(model, head)
    new = LinearMap(torch.randn_like(old.weight), None if old.bias is None else torch.randn_like(old.bias))
    changed = with_head(model, head, new)
    assert agrees(new, z, changed(GRAPH.x, GRAPH.edge_index))
    assert agrees(old, z, model(GRAPH.x, GRAPH.edge_index))  # the given model is as it was


def test_attention_at_the_end_is_skipped_with_a_reason() -> None:
    with pytest.raises(SkippedError, match="no last layer"):
        find_head(_seeded(lambda: GAT(F, 8, 2, C)), GRAPH)


def test_the_linear_inside_a_convolution_is_no_head_without_edges() -> None:
    empty = GRAPH.with_edges(torch.zeros(2, 0, dtype=torch.long))
    assert find_head(_seeded(lambda: GCN(F, 8, 2, C)), empty).kind == "gcn"


def test_weights_of_edges_reach_the_propagation() -> None:
    graph = GRAPH.with_edges(GRAPH.edge_index, torch.rand(GRAPH.num_edges))
    model = _seeded(lambda: GCN(F, 8, 2, C))
    z, logits = head_inputs(model, find_head(model, graph), graph)
    assert agrees(read_head(model, find_head(model, graph)), z, logits)
    assert not torch.allclose(z, head_inputs(model, find_head(model, GRAPH), GRAPH)[0])


def test_nodes_pooled_alone_sum_to_the_pooled_embedding() -> None:
    graphs = small_graphs(20)
    model = _seeded(lambda: GraphGIN(2, 8, 2))
    head = find_head(model, graphs)
    z, _ = head_inputs(model, head, graphs)
    nodes, _ = head_inputs(model, head, graphs, batch=torch.arange(graphs.num_nodes))
    assert nodes.shape == (graphs.num_nodes, 8)
    summed = torch.zeros_like(z).index_add(0, graphs.batch, nodes)
    assert torch.allclose(summed, z, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_folded_logits_are_scikit_learns_decision_function(classes: int) -> None:
    rng = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(200, 6, generator=rng) + 5
    z[:, 4] = 2.0  # dead
    y = (z[:, 0] + torch.randn(200, generator=rng)).argsort().argsort() * classes // 200
    w = torch.rand(200, generator=rng) + 0.5
    layer, converged = refit(z, y, w, LinearMap(torch.zeros(classes, 6), torch.zeros(classes)))
    assert converged
    assert bool((layer.weight[:, 4] == 0).all())
    live = [0, 1, 2, 3, 5]
    scaled = ((z - z.mean(0)) / z.std(0, correction=0))[:, live].double().numpy()
    reference = LogisticRegression(C=1.0, max_iter=500).fit(scaled, y.numpy(), w.double().numpy())
    decision = torch.from_numpy(reference.decision_function(scaled))
    logits = (z @ layer.weight.T + layer.bias).double()
    found = logits[:, 1] - logits[:, 0] if classes == 2 else logits
    assert float((found - decision).abs().max()) < 1e-4


def test_a_single_logit_stays_single() -> None:
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(100, 3, generator=rng)
    y = (z[:, 0] > 0).long()
    one, _ = refit(z, y, None, LinearMap(torch.zeros(1, 3), torch.zeros(1)))
    two, _ = refit(z, y, None, LinearMap(torch.zeros(2, 3), torch.zeros(2)))
    assert one.weight.shape == (1, 3)
    difference = (z @ two.weight.T + two.bias) @ torch.tensor([-1.0, 1.0])
    assert torch.allclose((z @ one.weight.T + one.bias)[:, 0], difference, atol=1e-5)


def test_a_layer_without_bias_gets_none() -> None:
    z = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) + 2
    layer, _ = refit(z, (z[:, 0] > 2).long(), None, LinearMap(torch.zeros(2, 3), None))
    assert layer.bias is None


def test_uniform_refit_is_the_head_with_equal_weights_and_the_encoder_is_untouched() -> None:
    _, target = small_concept()
    frozen = freeze(target)
    uniform, _, _ = refitted(target, frozen, None)
    ones, _, _ = refitted(target, frozen, torch.ones(frozen.y.shape[0]))
    assert all(same_tensors(uniform, ones).values())
    same = same_tensors(target.model, uniform)
    assert {k for k, v in same.items() if not v} == {"head.weight", "head.bias"}


def test_original_weights_put_back_give_the_original_logits() -> None:
    _, target = small_concept()
    frozen = freeze(target)
    again = with_head(target.model, frozen.head, frozen.layer)
    assert all(same_tensors(target.model, again).values())


def test_a_model_without_any_linear_end_is_skipped() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = GCNConv(F, C)

        def forward(self, x, edge_index):  # type: ignore[no-untyped-def]
            return self.conv(x, edge_index) ** 2

    with pytest.raises(SkippedError):
        find_head(_seeded(Squared), GRAPH)
