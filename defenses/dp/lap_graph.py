"""Edge-level DP by Laplace noise on every cell of the adjacency matrix, the largest kept: `lap-graph`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.errors import ConfigError
from auditor.parameters import parameters
from defenses.dp.pairs import MAX_EDGES, Cells, num_cells, other_cells
from defenses.dp.released import ReleasesGraph

COUNT_SHARE = 0.01
MARGIN = 8.0


@parameters
class LapGraph(ReleasesGraph):
    """Releases the number of edges with 1 % of ε, then the T largest of all pairs plus Laplace noise with the rest.

    As dense as the true graph, unlike `edge-rand`. At small ε nearly every kept cell is noise: the model is then
    useless, which hides the edges and defends nothing.

    Attributes: see `ReleasesGraph`.

    Source: LapGraph in Wu et al., "LinkTeller", IEEE S&P 2022 (1 % of ε for the count, as published there).
    """

    id: ClassVar[str] = "lap-graph"

    def mechanism(self) -> Mapping[str, Any]:
        """Both parts of ε."""
        count, cells = self._parts
        return {"name": "LapGraph", "epsilon_count": count, "epsilon_cells": cells}

    def check_density(self, edges: int, num_nodes: int) -> None:
        """See `ReleasesGraph`: at most 5e7 edges, the deviation of their noisy number included."""
        noisy = min(edges + MARGIN / self._parts[0], num_cells(num_nodes))
        if noisy > MAX_EDGES:
            raise ConfigError(
                f"lap-graph: {edges} edges at epsilon = {self.epsilon:g} would release up to {noisy:.2g}; expected at "
                f"most {MAX_EDGES:.0e}. Raise epsilon, or use gap, which releases sums and no edges."
            )

    def draw(self, edges: Cells, num_nodes: int, rng: np.random.Generator, noise_scale: float) -> Cells:
        """See `ReleasesGraph`; `noise_scale` multiplies both scales. Time and memory O(edges + T)."""
        by_count, by_cell = (noise_scale / part for part in self._parts)
        total = num_cells(num_nodes)
        noisy = round(edges.size + by_count * float(rng.laplace()))
        wanted = max(min(noisy, total, MAX_EDGES), min(1, total))
        return largest_cells(edges, total, wanted, by_cell, rng)

    @property
    def _parts(self) -> tuple[float, float]:
        return COUNT_SHARE * self.epsilon, (1 - COUNT_SHARE) * self.epsilon


def largest_cells(
    edges: Cells, total: int, wanted: int, scale: float, rng: np.random.Generator, *, margin: float = MARGIN
) -> Cells:
    """The `wanted` cells with the largest 1[edge] + Lap(scale) among `total`, drawn without visiting them all.

    Non-edges are drawn from the top: those whose upper-tail probability U is at most s are Binomial(others, s) many,
    with U uniform below s. Should they be too few together with the edges, the remaining ones have U in (s, s'] with
    probability (s' - s) / (1 - s), and so on down to s = 1: exact at any number of rounds.

    Args:
        edges: sorted and distinct.
        total: P.
        wanted: T in [0, P].
        scale: of the Laplace noise, >= 0.
        rng: the noise.
        margin: standard deviations by which the first round is to exceed T.

    Returns:
        int64 [T], distinct, in no order.
    """
    others = total - edges.size
    of_edges = 1 + scale * rng.laplace(size=edges.size)
    upper = np.empty(0)
    reach, aim = 0.0, wanted + margin * math.sqrt(wanted)
    while True:
        nearer, reach = reach, min(1.0, max(aim, 1.0) / max(others, 1))
        more = int(rng.binomial(others - upper.size, min(1.0, (reach - nearer) / (1 - nearer))))
        upper = np.concatenate([upper, nearer + (reach - nearer) * rng.random(more)])
        enumerated = int((of_edges >= scale * _laplace_quantile(np.array([reach]))[0]).sum()) + upper.size
        if enumerated >= wanted or reach >= 1:
            break
        aim *= 2
    values = np.concatenate([of_edges, scale * _laplace_quantile(upper)])
    top = np.argpartition(-values, wanted - 1)[:wanted] if 0 < wanted < values.size else np.arange(values.size)[:wanted]
    noise = int((top >= edges.size).sum())
    return np.concatenate([edges[top[top < edges.size]], other_cells(noise, total, edges, rng)])


def _laplace_quantile(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x with P[Lap(1) > x] = upper."""
    upper = np.clip(upper, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)  # finite at both ends
    return np.asarray(stats.laplace.isf(upper))
