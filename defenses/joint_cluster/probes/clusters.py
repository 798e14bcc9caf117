"""What the harnesses of clusters share: a target that serves by them, and attacks whose claims are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.document import Measured
from auditor.errors import SkippedError
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.outcomes import FlipSet
from auditor.probe import Cell, CellResult
from auditor.targets.target import Target
from defenses.joint_cluster.layout import ClusterLayout


def clusters_of(given: Target) -> tuple[Target, ClusterLayout]:
    """The target on its canonical graph, and the clusters that it serves by.

    Raises:
        SkippedError: it stores none.
    """
    layout = ClusterLayout.of(given.model, given.split.train) if given.task.level == "node" else None
    if layout is None:
        raise SkippedError(f"{given.name} serves by no stored table of clusters")
    space = EdgeSpace.of(given.graph)
    return given if space.graph is given.graph else replace(given, graph=space.graph), layout


def collect(
    cell: Cell, target: Target, items: Tensor, budgets: tuple[int, ...], add: Callable[[FlipSet, str], None]
) -> FlipClaims:
    """Runs the cell's attacks on `items` and hands every claim to `add`.

    Raises:
        SkippedError: none could run.
    """
    run = FlipClaims()
    for attack in cell.attacks:
        run.run(attack, target, items, cell.attempt(attack, budgets=budgets), add)
    if not run.notes:
        raise SkippedError(run.why_none)
    return run


def answer(cell: Cell, run: FlipClaims, numbers: Sequence[Measured], params: Mapping[str, Any]) -> CellResult:
    """What the harness says of the cell."""
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=tuple(numbers),
        validity=(run.budget_row(),),
        params={**params, **run.params(cell.attacks)},
    )
