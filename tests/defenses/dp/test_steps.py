"""The steps of DP-SGD: sampling, clipping, noise, DP-SAT, canaries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from opacus.optimizers import DPOptimizer
from scipy import stats
from torch import Tensor

from auditor.errors import EvaluationError
from defenses.dp import record_checks, steps
from defenses.dp.gaussian import gaussian
from defenses.dp.records import RecordBatch, RecordModel
from defenses.dp.steps import PrivateSteps, add_noise, canary_sums, clipped_sum, poisson_batch, private_sum
from tests.defenses.dp.record_batches import graphs_of, loop_gradients, network

CLIP = 0.05


def steps_of(model: RecordModel, *, std: float = 0.0, rho: float = 0.0, clip: float = CLIP) -> PrivateSteps:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    rng = np.random.default_rng(0)
    return PrivateSteps(model, optimizer, clip=clip, std=std, divisor=8.0, rng=rng, sat_rho=rho)


def weights(model: RecordModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(("units", "rate"), [(668, 64 / 668), (50, 0.5), (10, 0.02)])
def test_poisson_batches_have_binomial_sizes_and_independent_members(units: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    draws = np.zeros((4000, units), dtype=bool)
    for row in draws:
        ids = poisson_batch(units, rate, rng)
        assert ids.dtype == torch.int64
        row[ids] = True
    sizes = draws.sum(axis=1)
    se = math.sqrt(2 / len(sizes)) * units * rate * (1 - rate)
    assert abs(sizes.var(ddof=1) - units * rate * (1 - rate)) < 5 * se
    assert abs(draws.mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / draws.size)
    hits = draws.sum(axis=0)  # each unit as often as any other
    assert stats.chisquare(hits).pvalue > 1e-4
    assert (sizes == 0).any() == (units == 10)


def test_the_sampler_row_fails_for_shuffled_batches_of_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert record_checks.sampler_row(668, 64 / 668).status == "pass"
    assert record_checks.sampler_row(64, 1.0).status == "pass"
    fixed = lambda units, rate, rng: torch.from_numpy(rng.permutation(units)[: round(units * rate)])  # noqa: E731
    monkeypatch.setattr(steps, "poisson_batch", fixed)
    assert record_checks.sampler_row(668, 64 / 668).status == "fail"


def test_each_record_is_clipped_over_all_its_parameters() -> None:
    rng = torch.Generator().manual_seed(0)
    gradients = [torch.randn(6, 3, 4, generator=rng), torch.randn(6, 5, generator=rng)]
    gradients = [g * torch.tensor([10.0, 1e-3, 0.0, 1.0, 1e6, 1.0]).view(-1, *[1] * (g.dim() - 1)) for g in gradients]
    expected = [torch.zeros(3, 4), torch.zeros(5)]
    for b in range(6):
        norm = math.sqrt(sum(float(g[b].double().square().sum()) for g in gradients))
        for total, g in zip(expected, gradients, strict=True):
            total += g[b] * min(1.0, 1.0 / max(norm, 1e-30))
        alone = clipped_sum([g[b : b + 1] for g in gradients], 1.0)
        assert sum(float(g.square().sum()) for g in alone) <= 1 + 1e-5
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(clipped_sum(gradients, 1.0), expected, strict=True))
    free = clipped_sum(gradients, math.inf)
    assert all(torch.allclose(a, g.sum(dim=0)) for a, g in zip(free, gradients, strict=True))


def test_a_whole_step_without_noise_equals_a_loop_with_its_own_clip() -> None:
    model, batch = RecordModel(network("GIN")), RecordBatch.of(graphs_of())
    before, loop = weights(model), torch.cat([g.flatten(1) for g in loop_gradients(model, batch)], dim=1)
    norms = loop.norm(dim=1)
    assert (norms > CLIP).any()
    steps_of(model).step(batch)
    expected = before - (loop * (CLIP / norms).clamp(max=1)[:, None]).sum(dim=0) / 8.0
    assert torch.allclose(weights(model), expected, atol=1e-6)


def test_a_whole_step_without_noise_equals_that_of_opacus() -> None:
    """Given the right per-record gradients, `DPOptimizer` takes the same step."""
    batch, ours, theirs = RecordBatch.of(graphs_of()), RecordModel(network("GCN")), RecordModel(network("GCN"))
    steps_of(ours).step(batch)
    gradients = theirs.gradients(batch)
    optimizer = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=8,
        loss_reduction="mean",
    )
    for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
        parameter.grad_sample = gradient
    optimizer.step()
    assert torch.allclose(weights(ours), weights(theirs), atol=1e-6)


def test_noise_has_the_std_asked_for_on_every_coordinate() -> None:
    sums = [torch.full((100, 100), 3.0), torch.zeros(5000)]
    noisy = add_noise(sums, 2.5, np.random.default_rng(0))
    for value, total in zip(noisy, sums, strict=True):
        assert stats.kstest((value - total).flatten().double().numpy() / 2.5, "norm").pvalue > 1e-3
    assert torch.corrcoef(torch.stack([noisy[0].flatten()[:5000], noisy[1]]))[0, 1].abs() < 0.06
    assert all(torch.equal(a, b) for a, b in zip(add_noise(sums, 0.0, np.random.default_rng(0)), sums, strict=True))


def test_the_noise_of_a_step_is_on_the_sum_and_divided_by_a_constant() -> None:
    """Neither the number of records drawn nor their gradients changes its scale."""
    moved = []
    for batch in (RecordBatch.of(graphs_of()), RecordBatch.of(graphs_of((3,))), None):
        quiet, noisy = RecordModel(network("GIN")), RecordModel(network("GIN"))
        steps_of(quiet).step(batch)
        steps_of(noisy, std=4.0).step(batch)
        moved.append(weights(noisy) - weights(quiet))
    assert torch.allclose(moved[0], moved[1], atol=1e-5)
    assert torch.allclose(moved[0], moved[2], atol=1e-5)
    assert abs(float(moved[0].std()) - 4.0 / 8.0) < 0.06


def test_an_empty_batch_is_a_counted_step_of_noise_alone() -> None:
    model = RecordModel(network("GCN"))
    taken = steps_of(model, std=1.0)
    before = weights(model)
    taken.step(None)
    assert (taken.count, taken.empty) == (1, 1)
    assert ((weights(model) - before) != 0).all()
    taken.step(RecordBatch.of(graphs_of()))
    assert (taken.count, taken.empty) == (2, 1)


def seen_weights(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The weights at which each clipped sum was taken."""
    seen: list[Tensor] = []

    def spy(model: RecordModel, batch: RecordBatch, clip: float) -> list[Tensor]:
        seen.append(weights(model))
        return private_sum(model, batch, clip)

    monkeypatch.setattr(steps, "private_sum", spy)
    return seen


