from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from attacks.shift.properties import clustering, graph_properties, hops, node_properties, pagerank, undirected
from attacks.shift.strata import Strata, bin_index, bin_name, degree_name, join_small, quantile_cuts
from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.probe import AttackTask
from auditor.view import grant_graph
from tests.toys import sbm_graph, small_graphs, toy_target


def net_of(graph: Graph) -> nx.Graph:
    net = nx.Graph()
    net.add_nodes_from(range(graph.num_nodes))
    net.add_edges_from(graph.edge_index.T.tolist())
    return net


def run(target, **kwargs):
    view = grant_graph(target, Strata.access, with_test_labels=False)
    return Strata(**kwargs).run(view, AttackTask(np.random.default_rng(0), torch.Generator()))


def test_properties_agree_with_networkx():
    graph = sbm_graph(150, degree=3)
    adjacency, net = undirected(graph), net_of(graph)
    seeds = np.zeros(150)
    seeds[:10] = 1
    for restart, personal in ((np.ones(150), None), (seeds, dict.fromkeys(range(10), 1))):
        expected = nx.pagerank(net, tol=1e-12, max_iter=1000, personalization=personal, dangling=personal)
        np.testing.assert_allclose(pagerank(adjacency, restart) / 150, [expected[v] for v in range(150)], atol=1e-8)
    np.testing.assert_allclose(clustering(adjacency), list(nx.clustering(net).values()), atol=1e-9)
    distance = nx.multi_source_dijkstra_path_length(net, set(range(10)), weight=None)
    np.testing.assert_array_equal(hops(adjacency, np.arange(10)), [distance.get(v, np.inf) for v in range(150)])


def test_what_the_training_nodes_cannot_reach_scores_exactly_zero():
    graph = Graph(torch.ones(5, 1), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), torch.tensor([0, 1, 0, 1, 0]))
    found = node_properties(graph, torch.tensor([True, False, False, False, False]))
    assert found["personalised-pagerank"][2:].tolist() == [0, 0, 0]
    assert found["hops-to-train"].tolist() == [0, 1, np.inf, np.inf, np.inf]


def test_graph_properties_by_hand():
    # A triangle and a path of 3, then a lone node.
    index = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 0, 4, 5]])
    graph = Graph(
        torch.ones(7, 1),
        torch.cat([index, index.flip(0)], 1),
        torch.tensor([0, 1, 0]),
        batch=torch.tensor([0, 0, 0, 1, 1, 1, 2]),
    )
    found = graph_properties(graph)
    assert found["nodes"].tolist() == [3, 3, 1]
    np.testing.assert_allclose(found["mean-degree"], [2, 4 / 3, 0])
    np.testing.assert_allclose(found["density"], [1, 2 / 3, 0])


def test_properties_do_not_depend_on_the_order_of_nodes():
    graph = sbm_graph(100)
    turn = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    place = torch.argsort(turn)
    moved = Graph(graph.x[turn], place[graph.edge_index], graph.y[turn])
    train = torch.arange(100) < 20
    before, after = node_properties(graph, train), node_properties(moved, train[turn])
    for name, values in before.items():
        np.testing.assert_array_equal(values[turn.numpy()], after[name])


def test_equal_cut_points_are_merged():
    assert quantile_cuts(np.array([1.0, 1, 1, 1, 1, 5]), 4).tolist() == [1.0]
    index = bin_index(np.array([1.0, 1, 1, 1, 1, 5, np.inf]), np.array([1.0]))
    assert index.tolist() == [0, 0, 0, 0, 0, 1, 2]


def test_small_bins_join_their_smaller_neighbour():
    index = np.repeat([0, 1, 2, 3], [50, 10, 40, 5])
    assert np.bincount(join_small(index, 30)).tolist() == [50, 55]
    assert np.bincount(join_small(np.repeat([0, 1], [5, 6]), 30)).tolist() == [11]


def test_names_say_the_range():
    assert [degree_name(np.array([b])) for b in range(4)] == ["≤1", "2–3", "4–7", "≥8"]
    assert degree_name(np.array([0, 1])) == "≤3"
    assert degree_name(np.array([1, 3])) == "≥2"
    assert bin_name(np.array([2.0, np.inf])) == "≥2 or unreachable"
    assert bin_name(np.array([np.inf])) == "unreachable"
    assert bin_name(np.array([3.0, 3.0])) == "3"


@pytest.mark.parametrize("graph", [sbm_graph(400), small_graphs(400)])
def test_each_property_holds_every_test_item_once_in_bins_of_thirty(graph):
    target = toy_target("gcn" if graph.task == "node" else "graph-gin", graph=graph, epochs=1)
    outcome = run(target)
    test = torch.nonzero(target.split.test).flatten()
    for name in {s.name for s in outcome.sets}:
        own = [s for s in outcome.sets if s.name == name]
        assert torch.equal(torch.sort(torch.cat([s.items for s in own])).values, test)
        assert min(len(s.items) for s in own) >= 30
        assert len(own) >= 2


def test_a_property_with_one_bin_is_skipped_with_a_reason():
    ring = torch.stack([torch.arange(200), (torch.arange(200) + 1) % 200])
    graph = Graph(torch.ones(200, 1), torch.cat([ring, ring.flip(0)], 1), torch.arange(200) % 2)
    skipped = run(toy_target("gcn", graph=graph, epochs=1)).notes["skipped"]
    assert {"degree", "pagerank", "clustering"} <= set(skipped)


def test_too_few_test_items_skip_the_probe():
    with pytest.raises(SkippedError, match="60"):
        run(toy_target("gcn", graph=sbm_graph(90), epochs=1))
