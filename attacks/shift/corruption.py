"""Blind corruption of the inference graph: a later snapshot of it, at three severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.shift.edge_edits import add_edges, drop_edges, non_edges
from attacks.shift.edit import Edit
from attacks.shift.feature_edits import add_noise, mask_features, noise_sigma
from attacks.shift.node_edits import crop_graphs, drop_nodes
from auditor.data.graph import Graph
from auditor.errors import ConfigError, nearest
from auditor.probe import AttackTask, ShiftedSet, ShiftOutcome
from auditor.targets.target import Capability
from auditor.view import Access, View

SEVERITIES: dict[str, tuple[float, ...]] = {
    "edge-drop": (0.1, 0.3, 0.5),
    "edge-add": (0.1, 0.3, 0.5),
    "feature-mask": (0.1, 0.3, 0.5),
    "feature-noise": (0.1, 0.3, 1.0),
    "node-drop": (0.1, 0.3),
    "crop": (0.75, 0.5),
}
Editor = Callable[[Graph, float, np.random.Generator], Edit]


@dataclass(frozen=True, slots=True)
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

    id: ClassVar[str] = "corruption"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.LABELS})
    access: ClassVar[frozenset[Access]] = frozenset({Access.GRAPH, Access.FEATURES})
    kinds: tuple[str, ...] = tuple(SEVERITIES)
    draws: int = 0
    severities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in SEVERITIES:
                raise ConfigError(f'corruption has no kind "{kind}". {nearest(kind, SEVERITIES)}')
            for text in self.severities:
                _read_severity(kind, text)
        if self.draws < 0:
            raise ConfigError(f"corruption: draws is {self.draws}; expected at least 1, or 0 for the profile's number.")

    def run(self, view: View, task: AttackTask) -> ShiftOutcome:
        """The corrupted graphs, made one at a time while they are read; equal however often they are read."""
        draws = self.draws or (3 if task.profile == "quick" else 5)
        plan = {kind: self._severities(kind, task.profile) for kind in self.kinds}
        base, node_ids = _inference_graph(view)
        skipped = {}
        for kind in self.kinds:
            reason = _not_applicable(kind, base, view, max(plan[kind]))
            if reason:
                skipped[kind] = reason
                del plan[kind]
        sets = _Sets(view, base, node_ids, plan, draws, int(task.rng.integers(2**62)), task)
        return ShiftOutcome(sets=sets, notes={"skipped": skipped, "draws": draws})

    def _severities(self, kind: str, profile: str) -> tuple[float, ...]:
        if self.severities:
            return tuple(_read_severity(kind, text) for text in self.severities)
        return SEVERITIES[kind][:1] if profile == "quick" else SEVERITIES[kind]


@dataclass(frozen=True, slots=True, eq=False)
class _Sets:
    """Every corrupted set, each from its own seed: reading them twice, or in part, changes nothing."""

    view: View
    base: Graph
    node_ids: Tensor | None
    plan: dict[str, tuple[float, ...]]
    draws: int
    seed: int
    task: AttackTask

    def __iter__(self) -> Iterator[ShiftedSet]:
        editors = _editors(self.view, self.base)
        total = sum(1 + len(levels) * self.draws for levels in self.plan.values())
        done = 0
        for kind, levels in self.plan.items():
            for number, severity in enumerate((1.0 if kind == "crop" else 0.0, *levels)):
                for draw in range(self.draws if number else 1):
                    self.task.tick(done / total, f"{kind} {severity:g}")
                    rng = np.random.default_rng([self.seed, *kind.encode(), number, draw])
                    yield self._shifted(kind, number, severity, draw, editors[kind](self.base, severity, rng))
                    done += 1

    def _shifted(self, kind: str, number: int, severity: float, draw: int, edit: Edit) -> ShiftedSet:
        ids = edit.node_ids
        if self.node_ids is not None:
            ids = self.node_ids if ids is None else self.node_ids[ids]
        mildest = severity == SEVERITIES[kind][0]
        return ShiftedSet(
            name=kind,
            severity=f"{severity:g}" if number else "0",
            draw=draw,
            items=self.view.items,
            graph=edit.graph,
            node_ids=ids,
            labels="doubtful" if kind == "crop" else "kept",
            claimed_rate=edit.claimed_rate,
            notes={**edit.notes, "mildest": mildest and number > 0},
        )


def _inference_graph(view: View) -> tuple[Graph, Tensor | None]:
    """What is corrupted: the whole graph, or of many graphs the test graphs and the ids of their nodes."""
    graph = view.graph
    if graph.batch is None:
        return graph, None
    chosen = torch.zeros(graph.num_items, dtype=torch.bool)
    chosen[view.items] = True
    node_ids = torch.nonzero(chosen[graph.batch]).flatten()
    return graph.induced(node_ids), node_ids


def _editors(view: View, base: Graph) -> dict[str, Editor]:
    graph = view.graph
    train_nodes = view.train_mask if graph.batch is None else view.train_mask[graph.batch]
    sigma = noise_sigma(graph, train_nodes)
    protected = torch.zeros(base.num_nodes, dtype=torch.bool)
    if base.batch is None:
        protected[view.items] = True
    return {
        "edge-drop": drop_edges,
        "edge-add": add_edges,
        "feature-mask": mask_features,
        "feature-noise": lambda g, s, rng: add_noise(g, s, rng, sigma=sigma),
        "node-drop": lambda g, s, rng: drop_nodes(g, s, rng, protected=protected),
        "crop": crop_graphs,
    }


def _not_applicable(kind: str, base: Graph, view: View, worst: float) -> str:
    """Why a kind cannot be done here, or nothing."""
    edges = len(base.pair_keys() if base.is_undirected else base.arc_keys(include_loops=False))
    if kind in ("edge-drop", "edge-add") and edges == 0:
        return "the graph has no edges"
    if kind == "edge-add" and non_edges(base) < worst * edges:
        return f"{non_edges(base)} non-edges, fewer than the {worst * edges:.0f} edges to add"
    if kind == "feature-mask" and not base.x.any():
        return "every feature is zero"
    if kind == "feature-noise":
        train = view.train_mask if base.batch is None else view.train_mask[view.graph.batch]
        if not noise_sigma(view.graph, train).any():
            return "the features do not vary, so that noise has no unit"
    if kind == "node-drop" and base.batch is None:
        free, want = base.num_nodes - len(view.items), worst * base.num_nodes
        if free < want:
            return f"{free} nodes outside the evaluated items, fewer than the {want:.0f} to remove"
    if kind == "crop" and base.batch is None:
        return "crops are of whole graphs; this target classifies nodes"
    return ""


def _read_severity(kind: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    top = np.inf if kind == "feature-noise" else 1.0
    if not 0 < value <= top or not np.isfinite(value):
        raise ConfigError(
            f'corruption: severity "{text}" for {kind}; expected a number in '
            f"{'(0, inf)' if kind == 'feature-noise' else '(0, 1]'}, lists as 0.1/0.3."
        )
    return value
