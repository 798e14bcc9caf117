import numpy as np
import pytest
import torch

from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.evaluate.links.pairs import (
    Truth,
    balanced_of,
    degree_subsets,
    intra_class_pairs,
    pairs_inside,
    prior_pairs,
    same_component_of,
)
from auditor.evaluate.links.rewiring import rewire
from tests.toys import sbm_graph


def keys_of(pairs, n):
    return pairs.pairs[0] * n + pairs.pairs[1]


@pytest.fixture(scope="module")
def graph():
    return sbm_graph(200)


@pytest.fixture(scope="module")
def truth(graph):
    return Truth.of(graph)


@pytest.mark.parametrize("count", [300, 15_000, 10**6])
def test_prior_holds_all_edges_and_distinct_non_edges_with_their_weights(truth, count):
    prior = prior_pairs(truth, count, np.random.default_rng(0))
    n, every = 200, 200 * 199 // 2
    keys = keys_of(prior, n)
    assert np.unique(keys).size == keys.size
    assert (prior.pairs[0] < prior.pairs[1]).all()
    assert np.array_equal(prior.is_edge, truth.holds(prior.pairs))
    assert prior.positives == truth.keys.size
    assert prior.negatives == min(max(count, truth.keys.size), every - truth.keys.size)
    assert prior.inclusion.sum() == pytest.approx(every)


def test_non_edges_are_uniform(truth):
    seen = np.zeros(200)
    for seed in range(60):
        prior = prior_pairs(truth, 2000, np.random.default_rng(seed))
        seen += np.bincount(prior.pairs[:, ~prior.is_edge].reshape(-1), minlength=200)
    expected = 199 - truth.degrees()
    ratio = seen / expected
    assert ratio.std() / ratio.mean() < 0.06


def test_self_loops_duplicates_and_direction_do_not_change_the_truth(graph):
    u, v = graph.edge_index
    one_way = graph.edge_index[:, u < v]
    loops = torch.arange(200).repeat(2, 1)
    noisy = graph.with_edges(torch.cat([one_way, one_way, loops], dim=1))
    assert np.array_equal(Truth.of(noisy).keys, Truth.of(graph).keys)


@pytest.mark.parametrize("count", [400, 10**6])
def test_intra_class_pairs_join_one_class(graph, truth, count):
    y = graph.y.numpy()
    inside = intra_class_pairs(truth, y, count, np.random.default_rng(0))
    assert (y[inside.pairs[0]] == y[inside.pairs[1]]).all()
    assert np.array_equal(inside.is_edge, truth.holds(inside.pairs))
    keys = keys_of(inside, 200)
    assert np.unique(keys).size == keys.size


def test_balanced_is_as_many_non_edges_as_edges(truth):
    prior = prior_pairs(truth, 3000, np.random.default_rng(0))
    even = balanced_of(prior, np.random.default_rng(1))
    assert even.positives == even.negatives == truth.keys.size
    assert (even.inclusion == 1).all()


def test_degree_subsets_are_the_quartiles(truth):
    prior = prior_pairs(truth, 3000, np.random.default_rng(0))
    low, high = degree_subsets(prior, truth)
    degrees = truth.degrees()
    least = [np.minimum(degrees[part.pairs[0]], degrees[part.pairs[1]]) for part in (low, high)]
    assert least[0].max() < least[1].min()
    assert 0.25 <= low.positives / prior.positives <= 0.6


def test_same_component_only_with_many_components():
    pairs = np.array([(5 * c + i, 5 * c + (i + 1) % 5) for c in range(24) for i in range(5)]).T
    arcs = torch.from_numpy(np.concatenate([pairs, pairs[::-1]], axis=1))
    truth = Truth.of(Graph(torch.ones(120, 2), arcs, torch.arange(120) % 2))
    prior = prior_pairs(truth, 10**6, np.random.default_rng(0))
    part = same_component_of(prior, truth)
    assert (part.pairs[0] // 5 == part.pairs[1] // 5).all()
    assert part.positives == 120
    whole = Truth.of(sbm_graph(200))
    assert same_component_of(prior_pairs(whole, 500, np.random.default_rng(0)), whole) is None


def test_pairs_inside_are_all_pairs_of_the_nodes(truth):
    part = pairs_inside(np.array([7, 3, 150, 20]), truth, "paper")
    assert sorted(map(tuple, part.pairs.T.tolist())) == [(3, 7), (3, 20), (3, 150), (7, 20), (7, 150), (20, 150)]


def test_a_graph_without_edges_or_without_non_edges_is_refused():
    x, y = torch.ones(6, 1), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(SkippedError, match="no edge"):
        Truth.of(Graph(x, torch.tensor([[0], [0]]), y))
    with pytest.raises(SkippedError, match="half"):
        Truth.of(Graph(x, torch.combinations(torch.arange(6)).T.contiguous(), y))


@pytest.mark.parametrize("with_classes", [False, True])
def test_rewiring_keeps_degrees_and_class_mixing_and_stays_simple(graph, truth, with_classes):
    y = graph.y.numpy()
    found = rewire(truth.pairs, 200, rng=np.random.default_rng(0), classes=y if with_classes else None)
    before, after = truth.pairs, found.pairs
    assert np.array_equal(np.bincount(before.reshape(-1), minlength=200), np.bincount(after.reshape(-1), minlength=200))
    assert (after[0] < after[1]).all()
    assert np.unique(after[0] * 200 + after[1]).size == after.shape[1]
    assert found.swaps >= 10 * truth.keys.size
    assert found.overlap == pytest.approx(np.isin(after[0] * 200 + after[1], truth.keys).mean())
    assert found.overlap < 0.3

    def mixing(pairs):
        a, b = np.sort(y[pairs], axis=0)
        return np.bincount(a * 3 + b, minlength=9)

    assert np.array_equal(mixing(before), mixing(after)) == with_classes


def test_rewiring_a_star_ends_and_changes_nothing():
    star = np.stack([np.zeros(30, np.int64), np.arange(1, 31)])
    found = rewire(star, 31, rng=np.random.default_rng(0))
    assert found.swaps == 0
    assert found.overlap == 1.0
