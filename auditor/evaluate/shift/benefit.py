"""Harness of graph-benefit: what the graph is worth to the recipe, and how much of that hangs on edges of test items.

The recipe is trained anew, always with the same seed: on the graph, on one with the same degrees and other edges, on no
edges, and on the graph without any edge at a test item. Beside them stand boosted trees that know features alone. No
number is about the model in the file: it is about its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from auditor.data.graph import Graph
from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Worth
from auditor.errors import AuditorError, SkippedError
from auditor.evaluate.links.rewiring import rewired_graph
from auditor.evaluate.robustness.edge_free import without_edges
from auditor.evaluate.shift.reference import Reference, within
from auditor.evaluate.shift.tabular import tabular_answers
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult
from auditor.registry import lack_of
from auditor.statistics.clustered import Resamples, accuracy_interval, hull, paired_gap_interval
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.target import Capability, Target

Floats = NDArray[np.float64]
WITH_GRAPH = Metric("accuracy_with_graph", "share", "lower", "edge-free")
HIDDEN = Metric("accuracy_hidden_edges", "share", "lower", "held-out")
NO_BENEFIT, TRANSDUCTIVE = "graph-no-benefit", "split-transductive-gap"
REWIRED, EDGE_FREE, TABULAR, SEEN = "rewired-recipe", "edge-free", "features-alone", "edges of test items in training"
MAX_OVERLAP = 0.5
LIKE = 0.05
"""Points of accuracy by which the recipe trained anew may differ from the model in the file."""


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        replicates: of the bootstrap.
    """

    replicates: Annotated[int, Field(ge=50)] = 1000


