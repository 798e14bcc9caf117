from __future__ import annotations

import math

import pytest
import torch

from defenses.l2r.dependence import all_pairs, dependence, pairs_between, random_features, standardised


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _noise(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=_rng(seed), dtype=torch.float64)


def test_equal_weights_give_the_plain_covariance() -> None:
    u = random_features(_noise(50, 4), 2, _rng(1))
    cov = torch.cov(u.reshape(50, 8).T, correction=0)
    total = sum(cov[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].square().sum() for i in range(4) for j in range(i + 1, 4))
    expected = float(total) / (6 * 4)
    for w in (None, torch.ones(50, dtype=torch.float64)):
        assert float(dependence(u, w, all_pairs(4))) == pytest.approx(expected, rel=1e-12)
    paper = dependence(u, torch.ones(50, dtype=torch.float64), all_pairs(4), form="paper")
    assert float(paper) == pytest.approx(expected, rel=1e-12)


def test_pairs_inside_a_cluster_contribute_nothing() -> None:
    z = _noise(200, 4)
    z[:, 1] = z[:, 0]  # the only dependence is inside cluster 0
    clusters = torch.tensor([0, 0, 1, 1])
    u = random_features(z, 3, _rng(1))
    across = dependence(u, None, pairs_between(clusters))
    blocks = [float(dependence(u[:, [i, j]], None, all_pairs(2))) for i in (0, 1) for j in (2, 3)]
    assert float(across) == pytest.approx(sum(blocks) / 4, rel=1e-9)
    assert float(dependence(u, None, all_pairs(4))) > 5 * float(across)


def test_order_of_items_and_scale_of_weights_do_not_matter() -> None:
    u = random_features(_noise(80, 3), 3, _rng(1))
    w = torch.rand(80, generator=_rng(2), dtype=torch.float64) + 0.1
    order = torch.randperm(80, generator=_rng(3))
    value = float(dependence(u, w, all_pairs(3)))
    assert float(dependence(u[order], w[order], all_pairs(3))) == pytest.approx(value, rel=1e-12)
    assert float(dependence(u, 7 * w, all_pairs(3))) == pytest.approx(value, rel=1e-12)


def test_weighted_form_is_the_covariance_of_repeated_items() -> None:
    u = random_features(_noise(6, 3), 2, _rng(1))
    times = torch.tensor([1, 2, 3, 1, 4, 1])
    repeated = dependence(u.repeat_interleave(times, dim=0), None, all_pairs(3))
    assert float(dependence(u, times.double(), all_pairs(3))) == pytest.approx(float(repeated), rel=1e-12)


def test_independent_columns_fall_with_n_and_equal_columns_do_not() -> None:
    def mean(n: int) -> float:
        z = standardised(_noise(n, 6, seed=n))[0]
        rng = _rng(5)
        return sum(float(dependence(random_features(z, 3, rng), None, all_pairs(6))) for _ in range(100)) / 100

    small, large = mean(1000), mean(4000)
    assert 0.15 <= large / small <= 0.35
    z = _noise(4000, 2, seed=9)
    rng = _rng(6)
    same = torch.stack([z[:, 0], z[:, 0]], dim=1)

    def two(z: torch.Tensor) -> float:
        return sum(float(dependence(random_features(z, 3, rng), None, all_pairs(2))) for _ in range(100))

    assert two(same) >= 100 * two(z)


def test_features_have_the_shape_range_and_spread_of_the_definition() -> None:
    u = random_features(_noise(4000, 2), 50, _rng(1))
    assert u.shape == (4000, 2, 50)
    assert float(u.abs().max()) <= math.sqrt(2) + 1e-12
    assert float(u.square().mean()) == pytest.approx(1.0, abs=0.1)  # E[2 cos^2] = 1 under a uniform phase


def test_dead_dimensions_are_dropped() -> None:
    z = _noise(30, 3)
    z[:, 1] = 4.0
    scaled, live = standardised(z)
    assert live.tolist() == [True, False, True]
    assert torch.allclose(scaled.std(dim=0, correction=0), torch.ones(2, dtype=torch.float64))
