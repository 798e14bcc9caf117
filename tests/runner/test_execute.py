"""Execution: isolation of crashes, interruption, twins, document."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from auditor.audit import CellRow, canonical
from auditor.policy import Policy
from auditor.probe import Cell, Result
from auditor.runner import execute
from auditor.runner.document import RunSettings, run_audit
from auditor.runner.execute import TrainedCache, run_cells
from auditor.runner.plan import PlannedCell, choose_probes, plan
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from tests.toys import toy_target

SIDE = SideKnowledge()


class Silent:
    def __init__(self) -> None:
        self.rows: list[CellRow] = []

    def planned(self, cells: Sequence[PlannedCell]) -> None: ...

    def started(self, cell: PlannedCell) -> None: ...

    def tick(self, fraction: float | None, note: str) -> None: ...

    def finished(self, row: CellRow) -> None:
        self.rows.append(row)


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


def test_one_crash_is_one_row_and_the_others_go_on(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluation(cell: Cell) -> Result:
        if cell.probe.id == "strata":
            raise ZeroDivisionError("planted")
        return Result(access=("graph",), measurements=())

    monkeypatch.setattr(execute.registry, "load_location", lambda _location: evaluation)
    cells = plan(target, choose_probes(only="strata,corruption"), seeds=(0,), profile="quick", side=SIDE)
    observer = Silent()
    rows = list(run_cells(target, cells, side=SIDE, observer=observer, out=tmp_path))
    assert [row.status for row in rows] == ["error", "ok"]
    assert rows[0].reason == "ZeroDivisionError: planted"
    assert observer.rows == rows
    (log,) = (tmp_path / "errors").iterdir()
    assert "planted" in log.read_text()
    recorded = [CellRow.model_validate_json(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert recorded == rows


def test_crash_makes_the_audit_incomplete_with_exit_3(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute.registry, "load_location", lambda _location: lambda _cell: 1 / 0)
    cells = plan(target, choose_probes(only="strata"), seeds=(0,), profile="quick", side=SIDE)
    audit = run_audit(target, cells, RunSettings((0,), "quick", Policy.named("standard")), observer=Silent())
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 3)


def test_interruption_keeps_finished_cells(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluation(cell: Cell) -> Result:
        if cell.probe.id == "corruption":
            raise KeyboardInterrupt
        return Result(access=("graph",), measurements=())

    monkeypatch.setattr(execute.registry, "load_location", lambda _location: evaluation)
    cells = plan(target, choose_probes(only="strata,corruption"), seeds=(0,), profile="quick", side=SIDE)
    audit = run_audit(target, cells, RunSettings((0,), "quick", Policy.named("standard")), observer=Silent())
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 130)
    assert [cell.probe for cell in audit.cells] == ["strata"]


def test_twin_is_trained_once(target: Target) -> None:
    cache, calls = TrainedCache(), []

    class Counting:
        def fit(self, graph, split, seed):  # type: ignore[no-untyped-def]
            calls.append(seed)
            return target.recipe.fit(graph, split, seed)  # type: ignore[union-attr]

        def describe(self):  # type: ignore[no-untyped-def]
            return {}

    counted = dataclasses.replace(target, recipe=Counting())
    first = cache.twin(counted, target.graph, 3)
    assert cache.twin(counted, target.graph, 3) is first
    cache.twin(counted, target.graph, 4)
    assert calls == [3, 4]


def test_rerun_has_equal_canonical_bytes_whatever_ran_before(target: Target) -> None:
    def audit(only: str) -> dict[str, CellRow]:
        cells = plan(target, choose_probes(only=only), seeds=(0,), profile="quick", side=SIDE)
        done = run_audit(target, cells, RunSettings((0,), "quick", Policy.named("standard")), observer=Silent())
        return {cell.probe: cell for cell in done.cells} | {"all": done}  # type: ignore[dict-item]

    first, second, alone = audit("strata,corruption"), audit("strata,corruption"), audit("corruption")
    assert canonical(first["all"]) == canonical(second["all"])  # type: ignore[arg-type]
    assert first["corruption"].measurements == alone["corruption"].measurements
