"""The document of a run: what checks touch, seeds and judgement, and an empty digest never."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from auditor import registry
from auditor.document import TaskRow, disagreements
from auditor.policy import Policy
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.describe import check_validity, target_row
from auditor.targets.target import Target
from tests.policy.samples import cell, measurement, row, seeds
from tests.runner.running import PLACE
from tests.toys import toy_target


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target(epochs=5)


def assembled(cells: list[Any], **more: Any):
    settings = RunSettings((0,), "quick", Policy.named("standard"), config_file="audit.toml")
    given = {"validity": (), "planned": len(cells), "named": set(), "seconds": 1.0, **more}
    return assemble_audit(PLACE, cells, settings, **{"environment": {}, **given})


def test_checks_touch_the_probes_whose_registry_line_lists_them(target: Target) -> None:
    asked = ("graphmi", "posterior-similarity", "strata")
    touched = {check.id: check.touches for check in check_validity(target, asked)}
    assert touched["deterministic"] is None  # listed by no probe: it spoils all
    assert touched["edge-dependence"] == ("graphmi", "posterior-similarity")
    assert touched["relaxation-gap"] == ("graphmi",)
    assert touched["output-kind"] == asked
    assert {check.id: check.touches for check in check_validity(target, ())}["edge-dependence"] == ()


def test_every_check_that_a_probe_lists_is_made() -> None:
    made = {check.id for kind in ("gcn", "graph-gin") for check in check_validity(toy_target(kind, epochs=2), ())}
    listed = {id_ for probe in registry.probes().values() for id_ in probe.touches}
    assert listed <= made


def test_checks_are_the_same_every_time(target: Target) -> None:
    assert check_validity(target, ("strata",)) == check_validity(target, ("strata",))


def test_numbers_are_joined_and_judged_once() -> None:
    audit = assembled(seeds([(0.3, 0.26, 0.34)] * 2))
    (result,) = audit.results
    assert result.judgement is not None
    assert (result.judgement.status, audit.verdict.exit_code) == ("fail", 1)
    assert (audit.coverage.ok, audit.config_file, len(audit.cells)) == (2, "audit.toml", 2)
    assert list(disagreements(audit)) == []


def test_a_comparison_is_made_from_joined_numbers_before_they_are_judged() -> None:
    seen = []
    assembled(seeds([(0.3, 0.26, 0.34)] * 2), compare=lambda results: seen.extend(results))
    assert [(len(result.by_seed), result.judgement) for result in seen] == [(2, None)]


def test_named_probes_checks_and_plan_reach_the_verdict() -> None:
    skipped = cell(probe="graphmi", status="skipped", reason="needs GRAD_EDGE")
    safe = cell(measurement(0.0, -0.1, 0.05))
    assert assembled([safe, skipped]).verdict.exit_code == 0
    assert assembled([safe, skipped], named={"graphmi"}).verdict.exit_code == 3
    assert assembled([safe], planned=2).verdict.exit_code == 3
    assert assembled([safe], validity=(row("fail", "strength"),)).verdict.exit_code == 3


def test_a_target_row_says_what_was_audited(target: Target) -> None:
    found = target_row(target)
    assert (found.name, found.task, found.defense, found.graphs) == ("toy-gcn", TaskRow(level="node"), "none", 1)
    assert found.clean is not None
    assert found.clean.value == pytest.approx(target.accuracy())
    assert found.clean.n == target.split.sizes[2]
    test = target.graph.y[target.split.test]
    assert found.constant_predictor == pytest.approx(float(test.bincount().max()) / len(test))
    assert found.split["spec"] == target.split.spec
    assert dataclasses.asdict(target.split)["spec"] == target.split.spec
