"""What attacks claim: scorers of pairs, scores of membership, flip sets, shifted sets. Every claim is checked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from auditor.data.graph import Graph

Edits = Literal["none", "edges", "features", "nodes"]
Labels = Literal["kept", "doubtful", "undefined"]


class Outcome:
    """What an attack claims. The evaluation re-checks every claim against the target."""


@dataclass(frozen=True, slots=True, eq=False)
class LinkOutcome(Outcome):
    """A scorer of node pairs: `score(pairs int64 [2, M]) -> float64 [M]`, larger = likelier an edge.

    Called only after `run` has returned. It must be symmetric, finite, and independent of the other pairs in the call.
    `notes` are plain values for the report ("no gradient to follow", candidate counts, recall).
    """

    score: Callable[[Tensor], Tensor]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class MembershipOutcome(Outcome):
    """Scores for every item, float64 [V, items]: larger = likelier a training item; `variant` names each row."""

    scores: Tensor
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CopyOutcome(Outcome):
    """A copy of the model, by what it answers on a graph of the adversary's own.

    Attributes:
        edge_index: the edges that it was asked and made with, int64 [2, E'] on the adversary's nodes.
        classes: what it answers for each of these nodes, int64 [n].
        notes: plain values for the report.
    """

    edge_index: Tensor
    classes: Tensor
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FlipSet:
    """Edges toggled at one budget: pair keys min * N + max (arcs: u * N + v), int64 [k], k <= budget."""

    budget: int
    keys: Tensor
    claimed_accuracy: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FlipOutcome(Outcome):
    """Flip sets, several per budget allowed (losses, draws, restarts); `variant` names each."""

    points: tuple[FlipSet, ...]
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureEdit:
    """Features changed at one budget, nothing else.

    Attributes:
        budget: bits toggled, or nodes given another category, at most; of values, the radius, in standard deviations.
        bits: bits toggled, keys row * F + column, int64 [k]: two for another category; empty for values.
        change: what is added to the values, float32 [N, F]; None for bits.
        claimed_accuracy: that the attack thinks is left.
    """

    budget: float
    bits: Tensor
    change: Tensor | None = None
    claimed_accuracy: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureOutcome(Outcome):
    """Edits of features, several per budget allowed; `variant` names each."""

    points: tuple[FeatureEdit, ...]
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class AddedNodes:
    """Nodes added at one budget, joined to old ones alone; nothing else changes.

    Attributes:
        budget: nodes added at most.
        x: their features as what stands behind them (see `FeatureSpace`): bits or values, float32 [r, F].
        edges: which added node, from 0, and which old one it is joined to, int64 [2, k].
        claimed_accuracy: that the attack thinks is left.
        graphs: of many graphs which one each is added to, int64 [r]; None for one graph.
    """

    budget: int
    x: Tensor
    edges: Tensor
    claimed_accuracy: float | None = None
    graphs: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class InjectionOutcome(Outcome):
    """Sets of added nodes, several per budget allowed; `variant` names each."""

    points: tuple[AddedNodes, ...]
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ShiftedSet:
    """The same items on edited data, or other items on the same data.

    Attributes:
        name: kind of shift or property (`edge-drop`, `degree`).
        severity: the value (`0.1`), a bin's name (`2-3`); printed in `subset`.
        draw: number of the random draw, 0 for a deterministic set.
        items: ids of the evaluated items, int64 [n], in the numbering of the *original* graph.
        edits: the one thing that was edited, everything else being as it was; `none` for a set of other items.
        graph: edited data; None for the target's own graph.
        node_ids: original id of each node of `graph`, int64 [N']; None when unchanged.
        labels: `kept` (accuracy reported), `doubtful` (never gated), `undefined` (detection only).
        keeps: what an edit of edges leaves as it was: the `degrees` of every node, or the number of `edges` of every
            graph; re-measured by the evaluation. Empty for neither.
        mildest: whether this is the kind's own mildest severity, the one that may be judged.
        leaves_domain: whether features became ones that real data could not hold.
        claimed_rate: share of edges, entries or nodes really edited; re-measured by the evaluation.
        notes: plain values printed with the row (norm ratio, what could not be added).
    """

    name: str
    severity: str
    draw: int
    items: Tensor
    edits: Edits = "none"
    graph: Graph | None = None
    node_ids: Tensor | None = None
    labels: Labels = "kept"
    keeps: Literal["", "degrees", "edges"] = ""
    mildest: bool = False
    leaves_domain: bool = False
    claimed_rate: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOutcome(Outcome):
    """Shifted sets, and what they were cut by.

    Attributes:
        sets: may be made one at a time while they are read: an edited copy of the features is large.
        properties: value of each property for all items, float64 [num_items]; what strata are checked against.
        relative: properties measured from the training items themselves: how train and test differ in them says
            nothing.
        skipped: kinds or properties that do not apply here, and why.
        notes: plain values for the report.
    """

    sets: Iterable[ShiftedSet]
    properties: Mapping[str, Tensor] = field(default_factory=dict)
    relative: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
