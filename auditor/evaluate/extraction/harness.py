"""The harness of model extraction: how far a copy agrees with the model, beside what needs none of its answers.

The adversary holds the nodes that are neither training nor validation items. It may ask about half of them; a copy is
judged on the others, whose answers it never saw. The control learns true labels of the very nodes that were asked
about, by the same network from the same initial weights: two good models agree anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import Copy
from auditor.errors import EvaluationError, SkippedError
from auditor.outcomes import CopyOutcome
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.statistics.shares import paired, share
from auditor.targets.own_queries import OwnQueries
from auditor.view import grant_privacy

FIDELITY = Metric("fidelity", "share", "higher", "accuracy")
JUDGED = 25.0
MIN_NODES = 10
LABELS, MAJORITY = "label-trained", "constant"
Bools = NDArray[np.bool_]
Percent = Annotated[float, Field(gt=0, le=100)]


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        budgets: nodes asked about, in percent of those that may be; the one nearest to 25 is judged.
    """

    budgets: Annotated[tuple[Percent, ...], Field(min_length=1)] = (5.0, 25.0, 50.0, 100.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """One budget: who agrees with the model on the nodes nobody asked about, bool [n] each."""

    budget: float
    spent: int
    copy: Bools
    labels: Bools
    majority: Bools
    outcome: CopyOutcome
    accuracy: float | None
    copy_accuracy: float | None


def evaluate(cell: Cell) -> CellResult:
    """Makes a copy at every budget, and its control, and compares the answers of both with the model's.

    Raises:
        SkippedError: the adversary has too few nodes of its own.
        EvaluationError: the claim has not one class for each of its nodes, or other edges than those it asked with.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; this harness expects one.")
    (attack,) = cell.attacks
    if not cell.side.asks_own:
        raise SkippedError(
            f"needs answers about graphs of the adversary's own; [access] queries is {cell.side.queries}."
        )
    view = grant_privacy(cell.target, attack.access, cell.side, cell.rng("view"), with_own_graph=True)
    own = view.own_queries
    unasked = torch.ones(own.ids.numel(), dtype=torch.bool)
    unasked[own.nodes] = False
    if own.nodes.numel() < MIN_NODES or int(unasked.sum()) < MIN_NODES:
        raise SkippedError(
            f"{own.ids.numel()} nodes are neither training nor validation items, {own.nodes.numel()} of them may be "
            f"asked about; both halves need at least {MIN_NODES}"
        )
    budgets = sorted(set(settings.budgets))
    points = []
    for k, budget in enumerate(budgets):
        cell.tick(k / len(budgets), f"copy from {budget:g} % of the answers")
        points.append(_at(cell, attack, own, torch.nonzero(unasked).flatten(), budget))
    judged = min(points, key=lambda point: (abs(point.budget - JUDGED), point.budget))
    first = sorted(points, key=lambda point: point is not judged)
    rows = [_row(cell, point, judged=point is judged) for point in first]
    return CellResult(
        access=tuple(sorted(attack.access)),
        measured=tuple(rows),
        series=(_series(points),),
        validity=(_power_row(judged, rows[0]),),
        params={
            "attack": {attack.id: asdict(cast(Any, attack.attack))},
            "own_nodes": own.ids.numel(),
            "own_edges": int(judged.outcome.edge_index.shape[1]),
            "may_be_asked": own.nodes.numel(),
            "answers": {f"{point.budget:g} %": point.spent for point in points},
            "notes": dict(judged.outcome.notes),
        },
    )


def _at(cell: Cell, attack: Registered, own: OwnQueries, judged_on: Tensor, budget: float) -> _Point:
    """Copy, control and commonest class at one budget."""
    target = cell.target
    asked = own.first(max(1, round(budget / 100 * own.nodes.numel())))
    y = target.graph.y[own.ids]
    told = asked.answered_by(y, target.num_classes)
    outcome, beside = (_copied(cell, attack, queries, budget) for queries in (asked, told))
    with torch.no_grad():
        logits = target.with_nodes(own.ids).logits(own.graph.x, outcome.edge_index)
    answers = target.task.answers(logits)[judged_on]
    commonest = int(torch.bincount(y[asked.nodes]).argmax())
    known = y[judged_on] >= 0

    def right(classes: Tensor) -> float | None:
        return float((classes == y[judged_on])[known].double().mean()) if known.any() else None

    return _Point(
        budget,
        asked.spent,
        (outcome.classes[judged_on] == answers).numpy(),
        (beside.classes[judged_on] == answers).numpy(),
        (answers == commonest).numpy(),
        outcome,
        right(answers),
        right(outcome.classes[judged_on]),
    )


def _copied(cell: Cell, attack: Registered, queries: OwnQueries, budget: float) -> CopyOutcome:
    """What the attack makes of these answers; model and control are asked from the same initial weights."""
    view = grant_privacy(cell.target, attack.access, cell.side, cell.rng("view"), with_own_graph=True)
    view = view.with_own_queries(queries)
    outcome = attack.run(view, cell.attempt(attack, f"{budget:g}"))
    if not isinstance(outcome, CopyOutcome):
        raise EvaluationError(f"{attack.id} returned a {type(outcome).__name__}; this harness takes a CopyOutcome.")
    n, edges = queries.ids.numel(), outcome.edge_index
    if outcome.classes.shape != (n,) or outcome.classes.dtype != torch.int64:
        raise EvaluationError(f"{attack.id}: classes {list(outcome.classes.shape)}; expected int64 [{n}].")
    if edges.dim() != 2 or edges.shape[0] != 2 or (edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < n):
        raise EvaluationError(f"{attack.id}: edges {list(edges.shape)}; expected [2, E] among its {n} nodes.")
    return outcome


def _row(cell: Cell, point: _Point, *, judged: bool) -> Measured:
    beside = {LABELS: point.labels, MAJORITY: point.majority}
    controls = [
        Control(name=name, estimate=share(agrees), contrast=paired(point.copy, agrees))
        for name, agrees in beside.items()
    ]
    notes = point.outcome.notes
    facts = Copy(
        structure=str(notes.get("structure", "")),
        learned=str(notes.get("answers", "")),
        budget=point.budget / 100,
        answers=point.spent,
        accuracy=point.accuracy,
        copy_accuracy=point.copy_accuracy,
    )
    return measured(
        FIDELITY,
        share(point.copy),
        finding=cell.probe.findings[0],
        subset=f"answers={point.budget:g}%",
        controls=controls,
        judged=judged,
        facts=facts,
    )


def _series(points: Sequence[_Point]) -> Series:
    """Agreement against answers asked for: the copy, its control, the commonest class."""
    xs = tuple(float(point.spent) for point in points)

    def curve(name: str, role: str, of: Sequence[Bools]) -> Curve:
        found: list[Estimate] = [share(agrees) for agrees in of]
        return Curve(
            name=name,
            role=cast(Any, role),
            x=xs,
            y=tuple(each.value for each in found),
            lo=tuple(each.lo for each in found) if role == "value" else (),
            hi=tuple(each.hi for each in found) if role == "value" else (),
        )

    return Series(
        id="copies",
        kind="budget",
        title="Answers on which a copy agrees with the model",
        x_label="nodes asked about",
        y_label="agreement",
        curves=(
            curve("copy made from answers", "value", [point.copy for point in points]),
            curve("the same from true labels", "control", [point.labels for point in points]),
            curve("commonest class", "reference", [point.majority for point in points]),
        ),
    )


def _power_row(point: _Point, row: Measured) -> ValidityRow:
    half = None if row.contrast is None else row.contrast.half_width
    shown = "no interval" if half is None else f"half-width of the difference {half:.3f}"
    enough = half is not None and half <= 0.1
    return check("power", "warning", enough, f"{len(point.copy)} nodes judged that nobody asked about, {shown}")
