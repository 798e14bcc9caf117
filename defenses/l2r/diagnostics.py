"""What a set of weights did, as plain values: they single out items, so that their summary alone is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from defenses.l2r.dependence import dependence, random_features
from defenses.l2r.items import minority_weight
from defenses.l2r.objective import Objective, learn
from defenses.l2r.weights import effective_share

DRAWS = 50
NOTHING = 0.5


def permuted(z: Tensor, rng: torch.Generator) -> Tensor:
    """Every column of z [N, d] in an order of its own: the same marginals, no dependence."""
    return torch.stack([column[torch.randperm(z.shape[0], generator=rng)] for column in z.unbind(dim=1)], dim=1)


def dependence_on_fresh_draws(
    z: Tensor, weights: Mapping[str, Tensor | None], pairs: Tensor, objective: Objective, rng: torch.Generator
) -> dict[str, float]:
    """Mean D over 50 draws of features that no fit has seen, per named weight vector, the draws shared."""
    total = dict.fromkeys(weights, 0.0)
    for _ in range(DRAWS):
        u = random_features(z, objective.features, rng)
        for name, w in weights.items():
            total[name] += float(dependence(u, w, pairs, form=objective.form)) / DRAWS
    return total


def weight_notes(w: Tensor, y: Tensor, groups: Tensor | None) -> dict[str, Any]:
    """ESS / N, largest weight, drift of the class prior, and the mean weight of minority groups where known."""
    classes = int(y.max()) + 1
    before = torch.bincount(y, minlength=classes).double() / y.numel()
    after = torch.zeros(classes, dtype=torch.float64).scatter_add(0, y, w.double()) / w.double().sum()
    notes: dict[str, Any] = {
        "ess": round(effective_share(w), 6),
        "max_weight": round(float(w.max()), 6),
        "class_prior_drift": round(float((after - before).abs().max()), 9),
    }
    if groups is not None:
        share = minority_weight(w, groups)
        notes["minority_weight"] = None if share is None else round(share, 6)
    return notes


def dependence_notes(
    z: Tensor, w: Tensor, y: Tensor, pairs: Tensor, objective: Objective, *, steps: int, rng: torch.Generator
) -> dict[str, Any]:
    """D(w) / D(1) on fresh draws, beside the same optimiser on column-permuted z, and how much dependence there was.

    Noise decorrelates too, so that the ratio alone proves nothing. `d_permuted_share` is D(1, permuted) / D(1): above
    .5 there is nothing to decorrelate.

    Args:
        z: standardised embeddings [N, d].
        w: the weights [N].
        y: classes [N].
        pairs: bool [d, d].
        objective: what the weights were learned with.
        steps: how many steps they were learned in.
        rng: the only source of randomness.
    """
    shuffled = permuted(z, rng)
    a, _ = learn(replace(objective, gamma=0.0), shuffled, y, pairs, steps=steps, rng=rng)
    w_shuffled = objective.weights(a, y).to(z.dtype)
    real = dependence_on_fresh_draws(z, {"w": w.to(z.dtype), "1": None}, pairs, objective, rng)
    null = dependence_on_fresh_draws(shuffled, {"w": w_shuffled, "1": None}, pairs, objective, rng)
    floor = null["1"] / max(real["1"], 1e-30)
    return {
        "d_ratio": round(real["w"] / max(real["1"], 1e-30), 6),
        "d_ratio_permuted": round(null["w"] / max(null["1"], 1e-30), 6),
        "d_permuted_share": round(floor, 6),
        "nothing_to_decorrelate": floor > NOTHING,
    }
