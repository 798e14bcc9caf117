"""Features of added nodes, written by gradient: they stay such as a node of the data could have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.robustness.alike import Alike
from auditor.data.feature_space import FeatureSpace


@dataclass(frozen=True, slots=True, eq=False)
class AddedRows:
    """Features of added nodes, raw, [r, F], beside the space of those that are there.

    Attributes:
        space: of those that are there.
        raw: of the added ones.
        alike: holds them to their neighbours; None where nothing does.
    """

    space: FeatureSpace
    raw: Tensor
    alike: Alike | None = None

    @classmethod
    def start(cls, space: FeatureSpace, count: int, alike: Alike | None = None) -> AddedRows:
        """Where the gradient is first taken: no bit, or the mean of each value."""
        width = space.raw.shape[1]
        first = space.raw.mean(dim=0) if space.kind == "values" else torch.zeros(width)
        return cls(space, first.to(space.raw.dtype).expand(count, width).clone(), alike)

    def moved(self, speed: Tensor) -> AddedRows:
        """As many bits as a node has on average, those of the largest speed; or a tenth of the range along its sign.

        A node is of one category, so that it has one bit.
        """
        space = self.space
        if space.kind == "values":
            step = 0.1 * (space.highest - space.lowest) * speed.sign()
            moved = torch.clamp(self.raw + step, space.lowest, space.highest)
            return replace(self, raw=moved if self.alike is None else self.alike.values_of(moved))
        if self.alike is not None:
            return replace(self, raw=self.alike.bits_of(speed))
        chosen = torch.topk(speed, usual_bits(space), dim=1).indices
        return replace(self, raw=torch.zeros_like(self.raw).scatter(1, chosen, 1.0))


def usual_bits(space: FeatureSpace) -> int:
    """As many as a node has on average."""
    return min(max(1, round(space.ones / space.raw.shape[0])), space.raw.shape[1])
