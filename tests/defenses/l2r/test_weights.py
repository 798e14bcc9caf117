from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from defenses.l2r.dependence import all_pairs, dependence, random_features, standardised
from defenses.l2r.objective import Objective, index_batches, learn
from defenses.l2r.validation_term import residuals, validation_scores
from defenses.l2r.weights import effective_share, projected, random_weights, softmax_weights


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _four_cells(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Two binary columns with cells (.45, .05, .05, .45) of 1000; class = first column; and who is in a small cell."""
    first = torch.tensor([0.0] * 500 + [1.0] * 500, dtype=dtype)
    second = torch.tensor([0.0] * 450 + [1.0] * 50 + [0.0] * 50 + [1.0] * 450, dtype=dtype)
    z, _ = standardised(torch.stack([first, second], dim=1))
    return z, first.long(), first != second


@pytest.mark.parametrize(
    ("lam", "m", "ratio", "share"),
    [(0.1, 0.4396, 0.0228, 0.438), (0.3, 0.3609, 0.1210, 0.569), (1.0, 0.2440, 0.4096, 0.813)],
)
def test_the_optimiser_reaches_the_closed_form(lam: float, m: float, ratio: float, share: float) -> None:
    z, y, small = _four_cells()
    # the formula behind the published digits
    assert (4 / 0.64 + 2 * lam / 0.9) / (8 / 0.64 + 2 * lam / 0.9 + 2 * lam / 0.1) == pytest.approx(m, abs=5e-5)
    objective = Objective(lam=lam, floor=None)
    a, _ = learn(objective, z, y, all_pairs(2), steps=200, rng=_rng(3))
    w = objective.weights(a, y)
    assert float(w[small].sum() / w.sum()) == pytest.approx(m, abs=0.005)
    assert effective_share(w) == pytest.approx(share, abs=0.005)
    u = random_features(z, 3, _rng(4))
    found = float(dependence(u, w.float(), all_pairs(2)) / dependence(u, None, all_pairs(2)))
    assert found == pytest.approx(ratio, abs=0.01)


def test_a_global_softmax_misses_the_closed_form_and_empties_a_cell() -> None:
    z, y, small = _four_cells()
    objective = Objective(lam=0.3, floor=None, normalise="global")
    a, _ = learn(objective, z, y, all_pairs(2), steps=200, rng=_rng(3))
    w = objective.weights(a, y)
    assert abs(float(w[small].sum() / w.sum()) - 0.3609) > 0.05
    cells = [float(w[i:j].sum() / w.sum()) for i, j in ((0, 450), (450, 500), (500, 550), (550, 1000))]
    assert min(cells[0], cells[3]) < 0.1  # one majority cell, .45 before, is nearly gone


def test_mass_cap_and_floor_hold_after_projection() -> None:
    y = torch.tensor([0] * 300 + [1] * 90 + [2] * 10)
    a = 4 * torch.randn(400, generator=_rng(1))
    for floor in (0.5, None):
        out, bound = projected(a, y, normalise="class", largest=10.0, floor=floor)
        w = softmax_weights(out, y)
        assert float(w.sum()) == pytest.approx(400, abs=1e-5)
        for c, n in ((0, 300), (1, 90), (2, 10)):
            assert float(w[y == c].sum()) == pytest.approx(n, abs=1e-5)
        assert float(w.max()) <= 10 + 1e-6
        assert bool((w > 0).all())
        assert bound == (floor is not None)
    floored, _ = projected(a, y, normalise="class", largest=10.0, floor=0.5)
    assert effective_share(softmax_weights(floored, y)) == pytest.approx(0.5, abs=1e-3)
    mild, bound = projected(0.1 * a, y, normalise="class", largest=10.0, floor=0.5)
    assert not bound
    assert torch.allclose(mild, 0.1 * a.double())


def test_a_clipped_weight_is_the_cap_and_the_rest_keep_their_ratios() -> None:
    y = torch.zeros(100, dtype=torch.long)
    a = torch.zeros(100)
    a[0], a[1] = 8.0, 1.0
    w = softmax_weights(projected(a, y, normalise="class", largest=10.0, floor=None)[0], y)
    assert float(w[0]) == pytest.approx(10.0, abs=1e-6)
    assert float(w[1] / w[2]) == pytest.approx(float(torch.exp(torch.tensor(1.0))), rel=1e-5)


def test_random_weights_have_the_asked_for_spread_and_class_masses() -> None:
    y = torch.arange(600) % 3
    for share in (0.4, 0.6, 0.95):
        w = random_weights(y, share, _rng(2))
        assert effective_share(w) == pytest.approx(share, abs=1e-3)
        assert [float(w[y == c].sum()) for c in range(3)] == pytest.approx([200.0] * 3)


def test_gradient_of_the_objective_agrees_with_finite_differences() -> None:
    n, y = 40, torch.arange(40) % 2
    z = torch.randn(n, 4, generator=_rng(1), dtype=torch.float64)
    g = torch.randn(n, generator=_rng(2), dtype=torch.float64)
    u = random_features(z, 3, _rng(3))
    a = 0.5 * torch.randn(n, generator=_rng(4), dtype=torch.float64)
    for form in ("covariance", "paper"):
        objective = Objective(gamma=0.3, form=form)  # type: ignore[arg-type]

        def value(a: Tensor, objective: Objective = objective) -> Tensor:
            return objective.value(u, objective.weights(a, y), all_pairs(4), g)

        free = a.clone().requires_grad_(True)
        value(free).backward()
        step = 1e-6
        for i in range(0, n, 7):
            e = torch.zeros(n, dtype=torch.float64)
            e[i] = step
            numeric = float(value(a + e) - value(a - e)) / (2 * step)
            assert float(free.grad[i]) == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_validation_scores_are_the_gradient_after_one_head_step() -> None:
    rng, n, v, d, c = _rng(5), 60, 30, 5, 3
    z, z_val = (torch.randn(m, d, generator=rng, dtype=torch.float64) for m in (n, v))
    y, y_val = (torch.randint(c, (m,), generator=rng) for m in (n, v))
    weight = torch.randn(c, d, generator=rng, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(c, dtype=torch.float64, requires_grad=True)
    w = torch.ones(n, dtype=torch.float64, requires_grad=True)
    loss = (w * torch.nn.functional.cross_entropy(z @ weight.T + bias, y, reduction="none")).mean()
    grads = torch.autograd.grad(loss, [weight, bias], create_graph=True)
    eta = 1e-4
    after = z_val @ (weight - eta * grads[0]).T + (bias - eta * grads[1])
    (exact,) = torch.autograd.grad(torch.nn.functional.cross_entropy(after, y_val), [w])
    with torch.no_grad():
        r, r_val = residuals(z @ weight.T, y), residuals(z_val @ weight.T, y_val)
        g = validation_scores(z, r, z_val, r_val)
    assert np.corrcoef(exact.numpy(), g.numpy())[0, 1] >= 1 - 1e-6
    assert float(g.mean()) == pytest.approx(0, abs=1e-9)


def test_the_validation_term_moves_weights_towards_items_that_help() -> None:
    z, y, small = _four_cells()
    g = torch.where(small, 1.0, -0.1)  # small cells are said to hurt
    plain, _ = learn(Objective(floor=None), z, y, all_pairs(2), steps=200, rng=_rng(3))
    pushed, _ = learn(replace(Objective(floor=None), gamma=0.5), z, y, all_pairs(2), steps=200, rng=_rng(3), g=g)
    mass = [float(softmax_weights(a, y)[small].sum()) for a in (plain, pushed)]
    assert mass[1] < 0.95 * mass[0]


def test_same_seed_same_bytes() -> None:
    z, y, _ = _four_cells()
    runs = [learn(Objective(), z, y, all_pairs(2), steps=20, rng=_rng(7))[0] for _ in range(2)]
    assert runs[0].numpy().tobytes() == runs[1].numpy().tobytes()
    other = learn(Objective(), z, y, all_pairs(2), steps=20, rng=_rng(8))[0]
    assert not torch.equal(runs[0], other)


def test_batches_of_full_size_alone() -> None:
    batches = list(index_batches(100, 30, 7, _rng()))
    assert [b.shape[0] for b in batches] == [30] * 9  # three passes of three, the last ten items of each skipped
    assert torch.unique(torch.cat(batches[:3])).shape[0] == 90
