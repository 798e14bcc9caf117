"""Item weights: a softmax inside each class, its effective sample size, and the limits it is kept in."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalise = Literal["class", "global"]


def softmax_weights(a: Tensor, y: Tensor, normalise: Normalise = "class") -> Tensor:
    """w_n = N_{y_n} * softmax of a over the items of class y_n; all positive, sum N, the mass of a class unchanged.

    Args:
        a: free parameters [N].
        y: classes, int64 [N]; for `normalise = "global"` unused, the softmax runs over all items (as in StableNet).
        normalise: `class` or `global`.
    """
    owner = y if normalise == "class" else torch.zeros_like(y)
    classes = int(owner.max()) + 1
    top = torch.full((classes,), -torch.inf, dtype=a.dtype).scatter_reduce(0, owner, a.detach(), "amax")
    e = torch.exp(a - top[owner])
    total = torch.zeros(classes, dtype=a.dtype).scatter_add(0, owner, e)
    count = torch.bincount(owner, minlength=classes).to(a.dtype)
    return (count / total)[owner] * e


def effective_share(w: Tensor) -> float:
    """ESS / N = (sum w)^2 / (N sum w^2), in (0, 1]."""
    w = w.double()
    return float(w.sum() ** 2 / (w.square().sum() * w.numel()))


def projected(
    a: Tensor, y: Tensor, *, normalise: Normalise, largest: float, floor: float | None
) -> tuple[Tensor, bool]:
    """Parameters whose weights are at most `largest` and whose ESS is at least `floor` * N, float64 [N]; did it bind?

    Weights are clipped inside each class and the rest of the class takes up what was cut. Then a is shrunk by a factor
    beta found by bisection: ESS falls monotonically in beta, and the largest weight with it.
    """
    a = a.detach().double()
    owner = y if normalise == "class" else torch.zeros_like(y)
    w = softmax_weights(a, owner)
    if bool((w > largest).any()):
        a = _clipped(w, owner, largest).log()
    if floor is None or effective_share(softmax_weights(a, owner)) >= floor:
        return a, False
    low, high = 0.0, 1.0
    for _ in range(60):
        beta = (low + high) / 2
        if effective_share(softmax_weights(beta * a, owner)) < floor:
            high = beta
        else:
            low = beta
    return low * a, True


def random_weights(y: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Log-normal weights inside each class with ESS = share * N, float64 [N]; variance inflation and nothing else.

    Args:
        y: classes, int64 [N].
        share: ESS / N to reach, in (0, 1]; where the draw cannot go as low, the lowest it can.
        rng: the only source of randomness.
    """
    a = torch.randn(y.shape[0], generator=rng, dtype=torch.float64)
    low, high = 0.0, 16.0
    for _ in range(60):
        scale = (low + high) / 2
        if effective_share(softmax_weights(scale * a, y)) < share:
            high = scale
        else:
            low = scale
    return softmax_weights(low * a, y)


def _clipped(w: Tensor, owner: Tensor, largest: float) -> Tensor:
    """Weights of at most `largest` with the same mass per class (a class of n items with n * largest >= its mass)."""
    w, at_cap = w.clone(), torch.zeros_like(w, dtype=torch.bool)
    classes = int(owner.max()) + 1
    mass = torch.zeros(classes, dtype=w.dtype).scatter_add(0, owner, w)
    while bool((w > largest * (1 + 1e-12)).any()):
        at_cap |= w > largest
        capped = torch.bincount(owner[at_cap], minlength=classes).to(w.dtype)
        free = torch.zeros(classes, dtype=w.dtype).scatter_add(0, owner, torch.where(at_cap, 0.0, w))
        w = torch.where(at_cap, largest, w * ((mass - largest * capped) / free.clamp_min(1e-300))[owner])
    return w
