from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

from auditor.data.graph import Graph
from auditor.targets.capabilities import small_slice, try_capabilities
from auditor.targets.target import Capability, ModelHandle
from tests.toys import MLP, builder, sbm_graph, small_graphs

GRAPH = sbm_graph()
C = Capability


class Hard(nn.Module):
    """Rounds its input: no gradient to the features comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(24, 3)

    def forward(self, x, edge_index):
        return self.conv(x.round(), edge_index)


class Posteriors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(24, 3)

    def forward(self, x, edge_index, edge_weight=None):
        return self.conv(x, edge_index, edge_weight).softmax(dim=1)


def found(model: nn.Module, graph=GRAPH, *, has_recipe: bool = False) -> frozenset[Capability]:
    return try_capabilities(ModelHandle(model), graph, has_recipe=has_recipe, has_split=True)


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
def test_message_passing_models_offer_everything(arch: str) -> None:
    assert found(builder(arch, 24, 3)(), has_recipe=True) == frozenset(Capability)


def test_no_recipe_no_retraining() -> None:
    assert C.RETRAIN not in found(builder("gcn", 24, 3)())


def test_an_mlp_has_no_edges_to_differentiate_and_no_layer_to_embed() -> None:
    assert found(MLP(24, 8, 3)) == {*(C.LABELS, C.PROBS, C.LOGITS, C.GRAD_X, C.PARAMS, C.SPLIT, C.BARE, C.ANY_NODES)}


def test_a_model_that_rounds_has_no_feature_gradient() -> None:
    assert C.GRAD_X not in found(Hard())


def test_probabilities_are_not_logits() -> None:
    offered = found(Posteriors())
    assert C.PROBS in offered
    assert C.LOGITS not in offered


def test_graph_models_are_tried_on_whole_graphs() -> None:
    graphs = small_graphs()
    assert {C.GRAD_EDGE, C.EMBEDDINGS} <= found(builder("graph-gin", 2, 2)(), graphs)


def test_graphs_that_can_show_no_gradient_are_not_the_ones_that_are_asked() -> None:
    """Single atoms, or graphs without features, may lie first in a set."""
    graphs, alone = small_graphs(), 3
    x = torch.cat([torch.ones(alone, 2), torch.zeros(2, 2), graphs.x])
    arcs = torch.cat([torch.tensor([[3, 4], [4, 3]]), graphs.edge_index + alone + 2], dim=1)
    batch = torch.cat([torch.tensor([0, 1, 2, 3, 3]), graphs.batch + 4])
    mixed = Graph(x, arcs, torch.cat([torch.tensor([0, 1, 0, 1]), graphs.y]), batch=batch)
    assert {C.GRAD_EDGE, C.GRAD_X} <= found(builder("graph-gin", 2, 2)(), mixed)
    assert torch.equal(small_slice(graphs).x, graphs.x[graphs.batch < 2]), "the first two where they can show one"


def test_the_slice_is_small_and_has_edges() -> None:
    part = small_slice(GRAPH)
    assert part.num_nodes == 16
    assert part.num_edges > 0
    kept = {tuple(row) for row in part.x.tolist()}
    assert kept <= {tuple(row) for row in GRAPH.x.tolist()}
    empty = small_slice(GRAPH.with_edges(torch.zeros(2, 0, dtype=torch.long)))
    assert (empty.num_nodes, empty.num_edges) == (16, 0)
