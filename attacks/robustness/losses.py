"""Differentiable stand-ins for the number of errors, to be maximised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from auditor.tasks import output_kind

SATURATED = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Outputs:
    """How a model's outputs are read: probabilities are logged, saturated margins are scaled down first."""

    are_probabilities: bool
    scale: float

    @classmethod
    def of(cls, logits: Tensor, y: Tensor) -> Outputs:
        """Read off the clean outputs of the targets, [n, C]: scale is 1 unless most rows are saturated."""
        probabilities = output_kind(logits) == "probs"
        z = logits.clamp_min(1e-30).log() if probabilities else logits
        top = z.softmax(dim=1).max(dim=1).values
        if float((top > SATURATED).double().mean()) <= 0.5:
            return cls(probabilities, 1.0)
        return cls(probabilities, max(1.0, float(margins(z, y).abs().median())))

    def read(self, outputs: Tensor) -> Tensor:
        """Scores [n, C] that the losses take."""
        z = outputs.clamp_min(1e-30).log() if self.are_probabilities else outputs
        return z / self.scale


def margins(z: Tensor, y: Tensor) -> Tensor:
    """z_y - max over c != y of z_c, [n]; negative means wrong."""
    own = z.gather(1, y.unsqueeze(1)).squeeze(1)
    others = z.scatter(1, y.unsqueeze(1), float("-inf"))
    return own - others.max(dim=1).values


def tanh_loss(z: Tensor, y: Tensor) -> Tensor:
    """Mean of tanh(-margin)."""
    return torch.tanh(-margins(z, y)).mean()


def prob_loss(z: Tensor, y: Tensor) -> Tensor:
    """Mean of max over c != y of p_c, minus p_y."""
    return -margins(z.softmax(dim=1), y).mean()


Loss = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["tanh", "prob"]
LOSSES: dict[LossName, Loss] = {"tanh": tanh_loss, "prob": prob_loss}
