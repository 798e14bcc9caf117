"""How nodes that are attacked one by one are chosen: at random, by margin, by degree. See docs/methods/other-edits.md.

Only nodes drawn at random stand for the others; the two protocols of papers are there to be compared with papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditor.registry import Profile

Protocol = Literal["uniform", "margin40", "degree120"]
PROTOCOLS: Mapping[Profile, tuple[Protocol, ...]] = {
    "quick": ("uniform",),
    "standard": ("uniform", "margin40", "degree120"),
    "full": ("uniform", "margin40", "degree120"),
}
UNIFORM: Mapping[Profile, int] = {"quick": 40, "standard": 100, "full": 100}
STRATA = ((1, 1), (2, 2), (3, 3), (5, 5), (8, 10), (15, 25))
PER_STRATUM = 20
HIGHEST = LOWEST = 10
BETWEEN = 20


def drawn(
    protocol: Protocol, nodes: Tensor, margins: Tensor, degrees: Tensor, count: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Attacked nodes by the name of their group, int64 ascending each; a group without a node is left out.

    Args:
        protocol: `uniform`: `count` at random. `margin40`: 10 of highest margin, 10 of lowest, 20 random others.
            `degree120`: 20 of each degree 1, 2, 3, 5, 8–10, 15–25, never filled up from another one.
        nodes: that are classified right, int64 [n].
        margins: of them, [n].
        degrees: of them, int64 [n].
        count: of `uniform`.
        rng: the only source of randomness.

    Source: Zügner et al., "Adversarial Attacks on Neural Networks for Graph Data", KDD 2018 (margins); the code of
    Mujkanovic et al., "Are Defenses for Graph Neural Networks Robust?", NeurIPS 2022 (degrees).
    """

    def some(places: Tensor, most: int) -> Tensor:
        return places[torch.from_numpy(rng.permutation(places.numel())[:most])]

    everyone = torch.arange(nodes.numel())
    if protocol == "uniform":
        groups = {"uniform": some(everyone, count)}
    elif protocol == "margin40":
        order = torch.argsort(margins, descending=True, stable=True)
        low = max(order.numel() - LOWEST, min(HIGHEST, order.numel()))
        groups = {"margin40": torch.cat([order[:HIGHEST], order[low:], some(order[HIGHEST:low], BETWEEN)])}
    else:
        groups = {
            f"degree={a}" + (f"-{b}" if b > a else ""): some(everyone[(degrees >= a) & (degrees <= b)], PER_STRATUM)
            for a, b in STRATA
        }
    return {name: torch.sort(nodes[places]).values for name, places in groups.items() if places.numel()}
