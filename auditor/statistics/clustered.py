"""Intervals for items that are not independent: whole blocks are resampled.

Nodes of one community are right or wrong together, so that an interval over independent nodes is about half as wide as
it should be. Every statistic of one call shares the resample, which makes differences paired. No interval is narrower
than one of closed form at the effective number of items. See docs/methods/intervals-and-seeds.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.statistics.calibration import Bins
from auditor.statistics.intervals import agresti_min, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bounds = tuple[float, float]


def design_effect(residuals: Floats, blocks: Ints) -> float:
    """Deff = sum_b (sum_{i in b} r_i)² / sum_i r_i², at least 1; 1 without any residual."""
    total = float((residuals**2).sum())
    if total == 0:
        return 1.0
    return max(1.0, float((np.bincount(blocks, weights=residuals) ** 2).sum()) / total)


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """B resamples of K blocks with replacement.

    Attributes:
        weights: how often each block was drawn, float64 [B, K].
        blocks: the block of each item, int64 [n].
    """

    weights: Floats
    blocks: Ints

    @classmethod
    def draw(cls, blocks: Ints, *, rng: np.random.Generator, replicates: int = 1000) -> Resamples:
        """K blocks are drawn from the K blocks, `replicates` times."""
        _, index = np.unique(blocks, return_inverse=True)
        count = int(index.max()) + 1
        weights = rng.multinomial(count, np.full(count, 1 / count), size=replicates).astype(np.float64)
        return cls(weights, index.astype(np.int64))

    @property
    def replicates(self) -> int:
        """B."""
        return int(self.weights.shape[0])

    def totals(self, values: Floats) -> Floats:
        """Resampled sums of per-item values [n] -> [B], or of [n, k] -> [B, k]."""
        flat = values.reshape(len(values), -1)
        sums = np.stack([self._per_block(column) for column in flat.T], axis=1)  # [K, k]
        out: Floats = self.weights @ sums
        return out[:, 0] if values.ndim == 1 else out

    def means(self, values: Floats, members: NDArray[np.bool_] | None = None) -> Floats:
        """Resampled mean over `members` (default: all items), [B]; NaN where no member was drawn."""
        inside = np.ones(len(values)) if members is None else members.astype(np.float64)
        size = self.totals(inside)
        out: Floats = np.full(len(size), np.nan)
        np.divide(self.totals(values * inside), size, out=out, where=size > 0)
        return out

    def means_of_draws(self, values: Floats, picks: Ints) -> Floats:
        """The same for values [D, n] of D random draws; replicate b reads draw picks[b]. [B]."""
        by_draw = self.totals(values.T)  # [B, D]
        out: Floats = by_draw[np.arange(self.replicates), picks] / self.totals(np.ones(values.shape[1]))
        return out

    def item_weights(self, rows: NDArray[np.bool_] | None = None, block: int = 128) -> Iterator[Floats]:
        """Weight of each item in each replicate, [b, n] at a time: B × n is never held at once."""
        weights = self.weights if rows is None else self.weights[rows]
        for start in range(0, len(weights), block):
            yield weights[start : start + block][:, self.blocks]

    def _per_block(self, values: Floats) -> Floats:
        return np.bincount(self.blocks, weights=values, minlength=self.weights.shape[1]).astype(np.float64)


def percentile(replicates: Floats, *, confidence: float = 0.95) -> Bounds:
    """2.5 % and 97.5 % quantiles (of another confidence, those), replicates without a value left out."""
    tail = (1 - confidence) / 2
    lo, hi = np.nanquantile(replicates, (0.025, 0.975) if confidence == 0.95 else (tail, 1 - tail))
    return float(lo), float(hi)


def hull(*intervals: Bounds) -> Bounds:
    """The smallest interval that holds all of these."""
    return min(lo for lo, _ in intervals), max(hi for _, hi in intervals)


def effective_wilson(correct: Floats, blocks: Ints, *, confidence: float = 0.95) -> Bounds:
    """Wilson's interval at n / deff: never of zero width, [.886, 1] for 30 of 30 right."""
    n = effective_items(correct, blocks)
    return wilson(float(correct.mean()) * n, n, confidence=confidence)


