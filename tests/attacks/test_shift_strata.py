from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch

from attacks.shift.properties import clustering, degrees, graph_properties, hops, node_properties, pagerank, undirected
from attacks.shift.strata import Strata, bin_index, bin_name, degree_name, join_small, quantile_cuts
from auditor import registry
from auditor.data.fields import Fields
from auditor.data.graph import Graph
from auditor.errors import ConfigError
from auditor.probe import Attempt, Registered
from auditor.runner.plan import choose_probes, plan
from auditor.view import SideKnowledge, grant_graph
from tests.toys import sbm_graph, small_graphs, toy_target


def net_of(graph: Graph) -> nx.Graph:
    net = nx.Graph()
    net.add_nodes_from(range(graph.num_nodes))
    net.add_edges_from(graph.edge_index.T.tolist())
    return net


def run(target, **kwargs):
    attack = Registered(registry.find("attacks", "strata"), Strata(**kwargs))
    return attack.run(
        grant_graph(target, attack.access, with_test_labels=False), Attempt(np.random.default_rng(0), torch.Generator())
    )


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


def test_degrees_of_a_directed_graph_are_told_apart():
    # Two arcs into 1, one of them twice; a loop at 0; 1 answers 3 and not the others.
    arcs = torch.tensor([[0, 2, 2, 1, 0], [1, 1, 1, 3, 0]])
    found = degrees(Graph(torch.ones(5, 1), arcs, torch.tensor([0, 1, 0, 1, 0])))
    assert {name: values.tolist() for name, values in found.items()} == {
        "in-degree": [0, 2, 0, 1, 0],
        "out-degree": [1, 1, 1, 0, 0],
    }


def test_a_symmetric_graph_has_one_degree_in_whatever_order_its_arcs_are():
    graph = sbm_graph(150, degree=3)
    turn = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(0))
    loops = torch.arange(7).repeat(2, 1)
    shuffled = graph.with_edges(torch.cat([graph.edge_index[:, turn], loops, graph.edge_index[:, :9]], dim=1))
    for each in (graph, shuffled):
        found = degrees(each)
        assert set(found) == {"degree"}
        np.testing.assert_array_equal(found["degree"], np.asarray(undirected(graph).sum(axis=1)).ravel())
        np.testing.assert_array_equal(found["degree"], [d for _, d in net_of(graph).degree()])


def test_degrees_of_a_directed_graph_have_the_fixed_bins():
    graph = sbm_graph(400)
    u, v = graph.edge_index
    target = toy_target("gcn", graph=graph.with_edges(graph.edge_index[:, (u < v) | ((u + v) % 3 == 0)]), epochs=1)
    outcome = run(target)
    names = {s.name for s in outcome.sets}
    assert {"in-degree", "out-degree"} <= names
    assert "degree" not in {*outcome.properties, *names}
    assert {s.severity for s in outcome.sets if s.name == "in-degree"} <= {"≤1", "≤3", "2–3", "2–7", "4–7", "≥4", "≥8"}


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
    target = toy_target("gcn" if graph.task.level == "node" else "graph-gin", graph=graph, epochs=1)
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
    skipped = run(toy_target("gcn", graph=graph, epochs=1)).skipped
    assert {"degree", "pagerank", "clustering"} <= set(skipped)


def test_too_few_test_items_skip_every_property_with_a_reason():
    outcome = run(toy_target("gcn", graph=sbm_graph(90), epochs=1))
    assert outcome.sets == ()
    assert set(outcome.skipped) == set(outcome.properties)
    assert all("45 test items" in reason for reason in outcome.skipped.values())


def test_properties_measured_from_the_training_items_are_told():
    assert run(toy_target("gcn", epochs=1)).relative == {"personalised-pagerank", "hops-to-train"}
    assert run(toy_target("graph-gin", epochs=1)).relative == set()


def with_columns(target, **columns):
    fields = Fields(node=columns) if target.graph.batch is None else Fields(graph=columns)
    return replace(target, graph=replace(target.graph, fields=fields))


def test_a_column_is_cut_into_its_values_or_at_its_quartiles():
    graph = sbm_graph(600)
    region, age = torch.arange(600) % 3, torch.arange(600).float().flip(0).unsqueeze(1)
    target = with_columns(toy_target(graph=graph, epochs=1), region=region, age=age)
    outcome = run(target, columns=("region", "age"))
    cut = {name: [s for s in outcome.sets if s.name == name] for name in ("region", "age")}
    assert [s.severity for s in cut["region"]] == ["0", "1", "2"]
    for number, stratum in enumerate(cut["region"]):
        assert set(region[stratum.items].tolist()) == {number}
    assert len(cut["age"]) == 4
    tested = int(target.split.test.sum())
    assert all(abs(len(s.items) - tested / 4) <= 1 for s in cut["age"])
    assert {s.name for s in run(target).sets}.isdisjoint({"region", "age"})


def test_a_column_of_graphs_is_cut_by():
    target = toy_target("graph-gin", graph=small_graphs(240), epochs=1)
    outcome = run(with_columns(target, assay=torch.arange(240) % 2), columns=("assay",))
    assert [s.severity for s in outcome.sets if s.name == "assay"] == ["0", "1"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("agee", 'Did you mean "age"'),
        ("wide", "expected one number for each of 600 nodes"),
        ("broken", "1 values that are not finite"),
        ("degree", "is the name of a property"),
    ],
)
def test_a_column_that_cannot_be_cut_by_is_refused_before_anything_runs(columns, message):
    target = with_columns(
        toy_target(graph=sbm_graph(600), epochs=1),
        age=torch.arange(600),
        wide=torch.zeros(600, 2),
        broken=torch.full((600,), 1.0).index_fill(0, torch.tensor([3]), float("nan")),
        degree=torch.zeros(600),
    )
    with pytest.raises(ConfigError, match=message):
        plan(target, choose_probes(only=f"strata:columns={columns}"), seeds=(0,), profile="quick", side=SideKnowledge())
