from __future__ import annotations

import torch

from defenses.l2r.dependence import all_pairs, dependence, random_features, standardised
from defenses.l2r.objective import Objective
from defenses.l2r.queues import ALPHAS, Fifo, Momentum, QueuedLearner, by_own_deviation, make_queue

N, B, D = 200, 40, 4


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fifo_over_all_batches_is_the_exact_dependence() -> None:
    z = torch.randn(N, D, generator=_rng(1), dtype=torch.float64)
    w = torch.rand(N, generator=_rng(2), dtype=torch.float64) + 0.2
    queue = Fifo(N // B - 1)
    order = torch.randperm(N, generator=_rng(3))
    for items in order.split(B)[:-1]:
        queue.push(z[items], items, w)
    last = order.split(B)[-1]
    old_z, old_w = queue.rows(w)
    rows = by_own_deviation(torch.cat([z[last], old_z]))
    seen = dependence(random_features(rows, 3, _rng(4)), torch.cat([w[last], old_w]), all_pairs(D))
    exact = dependence(random_features(standardised(z)[0], 3, _rng(4)), w, all_pairs(D))
    assert abs(float(seen - exact)) <= 1e-6 * max(1.0, float(exact))


def test_fifo_forgets_the_oldest_batch_and_reads_weights_afresh() -> None:
    z = torch.randn(N, D, generator=_rng(1))
    queue = Fifo(2)
    for items in torch.arange(N).split(B)[:3]:
        queue.push(z[items], items, torch.ones(N))
    rows, w = queue.rows(torch.arange(N).float())
    assert torch.equal(w, torch.arange(B, 3 * B).float())
    assert torch.equal(rows, z[B : 3 * B])


def test_equal_alphas_make_identical_tables() -> None:
    queue = Momentum((0.5, 0.5, 0.5, 0.5))
    for seed in range(4):
        queue.push(torch.randn(B, D, generator=_rng(seed)), torch.arange(B), torch.ones(B))
    first = queue.tables[0]
    assert all(torch.equal(z, first[0]) and torch.equal(w, first[1]) for z, w in queue.tables[1:])
    different = Momentum()
    for seed in range(2):
        different.push(torch.randn(B, D, generator=_rng(seed)), torch.arange(B), torch.ones(B))
    assert not torch.equal(different.tables[0][0], different.tables[3][0])
    assert len(ALPHAS) == 4


def test_momentum_washes_out_quadratic_dependence() -> None:
    def batch(seed: int, size: int) -> torch.Tensor:
        x = torch.randn(size, generator=_rng(seed), dtype=torch.float64)
        return torch.stack([x, x.square()], dim=1)

    queue = Momentum((0.9,) * 4)
    for seed in range(60):
        queue.push(batch(seed, 500), torch.arange(500), torch.ones(500, dtype=torch.float64))
    tables, _ = queue.rows(torch.ones(500, dtype=torch.float64))
    exact = standardised(batch(99, 2000))[0]
    rng = _rng(7)

    def mean(z: torch.Tensor) -> float:
        return sum(float(dependence(random_features(z, 3, rng), None, all_pairs(2))) for _ in range(50)) / 50

    assert mean(tables) < 0.2 * mean(exact)


def test_a_step_moves_the_batch_alone_and_lowers_the_objective_in_time() -> None:
    first = torch.tensor([0.0] * 100 + [1.0] * 100)
    second = torch.tensor([0.0] * 85 + [1.0] * 15 + [0.0] * 15 + [1.0] * 85)
    z, y, small = torch.stack([first, second], dim=1), first.long(), first != second
    learner = QueuedLearner(Objective(), y, make_queue("fifo", B), _rng(1))
    order = torch.randperm(200, generator=_rng(2))
    learner.step(z[order[:B]], order[:B], all_pairs(2))
    assert torch.equal(torch.nonzero(learner.a).flatten(), order[:B].sort().values)
    for epoch in range(40):
        order = torch.randperm(200, generator=_rng(epoch))
        for items in order.split(B):
            learner.step(z[items], items, all_pairs(2))
    learner.project()
    w = learner.weights()
    assert float(w[small].mean()) > 1.5  # 15 % of the items, under-represented cells
    assert abs(float(w[y == 0].sum()) - 100) < 1e-3
