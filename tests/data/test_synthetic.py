from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import stats

from auditor.data import synthetic
from auditor.data.graph import Graph
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.data.synthetic import (
    HOUSE,
    MOTIFS,
    basis_concept,
    basis_covariate,
    basis_size,
    binary_tree,
    ladder,
    size_split,
    spurious_motif,
    wheel,
)
from auditor.errors import ConfigError, DataError, SplitError

MOTIF = spurious_motif(train=2000, test=1000, rng=np.random.default_rng(1))
CONCEPT = basis_concept(train=2000, test=1000, rng=np.random.default_rng(2))


def _rate(hits: torch.Tensor, expected: float) -> None:
    """Within three standard deviations."""
    n = hits.numel()
    assert abs(float(hits.double().mean()) - expected) <= 3 * math.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize(("name", "rate"), [("train", 0.9), ("id", 0.9), ("ood", 0.5), ("flip", 0.1)])
def test_the_star_goes_along_with_the_house_at_the_stated_rate(name: str, rate: float) -> None:
    group = MOTIF.group[MOTIF.sets[name]]
    star, y = group % 2 == 1, group // 2
    _rate(star[y == 1], rate)
    _rate(star[y == 0], 1 - rate)
    _rate(y == 1, 0.5)


@pytest.mark.parametrize(("name", "rate"), [("train", 0.8 + 0.2 / 3), ("id", 0.8 + 0.2 / 3), ("ood", 1 / 3)])
def test_the_base_tells_the_motif_at_the_stated_rate(name: str, rate: float) -> None:
    group = CONCEPT.group[CONCEPT.sets[name]]
    _rate(group % 3 == group // 3, rate)
    for m in range(3):
        _rate(group // 3 == m, 1 / 3)


def test_the_base_is_independent_of_the_motif_out_of_distribution() -> None:
    def p_value(name: str) -> float:
        group = CONCEPT.group[CONCEPT.sets[name]].numpy()
        return float(stats.chi2_contingency(np.bincount(group, minlength=9).reshape(3, 3)).pvalue)

    assert p_value("ood") > 0.001
    assert p_value("train") < 1e-12


@pytest.mark.parametrize(("data", "classes", "ceiling"), [(MOTIF, 2, 0.95), (CONCEPT, 3, 1 - 0.1 * 2 / 3)])
def test_the_true_label_scores_the_stated_ceiling(data: synthetic.SyntheticSet, classes: int, ceiling: float) -> None:
    _rate(data.true_y == data.graph.y, ceiling)
    assert int(data.graph.y.max()) + 1 == classes
    assert torch.equal(data.true_y, data.group // (2 if classes == 2 else 3))


def _graphs(data: synthetic.SyntheticSet, ids: list[int]) -> list[nx.Graph]:
    graph, found = data.graph, []
    for b in ids:
        nodes = torch.nonzero(graph.batch == b).flatten()
        g = nx.Graph()
        g.add_nodes_from(nodes.tolist())
        inside = graph.batch[graph.edge_index[0]] == b
        g.add_edges_from(graph.edge_index[:, inside].T.tolist())
        found.append(g)
    return found


def test_graphs_have_the_sizes_and_the_number_of_edges_of_the_construction() -> None:
    sizes = torch.bincount(MOTIF.graph.batch)
    star = MOTIF.group % 2 == 1
    for has, extra in ((False, 0), (True, 8)):
        core = (5, 6)  # cores have five or six nodes
        assert int(sizes[star == has].min()) == 15 + core[0] + extra
        assert int(sizes[star == has].max()) == 30 + core[1] + extra
    for b, g in zip(range(40), _graphs(MOTIF, list(range(40))), strict=True):
        n = g.number_of_nodes()
        assert nx.is_connected(g)
        if int(MOTIF.group[b]) // 2 == 1:  # tree + house + star's tree + joining edges: one cycle rank of the house
            assert g.number_of_edges() == n - 1 + 2 + max(1, n // 20)
    assert MOTIF.graph.is_undirected
    assert torch.equal(MOTIF.graph.x, torch.ones_like(MOTIF.graph.x))


def test_bases_and_motifs_are_what_their_names_say() -> None:
    def made(part: tuple[int, list[tuple[int, int]]]) -> nx.Graph:
        g = nx.Graph(part[1])
        assert g.number_of_nodes() == part[0]
        return g

    assert nx.is_isomorphic(made(wheel(7)), nx.wheel_graph(8))
    assert nx.is_isomorphic(made(ladder(6)), nx.ladder_graph(6))
    tree = made(binary_tree(8))
    assert nx.is_isomorphic(tree, nx.balanced_tree(2, 3))
    assert nx.is_isomorphic(made(synthetic.star(7)), nx.star_graph(7))
    assert nx.is_isomorphic(made(synthetic.path(7)), nx.path_graph(7))
    assert nx.is_isomorphic(made(HOUSE), nx.house_graph())
    assert nx.is_isomorphic(made(MOTIFS[1]), nx.cycle_graph(6))
    assert sum(nx.triangles(made(MOTIFS[2])).values()) == 6
    cores = [made(core) for core in (HOUSE, *synthetic.OTHER_CORES)]
    assert not any(nx.is_isomorphic(a, b) for i, a in enumerate(cores) for b in cores[:i])


def test_covariate_sets_keep_unseen_bases_and_sizes_for_later() -> None:
    data = basis_covariate(train=300, test=100, rng=np.random.default_rng(0))
    base = data.group % 5
    assert set(base[data.sets["train"] | data.sets["val"] | data.sets["id"]].tolist()) == {0, 1, 2}
    assert set(base[data.sets["val-ood"]].tolist()) == {3}
    assert set(base[data.sets["ood"]].tolist()) == {4}
    sized = basis_size(train=300, test=100, rng=np.random.default_rng(0))
    nodes = torch.bincount(sized.graph.batch)
    assert int(nodes[sized.sets["train"]].max()) <= 2 * 15 + 6
    assert int(nodes[sized.sets["ood"]].min()) >= 65 + 1 + 5


def test_validation_carries_the_training_correlation_and_never_the_other_domain() -> None:
    for data in (MOTIF, basis_covariate(train=300, test=100, rng=np.random.default_rng(0))):
        split = data.split("ood")
        assert split.sizes[1] == (split.sizes[0] + split.sizes[1]) // 10
        assert not bool((split.val & ~data.sets["val"]).any())
        with pytest.raises(SplitError, match="val-ood"):
            data.split("val-ood")


def test_several_rates_lie_between() -> None:
    data = basis_concept((0.99, 0.0), train=2000, test=100, rng=np.random.default_rng(0))
    group = data.group[data.sets["train"]]
    _rate(group % 3 == group // 3, (0.99 + 0.01 / 3 + 1 / 3) / 2)


def test_same_seed_same_bytes() -> None:
    first, second, other = (spurious_motif(train=50, test=10, rng=np.random.default_rng(s)) for s in (4, 4, 5))
    assert first.graph.digest() == second.graph.digest() != other.graph.digest()


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: spurious_motif(1.2, rng=rng),
        lambda rng: basis_concept((0.5, -0.1), rng=rng),
        lambda rng: basis_concept((), rng=rng),
        lambda rng: spurious_motif(test=0, rng=rng),
    ],
)
def test_impossible_settings_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        call(np.random.default_rng(0))


def test_size_split_of_proteins(data_root) -> None:  # type: ignore[no-untyped-def]
    graph = load_data("tu_proteins", root=data_root).graph
    found = size_split(graph, 25, 500, 50, rng=np.random.default_rng(0))
    sizes = torch.bincount(graph.batch)
    assert int((sizes <= 25).sum()) == 548
    assert found.split.sizes == (450, 50, 613)
    assert (int(found.test_small.sum()), int(found.test_large.sum())) == (48, 565)
    large = graph.y[found.test_large | found.test_small]
    assert float(large.bincount().max()) / 613 == pytest.approx(0.743, abs=0.02)  # the small ones are drawn
    with pytest.raises(SplitError, match=r"548.*600"):
        size_split(graph, 25, 600, 50, rng=np.random.default_rng(0))


def test_size_split_needs_many_graphs_and_training_items() -> None:
    one = Graph(torch.ones(4, 1), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(SplitError, match="one graph"):
        size_split(one, 5, 2, 1, rng=np.random.default_rng(0))
    with pytest.raises(SplitError, match="nothing to train"):
        size_split(MOTIF.graph, 40, 20, 20, rng=np.random.default_rng(0))


def test_generated_sets_load_by_name_with_their_sets_and_groups() -> None:
    data = load_data("synthetic/spurious-motif:mu=0.8,test=flip,seed=3,items=40")
    made = spurious_motif(0.8, train=40, test=40, rng=np.random.default_rng(3))
    assert data.graph.digest() == made.graph.digest()
    assert torch.equal(data.masks["test"], made.sets["flip"])
    assert torch.equal(data.masks["ood"], made.sets["ood"])
    assert torch.equal(data.columns["group"], made.group)
    split = make_split("", data, 0)
    assert split.sizes == (36, 4, 40)
    several = load_data("synthetic/basis-concept:r=0.99/0.97,items=20")
    assert bool(several.masks["ood"][several.masks["test"]].all())


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("synthetic/spurious-motif:nu=0.9", DataError, '"mu"'),
        ("synthetic/basis-size:r=0.9", DataError, "no setting"),
        ("synthetic/basis-concept:r=high", DataError, "cannot be read"),
        ("synthetic/basis-size:seed=-1", DataError, "cannot be read"),
        ("synthetic/basis-concept:test=flip,items=20", SplitError, "no test set"),
        ("synthetic/spurious-motif:mu=2,items=20", ConfigError, "probability"),
        ("synthetic/spurious", DataError, "spurious-motif"),
    ],
)
def test_a_wrong_name_or_setting_is_answered_with_the_right_one(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_data(name)
