"""Whether a graph is undirected is asked often and counted once, unless somebody writes to its arcs."""

from dataclasses import replace

import torch

from auditor.data.graph import Graph


def of(arcs):
    return Graph(torch.zeros(4, 1), torch.tensor(arcs).T.contiguous(), torch.zeros(4, dtype=torch.int64))


def test_arcs_without_their_reverse_are_counted_once(monkeypatch):
    graph = of([[0, 1], [1, 0], [1, 2], [3, 3]])
    counted = []
    keys = Graph.arc_keys
    monkeypatch.setattr(Graph, "arc_keys", lambda self, **how: counted.append(1) or keys(self, **how))
    assert [graph.num_one_way, graph.num_one_way, graph.is_undirected] == [1, 1, False]
    assert len(counted) == 1
    assert replace(graph, edge_index=graph.edge_index[:, :2]).is_undirected


def test_arcs_that_are_written_to_are_counted_again():
    graph = of([[0, 1], [1, 0], [1, 2]])
    assert graph.num_one_way == 1
    graph.edge_index[:, 2] = 3
    assert graph.num_one_way == 0


def test_arcs_that_nobody_watches_are_counted_every_time():
    with torch.inference_mode():
        graph = of([[0, 1], [1, 0], [1, 2]])
    assert graph.num_one_way == 1
    with torch.inference_mode():
        graph.edge_index[:, 2] = 3
    assert graph.num_one_way == 0
