import numpy as np
import pytest
import torch

from auditor.evaluate.links.controls import (
    Knowledge,
    dropped_rows,
    is_identity,
    label_agreement,
    mlp_log_posteriors,
    no_model_controls,
    standardise,
    standardised_cosine,
)
from auditor.statistics.pair_scores import row_cosine
from auditor.targets.rng import forked_rng
from auditor.view import uniform_pairs
from tests.toys import sbm_graph

PAIRS = torch.combinations(torch.arange(30)).T.contiguous()


def features(density, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((30, 60)) * (rng.random((30, 60)) < density)
    x[3] = 0
    x[:, 5] = 0.7  # a constant column
    x[3, 5] = 0.7
    return torch.from_numpy(x).float()


@pytest.mark.parametrize("density", [0.03, 0.6])
def test_both_row_cosines_equal_plain_numpy_sparse_or_dense(density):
    x = features(density)
    u, v = PAIRS.numpy()

    def cosine(rows):
        norm = np.linalg.norm(rows, axis=1)
        unit = np.divide(rows, norm[:, None], out=np.zeros_like(rows), where=norm[:, None] > 0)
        return (unit[u] * unit[v]).sum(axis=1)

    rows = x.double().numpy()
    np.testing.assert_allclose(row_cosine(x)(PAIRS).numpy(), cosine(rows), atol=1e-12)
    kept = rows[:, rows.std(axis=0) > 1e-9]
    standard = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    np.testing.assert_allclose(standardised_cosine(x)(PAIRS).numpy(), cosine(standard), atol=1e-9)


def test_zero_rows_score_zero():
    x = torch.zeros(4, 3)
    x[0, 0] = x[1, 0] = 1
    assert row_cosine(x)(torch.tensor([[0, 0], [1, 2]])).tolist() == [1.0, 0.0]


def test_labels_known_unknown_and_both_unknown():
    y = torch.tensor([0, 0, 1, 0, -1, -1])  # prior 3/4, 1/4
    score = label_agreement(y, 2)
    pairs = torch.tensor([[0, 0, 0, 2, 4], [1, 2, 4, 4, 5]])
    assert score(pairs).tolist() == [1.0, 0.0, 0.75, 0.25, 0.75**2 + 0.25**2]


def test_a_constant_score_adds_nothing():
    r = uniform_pairs(30, 200, np.random.default_rng(0))
    flat = standardise(lambda pairs: torch.full((pairs.shape[1],), 0.3, dtype=torch.float64), r)
    assert float(flat(PAIRS).abs().max()) == 0
    identity = torch.eye(30)
    assert is_identity(identity)
    assert not is_identity(features(0.3))
    for score in (row_cosine(identity), standardised_cosine(identity)):
        assert float(standardise(score, r)(PAIRS).abs().max()) == 0


def test_standardised_scores_have_mean_zero_and_deviation_one_on_the_reference():
    r = uniform_pairs(30, 10**4, np.random.default_rng(0))
    values = standardise(row_cosine(features(0.6)), r)(r)
    assert float(values.mean()) == pytest.approx(0, abs=1e-9)
    assert float(values.std()) == pytest.approx(1)


def knowledge(graph, **changes):
    values = {
        "x": graph.x,
        "y": graph.y,
        "num_classes": 3,
        "reference_pairs": uniform_pairs(120, 5000, np.random.default_rng(0)),
    }
    return Knowledge(**(values | changes))


def names(knowledge):
    return [control.name for control in no_model_controls(knowledge, seed=0)]


def test_side_knowledge_decides_which_controls_run():
    graph = sbm_graph()
    whole = ["features", "features-standardised", "labels", "features+labels", "features-standardised+labels"]
    trained = ["mlp", "features+labels+mlp", "features-standardised+labels+mlp"]
    assert names(knowledge(graph)) == [*whole, *trained]  # the control without edges runs in every profile
    assert names(knowledge(graph, y=None)) == whole[:2]
    assert names(knowledge(graph, x=None)) == ["labels"]
    assert names(knowledge(graph, x=None, y=None)) == []
    assert names(knowledge(graph, y=torch.full((120,), -1))) == whole[:2]


def test_many_unknown_labels_are_filled_by_a_network_without_edges():
    graph = sbm_graph()
    y = graph.y.clone()
    y[40:] = -1
    labels = next(c for c in no_model_controls(knowledge(graph, y=y), seed=0) if c.name == "labels")
    scores = labels.scores[0](torch.combinations(torch.arange(120)).T)
    assert set(scores.tolist()) == {0.0, 1.0}  # no prior of an unknown class is left


def test_network_learns_the_known_labels_and_leaves_the_global_generator_alone():
    graph = sbm_graph()
    state = torch.get_rng_state()
    log_p = mlp_log_posteriors(graph.x, graph.y, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert float((log_p.argmax(dim=1) == graph.y).double().mean()) > 0.7
    assert torch.equal(log_p, mlp_log_posteriors(graph.x, graph.y, 3, seed=1))


@pytest.mark.parametrize("density", [0.03, 0.6])
def test_dropout_of_sparse_features_halves_them_at_random_as_that_of_dense_ones_does(density):
    x, weight = features(density), torch.randn(8, 60, generator=torch.Generator().manual_seed(0))
    x[7] = 0  # a row without any feature
    weight.requires_grad_(True)
    rows = dropped_rows(x)
    with forked_rng(0):
        drawn = torch.stack([rows(weight) for _ in range(4000)]).detach()
    kept = (x @ weight.T).detach()
    deviation = ((x**2) @ (weight**2).T).sqrt().detach()  # of 2 b x w, b a fair coin
    assert float(((drawn.mean(dim=0) - kept).abs() / deviation.clamp_min(1e-6)).max()) < 5 / 4000**0.5
    torch.testing.assert_close(drawn.std(dim=0), deviation, rtol=0.1, atol=1e-6)
    (gradient,) = torch.autograd.grad(rows(weight).sum(), weight)
    held = x.sum(dim=0) > 0
    assert bool((gradient[:, held] != 0).any())
    assert not bool((gradient[:, ~held] != 0).any())


def test_network_learns_from_labels_where_no_feature_is_known():
    log_p = mlp_log_posteriors(torch.zeros(30, 60), torch.arange(30) % 2, 2, seed=0)
    assert bool(torch.isfinite(log_p).all())
