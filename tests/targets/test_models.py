from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import models as pyg_models

from auditor.errors import ConfigError
from auditor.targets.models import build_model
from tests.targets.projects import fresh, model_table
from tests.toys import sbm_graph, small_graphs

GRAPH = sbm_graph()
NODE_TABLES = {
    "gcn": {},
    "gat": {"class": "GAT", "heads": 2},
    "gatv2": {"class": "GAT", "heads": 2, "v2": True},
    "sage": {"class": "GraphSAGE", "aggr": "max"},
    "gin": {"class": "GIN", "train_eps": True},
    "edge": {"class": "EdgeCNN"},
    "pna": {"class": "PNA", "aggregators": ["mean", "max"], "scalers": ["identity"], "deg": [0, 3, 5, 2]},
    "jk": {"num_layers": 3, "jk": "cat", "norm": "LayerNorm"},
    "mlp": {"class": "MLP", "dropout": 0.5, "act": "elu"},
    "stack": {"class": None, "stack": "GCNConv"},
    "stack-gat": {"class": None, "stack": "GATConv", "heads": 2, "act": "elu", "dropout": 0.3},
    "stack-cheb": {"class": None, "stack": "ChebConv", "K": 2},
    "improved": {"improved": True, "add_self_loops": False, "dropout": 0.5},
}


@pytest.mark.parametrize("name", NODE_TABLES)
def test_every_kind_of_table_builds_a_model_of_its_sizes(name: str) -> None:
    model = fresh(model_table(GRAPH, **NODE_TABLES[name])).eval()
    assert model(GRAPH.x, GRAPH.edge_index).shape == (GRAPH.num_nodes, 3)


def test_the_table_builds_what_pyg_builds() -> None:
    ours = fresh(model_table(GRAPH, dropout=0.5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = pyg_models.GCN(GRAPH.num_features, 8, 2, 3, dropout=0.5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert torch.equal(ours.eval()(GRAPH.x, GRAPH.edge_index), theirs.eval()(GRAPH.x, GRAPH.edge_index))


def test_the_tutorial_stack_is_layer_activation_layer() -> None:
    model = fresh(model_table(GRAPH, **NODE_TABLES["stack"])).eval()
    assert {key.partition(".")[0] for key in model.state_dict()} == {"conv1", "conv2"}
    x, e = GRAPH.x, GRAPH.edge_index
    by_hand = model.get_submodule("conv2")(model.get_submodule("conv1")(x, e).relu(), e)
    assert torch.equal(model(x, e), by_hand)


@pytest.mark.parametrize("readout", ["add", "mean", "max"])
def test_a_graph_classifier_pools_each_graph_on_its_own(readout: str) -> None:
    graphs = small_graphs(4)
    table = model_table(graphs, **{"class": "GIN", "readout": readout})
    model = fresh(table).eval()
    together = model(graphs.x, graphs.edge_index, batch=graphs.batch)
    assert together.shape == (4, 2)
    assert any(key.startswith("head.") for key in model.state_dict())
    first = graphs.batch == 0
    edges = graphs.edge_index[:, first[graphs.edge_index[0]]]
    alone = model(graphs.x[first], edges)
    torch.testing.assert_close(alone, together[:1])


BAD = [
    ({"class": "MLP", "aggr": "max"}, "aggr is no keyword of MLP"),
    ({"class": "MLP", "norm": "batch_norm"}, "norm is no keyword of MLP"),
    ({"class": "GCNN"}, 'Did you mean "GCN"?'),
    ({"class": None}, "neither class nor stack"),
    ({"stack": "GCNConv"}, "both class and stack"),
    ({"class": None, "stack": "RGCNConv"}, "RGCNConv"),
    ({"hiden_channels": 4}, 'Did you mean "hidden_channels"?'),
    ({"droput": 0.5}, 'Did you mean "dropout"?'),
    ({"dropout": "0.5"}, "a number"),
    ({"improved": "yes"}, "true or false"),
    ({"cached": True}, "cached is no keyword"),
    ({"hidden_channels": 0}, "above 0"),
    ({"hidden_channels": True}, "above 0"),
    ({"num_layers": 2.0}, "above 0"),
    ({"out_channels": None}, "no out_channels"),
    ({"readout": "sum"}, "readout"),
    ({"class": "GAT", "hidden_channels": 7, "heads": 2}, "cannot be built"),
    ({"act": "reluu"}, "cannot be built"),
    ({"class": None, "stack": "GCNConv", "act": "reluu"}, 'Did you mean "relu"?'),
    ({"class": None, "stack": "GCNConv", "readout": "add"}, "classifies nodes"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[str(b[0]) for b in BAD])
def test_a_table_that_cannot_be_built_says_why(changes, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_model(model_table(GRAPH, **changes))
    assert words in str(caught.value)
    assert caught.value.exit_code == 2
