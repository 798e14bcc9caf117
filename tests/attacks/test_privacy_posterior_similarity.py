import numpy as np
import pytest
import torch

from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor import registry
from auditor.errors import ConfigError
from auditor.parameters import build
from auditor.probe import Attempt
from auditor.statistics.pair_scores import log_posterior_similarity, log_posteriors
from auditor.view import Access, SideKnowledge, grant_privacy
from tests.toys import sbm_graph, toy_target

ACCESS = frozenset(map(Access, registry.find("attacks", "posterior-similarity").access))


def score(target, pairs, side=None, **values):
    attack = PosteriorSimilarity(**values)
    view = grant_privacy(target, ACCESS, side or SideKnowledge(), np.random.default_rng(0))
    attempt = Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0))
    return attack.run(view, attempt).score(pairs)


PAIRS = torch.combinations(torch.arange(40)).T.contiguous()


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


def test_default_is_the_correlation_of_log_posteriors(target):
    rows = np.log(target.clean_logits().double().softmax(dim=1).numpy())
    expected = [np.corrcoef(rows[u], rows[v])[0, 1] for u, v in PAIRS.T.tolist()]
    np.testing.assert_allclose(score(target, PAIRS).numpy(), expected, atol=1e-9)


def test_lsa0_is_the_correlation_of_posteriors(target):
    rows = target.clean_logits().double().softmax(dim=1).numpy()
    expected = [np.corrcoef(rows[u], rows[v])[0, 1] for u, v in PAIRS.T.tolist()]
    np.testing.assert_allclose(score(target, PAIRS, metric="lsa0").numpy(), expected, atol=1e-9)


def test_logits_are_compared_by_cosine(target):
    rows = target.clean_logits().double()
    expected = torch.cosine_similarity(rows[PAIRS[0]], rows[PAIRS[1]])
    torch.testing.assert_close(score(target, PAIRS, SideKnowledge(outputs="logits")), expected)


def test_two_classes_are_told_apart_by_more_than_the_predicted_class():
    target = toy_target("gcn", graph=sbm_graph(classes=2))
    scores = score(target, PAIRS)
    assert torch.unique(scores).numel() > 100
    assert bool((scores <= 0).all())


def test_two_class_hand_number():
    m = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    log_p = torch.stack([-m / 2, m / 2], dim=1)
    found = log_posterior_similarity(log_p, neighbourhood=torch.arange(3))(torch.tensor([[0, 0], [1, 2]]))
    spacing = torch.tensor([3.0, 2.0, 3.0]).double() + 1e-6  # fewer than ten others: the largest distance
    expected = -torch.tensor([1 / (spacing[0] * spacing[1]).sqrt(), 3 / (spacing[0] * spacing[2]).sqrt()])
    torch.testing.assert_close(found, expected.double())


def test_a_zero_of_a_rounding_service_is_half_its_resolution():
    p = torch.tensor([[1.0, 0.0]])
    assert float(log_posteriors(p, digits=2)[0, 1]) == pytest.approx(np.log(0.005))
    assert float(log_posteriors(p)[0, 1]) == pytest.approx(np.log(1e-12))


def test_unknown_metric_offers_the_nearest():
    with pytest.raises(ConfigError, match="lsa0"):
        build(PosteriorSimilarity, {"metric": "lsa"}, owner="posterior-similarity")
