"""Features of added nodes, written by gradient: they stay such as a node of the data could have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.data.feature_space import FeatureSpace


@dataclass(frozen=True, slots=True, eq=False)
class AddedRows:
    """Features of added nodes, raw, [r, F], beside the space of those that are there."""

    space: FeatureSpace
    raw: Tensor

    @classmethod
    def start(cls, space: FeatureSpace, count: int) -> AddedRows:
        """Where the gradient is first taken: no bit, or the mean of each value."""
        width = space.raw.shape[1]
        first = space.raw.mean(dim=0) if space.kind == "values" else torch.zeros(width)
        return cls(space, first.to(space.raw.dtype).expand(count, width).clone())

    def moved(self, speed: Tensor) -> AddedRows:
        """As many bits as a node has on average, those of the largest speed; or a tenth of the range along its sign.

        A node is of one category, so that it has one bit.
        """
        space = self.space
        if space.kind == "values":
            step = 0.1 * (space.highest - space.lowest) * speed.sign()
            return AddedRows(space, torch.clamp(self.raw + step, space.lowest, space.highest))
        usual = min(max(1, round(space.ones / space.raw.shape[0])), speed.shape[1])
        chosen = torch.topk(speed, usual, dim=1).indices
        return AddedRows(space, torch.zeros_like(self.raw).scatter(1, chosen, 1.0))
