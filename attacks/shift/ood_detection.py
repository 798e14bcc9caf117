"""Data that is unlike what the model knows: other edges, or other features, on the same nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from attacks.shift.edge_edits import block_edges, count_edges, redraw_edges
from attacks.shift.feature_edits import interpolate_features, permute_features
from auditor.data.graph import Graph
from auditor.evaluate.links.rewiring import SWAPS_PER_EDGE, rewired_graph
from auditor.outcomes import Edits, ShiftedSet, ShiftOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View

SetName = Literal["sbm", "sbm-matched", "feature-interpolation", "feature-permutation", "rewired", "er"]
DENSE = 0.3
"""Density from which the pairs of a block model would have to be listed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to make such data.

    Attributes:
        edits: what is made anew.
        make: the graph, from the graph, the number of classes and a generator; and what is said of it.
        keeps: see `ShiftedSet`.
        nodes_only: whether it is for one graph.
    """

    edits: Edits
    make: Callable[[Graph, int, np.random.Generator], tuple[Graph, dict[str, float]]]
    keeps: Literal["", "degrees", "edges"] = ""
    nodes_only: bool = False


def _rewired(graph: Graph, _classes: int, rng: np.random.Generator) -> tuple[Graph, dict[str, float]]:
    made, swapped = rewired_graph(graph, rng=rng)
    wanted = SWAPS_PER_EDGE * swapped.pairs.shape[1]
    short = {"swaps_missing": float(wanted - swapped.swaps)} if swapped.swaps < wanted else {}
    return made, {"overlap": swapped.overlap, **short}


KINDS: dict[SetName, Kind] = {
    "sbm": Kind("edges", lambda g, c, rng: (block_edges(g, c, rng, matched=False), {}), nodes_only=True),
    "sbm-matched": Kind("edges", lambda g, c, rng: (block_edges(g, c, rng, matched=True), {}), nodes_only=True),
    "feature-interpolation": Kind("features", lambda g, _, rng: (replace(g, x=interpolate_features(g, rng)), {})),
    "feature-permutation": Kind("features", lambda g, _, rng: (replace(g, x=permute_features(g, rng)), {})),
    "rewired": Kind("edges", _rewired, "degrees"),
    "er": Kind("edges", lambda g, _, rng: (redraw_edges(g, rng), {}), "edges"),
}


@parameters
class OodDetection:
    """Block models, random edges of equal degrees or number, interpolated and permuted features.

    Of one graph all nodes are such data; of many graphs the test graphs, each by itself.

    Attributes:
        sets: what to make.
        draws: random draws of each; 0: 1 in the quick profile, else 3.
    """

    sets: tuple[SetName, ...] = tuple(KINDS)
    draws: Annotated[int, Field(ge=0)] = 0

    def run(self, view: View, attempt: Attempt) -> ShiftOutcome:
        """The sets, made one at a time while they are read; equal however often they are read."""
        graph, ids = view.graph, None
        if graph.batch is not None:
            chosen = torch.zeros(graph.num_items, dtype=torch.bool)
            chosen[view.items] = True
            ids = torch.nonzero(chosen[graph.batch]).flatten()
            graph = graph.induced(ids)
        items = torch.arange(graph.num_nodes) if graph.batch is None else view.items
        skipped: dict[str, str] = {name: reason for name in self.sets if (reason := _obstacle(graph, name))}
        names = [name for name in self.sets if name not in skipped]
        draws = self.draws or (1 if attempt.profile == "quick" else 3)
        made = _Sets(
            graph, ids, items, view.num_classes, tuple(names), draws, int(attempt.rng.integers(2**62)), attempt
        )
        return ShiftOutcome(sets=made, skipped=skipped, notes={"draws": draws})


def _obstacle(graph: Graph, name: SetName) -> str:
    """Why a set cannot be made, or nothing."""
    kind = KINDS[name]
    if kind.nodes_only and graph.batch is not None:
        return "blocks are of the nodes of one graph; this target classifies graphs"
    if kind.edits == "edges" and not count_edges(graph):
        return "the graph has no edges"
    pairs = graph.num_nodes * (graph.num_nodes - 1) / 2
    if kind.nodes_only and count_edges(graph) > DENSE * pairs:
        return f"the graph is too dense for blocks ({count_edges(graph)} edges)"
    if kind.edits == "features" and not bool((graph.x != graph.x[:1]).any()):
        return "every node has the same features"
    if name == "feature-interpolation" and graph.whole_x:
        return "the features are whole numbers, ids or categories: nothing lies between them"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class _Sets:
    """Every set, each from its own seed: reading them twice, or in part, changes nothing."""

    graph: Graph
    node_ids: Tensor | None
    items: Tensor
    classes: int
    names: tuple[SetName, ...]
    draws: int
    seed: int
    attempt: Attempt

    def __iter__(self) -> Iterator[ShiftedSet]:
        for number, name in enumerate(self.names):
            self.attempt.tick(number / len(self.names), name)
            for draw in range(self.draws):
                kind = KINDS[name]
                made, notes = kind.make(
                    self.graph, self.classes, np.random.default_rng([self.seed, *name.encode(), draw])
                )
                yield ShiftedSet(
                    name=name,
                    severity="",
                    draw=draw,
                    items=self.items,
                    edits=kind.edits,
                    graph=made,
                    node_ids=self.node_ids,
                    labels="undefined",
                    keeps=kind.keeps,
                    notes=notes,
                )
