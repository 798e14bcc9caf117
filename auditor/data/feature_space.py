"""What an edit of features may be: a bit, another category of a node, or a bounded move of values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from auditor.errors import SkippedError

Kind = Literal["bits", "categories", "values"]
Norm = Literal["none", "sum", "length"]
Within = Literal["linf", "l2"]
SAME = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """The features of a graph as what stands behind them.

    Rows of which every non-zero entry is 1 / k or 1 / √k, k being how many there are, are bits that were divided by
    their sum or length: a bit is edited, and the row divided anew. An edit of such a value by itself is none that
    data could have. Rows of exactly one 1 each say which category a node is of (the element of an atom): the 1 is
    moved, since neither two of them nor none could be.

    Attributes:
        kind: `bits`, `categories` or `values`.
        norm: what rows of bits are divided by.
        raw: bits, or the values as they are, float32 [N, F].
        scale: standard deviation of each value, [F]; 0 for one that does not vary.
        lowest, highest: of each value, [F].
    """

    kind: Kind
    norm: Norm
    raw: Tensor
    scale: Tensor
    lowest: Tensor
    highest: Tensor

    @classmethod
    def of(cls, x: Tensor) -> FeatureSpace:
        """Of the features x [N, F] that a model reads.

        Raises:
            SkippedError: there is nothing to edit: every row is its own identity, or no feature varies.
        """
        if _is_identity(x):
            raise SkippedError("the features are identities, one column a node: an edit would swap nodes")
        scale = x.std(dim=0) if x.shape[0] > 1 else torch.zeros(x.shape[1])
        if not bool((scale > 0).any()):
            raise SkippedError("no feature varies from node to node: there is nothing to edit")
        lowest, highest = torch.aminmax(x, dim=0)
        norm = _norm_of(x)
        if norm is None:
            return cls("values", "none", x, scale, lowest, highest)
        kind: Kind = "categories" if bool((x.sum(dim=1) == 1).all()) and norm == "none" else "bits"
        return cls(kind, norm, (x > 0).to(x.dtype), scale, lowest, highest)

    def part(self, nodes: Tensor) -> FeatureSpace:
        """The same of some nodes, int64 [n]; what values vary by, and between, stays that of all."""
        return replace(self, raw=self.raw[nodes])

    @property
    def ones(self) -> int:
        """Bits that are set; of categories one for each node."""
        return int(self.raw.sum())

    def ones_of(self, batch: Tensor, graphs: int) -> Tensor:
        """The same in each of many graphs, int64 [graphs], for the graph of each node, int64 [N]."""
        return torch.zeros(graphs, dtype=torch.int64).index_add_(0, batch, self.raw.sum(dim=1).long())

    def bits_of(self, edits: Tensor) -> Tensor:
        """The bits that edits toggle, int64.

        Args:
            edits: keys row · F + column, int64 [k]: bits to toggle; or the new category of a node, each node once, so
                that the bit of its own goes too.
        """
        if self.kind != "categories":
            return edits
        rows = edits // self.raw.shape[1]
        return torch.stack([rows * self.raw.shape[1] + self.raw[rows].argmax(dim=1), edits], dim=1).flatten()

    def count(self, bits: Tensor) -> int:
        """How many edits toggle these bits: of categories two are one edit."""
        return bits.numel() // 2 if self.kind == "categories" else bits.numel()

    def promised(self, raw: Tensor, gradient: Tensor) -> Tensor:
        """What each edit of raw rows promises by a gradient at them, [n, F] both; minus infinity where it is none."""
        slope = gradient.nan_to_num(0.0)
        if self.kind != "categories":
            return slope * (1 - 2 * raw)
        return (slope - (slope * raw).sum(dim=1, keepdim=True)).masked_fill(raw > 0, float("-inf"))

    def read(self, raw: Tensor) -> Tensor:
        """What a model reads of raw rows [n, F]; gradients flow."""
        if self.norm == "none":
            return raw
        count = raw.sum(dim=1, keepdim=True).clamp_min(1)  # a row without a bit stays without one
        return raw / (count if self.norm == "sum" else count.sqrt())

    def toggled(self, keys: Tensor) -> Tensor:
        """The raw bits with those of `keys` (row · F + column, distinct) toggled, [N, F]."""
        raw = self.raw.clone()
        raw.view(-1)[keys] = 1 - raw.view(-1)[keys]
        return raw

    def moved(self, units: Tensor, radius: float, within: Within) -> Tensor:
        """A change of the values, [N, F], from one in standard deviations: cut to the radius, then to their range.

        Args:
            units: [N, F].
            radius: the most of each (`linf`), or of the root mean square over a row (`l2`).
            within: which.
        """
        if within == "linf":
            units = units.clamp(-radius, radius)
        else:
            length = units.square().mean(dim=1, keepdim=True).sqrt()
            units = units * (radius / length.clamp_min(1e-30)).clamp_max(1.0)
        return torch.clamp(self.raw + units * self.scale, self.lowest, self.highest) - self.raw

    def units(self, change: Tensor) -> Tensor:
        """A change of the values in standard deviations of each, [N, F]; infinite where one moves that never does."""
        there = self.scale > 0
        moved = change / torch.where(there, self.scale, torch.ones_like(self.scale))
        return torch.where(there | (change == 0), moved, torch.full_like(moved, float("inf")))


def is_binary(x: Tensor) -> bool:
    """Whether each row holds 0 and one other value only: binary or one-hot, also after row normalisation."""
    if not x.shape[1]:
        return False
    top = x.max(dim=1, keepdim=True).values
    return bool(((x == 0) | (x == top)).all())


def _is_identity(x: Tensor) -> bool:
    """Whether each row has one entry, in a column of its own."""
    if x.shape[1] < x.shape[0]:
        return False
    set_ = x != 0
    return bool((set_.sum(dim=1) == 1).all()) and bool((set_.sum(dim=0) <= 1).all())


def _norm_of(x: Tensor) -> Norm | None:
    """What rows of bits were divided by; None for values."""
    if bool((x < 0).any()):
        return None
    if bool(((x == 0) | (x == 1)).all()):
        return "none"
    bits = (x > 0).to(x.dtype)
    count = bits.sum(dim=1, keepdim=True).clamp_min(1)
    if torch.allclose(x, bits / count, rtol=1e-4, atol=SAME * float(x.max())):
        return "sum"
    if torch.allclose(x, bits / count.sqrt(), rtol=1e-4, atol=SAME * float(x.max())):
        return "length"
    return None
