from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
from torch import nn

import auditor
from attacks.shift.prototype_ood import PrototypeOod
from auditor.data.graph import Graph
from auditor.document import Measured
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.shift import graph_distance
from auditor.evaluate.shift.graph_distance import distance, feature_scale, features_of, spaces
from auditor.evaluate.shift.prototypes import SizeDetector, medoids, stratified
from auditor.evaluate.shift.typical import FINDING, SIZES, check_held, evaluate
from auditor.targets.target import Target
from tests.evaluate.shift.cells import make_cell, row, with_model
from tests.toys import small_graphs, toy_target

ID = "prototype-ood"
FEW = {"pool": "8", "prototypes": "2"}


def joined(*graphs: tuple[int, list[tuple[int, int]]], x: torch.Tensor | None = None) -> Graph:
    """Graphs of so many nodes and these edges, in one."""
    ends, batch, start = [], [], 0
    for b, (n, pairs) in enumerate(graphs):
        ends += [(u + start, v + start) for u, v in pairs] + [(v + start, u + start) for u, v in pairs]
        batch += [b] * n
        start += n
    edges = torch.tensor(ends).T if ends else torch.zeros(2, 0, dtype=torch.int64)
    features = torch.ones(start, 1) if x is None else x
    return Graph(features, edges, torch.zeros(len(graphs), dtype=torch.int64), batch=torch.tensor(batch))


def apart(graph: Graph, scale: float = 1.0) -> float:
    one, other = spaces(graph, np.arange(2), features_of(graph), rng=np.random.default_rng(0))
    return distance(one, other, scale)


def evaluated(target: Target, attack: PrototypeOod | None = None, seed: int = 0, **params: str):
    return evaluate(make_cell(target, ID, attack, profile="standard", params={**FEW, **params}, seed=seed))


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target("graph-gin", graph=small_graphs(200))


def excess(found: Measured) -> tuple[float, float, float]:
    assert found.contrast is not None
    return found.contrast.lo, found.contrast.value, found.contrast.hi


# ---- distances ------------------------------------------------------------------------------------------------------


def test_a_node_and_an_edge_with_equal_features_are_apart_by_their_steps_alone() -> None:
    assert apart(joined((1, []), (2, [(0, 1)]))) == pytest.approx(1 / 256)


def test_two_nodes_are_apart_by_their_features() -> None:
    assert apart(joined((1, []), (1, []), x=torch.tensor([[0.0], [1.0]]))) == pytest.approx(0.5)
    assert apart(joined((1, []), (1, []), x=torch.tensor([[0.0], [1.0]])), scale=4.0) == pytest.approx(0.125)


@pytest.mark.parametrize("seed", range(5))
def test_a_graph_in_another_order_is_the_same_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    pairs = [(int(rng.integers(0, i)), i) for i in range(1, n)]
    order = rng.permutation(n)
    x = torch.from_numpy(rng.normal(size=(n, 3)))
    again = torch.empty_like(x)
    again[torch.from_numpy(order)] = x
    moved = [(int(order[u]), int(order[v])) for u, v in pairs]
    assert 0 <= apart(joined((n, pairs), (n, moved), x=torch.cat([x, again]).float())) <= 1e-6


def test_it_is_what_pot_gives_from_its_better_start() -> None:
    graph = small_graphs(10)
    one, other = spaces(graph, np.array([0, 1]), features_of(graph), rng=np.random.default_rng(0))
    p, q = (np.full(len(each.features), 1 / len(each.features)) for each in (one, other))
    cost = ot.dist(one.features, other.features)
    plain = ot.gromov.fused_gromov_wasserstein2(cost, one.steps, other.steps, p, q, alpha=0.5)
    assert 0 < distance(one, other, 1.0) <= plain + 1e-9


def test_nodes_far_apart_and_nodes_without_a_path_are_equally_far() -> None:
    path = joined((12, [(i, i + 1) for i in range(11)]), (2, []))
    long, split = spaces(path, np.arange(2), features_of(path), rng=np.random.default_rng(0))
    assert long.steps[0, 11] == 1 == split.steps[0, 1]
    assert long.steps[0, 1] == 1 / 8