def test_dp_sat_looks_ahead_along_the_last_released_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, model, batch = seen_weights(monkeypatch), RecordModel(network("GIN")), RecordBatch.of(graphs_of())
    taken, start = steps_of(model, std=1.0, rho=0.3), weights(model)
    taken.step(batch)
    assert torch.equal(seen[0], start)  # nothing was released before the first step
    after = weights(model)
    released = start - after  # lr = 1
    taken.step(batch)
    assert torch.allclose(seen[1] - after, 0.3 * released / released.norm(), atol=1e-5)


def test_dp_sat_is_free_of_the_current_batch_and_puts_the_weights_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, others = (RecordBatch.of(graphs_of(seed=s)) for s in (0, 1, 2))
    ahead = []
    for batch in (second, others):
        seen, model = seen_weights(monkeypatch), RecordModel(network("GIN"))
        taken = steps_of(model, std=1.0, rho=0.3)
        taken.step(first)
        before = weights(model)
        taken._optimizer.step = lambda: None  # type: ignore[method-assign]  # so that only the detour could move them
        taken.step(batch)
        assert torch.equal(weights(model), before)
        assert not torch.equal(seen[-1], before)
        ahead.append(seen[-1])
        monkeypatch.undo()
    assert torch.equal(*ahead)


def test_dp_sat_puts_the_weights_back_when_a_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = RecordModel(network("GIN")), RecordBatch.of(graphs_of())
    taken = steps_of(model, std=1.0, rho=0.3)
    taken.step(batch)
    before = weights(model)
    monkeypatch.setattr(
        RecordModel, "gradients", lambda *_: [torch.full((1, *p.shape), math.nan) for p in model.parameters()]
    )
    with pytest.raises(EvaluationError, match="not finite"):
        taken.step(batch)
    assert torch.equal(weights(model), before)


def test_rho_of_zero_is_plain_dp_sgd() -> None:
    batch, ends = RecordBatch.of(graphs_of()), []
    for rho in (0.0, 1e-12, 0.5):
        model = RecordModel(network("GIN"))
        taken = steps_of(model, std=0.1, rho=rho)
        for _ in range(3):
            taken.step(batch)
        ends.append(weights(model))
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    assert not torch.allclose(ends[0], ends[2], atol=1e-3)


def canaries(
    m: int, std: float, *, seed: int = 1, rate: float = 0.3, rounds: int = 12, clip: float = 0.7
) -> tuple[Tensor, Tensor]:
    included = torch.arange(m) % 2 == 0
    rng = np.random.default_rng(0)
    sums = canary_sums(
        included,
        lambda: poisson_batch(m, rate, rng),
        steps=rounds,
        clip=clip,
        std=std,
        rng=np.random.default_rng(seed),
    )
    return included, sums


def test_canaries_go_through_sampler_clip_and_noise() -> None:
    included, sums = canaries(3000, 0.0)
    rng, m = np.random.default_rng(0), 3000
    counts = sum(torch.bincount(poisson_batch(m, 0.3, rng), minlength=m) for _ in range(12))
    assert torch.allclose(sums, torch.where(included, 0.7 * counts.double(), 0.0), atol=1e-5)
    noise = [(canaries(3000, 2.0, seed=seed)[1] - sums).numpy() / (2.0 * math.sqrt(12)) for seed in range(9)]
    assert np.median([stats.kstest(drawn, "norm").pvalue for drawn in noise]) > 0.05  # uniform where it is normal


def test_canaries_show_a_missing_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    _, honest = canaries(100, 0.0)
    monkeypatch.setattr(steps, "clipped_sum", lambda gradients, clip: [g.sum(dim=0) for g in gradients])
    assert torch.allclose(canaries(100, 0.0)[1], 4 * honest)


def test_noise_depends_on_every_bit_of_its_seed() -> None:
    """torch's generator keeps 32 bits of a seed: whoever tries them all subtracts the noise of a release."""
    drawn = [gaussian((8,), torch.float64, np.random.default_rng(12345 + k * 2**32)) for k in range(4)]
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
