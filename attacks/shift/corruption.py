"""Blind corruption of the inference graph: a later snapshot of it, at three severities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from attacks.shift.edge_edits import add_edges, count_edges, drop_edges, non_edges
from attacks.shift.edit import Edit
from attacks.shift.feature_edits import add_noise, mask_features, noise_sigma
from attacks.shift.node_edits import crop_graphs, drop_nodes
from auditor.data.graph import Graph
from auditor.outcomes import Edits, Labels, ShiftedSet, ShiftOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View

KindName = Literal["edge-drop", "edge-add", "feature-mask", "feature-noise", "node-drop", "crop"]


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """What is corrupted: the whole graph, or of many graphs the test graphs.

    Attributes:
        graph: as it is.
        node_ids: of its nodes in the target's graph, int64 [N]; None for all.
        items: what is evaluated.
        protected: nodes that stay, bool [N].
        sigma: unit of the noise, [1] or [F].
        seen: features of the training nodes, [M, F].
    """

    graph: Graph
    node_ids: Tensor | None
    items: Tensor
    protected: Tensor
    sigma: Tensor
    seen: Tensor

    @classmethod
    def of(cls, view: View) -> Whole:
        """Of what the attack sees."""
        graph, items = view.graph, view.items
        if graph.batch is None:
            protected = torch.zeros(graph.num_nodes, dtype=torch.bool)
            protected[items] = True
            seen = graph.x[view.train_mask]
            return cls(graph, None, items, protected, noise_sigma(graph, view.train_mask), seen)
        chosen = torch.zeros(graph.num_items, dtype=torch.bool)
        chosen[items] = True
        ids = torch.nonzero(chosen[graph.batch]).flatten()
        trained = view.train_mask[graph.batch]
        protected = torch.zeros(len(ids), dtype=torch.bool)
        return cls(graph.induced(ids), ids, items, protected, noise_sigma(graph, trained), graph.x[trained])


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of corruption.

    Attributes:
        edits: what it edits.
        severities: its own, mildest first.
        edit: the corrupted graph at one severity.
        obstacle: why it cannot be done up to a severity, or nothing.
        nothing: the severity at which nothing may change.
        most: the largest severity.
        labels: whether they still hold.
    """

    edits: Edits
    severities: tuple[float, ...]
    edit: Callable[[Whole, float, np.random.Generator], Edit]
    obstacle: Callable[[Whole, float], str]
    nothing: float = 0.0
    most: float = 1.0
    labels: Labels = "kept"


def _no_edges(on: Whole, _worst: float) -> str:
    return "" if count_edges(on.graph) else "the graph has no edges"


def _no_room(on: Whole, worst: float) -> str:
    free, want = non_edges(on.graph), worst * count_edges(on.graph)
    return f"{free} non-edges, fewer than the {want:.0f} edges to add" if free < want else _no_edges(on, worst)


def _no_features(on: Whole, _worst: float) -> str:
    if not on.graph.num_features:
        return "the graph has no features"
    return "" if on.graph.whole_x or on.graph.x.any() else "every feature is zero"


def _no_unit(on: Whole, _worst: float) -> str:
    if on.graph.whole_x:
        return "the features are whole numbers, ids or categories: noise on them means nothing"
    return "" if on.sigma.any() else "the features do not vary, so that noise has no unit"


def _no_free_nodes(on: Whole, worst: float) -> str:
    free, want = int((~on.protected).sum()), worst * on.graph.num_nodes
    few = on.graph.batch is None and free < want  # of many graphs, each keeps a node
    if reason := _named(on):
        return reason
    return f"{free} nodes outside the evaluated items, fewer than the {want:.0f} to remove" if few else ""


def _one_graph(on: Whole, _worst: float) -> str:
    if on.graph.batch is None:
        return "crops are of whole graphs; this target classifies nodes"
    return _named(on)


def _named(on: Whole) -> str:
    """Fields that name nodes which could be removed, or nothing."""
    held = on.graph.fields.held
    return f"the model reads nodes by their ids in {', '.join(held)}, and they could be removed" if held else ""


