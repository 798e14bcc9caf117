"""The objective of the weights, and the optimiser that learns them on frozen embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from defenses.l2r.dependence import Form, dependence, random_features
from defenses.l2r.weights import Normalise, projected, softmax_weights

EXACT_LIMIT = 20_000_000
"""N * d * K up to which all items are seen at once: 80 MB of float32."""


@dataclass(frozen=True, slots=True)
class Objective:
    """J(a) = D(w) / D(1) + lam (N / ESS - 1) + gamma / N sum_n w_n g_n, and the limits of w.

    Attributes:
        lam: price of variance, > 0.
        features: K, random features per dimension.
        normalise: `class` keeps each class's mass; `global` does not.
        form: see `dependence`.
        floor: least ESS / N, in (0, 1); None switches it off.
        largest: largest weight.
        lr: of Adam on a.
        gamma: weight of the validation term.
    """

    lam: float = 0.3
    features: int = 3
    normalise: Normalise = "class"
    form: Form = "covariance"
    floor: float | None = 0.5
    largest: float = 10.0
    lr: float = 0.1
    gamma: float = 0.0

    def value(self, u: Tensor, w: Tensor, pairs: Tensor, g: Tensor | None = None) -> Tensor:
        """J on one draw of features: both D share the draw, otherwise their ratio is noise.

        Args:
            u: random features [n, d, K] of the rows seen.
            w: their weights [n].
            pairs: see `dependence`.
            g: validation scores [n], or None.
        """
        ratio = dependence(u, w, pairs, form=self.form) / dependence(u, None, pairs).clamp_min(1e-30)
        variance = w.shape[0] * w.square().sum() / w.sum().square() - 1
        total = ratio + self.lam * variance
        return total if g is None else total + self.gamma * (w * g).mean()

    def weights(self, a: Tensor, y: Tensor) -> Tensor:
        """The weights behind a, in its dtype."""
        return softmax_weights(a, y, self.normalise)

    def project(self, a: Tensor, y: Tensor) -> tuple[Tensor, bool]:
        """See `weights.projected`."""
        return projected(a, y, normalise=self.normalise, largest=self.largest, floor=self.floor)


def learn(
    objective: Objective,
    z: Tensor,
    y: Tensor,
    pairs: Tensor,
    *,
    steps: int,
    rng: torch.Generator,
    a: Tensor | None = None,
    g: Tensor | None = None,
) -> tuple[Tensor, bool]:
    """Parameters a after `steps` Adam steps with fresh features each, then projected: float64 [N]; did the floor bind?

    Args:
        objective: what is minimised.
        z: standardised embeddings [N, d].
        y: classes, int64 [N].
        pairs: bool [d, d], which pairs of dimensions are decorrelated.
        steps: number of steps.
        rng: the only source of randomness.
        a: where to start, [N]; zeros, that is equal weights, by default.
        g: validation scores [N].
    """
    free = (torch.zeros(z.shape[0]) if a is None else a).to(z.dtype).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([free], lr=objective.lr)
    for _ in range(steps):
        optimizer.zero_grad()
        u = random_features(z, objective.features, rng)
        objective.value(u, objective.weights(free, y), pairs, g).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return objective.project(free, y)


def index_batches(n: int, batch_size: int, steps: int, rng: torch.Generator) -> Iterator[Tensor]:
    """At least `steps` batches of full size in whole passes over n shuffled items; a short last batch is skipped."""
    per_pass = max(1, n // batch_size)
    for _ in range(math.ceil(steps / per_pass)):
        order = torch.randperm(n, generator=rng)
        for i in range(per_pass):
            yield order[i * batch_size : (i + 1) * batch_size]
