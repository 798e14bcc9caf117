"""Partitions: every method covers every node, is seeded, and says what it fell back to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.errors import ConfigError
from defenses.joint_cluster import partition as parts
from defenses.joint_cluster.partition import given, partition, statistics
from tests.toys import sbm_graph

GRAPH = sbm_graph()
needs_metis = pytest.mark.skipif(not parts.has_metis(), reason="the extra metis is not installed")
METHODS = ["louvain", "bfs", "features", "random", pytest.param("metis", marks=needs_metis)]


def cut(name: str, clusters: int, seed: int = 0, graph=GRAPH):
    return partition(name, graph.edge_index, graph.num_nodes, clusters, seed=seed, x=graph.x)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("clusters", [1, 2, 7, 60, 120])
def test_every_node_has_a_cluster_below_k_and_equal_seeds_agree(name: str, clusters: int) -> None:
    first, second = cut(name, clusters), cut(name, clusters)
    assert first.name == name
    assert first.assign.dtype == torch.int64
    assert first.assign.shape == (120,)
    assert 0 <= int(first.assign.min()) <= int(first.assign.max()) < clusters
    assert torch.equal(first.assign, second.assign)


@pytest.mark.parametrize("name", ["bfs", "random"])
def test_another_seed_is_another_partition(name: str) -> None:
    assert not torch.equal(cut(name, 7).assign, cut(name, 7, seed=1).assign)


def test_bfs_keeps_to_its_cap_and_cuts_fewer_edges_than_chance() -> None:
    grown = cut("bfs", 7)
    assert int(torch.bincount(grown.assign).max()) <= -(-120 // 7)
    y, items = GRAPH.y, torch.arange(120)
    random = statistics(cut("random", 7).assign, GRAPH.edge_index, y, items)
    assert statistics(grown.assign, GRAPH.edge_index, y, items)["edge_cut"] < random["edge_cut"] - 0.2


def test_bfs_reaches_nodes_without_edges() -> None:
    alone = partition("bfs", torch.empty(2, 0, dtype=torch.int64), 10, 3, seed=0, x=torch.eye(10))
    assert torch.bincount(alone.assign).tolist() == [4, 3, 3]


def test_louvain_finds_two_cliques_and_packs_more_communities_than_clusters() -> None:
    clique = torch.combinations(torch.arange(5)).T
    edges = torch.cat([clique, clique + 5, clique + 10], dim=1)
    found = partition("louvain", edges, 15, 9, seed=0, x=torch.zeros(15, 1)).assign
    assert [len(set(found[i : i + 5].tolist())) for i in (0, 5, 10)] == [1, 1, 1]
    assert len(set(found.tolist())) == 3
    packed = partition("louvain", edges, 15, 2, seed=0, x=torch.zeros(15, 1)).assign
    assert sorted(torch.bincount(packed).tolist()) == [5, 10]


def test_features_read_no_edge() -> None:
    other = GRAPH.with_edges(GRAPH.edge_index[:, :4])
    assert torch.equal(cut("features", 5).assign, cut("features", 5, graph=other).assign)


@pytest.mark.parametrize("x", [torch.eye(6), torch.ones(6, 3)])
def test_features_that_say_nothing_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="identity or constant"):
        partition("features", torch.tensor([[0], [1]]), 6, 2, seed=0, x=x)


@needs_metis
def test_metis_that_raises_is_tried_as_bisection_and_then_replaced_by_bfs(monkeypatch: pytest.MonkeyPatch) -> None:
    import pymetis

    real, calls = pymetis.part_graph, []

    def k_way_fails(clusters, adjacency, *, recursive, **options):
        calls.append(recursive)
        if not recursive:
            raise RuntimeError("no")
        return real(clusters, adjacency, recursive=recursive, **options)

    monkeypatch.setattr(pymetis, "part_graph", k_way_fails)
    halved = cut("metis", 7)
    assert calls == [False, True]
    assert halved.name == "metis"
    assert halved.notes == ("METIS k-way failed: RuntimeError: no",)

    def all_fail(*_args, **_options):
        raise RuntimeError("no")

    monkeypatch.setattr(pymetis, "part_graph", all_fail)
    replaced = cut("metis", 7)
    assert replaced.name == "bfs"
    assert replaced.notes[-1] == "bfs instead"
    assert torch.equal(replaced.assign, cut("bfs", 7).assign)


def test_without_the_extra_auto_is_bfs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "has_metis", lambda: False)
    found = cut("auto", 4)
    assert found.name == "bfs"
    assert "not installed" in found.notes[0]
    with pytest.raises(ConfigError, match="pip install"):
        cut("metis", 4)


@pytest.mark.parametrize(
    ("name", "clusters", "message"),
    [("bfs", 0, "clusters = 0"), ("bfs", 121, "N = 120"), ("metsi", 3, 'Did you mean "metis"')],
)
def test_bad_requests_are_refused(name: str, clusters: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cut(name, clusters)


@pytest.mark.parametrize(
    "assign",
    [torch.zeros(5, dtype=torch.int64), torch.zeros(4), torch.tensor([0, 2, 2, 0]), torch.tensor([-1, 0, 1, 0])],
)
def test_a_users_table_is_checked(assign: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="expected"):
        given(assign, 4)


def test_a_users_table_is_read_from_a_file(tmp_path) -> None:
    wanted = np.arange(120, dtype=np.int64) % 4
    np.save(tmp_path / "clusters.npy", wanted)
    found = partition(str(tmp_path / "clusters.npy"), GRAPH.edge_index, 120, 9, seed=0, x=GRAPH.x)
    assert found.name == "given"
    assert found.clusters == 4
    assert np.array_equal(found.assign.numpy(), wanted)
    np.save(tmp_path / "clusters.npy", wanted.astype(np.float32))
    with pytest.raises(ConfigError, match="float32"):
        partition(str(tmp_path / "clusters.npy"), GRAPH.edge_index, 120, 9, seed=0, x=GRAPH.x)


def test_statistics_by_hand() -> None:
    assign = torch.tensor([0, 0, 1, 1, 1, 3])
    edges = torch.tensor([[0, 1, 2, 0, 4, 2], [1, 2, 3, 0, 5, 1]])  # a loop, and 1-2 in both directions
    stats = statistics(assign, edges, torch.tensor([0, 1, 1, 1, 0, 0]), torch.tensor([0, 1, 2, 3, 4]))
    assert stats["edge_cut"] == pytest.approx(0.5)  # 1-2 and 4-5 of 0-1, 1-2, 2-3, 4-5
    assert stats["purity"] == pytest.approx(3 / 5)  # one of two, two of three
    assert stats["occupancy_min"] == 0
    assert stats["occupancy_median"] == 2
    assert stats["clusters_used"] == 3
