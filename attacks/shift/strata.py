"""Strata of today's test items by properties that need no test label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from attacks.shift.properties import graph_properties, node_properties
from auditor.data.columns import item_column
from auditor.data.graph import Graph
from auditor.errors import ConfigError
from auditor.outcomes import ShiftedSet, ShiftOutcome
from auditor.parameters import build, meant_for, parameters
from auditor.probe import Attempt
from auditor.targets.target import Target
from auditor.view import View

Floats = NDArray[np.float64]
MIN_BIN = 30
DEGREES = ("degree", "in-degree", "out-degree")
DEGREE_CUTS = (1.0, 3.0, 7.0)
OWN = (*DEGREES, "pagerank", "personalised-pagerank", "hops-to-train", "clustering", "nodes", "mean-degree", "density")
"""Names of the properties that are cut by without being named."""
TRUE = ("class", "homophily")
"""Those that the evaluation cuts by the truth."""
MOST_VALUES = 10
"""Different values of a column up to which each is a bin of its own."""
RELATIVE = frozenset({"personalised-pagerank", "hops-to-train"})


@parameters
class Strata:
    """Cuts the test items by degree, PageRank, distance to training nodes, clustering (nodes); size, density (graphs).

    Degrees have fixed bins (≤1, 2–3, 4–7, ≥8) so that graphs can be compared; other properties have `bins` quantile
    bins of the *test* items. A bin below 30 items joins its smaller neighbour, and a property with one bin left is
    skipped. Class and homophily need the truth: the evaluation cuts them.

    Attributes:
        bins: quantile bins per property.
        columns: fields of the nodes (of many graphs: of the graphs) to cut by as well; one with at most 10 different
            values is cut into these.
    """

    bins: Annotated[int, Field(ge=2)] = 4
    columns: tuple[str, ...] = ()

    def run(self, view: View, attempt: Attempt) -> ShiftOutcome:
        """Strata by property and bin, and the value of every property for all items."""
        items = view.items
        properties = self._properties(view.graph, view.train_mask)
        sets: list[ShiftedSet] = []
        skipped: dict[str, str] = {}
        for number, (name, values) in enumerate(properties.items()):
            attempt.tick(number / len(properties), name)
            here, is_degree = values[items.numpy()], name in DEGREES
            fixed = bin_index(here, np.array(DEGREE_CUTS) if is_degree else self._cuts(name, here))
            index = join_small(fixed, MIN_BIN)
            if len(np.unique(index)) < 2:
                skipped[name] = f"the {len(items)} test items do not fill two bins of {MIN_BIN}"
                continue
            for b in np.unique(index):
                chosen = index == b
                sets.append(
                    ShiftedSet(
                        name=name,
                        severity=degree_name(fixed[chosen]) if is_degree else bin_name(here[chosen]),
                        draw=0,
                        items=items[torch.from_numpy(chosen)],
                    )
                )
        return ShiftOutcome(
            sets=tuple(sets),
            properties={name: torch.from_numpy(values) for name, values in properties.items()},
            relative=RELATIVE & properties.keys(),
            skipped=skipped,
        )

    def _properties(self, graph: Graph, train: Tensor) -> Mapping[str, Floats]:
        found = node_properties(graph, train) if graph.task.level == "node" else graph_properties(graph)
        named = {name: item_column(graph, name, option="columns").numpy() for name in self.columns}
        return {**found, **named}

    def _cuts(self, name: str, here: Floats) -> Floats:
        """Inner cut points of a property."""
        values = np.unique(here)
        return values[:-1] if name in self.columns and len(values) <= MOST_VALUES else quantile_cuts(here, self.bins)


def check_columns(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether the test items can be cut by the columns that the user named, before anything runs.

    Raises:
        ConfigError: there is no such column, it has not one finite number an item, or it is called as a property is.
    """
    for name in build(Strata, meant_for(Strata, params), owner=owner).columns:
        if name in (*OWN, *TRUE):
            raise ConfigError(f"columns={name} is the name of a property; expected another one. Rename the field.")
        item_column(target.graph, name, option="columns")


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
