"""Cells of the certificate on toy targets."""

from __future__ import annotations

from auditor import registry
from auditor.document import Measured, ValidityRow
from auditor.evaluate.certificate.harness import evaluate
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Target
from auditor.view import SideKnowledge

FAST = {"samples": "400", "choosing": "100", "draws": "2"}


def certified(target: Target, seed: int = 0, **params: str) -> CellResult:
    probe = registry.find_probe("certificate")
    given = {**FAST, **params}
    return evaluate(Cell(target, probe, (), given, "quick", seed, SideKnowledge(), TrainedCache()))


def number(result: CellResult, subset: str) -> Measured:
    (found,) = (m for m in result.measured if m.metric == "certified_accuracy" and m.subset == subset)
    return found


def row(result: CellResult, id_: str) -> ValidityRow:
    (found,) = (row for row in result.validity if row.id == id_)
    return found
