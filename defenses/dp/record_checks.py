"""What is checked before a record is trusted to be one: rows, gradients against a loop, independence, the sampler.

The checks run on made-up records of the data's width, so that what they print tells nothing of the private ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import PerRecordShapeError
from auditor.targets.rng import forked_rng
from defenses.dp import steps
from defenses.dp.records import RecordBatch, RecordModel

SIZES = (5, 1, 12, 3, 30, 2, 7, 4)
MAX_GRADIENT_ERROR = 1e-4
MAX_DEPENDENCE = 1e-5
SAMPLER_DRAWS = 400
SAMPLER_UNITS = 10_000


def synthetic_records(features: int, classes: int, *, roots: bool = False) -> RecordBatch:
    """Eight random records, one of a single node and one without edges; with `roots`, the first row is read out."""
    rng = torch.Generator().manual_seed(0)
    record = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    start = torch.tensor(SIZES).cumsum(0) - torch.tensor(SIZES)
    arcs = []
    for size, first in zip(SIZES[:-1], start[:-1].tolist(), strict=True):  # the last has no edges
        ends = torch.randint(size, (2, 2 * size), generator=rng)
        arcs.append(torch.unique(ends[:, ends[0] != ends[1]], dim=1) + first)
    forward = torch.cat(arcs, dim=1)
    x = torch.randn(record.shape[0], features, generator=rng)
    y = torch.randint(classes, (len(SIZES),), generator=rng)
    return RecordBatch(x, torch.cat([forward, forward.flip(0)], dim=1), y, record, roots=start if roots else None)


def check_records(model: RecordModel, batch: RecordBatch) -> tuple[ValidityRow, ...]:
    """The rows `per-record-rows`, `record-independence` and `per-record-gradients`, all passed.

    Args:
        model: about to be trained; its weights are left as they are.
        batch: at least two records, of unlike sizes.

    Raises:
        PerRecordShapeError: rows that are no records, a record that moves another's gradient, or gradients that differ
            from those of a loop over single records.
    """
    dependence = _dependence(model, batch)
    if not dependence <= MAX_DEPENDENCE:
        raise PerRecordShapeError(
            f"record-independence: replacing one record moved the gradient of another by {dependence:.1e} relative; "
            f"expected at most {MAX_DEPENDENCE:g}. The model mixes the records of a batch (normalisation or a mean "
            "over all rows), so that clipping one bounds nobody's influence. Take that part out."
        )
    error = _loop_error(model, batch)
    if not error <= MAX_GRADIENT_ERROR:
        raise PerRecordShapeError(
            f"per-record-gradients: they differ from a loop over single records by {error:.1e} relative; expected at "
            f"most {MAX_GRADIENT_ERROR:g}. A parameter is also used outside of its layer: use dp-graph's layers alone."
        )
    count, parameters = batch.records, len(model.parameters())
    return (
        _row("per-record-rows", f"{count} rows for {count} records in all {parameters} parameters, checked every step"),
        _row("record-independence", f"replacing a record moves other gradients by {dependence:.1e} relative at most"),
        _row("per-record-gradients", f"{count} records against a loop: relative error {error:.1e} at most"),
    )


def sampler_row(units: int, rate: float) -> ValidityRow:
    """Row `poisson-sampler`: mean and variance of the sampler's batch sizes against N q and N q (1 − q).

    A sampler of fixed or shuffled batches has no variance and would make the accountant's number false.
    """
    n, rng = min(units, SAMPLER_UNITS), np.random.default_rng(0)
    sizes = np.array([len(steps.poisson_batch(n, rate, rng)) for _ in range(SAMPLER_DRAWS)])
    mean, variance = n * rate, n * rate * (1 - rate)
    excess = (1 - 6 * rate * (1 - rate)) / variance if variance else 0.0  # kurtosis of a binomial
    mean_error, variance_error = np.sqrt(variance / len(sizes)), variance * np.sqrt((2 + excess) / len(sizes))
    passed = abs(sizes.mean() - mean) <= 5 * mean_error and abs(sizes.var(ddof=1) - variance) <= 5 * variance_error
    seen = f"{len(sizes)} trial batches of {n} units: size {sizes.mean():.1f} (N q = {mean:.1f}), "
    seen += f"variance {sizes.var(ddof=1):.1f} (N q (1 - q) = {variance:.1f})"
    return _row("poisson-sampler", seen, passed=bool(passed))


def _row(name: str, evidence: str, *, passed: bool = True) -> ValidityRow:
    return check(name, "integrity", passed, evidence)


def _dependence(model: RecordModel, batch: RecordBatch) -> float:
    """Largest relative change of a gradient when another record is replaced."""
    worst = 0.0
    with forked_rng(0):
        before = _flat(model.gradients(batch))  # [B, P]
    for j in {0, batch.records // 2, batch.records - 1}:
        with forked_rng(0):  # a forward that draws, draws the same
            after = _flat(model.gradients(batch.disturbed(j)))
        others = torch.arange(batch.records) != j
        worst = max(worst, _relative(after[others], before[others]))
    return worst


def _loop_error(model: RecordModel, batch: RecordBatch) -> float:
    """Largest relative difference between per-record gradients and those of the plain network, one record at a time."""
    parameters, training, loop = model.parameters(), model.model.training, []
    model.model.eval()  # as the twin: no dropout
    for j in range(batch.records):
        loss = batch.only(j).losses(model.model)[0]
        alone = torch.autograd.grad(loss, parameters, allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, alone, strict=True)]
        loop.append(torch.cat([g.flatten() for g in filled]))
    model.model.train(training)
    return _relative(_flat(model.gradients(batch)), torch.stack(loop))


def _flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten(1) for g in gradients], dim=1)


def _relative(found: Tensor, expected: Tensor) -> float:
    """Largest |found - expected| / |expected| over rows; infinite where it is no number."""
    error = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-12)
    return float(error.nan_to_num(nan=float("inf")).max())
