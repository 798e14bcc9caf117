"""Keeps relaxed flips inside their budget, and turns them into a set of flips."""

from __future__ import annotations

import torch
from torch import Tensor

BISECTIONS = 50
ALTERNATIONS = 10
MANY = 100_000
"""Values from which those that add nothing to a sum any more are left out of it; fewer are added up as they stand."""


def project(values: Tensor, budget: float) -> Tensor:
    """clip(v - mu, 0, 1) with the smallest mu >= 0 whose sum is at most `budget`, float [K].

    The Euclidean projection on {w in [0, 1]^K, sum w <= budget}; mu by bisection.
    """
    clipped = values.clamp(0, 1)
    if float(clipped.sum()) <= budget:
        return clipped
    lo, hi, counted = 0.0, float(values.max()), values
    for _ in range(BISECTIONS):
        middle = (lo + hi) / 2
        if float((counted - middle).clamp(0, 1).sum()) > budget:
            lo = middle
            if counted.numel() > MANY:
                counted = counted[counted > lo]
        else:
            hi = middle
    return (values - hi).clamp(0, 1)


def project_with_caps(values: Tensor, budget: float, u: Tensor, v: Tensor, caps: Tensor) -> Tensor:
    """Alternates between the budget and a cap on the sum of w at each node; ends with the caps, so that both hold.

    Args:
        values: float [K].
        budget: largest sum.
        u: one end of each pair, int64 [K].
        v: the other end.
        caps: largest sum at each node, [N].
    """
    w = values.clamp(0, 1)
    for _ in range(ALTERNATIONS):
        w = project(w, budget)
        total = torch.zeros(caps.numel(), dtype=w.dtype).index_add(0, u, w).index_add(0, v, w)
        scale = (caps.to(w.dtype) / total.clamp_min(1e-12)).clamp_max(1.0)
        w = w * torch.minimum(scale[u], scale[v])
    return w
