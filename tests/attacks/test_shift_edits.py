from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks.shift.corruption import KINDS, Corruption, Whole
from attacks.shift.edge_edits import add_edges, choose_in_groups, drop_edges
from attacks.shift.feature_edits import add_noise, mask_features, noise_sigma
from attacks.shift.node_edits import crop_graphs, drop_nodes
from auditor import registry
from auditor.data.feature_space import is_binary
from auditor.data.graph import Graph
from auditor.errors import AccessError, ConfigError
from auditor.parameters import build
from auditor.probe import Attempt, Registered
from auditor.view import grant_graph
from tests.toys import sbm_graph, small_graphs, toy_target

ACCESS = Registered(registry.find("attacks", "corruption"), Corruption()).access


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def directed() -> Graph:
    graph = sbm_graph(60)
    u, v = graph.edge_index
    keep = (u < v) | ((u + v) % 3 == 0)
    return graph.with_edges(graph.edge_index[:, keep], torch.rand(int(keep.sum()), generator=torch.Generator()))


def weighted_with_loops() -> Graph:
    graph = sbm_graph(60)
    loops = torch.arange(5).repeat(2, 1)
    u, v = graph.edge_index
    weight = torch.cat([(torch.minimum(u, v) * 60 + torch.maximum(u, v)).float(), torch.full((5,), -1.0)])
    return graph.with_edges(torch.cat([graph.edge_index, loops], dim=1), weight)


def edges(graph: Graph) -> set[int]:
    keys = graph.pair_keys() if graph.is_undirected else graph.arc_keys(include_loops=False)
    return set(keys.tolist())


@pytest.mark.parametrize("make", [sbm_graph, directed, weighted_with_loops])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_exactly_the_stated_number_of_edges_goes(make, rate):
    graph = make()
    edit = drop_edges(graph, rate, rng())
    before, after = edges(graph), edges(edit.graph)
    assert after < before
    assert len(before) - len(after) == int(rate * len(before) + 0.5)
    assert edit.claimed_rate == pytest.approx((len(before) - len(after)) / len(before))
    assert edit.graph.is_undirected == graph.is_undirected
    assert torch.equal(edit.graph.x, graph.x)


@pytest.mark.parametrize("make", [sbm_graph, directed, weighted_with_loops])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_exactly_the_stated_number_of_edges_comes(make, rate):
    graph = make()
    edit = add_edges(graph, rate, rng())
    before, after = edges(graph), edges(edit.graph)
    assert before < after
    assert len(after) - len(before) == int(rate * len(before) + 0.5)
    assert edit.graph.is_undirected == graph.is_undirected
    loops = [(g.edge_index[0] == g.edge_index[1]).sum() for g in (graph, edit.graph)]
    assert loops[0] == loops[1]
    per_edge = 2 if graph.is_undirected else 1
    assert edit.graph.num_edges - graph.num_edges == per_edge * (len(after) - len(before))


