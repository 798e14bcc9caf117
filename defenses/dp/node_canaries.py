"""Canaries of `dp-node`: nodes that move as much of the noisy sum as one node can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from defenses.dp.steps import add_noise, clipped_sum


def blanked_canary_sums(
    included: Tensor,
    draw: Callable[[], Tensor],
    *,
    roots: int,
    terms: int,
    steps: int,
    clip: float,
    std: float,
    rng: np.random.Generator,
) -> Tensor:
    """The noisy sums of all steps, added up, of m nodes that are blanked where they are not included.

    Canary j is in the terms of M roots, its own among them. Included, each of these has the gradient 4C·e_j, which
    clips to C·e_j. Blanked (relation `zero-out`: the record stays, emptied), its own term is 0, and the M − 1 others,
    which belong to other nodes, turn to −C·e_j: the most that clipping lets one node move, and what the factor 2 of
    the noise 2·M·C is for. Only ⌊N / M⌋ such nodes fit among N roots; more of them are spread over independent data
    sets of N roots. Each is a mechanism of its own and no canary is in two, so that (ε, δ) holds for every bit.

    Args:
        included: bool [m].
        draw: the roots of one step, as places 0..N − 1.
        roots: N.
        terms: M.
        steps: T.
        clip: C.
        std: of the noise on each coordinate of the sum.
        rng: of the noise.

    Returns:
        float64 [m].
    """
    totals = []
    for part in torch.split(
        included, roots // terms
    ):  # root i is in the term of canary i // M, its own where i % M = 0
        size = part.shape[0]
        total = torch.zeros(size, dtype=torch.float64)
        for _ in range(steps):
            ids = draw()
            ids = ids[ids < size * terms]
            canary = ids // terms
            blanked = torch.where(ids % terms == 0, 0.0, -1.0)
            rows = torch.zeros(ids.shape[0], size)
            rows[torch.arange(ids.shape[0]), canary] = 4 * clip * torch.where(part[canary], 1.0, blanked)
            total += add_noise(clipped_sum([rows], clip), std, rng)[0]
        totals.append(total)
    return torch.cat(totals)
