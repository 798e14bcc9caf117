"""Edge-level DP by randomised response on every pair of nodes: `edge-rand`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator

from auditor.errors import ConfigError
from auditor.parameters import parameters
from defenses.dp.pairs import MAX_EDGES, Cells, num_cells, other_cells
from defenses.dp.released import ReleasesGraph

LEAST_FLIP = 2.0**-53  # the resolution of a random float in [0, 1)


@parameters
class EdgeRand(ReleasesGraph):
    """Flips every unordered pair with probability p = 1 / (1 + e^ε), then trains and serves on what came out.

    For owners whose edges are private and whose features and labels are not. Exactly ε-DP for one flipped pair. At
    small ε most released edges are noise: p · N(N-1)/2 of them.

    Attributes: see `ReleasesGraph`.

    Source: Mülle, Clifton and Böhm, "Privacy-integrated graph clustering through differential privacy", 2015; as the
    baseline EdgeRand in Wu et al., "LinkTeller", IEEE S&P 2022.
    """

    id: ClassVar[str] = "edge-rand"

    @model_validator(mode="after")
    def _flips(self) -> Self:
        if flip_probability(self.epsilon) < LEAST_FLIP:
            raise ValueError(
                f"epsilon={self.epsilon:g} cannot be used: it flips a pair with a probability below the resolution of "
                "random floats, so that the true graph would be released; expected at most 36"
            )
        return self

    def mechanism(self) -> Mapping[str, Any]:
        """The flip probability, which ε follows from."""
        return {"name": "EdgeRand", "flip_probability": flip_probability(self.epsilon)}

    def check_density(self, edges: int, num_nodes: int) -> None:
        """See `ReleasesGraph`: at most 5e7 edges expected."""
        total, p = num_cells(num_nodes), flip_probability(self.epsilon)
        expected = edges * (1 - p) + (total - edges) * p
        if expected <= MAX_EDGES:
            return
        fits = "No epsilon fits a graph of this size" if edges >= MAX_EDGES else _smallest(edges, total)
        raise ConfigError(
            f"edge-rand: epsilon = {self.epsilon:g} would release {expected:.2g} edges on {num_nodes} nodes; expected "
            f"at most {MAX_EDGES:.0e}. {fits}; lap-graph releases as many edges as there are, gap none."
        )

    def draw(self, edges: Cells, num_nodes: int, rng: np.random.Generator, noise_scale: float) -> Cells:
        """See `ReleasesGraph`; `noise_scale` multiplies p. Time and memory O(edges + noise edges)."""
        p, total = noise_scale * flip_probability(self.epsilon), num_cells(num_nodes)
        kept = edges[rng.random(edges.size) >= p]
        added = int(rng.binomial(total - edges.size, p))
        return np.concatenate([kept, other_cells(added, total, edges, rng)])


def flip_probability(epsilon: float) -> float:
    """Of one pair: 1 / (1 + e^ε)."""
    return math.exp(-epsilon) / (1 + math.exp(-epsilon))


def _smallest(edges: int, total: int) -> str:
    """The smallest ε whose expected number of edges is within the limit, rounded up to .01."""
    p = (MAX_EDGES - edges) / (total - 2 * edges)
    return f"The smallest epsilon that fits is {math.ceil(100 * math.log((1 - p) / p)) / 100:.2f}"