KINDS: dict[KindName, Kind] = {
    "edge-drop": Kind("edges", (0.1, 0.3, 0.5), lambda on, *by: drop_edges(on.graph, *by), _no_edges),
    "edge-add": Kind("edges", (0.1, 0.3, 0.5), lambda on, *by: add_edges(on.graph, *by), _no_room),
    "feature-mask": Kind(
        "features", (0.1, 0.3, 0.5), lambda on, *by: mask_features(on.graph, *by, seen=on.seen), _no_features
    ),
    "feature-noise": Kind(
        "features", (0.1, 0.3, 1.0), lambda on, *by: add_noise(on.graph, *by, sigma=on.sigma), _no_unit, most=math.inf
    ),
    "node-drop": Kind(
        "nodes", (0.1, 0.3), lambda on, *by: drop_nodes(on.graph, *by, protected=on.protected), _no_free_nodes
    ),
    "crop": Kind(
        "nodes", (0.75, 0.5), lambda on, *by: crop_graphs(on.graph, *by), _one_graph, nothing=1.0, labels="doubtful"
    ),
}


@parameters
class Corruption:
    """Edges dropped or added, features masked or noised, nodes dropped, graphs cropped; the same test items each time.

    The whole inference graph is corrupted; of many graphs, the test graphs. Every kind also comes at severity 0, where
    nothing may change.

    Attributes:
        kinds: what to do.
        draws: random draws per severity; 0: 3 in the quick profile, else 5.
        severities: instead of each kind's own three (quick: the mildest); such rows are never gated unless the value is
            the kind's mildest.
    """

    kinds: tuple[KindName, ...] = tuple(KINDS)
    draws: Annotated[int, Field(ge=0)] = 0
    severities: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _in_range(self) -> Corruption:
        for kind in self.kinds:
            for severity in self.severities:
                if severity > KINDS[kind].most:
                    raise ValueError(
                        f"severity {severity:g} for {kind}; expected a number in (0, {KINDS[kind].most:g}]"
                    )
        return self

    def run(self, view: View, attempt: Attempt) -> ShiftOutcome:
        """The corrupted graphs, made one at a time while they are read; equal however often they are read."""
        on, quick = Whole.of(view), attempt.profile == "quick"
        plan: dict[KindName, tuple[float, ...]] = {}
        skipped: dict[str, str] = {}
        for name in self.kinds:
            kind = KINDS[name]
            severities = self.severities or (kind.severities[:1] if quick else kind.severities)
            if reason := kind.obstacle(on, max(severities)):
                skipped[name] = reason
            else:
                plan[name] = severities
        draws = self.draws or (3 if quick else 5)
        sets = _Sets(on, plan, draws, int(attempt.rng.integers(2**62)), attempt)
        return ShiftOutcome(sets=sets, skipped=skipped, notes={"draws": draws})


@dataclass(frozen=True, slots=True, eq=False)
class _Sets:
    """Every corrupted set, each from its own seed: reading them twice, or in part, changes nothing."""

    on: Whole
    plan: dict[KindName, tuple[float, ...]]
    draws: int
    seed: int
    attempt: Attempt

    def __iter__(self) -> Iterator[ShiftedSet]:
        total = sum(1 + len(severities) * self.draws for severities in self.plan.values())
        done = 0
        for name, severities in self.plan.items():
            for number, severity in enumerate((KINDS[name].nothing, *severities)):
                for draw in range(self.draws if number else 1):
                    self.attempt.tick(done / total, f"{name} {severity:g}")
                    rng = np.random.default_rng([self.seed, *name.encode(), number, draw])
                    yield self._shifted(name, number, severity, draw, KINDS[name].edit(self.on, severity, rng))
                    done += 1

    def _shifted(self, name: KindName, number: int, severity: float, draw: int, edit: Edit) -> ShiftedSet:
        kind, ids = KINDS[name], edit.node_ids
        if self.on.node_ids is not None:
            ids = self.on.node_ids if ids is None else self.on.node_ids[ids]
        return ShiftedSet(
            name=name,
            severity=f"{severity:g}" if number else "0",
            draw=draw,
            items=self.on.items,
            edits=kind.edits,
            graph=edit.graph,
            node_ids=ids,
            labels=kind.labels,
            mildest=number > 0 and severity == kind.severities[0],
            leaves_domain=edit.leaves_domain,
            claimed_rate=edit.claimed_rate,
            notes=edit.notes,
        )
