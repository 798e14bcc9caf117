"""Harness of the shift family: what the model does when the data moves, for whom it fails today, does it notice.

The attack names subsets of today's test items (strata) or edited copies of the data (corruption). The evaluation
re-measures every claim, runs the model again, and compares: strata with the rest of the test items, corrupted data with
the same items on clean data. Test labels reach metrics only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from auditor.data.feature_space import is_binary
from auditor.errors import EvaluationError
from auditor.evaluate.shift.corruption import measure_corruption
from auditor.evaluate.shift.reference import Reference
from auditor.evaluate.shift.strata import measure_strata
from auditor.outcomes import ShiftOutcome
from auditor.parameters import Circumstances, Only, build, parameters
from auditor.probe import Cell, CellResult
from auditor.view import grant_graph


def _not_normalised(here: Circumstances) -> str:
    done, name = here.target.transform == "row-normalize", here.target.name
    return "" if done else f"rows of features are divided by their sums again, and those of {name} never were"


def _not_binary(here: Circumstances) -> str:
    binary = is_binary(here.target.graph.x)
    return "" if binary else "noise takes features out of their domain where they are binary, and those here are not"


@parameters
class Settings:
    """Parameters of the harness, of corruptions; strata have none (`by_strata`).

    Attributes:
        renormalise: re-apply the target's feature transform after features were corrupted.
        gate_noise: let feature noise decide the gate although it takes binary features out of their domain.
    """

    renormalise: Annotated[
        bool, Only(beside="kinds", being=("feature-mask", "feature-noise")), Only(unless=_not_normalised)
    ] = True
    gate_noise: Annotated[bool, Only(beside="kinds", being=("feature-noise",)), Only(unless=_not_binary)] = False


def evaluate(cell: Cell) -> CellResult:
    """Runs the probe's attack, re-measures its claims, and measures strata or corrupted sets.

    Raises:
        SkippedError: too few test items, or nothing to compare.
        EvaluationError: the probe has not exactly one attack, or a claim does not hold.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; a shift probe is one.")
    (attack,) = cell.attacks
    reference = Reference.of(cell)
    view = grant_graph(cell.target, attack.access, with_test_labels=False, side=cell.side)
    outcome = attack.run(view, cell.attempt(attack))
    if not isinstance(outcome, ShiftOutcome):
        raise EvaluationError(f"{attack.id} returned {type(outcome).__name__}; a shift probe returns a ShiftOutcome.")
    if outcome.properties:
        result = measure_strata(cell, reference, outcome)
    else:
        result = measure_corruption(
            cell, reference, outcome, renormalise=settings.renormalise, gate_noise=settings.gate_noise
        )
    # The evaluation reads the model's answers beside what the attack was granted.
    access = sorted({*(word.value for word in attack.access), "posteriors"})
    return replace(result, access=tuple(access))
