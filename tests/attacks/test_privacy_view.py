"""A privacy View holds no private edge, wherever one looks."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.targets.queries import _ORACLES
from auditor.view import Access, SideKnowledge, grant_privacy
from tests.toys import sbm_graph, toy_target

EVERYTHING = frozenset(Access) - {Access.GRAPH}


def tensors(value, seen=None):
    """Every tensor and array reachable through fields, containers, attributes, closures and module buffers."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, str | int | float | bool | type(None)):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, np.ndarray):
        yield torch.from_numpy(value) if value.dtype != object else torch.empty(0)
        return
    parts = []
    if isinstance(value, Mapping):
        parts += [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts += list(value)
    if dataclasses.is_dataclass(value):
        parts += [getattr(value, f.name) for f in dataclasses.fields(value)]
    if isinstance(value, nn.Module) or type(value).__module__.startswith(("auditor", "attacks", "tests")):
        parts += list(getattr(value, "__dict__", {}).values())
    for cell in getattr(value, "__closure__", None) or ():
        parts.append(cell.cell_contents)
    for part in parts:
        yield from tensors(part, seen)


def edge_sets(graph):
    n = graph.num_nodes
    dense = torch.zeros(n, n)
    dense[graph.edge_index[0], graph.edge_index[1]] = 1
    return set(graph.pair_keys().tolist()), dense


def leaks(view, graph):
    """Names the tensors of a view that equal E: as arcs, as pairs (mostly), or as an adjacency matrix."""
    keys, dense = edge_sets(graph)
    n, found = graph.num_nodes, []
    for tensor in tensors(view):
        if tensor.shape == dense.shape and torch.equal((tensor != 0).float(), dense):
            found.append("adjacency")
        if tensor.dim() == 2 and tensor.shape[0] == 2 and tensor.dtype == torch.int64 and tensor.shape[1]:
            pairs = set((tensor.min(dim=0).values * n + tensor.max(dim=0).values).tolist())
            if len(pairs & keys) > 0.5 * len(pairs) or pairs == keys:
                found.append(f"pairs {list(tensor.shape)}")
    return found


@pytest.fixture
def cached_target():
    graph = sbm_graph(60, degree=5.0)
    target = toy_target("gcn", graph=graph)
    for conv in target.model.convs:
        conv.cached = True
    target.model(graph.x, graph.edge_index)
    return target


def test_no_field_equals_the_edges(cached_target):
    view = grant_privacy(cached_target, EVERYTHING, SideKnowledge(), np.random.default_rng(0))
    assert len(list(tensors(view))) > 10
    assert leaks(view, cached_target.graph) == []


def test_the_walk_sees_what_is_planted(cached_target):
    """The walk above can fail: a cached layer, or the arcs in a container, are found."""
    assert leaks(cached_target.model, cached_target.graph) != []
    assert leaks({"held": [(1, cached_target.graph.edge_index)]}, cached_target.graph) != []


def test_what_answers_queries_holds_the_edges_and_no_view_leads_to_it(cached_target):
    """The walk would see the oracle: it is not in the view, whose handle has a count and nothing else."""
    view = grant_privacy(cached_target, EVERYTHING, SideKnowledge(), np.random.default_rng(0))
    assert leaks(_ORACLES[view.query], cached_target.graph) != []
    assert list(tensors(view.query)) == []
    assert not hasattr(view.query, "__dict__")


def test_view_does_not_depend_on_the_evaluation_pairs(cached_target):
    one = grant_privacy(cached_target, EVERYTHING, SideKnowledge(), np.random.default_rng(0))
    two = grant_privacy(cached_target, EVERYTHING, SideKnowledge(), np.random.default_rng(0))
    assert torch.equal(one.reference_pairs, two.reference_pairs)
    edges = set(cached_target.graph.pair_keys().tolist())
    keys = (one.reference_pairs[0] * 60 + one.reference_pairs[1]).tolist()
    share = sum(key in edges for key in keys) / len(keys)
    assert share == pytest.approx(len(edges) / (60 * 59 / 2), abs=0.01)  # as many edges as chance puts there
