"""Weighted graphs that GraphMI descends on: every pair in one dense matrix, or a set of candidate pairs.

Both hold a in [0, 1] with sum a <= b, and take the same step
    a <- P(a - eta (dCE/da + alpha a / |a|_2 + beta dsmooth/da)),
    smooth(a) = sum_{u<v} a_uv (n_u / d_u + n_v / d_v - 2 g_uv / sqrt(d_u d_v)),  n = |x|^2, g = x x', d = sum a + 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from attacks.layer_stack import LayerStack, Multiply, Rows, at_pairs
from attacks.privacy.attention import Attention
from attacks.privacy.neighbours import largest_products, pair_keys
from auditor.targets.device import CPU
from auditor.targets.relaxation import Relaxation

LEAST_DEGREE = 1e-3
HALVINGS = 40
ROWS = 256  # rows of a dense matrix handled at once: stays in cache
PAIRS = 65_536
MESSAGES = 100_000_000  # numbers that are sent along arcs at once


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What is minimised: cross-entropy at the nodes `at`, and the weights of the three terms.

    Attributes:
        y: labels, int64 [N]; only those at `at` are read.
        at: node ids, int64 [K].
        budget: b, the largest sum of a.
        eta: step size.
        alpha: weight of |a|_2.
        beta: weight of the feature smoothness.
    """

    y: Tensor
    at: Tensor
    budget: float
    eta: float
    alpha: float
    beta: float

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Mean CE over the nodes `at`."""
        return functional.cross_entropy(logits[self.at], self.y[self.at])


class SoftGraph(Protocol):
    """The state of one descent."""

    @property
    def is_empty(self) -> bool:
        """Whether a is 0 everywhere."""
        ...

    def step(self, *, smooth: bool) -> float:
        """One update in place; returns the cross-entropy before it."""
        ...

    def embeddings(self, *, first: bool = False) -> Tensor:
        """Embeddings on the present a, [N, d], no gradient."""
        ...


def project_(a: Tensor, budget: float, *, copies: int = 1) -> None:
    """In place: clip(a, 0, 1) if its sum is at most b, else clip(a - mu, 0, 1) with mu found by 40 halvings.

    `copies`: how often each pair is stored in `a` (2 in a symmetric matrix); the sum is taken once.
    """
    positive = a[a > 0]
    if float(positive.clamp(max=1).sum(dtype=torch.float64)) <= budget * copies:
        a.clamp_(0, 1)
        return
    low, high = float(a.min()) - 1, float(positive.max())
    for _ in range(HALVINGS):
        mu = (low + high) / 2
        if mu < 0 or float((positive - mu).clamp_(0, 1).sum(dtype=torch.float64)) > budget * copies:
            low = mu
            if low > 0:
                positive = positive[positive > low]  # the rest is 0 for every mu that is still possible
        else:
            high = mu
    a.sub_(high).clamp_(0, 1)


class DenseGraph:
    """Every pair, as a symmetric matrix: the reference. Memory 2 N² floats (a, and the features' inner products).

    For models that are a `LayerStack` only; the gradient over all pairs is applied as one matrix product.
    """

    def __init__(self, stack: LayerStack, x: Tensor, objective: Objective) -> None:
        self._stack, self._objective = stack, objective
        self._a = x.new_zeros(x.shape[0], x.shape[0])
        self._gram = x @ x.T if objective.beta > 0 else None

    @property
    def is_empty(self) -> bool:
        """Whether a is 0 everywhere."""
        return not bool(self._a.any())

    @property
    def matrix(self) -> Tensor:
        """The present a as a symmetric matrix, [N, N]."""
        return self._a.clone()

    def step(self, *, smooth: bool) -> float:
        """One update in place; returns the cross-entropy before it."""
        o, a = self._objective, self._a
        loss = o.cross_entropy(self._stack.logits(a.mm, a.sum(dim=1)))
        left, right = self._stack.pair_factors(loss)
        norm = float(a.norm()) / 2**0.5
        shrink = 1 - o.eta * o.alpha / norm if norm > 0 else 1.0
        if smooth and self._gram is not None:
            left, right = self._smooth_(self._gram, left, right, shrink)
        a.addmm_(left, right.T, beta=1.0 if smooth and self._gram is not None else shrink, alpha=-o.eta)
        a.fill_diagonal_(0)
        project_(a, o.budget, copies=2)
        return float(loss.detach())

    def embeddings(self, *, first: bool = False) -> Tensor:
        """Embeddings on the present a, [N, d]."""
        return self._stack.embeddings(self._a.mm, self._a.sum(dim=1), first=first)

    def _smooth_(self, gram: Tensor, left: Tensor, right: Tensor, shrink: float) -> tuple[Tensor, Tensor]:
        """Applies `shrink` and the pairwise part of the smoothness; returns the factors with its node part."""
        o, a = self._objective, self._a
        d = a.sum(dim=1) + LEAST_DEGREE
        scale = d.rsqrt()
        near = torch.empty_like(d)
        for start in range(0, a.shape[0], ROWS):
            rows = slice(start, start + ROWS)
            part, weighed = a[rows], gram[rows] * scale
            near[rows] = (part * weighed).sum(dim=1)
            part.mul_(shrink).addcmul_(weighed, scale[rows, None], value=2 * o.eta * o.beta)
        node = o.beta * _node_gradient(gram.diagonal(), near, d)
        ones = torch.ones_like(node)
        return (
            torch.cat([left, node[:, None], ones[:, None]], dim=1),
            torch.cat([right, ones[:, None], node[:, None]], dim=1),
        )


class CandidateGraph:
    """A set of pairs u < v with a weight each; O(M h) a step.

    The model is a `LayerStack` where it can be (sparse products, gradients read off thin factors), else any model
    behind a relaxation whose weight 0 means "absent", its attention watched where that tells of other pairs.
    """

    def __init__(self, model: LayerStack | Relaxation, x: Tensor, pairs: Tensor, objective: Objective) -> None:
        self._model, self._x, self._objective = model, x, objective
        self._square = (x * x).sum(dim=1)
        self._factors: tuple[Tensor, Tensor] | None = None
        self._attention = None if isinstance(model, LayerStack) else Attention.of(model)
        self._set(pairs, x.new_zeros(pairs.shape[1]))

    @property
    def is_empty(self) -> bool:
        """Whether a is 0 everywhere."""
        return not bool(self._a.any())

    @property
    def refills(self) -> bool:
        """Whether the model tells the gradient at pairs that are no candidates."""
        return isinstance(self._model, LayerStack) or self._attention is not None

    @property
    def pairs(self) -> Tensor:
        """The candidates, int64 [2, M]."""
        return self._pairs

    @property
    def weights(self) -> Tensor:
        """The present a, [M]."""
        return self._a.clone()

    def step(self, *, smooth: bool) -> float:
        """One update in place; returns the cross-entropy before it."""
        o, a = self._objective, self._a
        loss, gradient = self._cross_entropy_gradient()
        norm = float(a.norm())
        if norm > 0:
            gradient.add_(a, alpha=o.alpha / norm)
        if smooth and o.beta > 0:
            gradient.add_(self._smooth_gradient(), alpha=o.beta)
        a.sub_(gradient, alpha=o.eta)
        project_(a, o.budget)
        return loss

    def embeddings(self, *, first: bool = False) -> Tensor:
        """Embeddings on the present a, [N, d]."""
        if isinstance(self._model, LayerStack):
            return self._model.embeddings(self._product(), self._degrees(), first=first)
        with torch.no_grad():
            return self._model.embeddings(self._x, self._arcs, torch.cat([self._a, self._a]))

    def refill(self, k: int) -> None:
        """Keeps a > 0 and adds, per node, the k pairs whose gradient is most negative.

        Needs a model that `refills` and at least one step; does nothing without them.
        """
        factors = self._factors if self._attention is None else self._attention.pair_factors()
        if factors is None:
            return
        left, right = factors
        n, found = left.shape[0], largest_products(-left, right, k)
        kept = self._a > 0
        old = pair_keys(self._pairs[0, kept], self._pairs[1, kept], n)
        keys = torch.unique(torch.cat([found, old]))
        a = self._a.new_zeros(keys.shape[0])
        a[torch.searchsorted(keys, old)] = self._a[kept]
        self._set(torch.stack([keys // n, keys % n]), a)

    def _set(self, pairs: Tensor, a: Tensor) -> None:
        u, v = pairs[0], pairs[1]
        n = self._x.shape[0]
        self._pairs, self._a = pairs, a
        self._arcs = torch.stack([torch.cat([u, v]), torch.cat([v, u])])
        if pairs.device.type == CPU:
            order = torch.argsort(self._arcs[0] * n + self._arcs[1])
            self._pair_of = order % pairs.shape[1]  # of each arc, arcs in the order of their keys
            count = torch.bincount(self._arcs[0], minlength=n)
            self._starts, self._columns = (count.cumsum(dim=0) - count).int(), self._arcs[1, order].int()
        self._gram: Tensor | None = None

    def _degrees(self) -> Tensor:
        return self._a.new_zeros(self._x.shape[0]).index_add_(0, self._arcs[0], self._a.repeat(2))

    def _product(self) -> Multiply:
        """H -> A H: sparse rows on the CPU; elsewhere sums along the arcs, whose order is fixed there too."""
        if self._a.device.type != CPU:
            return partial(_along, self._arcs, self._a.repeat(2))
        return Rows(self._starts, self._columns, self._a.index_select(0, self._pair_of)).without_zeros().times

    def _cross_entropy_gradient(self) -> tuple[float, Tensor]:
        o = self._objective
        if isinstance(self._model, LayerStack):
            loss = o.cross_entropy(self._model.logits(self._product(), self._degrees()))
            left, right = self._factors = self._model.pair_factors(loss)
            return float(loss.detach()), at_pairs(left, right, self._pairs)
        a = self._a.clone().requires_grad_(True)
        loss = o.cross_entropy(self._model.logits(self._x, self._arcs, torch.cat([a, a])))
        if not loss.requires_grad:
            return float(loss), torch.zeros_like(self._a)
        (gradient,) = torch.autograd.grad(loss, a, allow_unused=True)
        return float(loss.detach()), torch.zeros_like(self._a) if gradient is None else gradient

    def _smooth_gradient(self) -> Tensor:
        if self._gram is None:
            self._gram = _inner_products(self._x, self._pairs)
        u, v = self._pairs[0], self._pairs[1]
        d = self._degrees() + LEAST_DEGREE
        scale = d.rsqrt()
        at_u, at_v = scale.index_select(0, u), scale.index_select(0, v)
        weighed = self._a * self._gram
        near = torch.zeros_like(d).index_add_(0, u, weighed * at_v).index_add_(0, v, weighed * at_u)
        node = _node_gradient(self._square, near, d)
        return node.index_select(0, u) + node.index_select(0, v) - 2 * self._gram * at_u * at_v


def _along(arcs: Tensor, weights: Tensor, h: Tensor) -> Tensor:
    """Sums of weight * H[v] at each u of the arcs (u, v), [N, d], in blocks of columns that bound the messages."""
    (to, source), size = arcs, max(1, MESSAGES // max(1, arcs.shape[1]))
    parts = torch.split(h.detach(), size, dim=1)
    sums = [torch.zeros_like(part).index_add_(0, to, weights[:, None] * part[source]) for part in parts]
    return torch.cat(sums, dim=1)


def _node_gradient(square: Tensor, near: Tensor, d: Tensor) -> Tensor:
    """Node part of dsmooth/da_uv: n_u / d_u, and what reaches a through d_u, with r_u = sum_v a_uv g_uv d_v^-1/2."""
    return square * LEAST_DEGREE / d**2 + near / d**1.5


def _inner_products(x: Tensor, pairs: Tensor) -> Tensor:
    """<x_u, x_v> at the pairs, [M]; sparse rows are multiplied as such."""
    if x.device.type != CPU or float((x != 0).float().mean()) > 0.1:
        size = max(1, 4_000_000 // x.shape[1])
        return torch.cat([(x[u] * x[v]).sum(dim=1) for u, v in torch.split(pairs, size, dim=1)])
    rows = csr_array(x.numpy())
    parts = [rows[u.numpy()].multiply(rows[v.numpy()]).sum(axis=1) for u, v in torch.split(pairs, PAIRS, dim=1)]
    return torch.from_numpy(np.concatenate([np.asarray(part).reshape(-1) for part in parts])).to(x.dtype)
