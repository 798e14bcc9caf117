"""Fields follow their nodes, arcs and graphs through every edit; kept rows stay as they were, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace, canonical_graph, select_graphs
from auditor.data.fields import Fields, origin_of, side_by_side
from auditor.data.graph import Graph
from auditor.errors import GraphError, SkippedError
from auditor.targets.slices import GraphSlices
from tests.toys import sbm_graph, small_graphs


def tagged(graph: Graph) -> Graph:
    """Every node, arc and graph carries a number that names it, and edges a row of two."""
    n, e = graph.num_nodes, graph.num_edges
    fields = Fields(
        {"tag": torch.arange(n)},
        {"edge_attr": torch.stack([graph.edge_index[0], graph.edge_index[1]], dim=1), "kind": torch.arange(e)},
        {} if graph.batch is None else {"which": torch.arange(graph.num_items)},
    )
    return replace(graph, fields=fields)


GRAPH, MANY = tagged(sbm_graph(n=40)), tagged(small_graphs(12))


def names_of(graph: Graph) -> set[tuple[int, int]]:
    """Arcs by the tags of their ends."""
    tag = graph.fields.node["tag"]
    return set(zip(tag[graph.edge_index[0]].tolist(), tag[graph.edge_index[1]].tolist(), strict=True))


def own_rows(graph: Graph) -> Tensor:
    """Whether each arc's row names its own two ends, bool [E]."""
    ends = graph.fields.node["tag"][graph.edge_index].T
    return (graph.fields.edge["edge_attr"] == ends).all(dim=1)


def test_an_induced_subgraph_keeps_the_rows_of_its_own_arcs() -> None:
    part = GRAPH.induced(torch.arange(0, 40, 3))
    assert part.num_edges > 0
    assert own_rows(part).all()
    assert names_of(part) <= names_of(GRAPH)


def test_a_subset_of_graphs_keeps_every_row_in_the_order_asked_for() -> None:
    order = torch.tensor([7, 2, 9])
    part = GraphSlices(MANY).take(order)
    assert part.fields.graph["which"].tolist() == [7, 2, 9]
    assert own_rows(part).all()
    chosen, nodes = select_graphs(MANY, torch.tensor([2, 7]))
    assert torch.equal(chosen.fields.node["tag"], nodes)
    assert own_rows(chosen).all()


def test_relabelling_and_reordering_there_and_back_is_the_identity() -> None:
    rng = np.random.default_rng(0)
    nodes, arcs = (torch.from_numpy(rng.permutation(size)) for size in (GRAPH.num_nodes, GRAPH.num_edges))
    moved = GRAPH.taking(nodes, nodes, arcs)
    assert own_rows(moved).all()
    back = moved.taking(torch.argsort(nodes), torch.argsort(nodes), torch.argsort(arcs))
    assert back.digest() == GRAPH.digest()


def test_toggled_edges_keep_the_others_and_copy_a_row_that_occurs() -> None:
    space = EdgeSpace.of(GRAPH)
    keys = torch.cat([space.existing[:3], space.draw(6, np.random.default_rng(1))]).unique()
    edited = space.toggled(keys)
    there = own_rows(edited)
    added = names_of(edited) - names_of(GRAPH)
    assert added
    assert int((~there).sum()) == len(added)
    rows = {tuple(row) for row in GRAPH.fields.edge["edge_attr"].tolist()}
    assert {tuple(row) for row in edited.fields.edge["edge_attr"].tolist()} <= rows
    again = space.toggled(keys)
    assert torch.equal(again.fields.edge["kind"], edited.fields.edge["kind"])


def test_both_directions_of_an_added_edge_copy_the_same_arc() -> None:
    new = torch.tensor([[0, 39], [39, 0]])
    longer = torch.cat([GRAPH.edge_index, new], dim=1)
    origin = origin_of(GRAPH.edge_index, longer, GRAPH.num_nodes)
    assert origin[:-2].tolist() == list(range(GRAPH.num_edges))
    assert origin[-1] == origin[-2]


def test_parallel_arcs_keep_their_own_rows_in_order() -> None:
    old = torch.tensor([[0, 0, 1, 0], [1, 1, 0, 1]])
    assert origin_of(old, old[:, [2, 0, 1, 3]], 2).tolist() == [2, 0, 1, 3]
    assert origin_of(old, old[:, :2], 2).tolist() == [0, 1]


def test_parallel_arcs_that_differ_cannot_be_edited_as_one_pair() -> None:
    twice = Graph(
        torch.ones(2, 1), torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]), torch.tensor([0, 1]),
        fields=Fields(edge={"kind": torch.tensor([0, 1, 0, 1])}),
    )  # fmt: skip
    with pytest.raises(SkippedError, match="differ in kind"):
        canonical_graph(twice)
    same = replace(twice, fields=Fields(edge={"kind": torch.tensor([3, 3, 5, 5])}))
    assert canonical_graph(same).fields.edge["kind"].tolist() == [3, 5]


def test_an_edge_added_where_there_is_none_to_copy_is_refused() -> None:
    bare = GRAPH.keeping(torch.zeros(GRAPH.num_edges, dtype=torch.bool))
    with pytest.raises(GraphError, match="no edge to copy"):
        bare.with_edges(torch.tensor([[0], [1]]))


def test_a_field_of_the_wrong_length_is_named() -> None:
    with pytest.raises(GraphError, match=r"tag is \[3\]; expected one row per node, \[40, …\]"):
        replace(GRAPH, fields=Fields(node={"tag": torch.arange(3)}))


def test_fields_count_in_the_digest() -> None:
    other = replace(GRAPH, fields=replace(GRAPH.fields, node={"tag": torch.arange(40).flip(0)}))
    assert other.digest() != GRAPH.digest()
    assert sbm_graph(n=40).digest() != GRAPH.digest()


def test_graphs_side_by_side_are_the_set_that_they_came_from() -> None:
    parts = [GraphSlices(MANY).take(torch.tensor([i])) for i in range(MANY.num_items)]
    joined = side_by_side([part.fields for part in parts], [0] * len(parts))
    for (name, value), (other, expected) in zip(joined, MANY.fields, strict=True):
        assert name == other
        assert value.shape == expected.shape
