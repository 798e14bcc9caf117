"""Steps of DP-SGD: sample records, clip each, add noise to the sum, let an optimiser go on with that alone.

Shared by `dp-graph` (record = graph, Poisson batches) and `dp-node` (record = root with its subgraph, fixed batches):

    private = RecordModel(model)
    steps = PrivateSteps(private, torch.optim.Adam(model.parameters(), lr=.01),
                         clip=C, std=sigma * C, divisor=B, rng=task.noise_rng("noise"))
    for _ in range(T):
        ids = poisson_batch(N, B / N, task.noise_rng("batches"))   # or b of N without replacement
        steps.step(batch_of(ids) if len(ids) else None)             # None: an empty batch is a noise-only step
    private.close()

What leaves a step is the noisy sum alone; everything after it (mean, Adam, DP-SAT) is post-processing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from auditor.errors import EvaluationError
from defenses.dp.gaussian import gaussian
from defenses.dp.records import RecordBatch, RecordModel

CANARY_BLOCK = 1024


def poisson_batch(units: int, rate: float, rng: np.random.Generator) -> Tensor:
    """Units kept independently with probability `rate` each: int64 ids, ascending, possibly none."""
    return torch.from_numpy(np.flatnonzero(rng.random(units) < rate).astype(np.int64))


def clipped_sum(gradients: Sequence[Tensor], clip: float) -> list[Tensor]:
    """Sum over records of g · min(1, C / |g|), where |g| is over all parameters of one record.

    Args:
        gradients: one [B, *shape] a parameter, B >= 1.
        clip: C > 0; infinity leaves every record as it is.

    Returns:
        One [*shape] a parameter.
    """
    squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients])  # [parameters, B]
    factor = (clip / squares.sum(dim=0).sqrt().clamp_min(1e-30)).clamp_max(1.0)  # [B]
    return [torch.einsum("b,b...->...", factor, g) for g in gradients]


def private_sum(model: RecordModel, batch: RecordBatch, clip: float) -> list[Tensor]:
    """The clipped sum of a batch's per-record gradients: adding or removing one record moves it by at most C.

    Raises:
        EvaluationError: a gradient that is not finite, which no factor can clip.
    """
    sums = clipped_sum(model.gradients(batch), clip)
    for (name, _), value in zip(model.named_parameters(), sums, strict=True):
        if not bool(torch.isfinite(value).all()):
            raise EvaluationError(
                f"the per-record gradients of {name} are not finite; expected numbers that can be clipped. Lower lr, "
                "or scale the features."
            )
    return sums


def add_noise(sums: Sequence[Tensor], std: float, rng: np.random.Generator) -> list[Tensor]:
    """Each coordinate plus an independent N(0, std²)."""
    return [value + std * gaussian(value.shape, value.dtype, rng) for value in sums]


class PrivateSteps:
    """An optimiser that sees noisy clipped sums and nothing else.

    Args:
        model: its parameters are the optimiser's.
        optimizer: over `model.parameters()`.
        clip: C, bound on the norm of one record's gradient.
        std: of the noise on each coordinate of the sum (σC for Poisson batches; 0 for the reach twin).
        divisor: what the noisy sum is divided by: a constant (the expected batch size), never the size drawn.
        rng: of the noise.
        sat_rho: ρ of DP-SAT: per-record gradients are taken at w + ρ g̃ / |g̃|, g̃ the previous *noisy* gradient. The
            noise has been paid for, so this costs no budget; a perturbation from the current, private gradient would.

    Source: Abadi et al. 2016, algorithm 1; Park et al., "Differentially private sharpness-aware training", ICML 2023
    (DP-SAT). Of an empty batch g̃ is kept like any other: skipping it would tell the next step that it was empty.
    """

    def __init__(
        self,
        model: RecordModel,
        optimizer: torch.optim.Optimizer,
        *,
        clip: float,
        std: float,
        divisor: float,
        rng: np.random.Generator,
        sat_rho: float = 0.0,
    ) -> None:
        self._model, self._optimizer, self._rng = model, optimizer, rng
        self._clip, self._std, self._divisor, self._rho = clip, std, divisor, sat_rho
        self.count = 0
        self.empty = 0
        self._previous: list[Tensor] | None = None

    def step(self, batch: RecordBatch | None) -> None:
        """One step, counted by the accountant whether or not anything was drawn; None for an empty batch.

        Raises:
            PerRecordShapeError, EvaluationError: as `RecordModel.gradients`.
        """
        parameters = self._model.parameters()
        if batch is None:
            sums, self.empty = [torch.zeros_like(p) for p in parameters], self.empty + 1
        elif self._rho == 0 or self._previous is None:
            sums = private_sum(self._model, batch, self._clip)
        else:
            sums = self._ahead(parameters, self._previous, batch)
        noisy = [value / self._divisor for value in add_noise(sums, self._std, self._rng)]
        for parameter, gradient in zip(parameters, noisy, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._previous = noisy if self._rho else None
        self.count += 1

    @torch.no_grad()
    def _ahead(self, parameters: list[nn.Parameter], previous: list[Tensor], batch: RecordBatch) -> list[Tensor]:
        """The clipped sum at w + ρ g̃ / |g̃|; w is put back bit for bit."""
        kept = [p.clone() for p in parameters]
        norm = torch.stack([g.square().sum() for g in previous]).sum().sqrt()
        for parameter, gradient in zip(parameters, previous, strict=True):
            parameter.add_(gradient, alpha=float(self._rho / (norm + 1e-12)))
        try:
            with torch.enable_grad():
                return private_sum(self._model, batch, self._clip)
        finally:
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def canary_sums(
    included: Tensor,
    draw: Callable[[], Tensor],
    *,
    steps: int,
    clip: float,
    std: float,
    rng: np.random.Generator,
) -> Tensor:
    """The noisy sums of all steps, added up, of m canaries: record j has the gradient 4C·e_j, which clips to C·e_j.

    Coordinates are those of a block in which all other records have gradient 0. Canaries are clipped by the block of
    coordinates they own, so that no m × m array is made.

    Args:
        included: bool [m], the canaries that are in the data.
        draw: the batch of one step, as ids among the m canaries; those left out are taken away here.
        steps: T.
        clip: C.
        std: of the noise on each coordinate of the sum.
        rng: of the noise.

    Returns:
        float64 [m].
    """
    m = included.shape[0]
    total = torch.zeros(m, dtype=torch.float64)
    for _ in range(steps):
        ids = draw()
        ids = ids[included[ids]].sort().values
        sums = torch.zeros(m)
        shares = torch.bincount(ids // CANARY_BLOCK, minlength=-(-m // CANARY_BLOCK)).tolist()
        for block, own in zip(torch.split(sums, CANARY_BLOCK), torch.split(ids, shares), strict=True):
            if len(own):
                rows = torch.zeros(len(own), len(block))
                rows[torch.arange(len(own)), own % CANARY_BLOCK] = 4 * clip
                block += clipped_sum([rows], clip)[0]
        total += add_noise([sums], std, rng)[0]
    return total