def test_a_large_graph_is_points_of_it_with_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_distance, "MOST_POINTS", 4)
    path = joined((9, [(i, i + 1) for i in range(8)]), x=torch.arange(9).float()[:, None])
    (found,) = spaces(path, np.array([0]), features_of(path), rng=np.random.default_rng(0))
    at = found.features[:, 0]
    np.testing.assert_allclose(found.steps, np.minimum(np.abs(at[:, None] - at[None]), 8) / 8)


def test_a_graph_without_features_is_compared_by_degrees() -> None:
    star = joined((4, [(0, 1), (0, 2), (0, 3)]), x=torch.zeros(4, 0))
    np.testing.assert_allclose(features_of(star)[:, 0], np.log1p([3, 1, 1, 1]))


def test_features_that_mostly_agree_do_not_become_all_that_counts() -> None:
    """The trap: with one kind in nine of ten nodes the median squared distance is 0."""
    kinds = np.eye(2)[(np.arange(1000) % 10 == 0).astype(int)]
    assert feature_scale(kinds, rng=np.random.default_rng(0)) == pytest.approx(0.36, abs=0.02)
    assert feature_scale(np.ones((10, 2)), rng=np.random.default_rng(0)) == 1e-6
    spread = np.random.default_rng(0).normal(size=(5000, 1))
    assert feature_scale(spread, rng=np.random.default_rng(0)) == pytest.approx(2 * 0.455, abs=0.08)


# ---- prototypes -----------------------------------------------------------------------------------------------------


def test_no_swap_of_a_medoid_is_better_and_groups_apart_have_one_each() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.normal(size=(9, 2))
        between = np.linalg.norm(points[:, None] - points[None], axis=2)
        found = medoids(between, 2).tolist()
        cost = between[:, found].min(axis=1).sum()
        for other in range(9):
            for kept in found:
                assert between[:, [kept, other]].min(axis=1).sum() >= cost - 1e-5
    far = np.abs(np.r_[0.0, 1, 2, 100, 101, 102][:, None] - np.r_[0.0, 1, 2, 100, 101, 102][None])
    assert medoids(far, 2).tolist() == [1, 4]
    assert medoids(between, 30).tolist() == list(range(9))


def test_a_pool_has_as_many_of_each_quartile_of_size() -> None:
    sizes = np.r_[np.full(90, 5), np.arange(10) + 50]
    found = stratified(np.arange(100), sizes, 16, rng=np.random.default_rng(0))
    assert len(np.unique(found)) == 16
    assert [int(((found >= lo) & (found < lo + 25)).sum()) for lo in (0, 25, 50, 75)] == [4, 4, 4, 4]
    assert stratified(np.arange(7), sizes, 16, rng=np.random.default_rng(0)).tolist() == list(range(7))


def test_the_detector_of_sizes_knows_no_structure() -> None:
    """Cycles, and as many nodes and edges in another form: the same to it; larger ones are not."""
    ring = [(i, (i + 1) % 8) for i in range(8)]
    other = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4)]
    big = [(i, (i + 1) % 20) for i in range(20)]
    small = [(i, (i + 1) % 7) for i in range(7)]
    graph = joined((8, ring), (8, other), (20, big), (7, small), (8, ring), (7, small))
    found = SizeDetector.fit(graph, np.array([0, 3, 4, 5]), features_of(graph))
    scores = found.scores(graph, np.arange(3), features_of(graph))
    assert scores[0] == pytest.approx(scores[1])
    assert scores[2] < scores[0] - 1


# ---- the probe ------------------------------------------------------------------------------------------------------


def test_structure_is_told_where_sizes_tell_nothing(target: Target) -> None:
    """Planted: rings of one class and trees of the other; edges at random are neither."""
    result = evaluated(target)
    for made in ("rewired", "er"):
        found = row(result, "prototype_auroc", made)
        assert found.controls[0].name == SIZES
        assert found.controls[0].estimate.value == pytest.approx(0.5)
        lo, value, _ = excess(found)
        assert value == pytest.approx(found.estimate.value - 0.5)
        assert lo > 0
        assert found.finding == FINDING
        assert not found.judged
        assert found.facts.prototypes == 4