def effective_items(correct: Floats, blocks: Ints) -> float:
    """How many independent items tell as much, n / deff."""
    return len(correct) / design_effect(correct - float(correct.mean()), blocks)


def accuracy_interval(correct: Floats, resamples: Resamples, members: NDArray[np.bool_] | None = None) -> Bounds:
    """Accuracy of the items in `members`: block percentile, at least as wide as Wilson's at n / deff."""
    inside = np.ones(len(correct), dtype=bool) if members is None else members
    return hull(
        percentile(resamples.means(correct, inside)), effective_wilson(correct[inside], resamples.blocks[inside])
    )


def drawn_accuracy_interval(correct: Floats, resamples: Resamples, picks: Ints) -> Bounds:
    """Mean accuracy over draws [D, n]: every replicate also picks one draw; at least as wide as Wilson's."""
    floor = [effective_wilson(row, resamples.blocks) for row in correct]
    center = float(np.mean([row.mean() for row in correct]))
    below = float(np.mean([row.mean() - lo for row, (lo, _) in zip(correct, floor, strict=True)]))
    above = float(np.mean([hi - row.mean() for row, (_, hi) in zip(correct, floor, strict=True)]))
    wide = max(0.0, center - below), min(1.0, center + above)
    return hull(percentile(resamples.means_of_draws(correct, picks)), wide)


def paired_gap_interval(clean: Floats, shifted: Floats, gaps: Floats, *, confidence: float = 0.95) -> Bounds:
    """Interval of the gap, clean [n] against draws [D, n] on the same items.

    Args:
        clean: correctness on clean data.
        shifted: correctness in each draw.
        gaps: bootstrap replicates of the gap, [B].
        confidence: more than 95 % where several such intervals must hold together.

    Returns:
        The percentile interval, at least as wide as Agresti–Min's on the mean 2×2 table of a draw.
    """
    draws = len(shifted)
    both = float((clean * shifted).sum()) / draws
    lost = float((clean * (1 - shifted)).sum()) / draws
    won = float(((1 - clean) * shifted).sum()) / draws
    neither = len(clean) - both - lost - won
    return hull(percentile(gaps, confidence=confidence), agresti_min(both, lost, won, neither, confidence=confidence))


def newcombe(first: float, first_bounds: Bounds, second: float, second_bounds: Bounds) -> Bounds:
    """Difference first − second of two rates of different items, from the interval of each.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998 (method 10).
    """
    difference = first - second
    below = math.hypot(first - first_bounds[0], second_bounds[1] - second)
    above = math.hypot(first_bounds[1] - first, second - second_bounds[0])
    return max(-1.0, difference - below), min(1.0, difference + above)


def sce_interval(confidence: Floats, correct: Floats, resamples: Resamples) -> Bounds:
    """Signed calibration error: block percentile, at least as wide as the accuracy in it."""
    lo, hi = effective_wilson(correct, resamples.blocks)
    mean = float(confidence.mean())
    return hull(percentile(resamples.means(confidence - correct)), (mean - hi, mean - lo))


def absolute(bounds: Bounds) -> Bounds:
    """Interval of |v| from that of v: 0 is the lower end when v may be 0."""
    lo, hi = bounds
    return (0.0 if lo <= 0 <= hi else min(abs(lo), abs(hi))), max(abs(lo), abs(hi))


def ece_interval(residuals: Floats, bins: Bins, resamples: Resamples, signed: Bounds) -> Bounds:
    """From the nearest |SCE| to the 97.5 % bootstrap quantile of ECE.

    The percentile interval never covers a calibrated model's ECE, because resampling only adds to it; ECE >= |SCE|
    gives a valid lower end.

    Args:
        residuals: confidence − correctness, [n].
        bins: of the same items.
        resamples: of the same items.
        signed: interval of the SCE.
    """
    spread = np.zeros((len(residuals), bins.count))
    spread[np.arange(len(residuals)), bins.index] = residuals
    replicates = np.abs(resamples.totals(spread)).sum(axis=1) / resamples.totals(np.ones(len(residuals)))
    return absolute(signed)[0], max(float(np.quantile(replicates, 0.975)), absolute(signed)[0])
