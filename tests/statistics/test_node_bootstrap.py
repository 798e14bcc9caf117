import numpy as np
import pytest
from scipy import stats

from auditor.statistics.node_bootstrap import POISSON, Replicates, node_bootstrap, reach
from auditor.statistics.ranking import Ranking, auc, tpr_at

BOTH = np.array([1.0, -1.0])


def simulate(n, degree, rng):
    """A graph and two scores whose errors are shared by pairs of one node: the case that pair resampling misses."""
    z, strong, weak = rng.normal(size=n), rng.normal(size=n) * 0.6, rng.normal(size=n) * 0.6
    u, v = np.triu_indices(n, 1)
    rate = np.exp(0.7 * z[u] * z[v])
    edge = rng.random(u.size) < np.minimum(1.0, degree / n * rate)
    keep = edge | (rng.random(u.size) < 8 * edge.sum() / u.size)
    pairs, edge = np.stack([u[keep], v[keep]]), edge[keep]
    signal = z[pairs[0]] * z[pairs[1]]
    return (
        pairs,
        edge,
        [
            signal + strong[pairs[0]] + strong[pairs[1]] + rng.normal(size=edge.size),
            0.6 * signal + weak[pairs[0]] + weak[pairs[1]] + rng.normal(size=edge.size),
        ],
    )


def psi_variance(scores, edge, pairs, n):
    """Closed form: sum over nodes of (sum of psi)² less sum of psi², psi = centred placement / n of its class."""
    below_neg = np.searchsorted(np.sort(scores[~edge]), scores) / (~edge).sum()
    below_pos = np.searchsorted(np.sort(scores[edge]), scores) / edge.sum()
    area = below_neg[edge].mean()
    psi = np.where(edge, (below_neg - area) / edge.sum(), ((1 - below_pos) - area) / (~edge).sum())
    at_node = np.bincount(pairs.reshape(-1), np.r_[psi, psi], minlength=n)
    return float((at_node**2).sum() - (psi**2).sum())


def bootstrap(pairs, edge, scores, n, rng, times=300, metrics=(auc,)):
    return node_bootstrap(pairs, edge, np.ones(edge.size), scores, metrics, num_nodes=n, rng=rng, node_replicates=times)


def test_variance_agrees_with_the_closed_form():
    n, ratios = 600, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pairs, edge, scores = simulate(n, 8, rng)
        found = bootstrap(pairs, edge, scores, n, rng, times=400)
        ratios.append(found.variance(0, np.array([1.0, 0.0])) / psi_variance(scores[0], edge, pairs, n))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


def test_variance_is_corrected_and_never_below_the_pairs():
    node = np.random.default_rng(0).normal(0, 2.0, (4000, 1, 1))
    pair = np.random.default_rng(1).normal(0, 1.0, (4000, 1, 1))
    one = np.ones(1)
    assert Replicates(np.zeros((1, 1)), node, pair).variance(0, one) == pytest.approx(4 - 2, abs=0.3)
    assert Replicates(np.zeros((1, 1)), pair, pair).variance(0, one) == pytest.approx(1, abs=0.1)


def test_all_scores_of_a_replicate_share_their_weights():
    rng = np.random.default_rng(3)
    pairs, edge, scores = simulate(200, 6, rng)
    found = bootstrap(pairs, edge, [scores[0], 2 * scores[0] + 1], 200, rng, times=60)
    value, lo, hi = found.difference(0, BOTH)
    assert (value, lo, hi) == (0.0, 0.0, 0.0)


def test_same_generator_state_gives_the_same_replicates_of_a_subset():
    pairs, edge, scores = simulate(200, 6, np.random.default_rng(4))
    one = bootstrap(pairs, edge, scores[:1], 200, np.random.default_rng(9), times=50)
    two = bootstrap(pairs, edge, scores, 200, np.random.default_rng(9), times=50)
    assert np.array_equal(one.node[:, 0, 0], two.node[:, 0, 0])


