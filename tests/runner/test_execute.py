"""Execution: isolation of crashes, interruption, twins, the record, equal bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor import registry
from auditor.document import Audit, Control, Curve, Estimate, Measured, Metric, Series, canonical, measured
from auditor.errors import CapabilityError, EvaluationError, SkippedError
from auditor.policy import Policy
from auditor.probe import Cell, CellResult
from auditor.runner import execute
from auditor.runner.assemble import RunSettings
from auditor.runner.bench import Bench
from auditor.runner.execute import TrainedCache
from auditor.runner.finished import Finished
from auditor.runner.plan import PlannedCell, choose_probes, plan
from auditor.runner.record import Record, read_cells
from auditor.runner.running import carried_out
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from tests.runner.running import audited
from tests.toys import Silent, toy_target

SIDE = SideKnowledge()
SETTINGS = RunSettings((0,), "quick", Policy.named("standard"))


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


def planned(target: Target, only: str, seeds: tuple[int, ...] = (0,)) -> tuple[PlannedCell, ...]:
    return plan(target, choose_probes(only=only), seeds=seeds, profile="quick", side=SIDE)


def number(value: float = 0.6) -> Measured:
    """An accuracy five points below its control."""
    control = Control(
        name="clean",
        estimate=Estimate(value=value + 0.05),
        contrast=Estimate(value=-0.05, lo=-0.06, hi=-0.04),
    )
    metric = Metric("accuracy", "share", "lower", "damage")
    return measured(metric, Estimate(value=value, n=50), finding="shift-gap", controls=[control], judged=True)


def answering(**by_probe: BaseException) -> Callable[[str], Callable[[Cell], CellResult]]:
    """Stands in for the loader of harnesses: one number for every cell, an exception for the probes named."""

    def evaluation(cell: Cell) -> CellResult:
        if cell.probe.id in by_probe:
            raise by_probe[cell.probe.id]
        line = Curve(name="own", x=(0.0, 1.0), y=(0.0, 1.0))
        series = Series(id="s", kind="severity", title="t", x_label="x", y_label="y", curves=(line,))
        return CellResult(("graph",), (number(),), (series,), params={"pairs": 7})

    harnesses = {probe.evaluation for probe in registry.probes().values()}
    load = registry.load_location
    return lambda location: evaluation if location in harnesses else load(location)


Answers = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    def stand_in(**by_probe: BaseException) -> None:
        monkeypatch.setattr(execute.registry, "load_location", answering(**by_probe))

    return stand_in


def run(target: Target, only: str, out: Path | None = None, observer: Silent | None = None) -> list[Finished]:
    cells = planned(target, only)
    with Record.opened(out) as record:
        return list(carried_out(Bench(target, cells, SIDE), cells, observer or Silent(), record))


def test_a_finished_cell_carries_its_numbers_and_the_row_all_else(target: Target, answers: Answers) -> None:
    answers()
    (done,) = run(target, "strata")
    assert (done.access, done.measured, done.tries, done.fixed) == (("graph",), (number(),), False, False)
    assert (done.row.status, done.row.reason, done.row.family, done.row.arm) == ("ok", "", "shift", "none")
    assert done.row.params == {"pairs": 7}
    assert [series.id for series in done.row.series] == ["s"]
    assert done.row.seconds > 0


def test_tries_are_those_of_the_registry_line(target: Target, answers: Answers) -> None:
    answers()
    evasion, strata = run(target, "structure-evasion,strata")
    assert (evasion.tries, strata.tries) == (True, False)


def test_one_crash_is_one_row_and_the_others_go_on(target: Target, tmp_path: Path, answers: Answers) -> None:
    answers(strata=ZeroDivisionError("planted"))
    observer = Silent()
    finished = run(target, "strata,corruption", tmp_path, observer)
    rows = [each.row for each in finished]
    assert [row.status for row in rows] == ["error", "ok"]
    assert rows[0].reason == "ZeroDivisionError: planted"
    assert finished[0].measured == ()
    assert observer.rows == rows
    (log,) = (tmp_path / "errors").iterdir()
    assert "planted" in log.read_text()


def test_every_finished_cell_is_recorded_with_its_numbers(target: Target, tmp_path: Path, answers: Answers) -> None:
    answers(strata=ZeroDivisionError("planted"))
    finished = run(target, "strata,corruption", tmp_path)
    assert list(read_cells(tmp_path).values()) == finished


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (SkippedError("too few items"), "skipped", "too few items"),
        (CapabilityError("no gradient"), "skipped", "no gradient"),
        (EvaluationError("asymmetric"), "error", "asymmetric"),
        (ValueError("a\nb"), "error", "ValueError: a b"),
    ],
)
def test_what_a_harness_raises_becomes_the_reason(
    target: Target, answers: Answers, error: Exception, status: str, reason: str
) -> None:
    answers(strata=error)
    (done,) = run(target, "strata")
    assert (done.row.status, done.row.reason, done.measured) == (status, reason, ())


def test_a_cell_without_a_number_is_not_finished(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute.registry, "load_location", lambda _location: lambda *_given: CellResult(("graph",), ()))
    (done,) = run(target, "strata")
    assert (done.row.status, done.row.reason) == ("skipped", "strata found nothing to measure")


def test_a_cell_that_cannot_run_is_not_run(target: Target, answers: Answers) -> None:
    answers(graphmi=AssertionError("was run"))
    bare = dataclasses.replace(target, capabilities=frozenset())
    (done,) = run(bare, "graphmi")
    assert done.row.status == "skipped"
    assert done.row.reason.startswith("needs ")


def test_crash_makes_the_audit_incomplete_with_exit_3(target: Target, answers: Answers) -> None:
    answers(strata=ZeroDivisionError("planted"))
    audit = audited(target, planned(target, "strata"), SETTINGS)
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 3)


def test_interruption_keeps_finished_cells(target: Target, answers: Answers) -> None:
    answers(corruption=KeyboardInterrupt())
    audit = audited(target, planned(target, "strata,corruption"), SETTINGS)
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 130)
    assert [code.code for code in audit.verdict.codes] == ["never-finished", "interrupted"]
    assert [cell.probe for cell in audit.cells] == ["strata"]
    assert [result.probe for result in audit.results] == ["strata"]


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
    def audit(only: str) -> Audit:
        return audited(target, planned(target, only), SETTINGS)

    first, second, alone = audit("strata,corruption"), audit("strata,corruption"), audit("corruption")
    assert canonical(first) == canonical(second)
    assert first.digest == second.digest
    assert [result for result in first.results if result.probe == "corruption"] == list(alone.results)
    assert alone.results