@dataclass(slots=True, eq=False)
class _Trained:
    """Which test items each model is right on, float64 [n], by what it was trained on; and why one is missing."""

    right: dict[str, Floats] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def evaluate(cell: Cell) -> CellResult:
    """Trains the recipe on the graph and on what lacks it, and compares them on the same test items.

    Raises:
        SkippedError: there is no recipe, the target is defended, the recipe fails on its own graph or on everything
            beside it, or there are too few test items.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    for needed in (Capability.SPLIT, Capability.RETRAIN):
        if needed not in target.capabilities:
            raise SkippedError(f"needs {lack_of(needed)}", lacks=(str(needed),))
    if target.defense is not None:
        raise SkippedError(
            f"{target.name} is defended, and a mechanism may add edges where there are none; ask its undefended target"
        )
    reference = Reference.of(cell)
    graph = target.private_graph
    rewired, swapped = rewired_graph(graph, rng=cell.rng("rewiring"))
    touching = target.split.test[graph.edge_index].any(dim=0)
    hidden = graph.keeping(~touching)
    trained = _Trained()
    own = _right(cell, reference, graph, "the graph", trained)
    if own is None:
        raise SkippedError(f"the recipe cannot be trained on its own graph: {trained.missing['the graph']}")
    others = {REWIRED: rewired, EDGE_FREE: without_edges(graph)}
    if swapped.overlap > MAX_OVERLAP:
        trained.missing[REWIRED] = "too few other graphs have these degrees"
        del others[REWIRED]  # as good as the graph because it is the graph
    for name, other in others.items():
        found = _right(cell, reference, other, name, trained)
        if found is not None:
            trained.right[name] = found
    cell.tick(None, "features alone")
    trained.right[TABULAR] = _of_trees(cell, target, reference)
    seen = _right(cell, reference, hidden, SEEN, trained, asked_on=graph)
    resamples = reference.resamples(cell, settings.replicates)
    rows = _rows(reference, resamples, own, trained.right, seen, float(touching.double().mean()))
    return CellResult(
        access=("features", "graph", "labels"),
        measured=tuple(rows),
        validity=(*reference.rows(), _like_row(reference, own, trained.missing), _rewired_row(swapped.overlap)),
        params={
            "training_seed": cell.seed,
            "missing": trained.missing,
            "rewired_overlap": swapped.overlap,
            "hidden_edges": float(touching.double().mean()),
            "replicates": settings.replicates,
        },
    )


def _right(
    cell: Cell, reference: Reference, graph: Graph, name: str, trained: _Trained, *, asked_on: Graph | None = None
) -> Floats | None:
    """Where the recipe is right that is trained on `graph` and asked on it or on another; None where it fails."""
    cell.tick(None, f"the recipe on {graph.num_edges} edges")
    try:
        twin = cell.models.twin(cell.target, graph, cell.seed)
        with torch.no_grad():
            asked = asked_on or graph
            logits = twin.logits(asked.x, asked.edge_index, asked.edge_weight, asked.batch, asked.fields)
    except (*TRIAL_ERRORS, AuditorError) as error:
        trained.missing[name] = f"{type(error).__name__}: {error}"
        return None
    return _is_right(cell.target.task.answers(logits)[reference.items].numpy(), reference)


def _of_trees(cell: Cell, target: Target, reference: Reference) -> Floats:
    """Where boosted trees are right that know the features of every item and the labels that the recipe knows."""
    split, graph = target.split, target.private_graph
    found = tabular_answers(graph.x.numpy(), graph.y.numpy(), split.train.numpy(), split.val.numpy(), seed=cell.seed)
    return _is_right(found[reference.items.numpy()], reference)


def _is_right(answers: NDArray[np.int64], reference: Reference) -> Floats:
    right: Floats = (answers == reference.y).astype(np.float64)
    return right


def _rows(
    reference: Reference,
    resamples: Resamples,
    own: Floats,
    rivals: Mapping[str, Floats],
    seen: Floats | None,
    hidden_edges: float,
) -> list[Measured]:
    """The graph against the best of what does without it; and edges of test items hidden against seen in training."""
    with_graph = _accuracy(own, resamples)
    # The rival is the one that is best on the test items: intervals of all of them hold together.
    confidence = 1 - 0.05 / len(rivals)
    against = {name: _gap(own, other, resamples, confidence) for name, other in rivals.items()}
    best = max(rivals, key=lambda name: float(rivals[name].mean()))
    hidden = None if seen is None else _accuracy(seen, resamples)
    vanishes = None if seen is None else _gap(own, seen, resamples, 0.95)
    facts = Worth(
        with_graph=with_graph, hidden=hidden, worth=against[best], vanishes=vanishes, hidden_edges=hidden_edges
    )
    controls = [
        Control(name=name, estimate=_accuracy(other, resamples), contrast=against[name])
        for name, other in rivals.items()
    ]
    rows = [
        measured(
            WITH_GRAPH,
            with_graph,
            finding=NO_BENEFIT,
            controls=controls,
            against=best,
            judged=True,
            facts=facts,
        )
    ]
    if hidden is not None and vanishes is not None:
        control = Control(name=SEEN, estimate=with_graph, contrast=vanishes.negated())
        rows.append(measured(HIDDEN, hidden, finding=TRANSDUCTIVE, controls=(control,), judged=True, facts=facts))
    return rows


def _accuracy(right: Floats, resamples: Resamples) -> Estimate:
    return within(float(right.mean()), accuracy_interval(right, resamples), len(right))


def _gap(own: Floats, other: Floats, resamples: Resamples, confidence: float) -> Estimate:
    """Own − other in accuracy, on the same items."""
    value = float(own.mean() - other.mean())
    bounds = paired_gap_interval(own, other[None], resamples.means(own - other), confidence=confidence)
    return within(value, hull(bounds, (value, value)), len(own))


def _like_row(reference: Reference, own: Floats, missing: Mapping[str, str]) -> ValidityRow:
    """Whether the recipe gives a model like the one in the file: else nothing here is about how that one was made.

    It also says what the recipe could not be trained on, so that nobody takes the rest for all.
    """
    anew, held = float(own.mean()), reference.accuracy
    evidence = (
        f"the recipe trained anew is right on {100 * anew:.1f} % of the test items, the model {100 * held:.1f} %."
    )
    evidence += "".join(f" Not compared with: {name} ({why})." for name, why in missing.items())
    return check("shift-recipe", "warning", abs(anew - held) <= LIKE and not missing, evidence)


def _rewired_row(overlap: float) -> ValidityRow:
    """Whether the rewired graph is another one: few degree sequences leave no room."""
    evidence = (
        f"{100 * overlap:.0f} % of the edges survive rewiring at equal degrees; with more than half it is left out."
    )
    return check("shift-rewired", "warning", overlap <= MAX_OVERLAP, evidence)
