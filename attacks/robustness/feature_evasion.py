"""Edits of features on purpose: the bits whose gradient promises most, or projected steps within a radius."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from attacks.robustness.feature_steps import Reader
from attacks.robustness.losses import LOSSES, Loss, LossName
from auditor.data.feature_space import FeatureSpace, Within
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View

NO_BITS = torch.empty(0, dtype=torch.int64)
TRY_EVERY = 5


@parameters
class FeatureEvasion:
    """Edits features by the gradient of two losses: bits in rounds, values by projected gradient ascent.

    Bits: each round one gradient at what is edited so far ranks every bit by what toggling it promises; the best B /
    rounds that were not toggled before are toggled. Values: steps along the sign of the gradient inside the radius,
    and inside the range that the values have; the step that leaves fewest right answers is kept.

    Attributes:
        losses: `tanh` and `prob`; both run, since which one wins changes from model to model.
        rounds: of bits.
        steps: of values.
        within: the radius bounds every value (`linf`), or the root mean square over a node's values (`l2`).

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (values).
    """

    losses: Annotated[tuple[LossName, ...], Field(min_length=1)] = ("tanh", "prob")
    rounds: Annotated[int, Field(ge=1)] = 15
    steps: Annotated[int, Field(ge=1)] = 40
    within: Within = "linf"

    @model_validator(mode="after")
    def _different_losses(self) -> Self:
        if len(set(self.losses)) < len(self.losses):
            raise ValueError(f"losses={'/'.join(self.losses)} cannot be used: expected different names")
        return self

    def run(self, view: View, attempt: Attempt) -> FeatureOutcome:
        """One edit per loss and budget.

        Raises:
            SkippedError: features that cannot be edited.
        """
        space, reader = FeatureSpace.of(view.x), Reader.of(view)
        calls_before = reader.handle.calls
        budgets: tuple[float, ...] = attempt.budgets if space.kind == "bits" else attempt.radii
        points, variants, gains = [], [], dict[str, list[float]]()
        runs = [(name, budget) for name in self.losses for budget in budgets]
        for done, (name, budget) in enumerate(runs):
            attempt.tick(done / len(runs), f"feature-evasion: {name}, {budget:g}")
            loss, before = LOSSES[name], float(reader.loss(view.x, LOSSES[name]))
            if space.kind == "bits":
                bits = self._bits(space, reader, loss, int(budget), attempt.node_caps)
                x, edit = space.read(space.toggled(bits)), FeatureEdit(budget, bits)
            else:
                change = self._values(space, reader, loss, budget)
                x, edit = space.raw + change, FeatureEdit(budget, NO_BITS, change)
            points.append(replace(edit, claimed_accuracy=reader.right(x)))
            variants.append(name)
            gains[f"{name} at {budget:g}"] = [round(before, 6), round(float(reader.loss(x, loss)), 6)]
        notes: dict[str, Any] = {
            "calls": reader.handle.calls - calls_before,
            "output_scale": reader.outputs.scale,
            "loss": gains,
        }
        return FeatureOutcome(tuple(points), tuple(variants), notes)

    def _bits(self, space: FeatureSpace, reader: Reader, loss: Loss, budget: int, caps: Tensor | None) -> Tensor:
        """Keys of the bits to toggle, int64 [<= budget]; no more in a row than its cap."""
        width, bits = space.raw.shape[1], NO_BITS
        room = None if caps is None else caps.clone()
        size = -(-budget // self.rounds)
        while bits.numel() < budget:
            raw = space.toggled(bits).requires_grad_(True)
            (gradient,) = torch.autograd.grad(reader.loss(space.read(raw), loss), raw)
            promise = (gradient * (1 - 2 * raw.detach())).nan_to_num(0.0).view(-1)
            promise[bits] = float("-inf")
            if room is not None:
                promise.view(space.raw.shape)[room <= 0] = float("-inf")
            best = torch.topk(promise, min(size, budget - bits.numel(), promise.numel()))
            chosen = _within_room(best.indices[best.values > 0], width, room)
            if not chosen.numel():
                break
            bits = torch.cat([bits, chosen])
            if room is not None:
                room -= torch.bincount(chosen // width, minlength=room.numel())
        return bits

    def _values(self, space: FeatureSpace, reader: Reader, loss: Loss, radius: float) -> Tensor:
        """What to add to the values, [N, F]."""
        change = torch.zeros_like(space.raw)
        best, fewest = change, reader.right(space.raw)
        for k in range(1, self.steps + 1):
            at = (space.raw + change).requires_grad_(True)
            (gradient,) = torch.autograd.grad(reader.loss(at, loss), at)
            step = 2.5 * radius / self.steps * _direction(gradient * space.scale, self.within)
            change = space.moved(space.units(change) + step, radius, self.within)
            if k % TRY_EVERY == 0 or k == self.steps:
                left = reader.right(space.raw + change)
                if left < fewest:
                    best, fewest = change, left
        return best


def _direction(gradient: Tensor, within: Within) -> Tensor:
    """The steepest way up, of length 1 by the norm, [N, F]."""
    clean = gradient.nan_to_num(0.0)
    if within == "linf":
        return clean.sign()
    return clean / clean.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-30)


def _within_room(keys: Tensor, width: int, room: Tensor | None) -> Tensor:
    """The first keys of each row, as many as it has room for, in their order."""
    if room is None:
        return keys
    rows = keys // width
    order = torch.argsort(rows, stable=True)
    counts = torch.bincount(rows, minlength=room.numel())
    place = torch.empty_like(rows)
    place[order] = torch.arange(keys.numel()) - (torch.cumsum(counts, dim=0) - counts)[rows[order]]
    return keys[place < room[rows]]