def test_estimates_are_those_of_the_sample():
    pairs, edge, scores = simulate(200, 6, np.random.default_rng(5))
    found = bootstrap(pairs, edge, scores, 200, np.random.default_rng(0), times=50)
    assert found.value[0, 0] == pytest.approx(auc(Ranking(scores[0], edge).curve()))


def test_logit_interval_stays_inside_the_unit_range_and_holds_the_value():
    pairs, edge, scores = simulate(120, 6, np.random.default_rng(6))
    nearly = np.where(edge, 10.0, 0.0) + 0.9 * scores[0]
    found = bootstrap(pairs, edge, [nearly], 120, np.random.default_rng(0), times=100)
    value, lo, hi = found.interval(0, np.ones(1), logit=True)
    assert 0 < lo <= value <= hi <= 1


def test_errors_avoided_is_one_less_a_ratio_of_error_rates():
    rng = np.random.default_rng(0)
    errors = np.exp(rng.normal([-2.0, -1.5], 0.1, (4000, 2)))  # of two scores, independent
    found = Replicates(1 - np.exp([[-2.0, -1.5]]), 1 - errors[:, None], np.full((20, 1, 2), 0.5))
    own, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    value, lo, hi = found.errors_avoided(0, own, other, least=1e-6)
    assert value == pytest.approx(1 - np.exp(-0.5))
    assert (lo, hi) == pytest.approx(tuple(1 - np.exp(-0.5 + sign * 1.96 * 0.1 * 2**0.5) for sign in (1, -1)), abs=0.01)
    wide = found.errors_avoided(0, own, other, least=1e-6, choices=2)
    assert wide[1] < lo < value < hi < wide[2] < 1
    assert np.log((1 - wide[1]) / (1 - value)) == pytest.approx(
        2.2414 / 1.96 * np.log((1 - lo) / (1 - value)), rel=1e-4
    )


def test_there_is_no_room_above_a_score_without_errors():
    perfect = Replicates(np.array([[1.0, 1.0]]), np.ones((20, 1, 2)), np.ones((20, 1, 2)))
    assert perfect.errors_avoided(0, np.array([1.0, 0.0]), np.array([0.0, 1.0]), least=1e-3) == (0.0, 0.0, 0.0)


def test_an_interval_is_as_wide_as_the_choices_behind_it():
    assert reach(1) == 1.96
    assert reach(2) == pytest.approx(2.2414, abs=1e-4)


def test_poisson_table_has_mean_and_variance_one():
    assert POISSON.mean() == pytest.approx(1.0, abs=1e-4)
    assert POISSON.var() == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(POISSON, stats.poisson.ppf((np.arange(2**16) + 0.5) / 2**16, 1.0))


@pytest.mark.slow
def test_intervals_cover_and_pair_resampling_does_not():
    """Coverage of the superpopulation's value over simulated graphs; resampling pairs alone must fail it."""
    n, runs, rng = 400, 150, np.random.default_rng(7)
    metrics = (auc, lambda c: tpr_at(c, 0.1))
    truth = np.mean(
        [
            [[m(Ranking(s, edge).curve()) for s in scores] for m in metrics]
            for _, edge, scores in (simulate(n, 8, rng) for _ in range(600))
        ],
        axis=0,
    )
    inside, naive = np.zeros(3), np.zeros(3)
    first = np.array([1.0, 0.0])
    for _ in range(runs):
        pairs, edge, scores = simulate(n, 8, rng)
        found = bootstrap(pairs, edge, scores, n, rng, times=200, metrics=metrics)
        pair_only = Replicates(found.value, found.pair, found.pair)
        for at, replicates in ((inside, found), (naive, pair_only)):
            for k, (metric, contrast, logit) in enumerate(((0, first, True), (1, first, False), (0, BOTH, None))):
                if logit is None:
                    _, lo, hi = replicates.difference(metric, contrast)
                else:
                    _, lo, hi = replicates.interval(metric, contrast, logit=logit)
                at[k] += lo <= truth[metric] @ contrast <= hi
    assert (inside / runs >= 0.89).all(), inside / runs
    assert (inside / runs <= 0.99).all(), inside / runs
    assert (naive / runs < 0.89).any(), naive / runs
