"""Weighted ROC curves: one with all its corners, or those of many weightings, of which no list of corners is made.

Both answer the same few questions, from which every metric of `auditor.statistics.ranking` follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Numbers = NDArray[np.floating[Any]]  # whole ones in float32 or float64
EXACT = 2**24  # float32 holds every whole number below
LARGEST = 255  # that a byte holds
EXTRA = 8  # bytes behind each row of `counts`
BLOCK = 32  # steps that are added up by one product with a triangle of ones
CHUNK = 128  # blocks at a time: what belongs to them stays in the cache
BYTES_ADD_UP = hasattr(torch.ops.quantized, "embedding_bag_byte_rowwise_offsets")
"""Whether torch has its sums of rows of bytes. The operator is an inner one and may vanish; then rows are float32.

The public `embedding_bag` takes no bytes: on float32 rows it takes 1.4 times as long and four times the memory, on
float16 ones, whose sums must be checked and cast, 1.7 times as long (20,000 rows of 1,000; numpy 26 times).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Cumulative weights from the largest score down, at the corners of the ROC curve; or those of many weightings.

    Attributes:
        fp: weight of the negatives so far, [..., K], from 0 to their total.
        tp: weight of the positives so far, [..., K], from 0 to their total.

    Between two corners the curve is straight: there lies a tie block, or a run of negatives between two positives.
    """

    fp: Floats
    tp: Floats

    @property
    def negatives(self) -> Floats:
        """Weight of all negatives, [...]."""
        return np.asarray(self.fp[..., -1])

    @property
    def positives(self) -> Floats:
        """Weight of all positives, [...]."""
        return np.asarray(self.tp[..., -1])

    def right(self) -> Floats:
        """Weight of the pairs of a positive and a negative that are ranked right, ties one half, [...]."""
        # einsum, not np.dot: BLAS would wake its threads for each of thousands of short vectors.
        step = np.diff(self.fp)
        sides = (self.tp[..., 1:], self.tp[..., :-1])
        return np.asarray(sum(np.einsum("...k,...k->...", step, side) for side in sides) / 2)

    def tp_where(self, level: Floats, *, counted: bool = False) -> Floats:
        """Weight of the positives where that of the negatives, or with `counted` of both, reaches `level`, [...]."""
        return _at(level, (self.tp, self.fp) if counted else (self.fp,), self.tp)

    def precisions(self) -> Floats:
        """Weight of each positive times the precision after its tie block, summed, [...]."""
        step = self.tp[..., 1:] - self.tp[..., :-1]
        predicted = self.tp[..., 1:] + self.fp[..., 1:]
        precision = np.divide(self.tp[..., 1:], predicted, out=np.zeros_like(predicted), where=predicted > 0)
        return np.asarray((step * precision).sum(axis=-1))


def counts(times: Tensor) -> Tensor:
    """Whole numbers [n, J] in the form that `Curves` adds up fastest.

    Returns:
        float32 [n, J] where a number is above 255, or torch adds up no bytes. Else uint8 [n, J + 8]: of each row the
        numbers, then a factor of 1 and an offset of 0 in float32, as torch's sums of quantised rows read them. A
        quarter of the memory is what makes them fast: rows are read in the order of the scores, which is none.
    """
    if not BYTES_ADD_UP or (times.numel() and int(times.max()) > LARGEST):
        return times.float()
    lanes = times.shape[1]
    rows = torch.zeros(times.shape[0], lanes + EXTRA, dtype=torch.uint8)
    rows[:, :lanes] = times
    rows[:, lanes : lanes + 4] = torch.ones(1).view(torch.uint8)
    return rows


class Side:
    """Items of one class from the largest score down, in steps.

    Args:
        order: the items, int64 [n].
        ends: place behind the last item of each step, int64 [steps]; empty steps are added until blocks are full.
    """

    __slots__ = ("_ends", "_order", "_starts")

    def __init__(self, order: Ints, ends: Ints) -> None:
        self._ends = np.pad(ends, (0, -ends.shape[0] % BLOCK), mode="edge")
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self._order = torch.from_numpy(order.astype(np.int32))  # half the memory to read of int64

    def sums(self, rows: Tensor, ranges: Sequence[tuple[int, int]]) -> Numbers:
        """Weight of each step in some ranges of blocks under J weightings, from their `counts`.

        Returns:
            [blocks, BLOCK, J], float32; where a step weighs 2^24 or more, all is added up again in float64.
        """
        items, starts, found = [], [], 0
        for first, last in ranges:
            at, behind = int(self._starts[first * BLOCK]), int(self._ends[last * BLOCK - 1])
            items.append(self._order[at:behind])
            starts.append(self._starts[first * BLOCK : last * BLOCK] - (at - found))
            found += behind - at
        chosen, begins = torch.cat(items), torch.from_numpy(np.concatenate(starts).astype(np.int32))
        if rows.dtype == torch.uint8:
            sums = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(rows, chosen, begins)
        else:
            sums = embedding_bag(chosen, rows, begins, mode="sum")
        if float(sums.max()) >= EXACT:
            plain = (rows[:, :-EXTRA] if rows.dtype == torch.uint8 else rows)[chosen].double()
            sums = embedding_bag(torch.arange(found, dtype=torch.int32), plain, begins, mode="sum")
        added: Numbers = sums.view(-1, BLOCK, sums.shape[1]).numpy()
        return added


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Weights of one class: of steps [blocks, BLOCK, J], and of blocks in float64 [blocks, J]."""

    steps: Numbers
    blocks: Floats

    @classmethod
    def of(cls, steps: Numbers) -> _Sums:
        return cls(steps, _of_blocks(steps))


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A ranking from the largest score down, cut into steps.

    Attributes:
        positive: the positives in these steps.
        negative: the negatives in these steps.
        tied: steps whose positives and negatives have one score, bool [blocks, BLOCK]; in all others every positive
            is above every negative.
    """

    positive: Side
    negative: Side
    tied: Bools

    @classmethod
    def of(cls, positive: tuple[Ints, Ints], negative: tuple[Ints, Ints], tied: Bools) -> Cut:
        """From the order and the ends of both sides, as `Side` takes them, and `tied` bool [steps]."""
        return cls(Side(*positive), Side(*negative), np.pad(tied, (0, -tied.shape[0] % BLOCK)).reshape(-1, BLOCK))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.tied.shape[0])

    def chunks(self, positive: Tensor, negative: Tensor) -> Iterator[tuple[slice, _Sums, _Sums]]:
        """Some blocks after the other: which, and their positives and negatives.

        In float64 where the product of two blocks' weights could pass what float32 holds.
        """
        for first in range(0, self.blocks, CHUNK):
            here = slice(first, min(first + CHUNK, self.blocks))
            p, n = (
                _Sums.of(side.sums(rows, [(here.start, here.stop)]))
                for side, rows in ((self.positive, positive), (self.negative, negative))
            )
            if float(((p.blocks + 1) * (n.blocks + 1)).max()) >= EXACT / 2:
                p, n = (_Sums.of(each.steps.astype(np.float64)) for each in (p, n))
            yield here, p, n


class Curves:
    """Curves of J weightings by whole numbers, of which no list of corners is made.

    A block of `BLOCK` steps is added up by one product with a triangle of ones. Kept are the totals of blocks; single
    steps are added up again where a curve is asked for a place inside a block. All sums are exact: in float32 while
    they stay below 2^24, in float64 beyond.

    Args:
        steps: runs of positives, each with the negatives between it and the next, and tie blocks: every corner of the
            curve lies in one.
        values: a step for each value that a positive has, with the negatives from there up to the value before.
        positive: weights of the positives, see `counts`.
        negative: weights of the negatives, see `counts`.
        odds: what a positive stands for, in negatives.
    """

    __slots__ = ("_fp", "_negative", "_odds", "_positive", "_right", "_steps", "_tp", "_values")

    def __init__(self, steps: Cut, values: Cut, positive: Tensor, negative: Tensor, *, odds: float = 1.0) -> None:
        self._steps, self._values, self._odds = steps, values, odds
        self._positive, self._negative = positive, negative
        so_far, right, read = [], [], (0.0, 0.0)
        for here, p, n in steps.chunks(positive, negative):
            above = _running(p.steps)  # the positives above each negative, those of its own step among them
            above *= n.steps
            inside = _of_blocks(above)
            tied = steps.tied[here]
            if tied.any():
                inside -= 0.5 * _of_blocks(p.steps * n.steps * tied[:, :, None].astype(p.steps.dtype))
            fp, tp = (_from(start, side.blocks) for start, side in zip(read, (n, p), strict=True))
            right.append((inside + tp[:-1] * np.diff(fp, axis=0)).sum(axis=0))
            so_far.append((fp[:-1], tp[:-1]))
            read = fp[-1], tp[-1]
        ends = [np.vstack([*parts, last]) for parts, last in zip(zip(*so_far, strict=True), read, strict=True)]
        self._fp, self._tp = ends  # up to each block, [blocks + 1, J]
        self._right = np.sum(right, axis=0)

    @property
    def negatives(self) -> Floats:
        """Weight of all negatives, [J]."""
        return np.asarray(self._fp[-1])

    @property
    def positives(self) -> Floats:
        """Weight of all positives, [J]."""
        return np.asarray(self._odds * self._tp[-1])

    def right(self) -> Floats:
        """Weight of the pairs of a positive and a negative that are ranked right, ties one half, [J]."""
        return np.asarray(self._odds * self._right)

    def tp_where(self, level: Floats, *, counted: bool = False) -> Floats:
        """Weight of the positives where that of the negatives, or with `counted` of both, reaches `level`, [J]."""
        starts = self._fp + self._odds * self._tp if counted else self._fp
        block = np.clip((starts <= level).sum(axis=0) - 1, 0, self._steps.blocks - 1)
        asked, place = np.unique(block, return_inverse=True)
        ranges, lane = [(int(each), int(each) + 1) for each in asked], np.arange(block.shape[0])
        p, n = (
            side.sums(rows, ranges)[place, :, lane].astype(np.float64)  # [J, BLOCK]
            for side, rows in ((self._steps.positive, self._positive), (self._steps.negative, self._negative))
        )
        # Two corners a step: behind its positives, or half-way through a tie block; and behind its negatives.
        tied = self._steps.tied[block]
        halves = np.where(tied, n / 2, 0.0), np.where(tied, p / 2, p)
        fp, tp = (
            _from(before[block, lane], np.stack([half, side - half], axis=2).reshape(len(lane), -1).T).T
            for before, half, side in zip((self._fp, self._tp), halves, (n, p), strict=True)
        )
        tp = self._odds * tp
        return _at(level, (tp, fp) if counted else (fp,), tp)

    def precisions(self) -> Floats:
        """Weight of each positive times the precision after its tie block, summed, [J]."""
        found, fp, tp = np.zeros_like(self._right), 0.0, 0.0
        for _, p, n in self._values.chunks(self._positive, self._negative):
            behind = [_from(start, side.blocks) for start, side in ((fp, n), (tp, p))]
            false, true = (ends[:-1, None] + _running(side.steps) for ends, side in zip(behind, (n, p), strict=True))
            true *= self._odds
            false += true
            found += np.divide(p.steps * true, false, out=true, where=false > 0).sum(axis=(0, 1))
            fp, tp = behind[0][-1], behind[1][-1]
        return np.asarray(self._odds * found)


def _running(steps: Numbers) -> Numbers:
    """Sums up to each step of its block and with it, [blocks, BLOCK, J]."""
    # NumPy's product: torch's is as exact as a setting says that a model's code may change.
    found: Numbers = np.matmul(np.tri(BLOCK, dtype=steps.dtype), steps)
    return found


def _of_blocks(steps: Numbers) -> Floats:
    """Sums of the steps of each block, [blocks, J]; exact where what holds the steps holds them, see `Cut.chunks`."""
    found: Floats = torch.from_numpy(steps).sum(dim=1).double().numpy()
    return found


def _from(start: Floats | float, steps: Floats) -> Floats:
    """Sums before each step and behind the last, [steps + 1, J]."""
    first = np.broadcast_to(start, steps.shape[1:])
    found: Floats = np.cumsum(np.concatenate([first[None], steps]), axis=0)
    return found


def _at(level: Floats, parts: Sequence[Floats], y: Floats) -> Floats:
    """Y [...] where the ascending sum of the parts [..., K] reaches `level` [...], straight from corner to corner.

    Of equal corners the last one counts. All rows are searched at once, by halving.
    """
    size = y.shape[-1]
    flat, sides, wanted = y.reshape(-1, size), [part.reshape(-1, size) for part in parts], np.ravel(level)
    row = np.arange(flat.shape[0])

    def x(place: Ints) -> Floats:
        return np.asarray(sum(side[row, place] for side in sides))

    at, beyond = np.zeros_like(row), np.full_like(row, size)
    for _ in range(size.bit_length()):
        middle = (at + beyond) // 2
        reached = x(middle) <= wanted
        at, beyond = np.where(reached, middle, at), np.where(reached, beyond, middle)
    after = np.minimum(at + 1, size - 1)
    start, width = x(at), x(after) - x(at)
    share = np.divide(wanted - start, width, out=np.zeros_like(width), where=width > 0)
    return np.reshape(flat[row, at] + share * (flat[row, after] - flat[row, at]), np.shape(level))