def rings_and_trees(sizes: np.ndarray, seed: int) -> Graph:
    """Rings of class 0 and random trees of class 1 of these sizes, with features that say nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for b, n in enumerate(sizes.tolist()):
        made.append((n, [(i, (i + 1) % n) if b % 2 == 0 else (int(rng.integers(0, i)), i) for i in range(b % 2, n)]))
    x = torch.from_numpy(rng.normal(1, 0.3, (int(sizes.sum()), 2))).float()
    return replace(joined(*made, x=x), y=torch.arange(len(sizes)) % 2)


def test_graphs_of_another_size_alone_are_no_gain() -> None:
    """Larger rings and trees: told, and by their sizes as well."""
    sizes = np.r_[np.random.default_rng(0).integers(6, 12, 200), np.random.default_rng(1).integers(30, 40, 60)]
    target = toy_target("graph-gin", graph=rings_and_trees(sizes, 0), epochs=1)
    large, split = torch.from_numpy(sizes >= 30), target.split
    held = replace(split, train=split.train & ~large, val=split.val & ~large, test=split.test | large)
    result = evaluated(replace(target, split=held), PrototypeOod(sets=()), pool="24")
    (found,) = result.measured
    assert found.subset == "more than 11 nodes"
    assert found.estimate.value > 0.75
    _, value, _ = excess(found)
    assert value <= 0


class Same(PrototypeOod):
    """The null: the test graphs as they are, said to be rewired."""

    def run(self, view, attempt):
        outcome = super().run(view, attempt)
        (made,) = list(outcome.sets)
        keep = torch.zeros(view.graph.num_items, dtype=torch.bool)
        keep[view.items] = True
        return replace(
            outcome, sets=(replace(made, graph=view.graph.induced(torch.nonzero(keep[view.graph.batch]).flatten())),)
        )


def test_test_graphs_as_they_are_are_not_told_from_themselves(target: Target) -> None:
    found = row(evaluated(target, Same(sets=("rewired",))), "prototype_auroc", "rewired")
    assert found.estimate.value == pytest.approx(0.5)
    lo, value, hi = excess(found)
    assert value == 0
    assert lo < 0 < hi


def test_the_sets_that_are_named_are_made_and_no_others(target: Target) -> None:
    """As a run asks for them: parameters of the attack reach the check of the harness's own, too."""
    report = auditor.audit(target, only=f"{ID}:sets=er,pool=8,prototypes=2", profile="quick", seeds=[0])
    (cell,) = report.cells
    assert cell.status == "ok", cell.reason
    assert [result.subset for result in report.document.results] == ["er"]


def test_equal_seeds_give_equal_results_and_other_seeds_other_draws(target: Target) -> None:
    first, again, other = (evaluated(target, PrototypeOod(sets=("er",)), seed) for seed in (0, 0, 1))
    assert first == again
    assert first.params["prototypes"] == other.params["prototypes"]
    assert row(first, "prototype_auroc", "er").estimate != row(other, "prototype_auroc", "er").estimate


def test_embeddings_are_what_the_model_sees(target: Target) -> None:
    result = evaluated(target, PrototypeOod(sets=("er",)), space="embedding")
    assert "embeddings" in result.access
    found = row(result, "prototype_auroc", "er")
    assert found.facts.space == "embedding"
    assert math.isfinite(found.estimate.value)


class Pooled(nn.Module):
    """A model whose embedding layer reads graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 2)

    def forward(self, x, edge_index, batch):
        sums = torch.zeros(int(batch.max()) + 1, x.shape[1]).index_add_(0, batch, x)
        return self.last(sums)


def test_embeddings_of_graphs_are_no_points(target: Target) -> None:
    pooled = replace(with_model(target, Pooled()), embedding_layer="last")
    with pytest.raises(SkippedError, match=r"rows for .* nodes; distances need one a node"):
        evaluated(pooled, space="embedding")


def test_without_pot_it_says_how_to_install_it(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    found = graph_distance.importlib.util.find_spec
    monkeypatch.setattr(
        graph_distance.importlib.util, "find_spec", lambda name, *more: None if name == "ot" else found(name, *more)
    )
    with pytest.raises(SkippedError, match="pip install POT"):
        evaluated(target)


def test_features_that_are_ids_have_no_distances(target: Target) -> None:
    with pytest.raises(SkippedError, match="space=embedding"):
        evaluated(replace(target, graph=replace(target.graph, whole_x=True)))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"space": "pixels"}, "space"),
        ({"graphs": "3"}, "graphs"),
        ({"pool": "1"}, "pool"),
        ({"prototypes": "0"}, "prototypes"),
        ({"column": "nowhere"}, "nowhere"),
        ({"held": "1"}, "held came without a column"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(target: Target, params: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_held(target, params, ID)
