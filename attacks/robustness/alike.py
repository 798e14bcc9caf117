"""Features of added nodes that are like those of their neighbours, so that a filter for unlike edges lets them pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from auditor.data.added_nodes import likeness
from auditor.data.feature_space import FeatureSpace

HALVINGS = 20
SLACK = 1e-5
"""What rounding may take."""


def enough(bound: float) -> float:
    """A likeness that keeps to a bound after rounding: above it, but for a bound of 1, which nothing is above."""
    return min(bound + SLACK, 1 - SLACK)


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """How added nodes are held to a least mean cosine to their neighbours: pulled towards them no more than it takes.

    Of bits S of a node the mean cosine is the sum of p over S by √|S|, p the mean of its neighbours' rows, each
    divided by its length: so p says which bits help.

    Attributes:
        space: of the features.
        edges: of the added nodes, int64 [2, k]; those that no features could be like enough to were left out.
        bound: least mean cosine.
        pull: p, [r, F].
        middle: mean of the neighbours' rows, [r, F].
        bits: most bits of each added node, int64 [r].
    """

    space: FeatureSpace
    edges: Tensor
    bound: float
    pull: Tensor
    middle: Tensor
    bits: Tensor

    @classmethod
    def of(cls, space: FeatureSpace, edges: Tensor, count: int, bits: int, bound: float) -> Alike:
        """For `count` added nodes of at most so many bits; the last edges of those that ask too much are dropped."""
        raw = space.raw
        while True:
            ends = torch.bincount(edges[0], minlength=count).clamp_min(1).unsqueeze(1)
            zero = torch.zeros(count, raw.shape[1], dtype=raw.dtype)
            pull = zero.index_add(0, edges[0], normalize(raw[edges[1]], dim=1)) / ends
            middle = zero.index_add(0, edges[0], raw[edges[1]]) / ends
            most = torch.full((count,), bits)
            if space.kind != "values":
                sums = torch.sort(pull, dim=1, descending=True).values[:, :bits].cumsum(dim=1)
                reached = sums / torch.arange(1, sums.shape[1] + 1).sqrt()
                best, at = reached.max(dim=1)
                most = torch.where(reached[:, -1] >= enough(bound), most, at + 1)
            else:
                best = likeness(middle, raw, edges)
            lacking = torch.nonzero(best < enough(bound)).flatten()
            last = torch.zeros(edges.shape[1], dtype=torch.bool)
            for node in lacking.tolist():
                last[torch.nonzero(edges[0] == node).flatten()[-1:]] = True
            if not bool(last.any()):
                return cls(space, edges, bound, pull, middle, most)
            edges = edges[:, ~last]

    def bits_of(self, speed: Tensor) -> Tensor:
        """Bits of largest speed [r, F] that are alike enough, [r, F]."""
        own, pull = (each / each.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) for each in (speed, self.pull))

        def at(mix: Tensor) -> Tensor:
            order = torch.argsort((1 - mix) * own + mix * pull, dim=1, descending=True, stable=True)
            taken = torch.arange(own.shape[1]).expand_as(own) < self.bits.unsqueeze(1)
            return torch.zeros_like(own).scatter(1, order, taken.to(own.dtype))

        return self._least(at)

    def values_of(self, raw: Tensor) -> Tensor:
        """Rows [r, F] moved towards the mean of their neighbours until they are alike enough, [r, F]."""
        return self._least(lambda mix: (1 - mix) * raw + mix * self.middle)

    def _least(self, at: Callable[[Tensor], Tensor]) -> Tensor:
        """`at` the smallest mixture [r, 1] that reaches the bound, found by halving."""
        low, high = torch.zeros(self.pull.shape[0], 1), torch.ones(self.pull.shape[0], 1)
        if bool(self._enough(at(low)).all()):
            return at(low)
        low_enough = self._enough(at(low)).unsqueeze(1)
        for _ in range(HALVINGS):
            mix = (low + high) / 2
            enough = self._enough(at(mix)).unsqueeze(1)
            low, high = torch.where(enough, low, mix), torch.where(enough, mix, high)
        return at(torch.where(low_enough, torch.zeros_like(high), high))

    def _enough(self, raw: Tensor) -> Tensor:
        """Which rows are alike enough, bool [r]; one without edges is."""
        found = likeness(raw, self.space.raw, self.edges)
        return found.isnan() | (found >= enough(self.bound))
