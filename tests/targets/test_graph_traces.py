"""Nothing as long as the graph hides in a model that is said to know features alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from torch_geometric.data import Data

from auditor.targets.graph_traces import graph_trace
from tests.toys import builder, sbm_graph

GRAPH = sbm_graph()
N = GRAPH.num_nodes
HIDDEN = {
    "dense": torch.eye(N),
    "coo": torch.eye(N).to_sparse(),
    "array": np.zeros((N, 2)),
    "scipy": sparse.eye(N),
    "edges": GRAPH.edge_index,
    "with loops": torch.zeros(GRAPH.num_edges + N),
    "undirected": torch.zeros(2, GRAPH.num_edges // 2),
    "list": [0.0] * N,
    "in a tuple": (GRAPH.edge_index, 1),
    "in a dictionary": {"adj": GRAPH.edge_index},
    "Data": Data(x=GRAPH.x, edge_index=GRAPH.edge_index),
    "Graph": GRAPH,
}


@pytest.mark.parametrize("arch", ["mlp", "gcn", "gat", "graph-gin"])
def test_weights_alone_hold_no_graph(arch: str) -> None:
    assert graph_trace(builder(arch, GRAPH.num_features, 3)(), GRAPH) == ""


@pytest.mark.parametrize("what", HIDDEN)
def test_whatever_is_as_long_as_the_graph_is_named(what: str) -> None:
    model = copy.deepcopy(builder("mlp", GRAPH.num_features, 3)())
    model.layers.kept = HIDDEN[what]
    assert graph_trace(model, GRAPH).startswith("layers.kept")


def test_parameters_and_buffers_are_called_as_in_the_state_dict() -> None:
    model = builder("mlp", GRAPH.num_features, 3)()
    model.register_buffer("adj", torch.eye(N))
    assert graph_trace(model, GRAPH) == f"adj [{N}, {N}]"
