"""Rows remembered between mini-batches, so that the dependence of a large set is seen at O(Q B) memory."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import torch
from torch import Tensor

from defenses.l2r.dependence import SMALLEST_SD, random_features
from defenses.l2r.objective import Objective

QUEUE_ROWS = 4096
ALPHAS = (0.9, 0.7, 0.5, 0.3)


class Queue(Protocol):
    """What a step of the weights sees beside its own batch."""

    def rows(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [R, d] and weights [R] of the remembered rows, given the current weights w [N] of all items."""
        ...

    def push(self, z: Tensor, items: Tensor, w: Tensor) -> None:
        """Remembers a batch: raw z [B, d], item ids int64 [B], the current weights of all items [N]."""
        ...


class Fifo:
    """The last Q batches as they were; their weights are read afresh, so that they are never stale."""

    def __init__(self, batches: int) -> None:
        self._kept: deque[tuple[Tensor, Tensor]] = deque(maxlen=batches)

    def rows(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """See `Queue`."""
        if not self._kept:
            return w.new_empty(0, 0), w.new_empty(0)
        z, items = (torch.cat(part) for part in zip(*self._kept, strict=True))
        return z, w[items]

    def push(self, z: Tensor, items: Tensor, w: Tensor) -> None:
        """See `Queue`."""
        self._kept.append((z, items))


class Momentum:
    """One running table per alpha: Zq <- alpha Zq + (1 - alpha) Z, the same for w; the published form.

    A table averages unrelated items: its variance shrinks by (1 - alpha) / (1 + alpha) and non-linear dependence
    washes out. Equal alphas make identical tables.
    """

    def __init__(self, alphas: tuple[float, ...] = ALPHAS) -> None:
        self._alphas = alphas
        self.tables: list[tuple[Tensor, Tensor]] = []

    def rows(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """See `Queue`; the rows of each table are standardised by their own deviation."""
        if not self.tables:
            return w.new_empty(0, 0), w.new_empty(0)
        return torch.cat([by_own_deviation(z) for z, _ in self.tables]), torch.cat([v for _, v in self.tables])

    def push(self, z: Tensor, items: Tensor, w: Tensor) -> None:
        """See `Queue`; the first batch fills every table."""
        mine = w[items]
        if not self.tables:
            self.tables = [(z.clone(), mine.clone()) for _ in self._alphas]
            return
        self.tables = [
            (alpha * old_z + (1 - alpha) * z, alpha * old_w + (1 - alpha) * mine)
            for alpha, (old_z, old_w) in zip(self._alphas, self.tables, strict=True)
        ]


def make_queue(memory: str, batch_size: int) -> Queue:
    """`fifo` with Q = ceil(4096 / B), or `momentum` with four tables."""
    return Momentum() if memory == "momentum" else Fifo(math.ceil(QUEUE_ROWS / batch_size))


def by_own_deviation(z: Tensor) -> Tensor:
    """Columns with mean 0 and deviation 1 over these rows; a dead column becomes 0."""
    sd, mean = torch.std_mean(z, dim=0, correction=0)
    return torch.where(sd >= SMALLEST_SD, (z - mean) / sd.clamp_min(SMALLEST_SD), 0.0)


class QueuedLearner:
    """Learns a batch by batch: a step sees the batch and the queue, and moves the batch's own a alone."""

    def __init__(self, objective: Objective, y: Tensor, queue: Queue, rng: torch.Generator) -> None:
        self._objective, self._y, self._queue, self._rng = objective, y, queue, rng
        self.a = torch.zeros(y.shape[0])
        self._optimizer = torch.optim.SparseAdam([self.a], lr=objective.lr)  # moments of the touched items alone

    def step(self, z: Tensor, items: Tensor, pairs: Tensor) -> float:
        """One Adam step on a[items] for raw embeddings z [B, d], then remembers them; returns J before the step."""
        free = self.a[items].clone().requires_grad_(True)
        everything = self.a.to(z.dtype).index_put((items,), free)
        w = self._objective.weights(everything, self._y)
        old_z, old_w = self._queue.rows(w.detach())
        rows = by_own_deviation(z)
        weights = w[items]
        if old_w.numel():
            shared = isinstance(self._queue, Fifo)
            rows = by_own_deviation(torch.cat([z, old_z])) if shared else torch.cat([rows, old_z])
            weights = torch.cat([weights, old_w])
        u = random_features(rows, self._objective.features, self._rng)
        loss = self._objective.value(u, weights, pairs)
        (gradient,) = torch.autograd.grad(loss, [free])
        self.a.grad = torch.sparse_coo_tensor(items[None], gradient, self.a.shape, check_invariants=False)
        self._optimizer.step()  # type: ignore[no-untyped-call]
        self._queue.push(z.detach(), items, self.weights().to(z.dtype))
        return float(loss.detach())

    def weights(self) -> Tensor:
        """Current weights of all items [N]."""
        return self._objective.weights(self.a, self._y)

    def project(self) -> tuple[Tensor, bool]:
        """Brings a into the limits of the weights; float64 [N], and whether the ESS floor bound."""
        a, bound = self._objective.project(self.a, self._y)
        self.a.copy_(a)
        return a, bound