def test_weights_go_and_come_with_their_edges():
    graph = weighted_with_loops()
    dropped = drop_edges(graph, 0.5, rng()).graph
    u, v = dropped.edge_index
    own = torch.where(u == v, torch.tensor(-1.0), (torch.minimum(u, v) * 60 + torch.maximum(u, v)).float())
    assert torch.equal(dropped.edge_weight, own)
    added = add_edges(graph, 0.5, rng()).graph
    fresh = added.edge_weight[graph.num_edges :]
    assert set(fresh.tolist()) <= set(graph.edge_weight.tolist())
    assert torch.equal(fresh[: len(fresh) // 2], fresh[len(fresh) // 2 :])  # both arcs of an edge weigh the same


def test_rates_hold_inside_each_graph():
    graph = small_graphs(40)
    for edit, sign in ((drop_edges(graph, 0.3, rng()), -1), (add_edges(graph, 0.3, rng()), 1)):
        per_graph = [torch.bincount(g.batch[g.pair_keys() // g.num_nodes], minlength=40) for g in (graph, edit.graph)]
        expected = torch.floor(0.3 * per_graph[0] + 0.5).long()
        assert torch.equal(sign * (per_graph[1] - per_graph[0]), expected)


def complete(n: int) -> Graph:
    return Graph(
        torch.ones(n, 1), torch.tensor([(i, j) for i in range(n) for j in range(n) if i != j]).T, torch.arange(n) % 2
    )


def test_a_full_graph_gets_what_fits_and_says_so():
    graph = complete(6)
    short = graph.with_edges(drop_edges(graph, 0.2, rng()).graph.edge_index)  # 12 of 15 edges
    edit = add_edges(short, 0.5, rng())
    assert len(edges(edit.graph)) == 15
    assert edit.notes == {"missing": 3}
    assert edit.claimed_rate == pytest.approx(3 / 12)


def test_choice_in_groups_is_exact_and_uniform():
    groups = np.array([0, 1, 0, 1, 1, 0])
    counts = np.zeros(6)
    for seed in range(600):
        chosen = choose_in_groups(groups, np.array([1, 2]), rng(seed))
        assert chosen[groups == 0].sum() == 1
        assert chosen[groups == 1].sum() == 2
        counts += chosen
    assert np.abs(counts[groups == 0] / 600 - 1 / 3).max() < 0.07


def test_masked_entries_are_zero_and_the_rate_is_of_filled_entries():
    graph = sbm_graph(200)
    edit = mask_features(graph, 0.3, rng())
    changed = edit.graph.x != graph.x
    assert (edit.graph.x[changed] == 0).all()
    assert edit.claimed_rate == pytest.approx(int(changed.sum()) / int((graph.x != 0).sum()))
    assert 0.25 < edit.claimed_rate < 0.35
    assert edit.graph.edge_index is graph.edge_index


def test_noise_has_the_stated_size_and_unit():
    graph = replace(sbm_graph(200), x=torch.zeros(200, 40))
    edit = add_noise(graph, 0.3, rng(), sigma=torch.tensor([2.0]))
    assert float(edit.graph.x.std()) == pytest.approx(0.6, rel=0.03)
    sparse = sbm_graph(200)
    assert noise_sigma(replace(sparse, x=sparse.x * 3), torch.ones(200, dtype=torch.bool)).item() == pytest.approx(3.0)
    dense = replace(
        sparse, x=torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 5])
    )
    train = torch.arange(200) < 100
    np.testing.assert_allclose(noise_sigma(dense, train), dense.x[:100].numpy().std(0), rtol=1e-5)


def test_binary_features_are_recognised_also_when_rows_are_normalised():
    x = sbm_graph(50).x
    assert is_binary(x)
    assert is_binary(x / x.sum(1, keepdim=True).clamp_min(1))
    assert not is_binary(torch.tensor([[1.0, 2.0, 0.0]]))
    assert not is_binary(torch.empty(3, 0))


def test_dropped_nodes_spare_the_protected_and_leave_an_induced_subgraph():
    graph = sbm_graph(100)
    protected = torch.arange(100) % 2 == 0
    edit = drop_nodes(graph, 0.3, rng(), protected=protected)
    assert edit.graph.num_nodes == 70
    assert torch.isin(torch.nonzero(protected).flatten(), edit.node_ids).all()
    kept = set(edit.node_ids.tolist())
    u, v = graph.edge_index.tolist()
    expected = {(a, b) for a, b in zip(u, v, strict=True) if a in kept and b in kept}
    back = edit.node_ids[edit.graph.edge_index].T.tolist()
    assert {(a, b) for a, b in back} == expected


def test_every_graph_keeps_a_node():
    graph = small_graphs(30)
    edit = drop_nodes(graph, 1.0, rng(), protected=torch.zeros(graph.num_nodes, dtype=torch.bool))
    assert torch.bincount(edit.graph.batch).tolist() == [1] * 30


@pytest.mark.parametrize("share", [0.75, 0.5])
def test_a_crop_keeps_a_connected_ball_of_each_connected_graph(share):
    graph = small_graphs(30)
    edit = crop_graphs(graph, share, rng())
    before, after = torch.bincount(graph.batch), torch.bincount(edit.graph.batch)
    assert torch.equal(after, torch.ceil(share * before).long())
    reach = torch.arange(edit.graph.num_nodes)
    for _ in range(20):  # label propagation: one label per graph when every ball is connected
        u, v = edit.graph.edge_index
        reach = reach.scatter_reduce(0, v, reach[u], "amin")
    assert len(torch.unique(reach)) == 30


@pytest.mark.parametrize("arch", ["gcn", "graph-gin"])
def test_sets_can_be_read_twice_and_severity_zero_changes_nothing(arch):
    target = toy_target(arch, epochs=1)
    before = target.graph.digest()
    view = grant_graph(target, ACCESS, with_test_labels=False)
    outcome = Corruption().run(view, Attempt(rng(), torch.Generator()))
    first, second = list(outcome.sets), list(outcome.sets)
    assert [s.graph.digest() for s in first] == [s.graph.digest() for s in second]
    kinds = {s.name for s in first}
    assert kinds == set(KINDS) - ({"crop"} if arch == "gcn" else set())
    zero = {s.name: s.graph for s in first if s.severity == "0"}
    assert set(zero) == kinds
    assert len({graph.digest() for graph in zero.values()}) == 1
    draws = {}
    for s in first:
        draws.setdefault((s.name, s.severity), []).append(s.graph.digest())
    assert all(len(set(d)) == (1 if key[1] == "0" else 5) for key, d in draws.items())
    assert target.graph.digest() == before


def test_quick_is_the_mildest_severity_in_three_draws():
    view = grant_graph(toy_target("gcn", epochs=1), ACCESS, with_test_labels=False)
    sets = list(Corruption(kinds=("edge-drop",)).run(view, Attempt(rng(), torch.Generator(), "quick")).sets)
    assert [(s.severity, s.draw) for s in sets] == [("0", 0), ("0.1", 0), ("0.1", 1), ("0.1", 2)]


def test_what_does_not_apply_is_skipped_with_a_reason():
    graph = replace(complete(100), x=torch.zeros(100, 1))
    view = grant_graph(toy_target("gcn", graph=graph, epochs=1), ACCESS, with_test_labels=False)
    skipped = Corruption().run(view, Attempt(rng(), torch.Generator())).skipped
    assert set(skipped) == {"edge-add", "feature-mask", "feature-noise", "crop"}
    assert "non-edges" in skipped["edge-add"]


def test_the_view_holds_no_test_label():
    target = toy_target("gcn", epochs=1)
    view = grant_graph(target, ACCESS, with_test_labels=False)
    with pytest.raises(AccessError):
        _ = view.y
    assert not view.graph.y.any()


@pytest.mark.parametrize(
    "bad",
    [
        {"kinds": "edge-dorp"},
        {"severities": "1.5"},
        {"severities": "0"},
        {"severities": "nan"},
        {"severities": "much"},
        {"draws": "-1"},
    ],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ConfigError):
        build(Corruption, bad, owner="corruption")


def test_noise_may_be_above_one_alone():
    given = {"kinds": "feature-noise", "severities": "0.5/3"}
    assert build(Corruption, given, owner="corruption").severities == (0.5, 3.0)
    with pytest.raises(ConfigError, match="edge-drop"):
        build(Corruption, given | {"kinds": "feature-noise/edge-drop"}, owner="corruption")


def test_whole_numbers_are_drawn_again_from_what_was_seen_and_get_no_noise() -> None:
    ids = torch.arange(40, dtype=torch.float32)[:, None] % 9
    graph = replace(sbm_graph(n=40), x=ids, whole_x=True)
    seen = torch.tensor([[2.0], [5.0]])
    edit = mask_features(graph, 0.5, rng(), seen=seen)
    moved = edit.graph.x != graph.x
    assert 5 < int(moved.sum()) < 35
    assert set(edit.graph.x[moved].tolist()) <= {2.0, 5.0}
    assert edit.claimed_rate is None
    whole = Whole(graph, None, torch.arange(5), torch.zeros(40, dtype=torch.bool), torch.ones(1), seen)
    assert "noise on them means nothing" in KINDS["feature-noise"].obstacle(whole, 1.0)


def test_a_graph_without_features_has_nothing_to_mask_and_no_unit_of_noise() -> None:
    graph = replace(sbm_graph(n=40), x=torch.zeros(40, 0))
    sigma = noise_sigma(graph, torch.ones(40, dtype=torch.bool))
    whole = Whole(graph, None, torch.arange(5), torch.zeros(40, dtype=torch.bool), sigma, graph.x)
    assert KINDS["feature-mask"].obstacle(whole, 0.5) == "the graph has no features"
    assert KINDS["feature-noise"].obstacle(whole, 0.5)
