"""Strata of today's test items by properties that need no test label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.shift.properties import graph_properties, node_properties
from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.probe import AttackTask, ShiftedSet, ShiftOutcome
from auditor.targets.target import Capability
from auditor.view import Access, View

Floats = NDArray[np.float64]
MIN_ITEMS = 60
MIN_BIN = 30
DEGREE_CUTS = (1.0, 3.0, 7.0)
# Measured from the training items themselves: how train and test differ in them says nothing.
RELATIVE_TO_TRAINING = ("personalised-pagerank", "hops-to-train")


@dataclass(frozen=True, slots=True)
class Strata:
    """Cuts the test items by degree, PageRank, distance to training nodes, clustering (nodes); size, density (graphs).

    Degree has fixed bins (≤1, 2–3, 4–7, ≥8) so that graphs can be compared; other properties have `bins` quantile bins
    of the *test* items. A bin below 30 items joins its smaller neighbour. Class and homophily need the truth: the
    evaluation cuts them.

    Attributes:
        bins: quantile bins per property.
    """

    id: ClassVar[str] = "strata"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.LABELS})
    access: ClassVar[frozenset[Access]] = frozenset({Access.GRAPH})
    bins: int = 4

    def run(self, view: View, task: AttackTask) -> ShiftOutcome:
        """Strata by property and bin, and the value of every property for all items."""
        items = view.items
        if len(items) < MIN_ITEMS:
            raise SkippedError(f"{len(items)} test items; strata need at least {MIN_ITEMS}")
        properties = self._properties(view.graph, view.train_mask)
        sets: list[ShiftedSet] = []
        skipped: dict[str, str] = {}
        for number, (name, values) in enumerate(properties.items()):
            task.tick(number / len(properties), name)
            here = values[items.numpy()]
            fixed = bin_index(here, np.array(DEGREE_CUTS) if name == "degree" else quantile_cuts(here, self.bins))
            index = join_small(fixed, MIN_BIN)
            if len(np.unique(index)) < 2:
                skipped[name] = f"all {len(items)} test items fall into one bin"
                continue
            for b in np.unique(index):
                chosen = index == b
                sets.append(
                    ShiftedSet(
                        name=name,
                        severity=degree_name(fixed[chosen]) if name == "degree" else bin_name(here[chosen]),
                        draw=0,
                        items=items[torch.from_numpy(chosen)],
                        paired=False,
                    )
                )
        return ShiftOutcome(
            sets=tuple(sets),
            properties={name: torch.from_numpy(values) for name, values in properties.items()},
            notes={"skipped": skipped, "relative_to_training": [n for n in RELATIVE_TO_TRAINING if n in properties]},
        )

    def _properties(self, graph: Graph, train: Tensor) -> Mapping[str, Floats]:
        return node_properties(graph, train) if graph.task == "node" else graph_properties(graph)


def quantile_cuts(values: Floats, bins: int) -> Floats:
    """Inner cut points of `bins` quantile bins over the finite values, equal ones merged, [<= bins − 1]."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return np.empty(0)
    return np.unique(np.quantile(finite, np.arange(1, bins) / bins, method="lower"))


def bin_index(values: Floats, cuts: Floats) -> NDArray[np.int64]:
    """Bin of each value, (cut[k−1], cut[k]]; what is unreachable (inf) is a bin of its own, the last."""
    index = np.searchsorted(cuts, values, side="left")
    return np.where(np.isinf(values), len(cuts) + 1, index).astype(np.int64)


def join_small(index: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Bins below `least` items join their smaller neighbour, the smallest first, until none is left or one remains."""
    index = np.unique(index, return_inverse=True)[1].astype(np.int64)
    while True:
        sizes = np.bincount(index)
        small = int(sizes.argmin())
        if len(sizes) == 1 or sizes[small] >= least:
            return index
        beside = [b for b in (small - 1, small + 1) if 0 <= b < len(sizes)]
        into = min(beside, key=lambda b: int(sizes[b]))
        index = np.where(index == small, into, index)
        index = np.unique(index, return_inverse=True)[1].astype(np.int64)


def degree_name(bins: NDArray[np.int64]) -> str:
    """`≤1`, `2–3`, `4–7`, `≥8`, or the span of what was joined: the same words for every graph."""
    low, high = int(bins.min()), int(bins.max())
    if high == len(DEGREE_CUTS):
        return f"≥{int(DEGREE_CUTS[low - 1]) + 1}"
    top = int(DEGREE_CUTS[high])
    return f"≤{top}" if low == 0 else f"{int(DEGREE_CUTS[low - 1]) + 1}–{top}"


def bin_name(values: Floats) -> str:
    """`12–40`, `0.12–0.4`, `≥2 or unreachable` where it reaches infinity, `unreachable` where nothing else is in it."""
    lo, hi = float(values.min()), float(values.max())
    if np.isinf(lo):
        return "unreachable"
    if np.isinf(hi):
        return f"≥{lo:.4g} or unreachable"
    return f"{lo:.4g}" if lo == hi else f"{lo:.4g}–{hi:.4g}"
