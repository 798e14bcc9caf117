"""Validity rows of a comparison: equal arms, controls that are no straw man, and where a poison is from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from auditor.compare.arms import Arms, fit_defended, make_defense, with_controls
from auditor.compare.checks import control_rows, origin_rows
from auditor.compare.gain import ArmScores, score_arm
from auditor.data.deeprobust import poisoned_by
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Target
from tests.toys import sbm_graph, toy_target


@pytest.fixture(scope="module")
def refitted() -> tuple[Target, Target]:
    """A toy under L2R, and under its control."""
    base = toy_target(graph=sbm_graph(240), epochs=5)
    own, control = (
        fit_defended(base, make_defense(spec), seed=0, models=TrainedCache()) for spec in ("l2r", "uniform-refit")
    )
    return own, control


def scored(none: np.ndarray, control: np.ndarray, y: np.ndarray) -> Arms:
    """Arms whose answers are those given."""
    arms = Arms()
    for spec, answers in (("none", none), ("uniform-refit", control)):
        arms.scores[spec, 0] = ArmScores(answers == y, answers, {}, {})
    return arms


@pytest.mark.parametrize(("right", "status"), [(100, "pass"), (98, "warn"), (70, "fail")])
def test_a_handicapped_control_is_called_weak(refitted: tuple[Target, Target], right: int, status: str) -> None:
    """Proven beyond a point: fail. One item of a hundred is no straw man."""
    own, control = refitted
    y = np.arange(100) % 2
    arms = scored(y, np.where(np.arange(100) < right, y, 1 - y), y)
    (row,) = control_rows(with_controls(["l2r"])[1], [control], own.defense, arms, y, {})
    assert (row.id, row.kind, row.status) == ("weak-control", "strength", status)


def test_a_control_that_collapsed_in_balanced_accuracy_is_weak_however_common_its_class(
    refitted: tuple[Target, Target],
) -> None:
    own, control = refitted
    y = (np.arange(200) < 180).astype(np.int64)
    trained = np.where(np.arange(200) % 5 == 0, 1 - y, y)  # 80 % of each class
    arms = scored(trained, np.ones(200, dtype=np.int64), y)  # the control: 90 %, one class
    (row,) = control_rows(with_controls(["l2r"])[1], [control], own.defense, arms, y, {})
    assert row.status == "fail"
    assert "balanced accuracy -30.0 points" in row.evidence


def test_a_control_that_is_weak_on_one_part_is_weak(refitted: tuple[Target, Target]) -> None:
    own, control = refitted
    y, small = np.arange(400) % 2, np.arange(400) < 200
    arms = scored(y, np.where(small, y, 1 - y), y)
    (row,) = control_rows(with_controls(["l2r"])[1], [control], own.defense, arms, y, {"id": small, "ood": ~small})
    assert row.status == "fail"


def test_unequal_encoders_are_no_fair_arms() -> None:
    target = toy_target(epochs=2)
    own, control = (
        fit_defended(target, make_defense(spec), seed=0, models=TrainedCache())
        for spec in ("joint-cluster:clusters=2", "joint-cluster:arm=ce")
    )
    arms = Arms()
    for spec in ("none", "joint-cluster:arm=ce"):
        arms.scores[spec, 0] = score_arm(target, [])
    request, y = with_controls(["joint-cluster:clusters=2"])[1], target.graph.y[target.split.test].numpy()
    rows = {r.id: r.status for r in control_rows(request, [control], own.defense, arms, y, {})}
    assert rows["arms-matched"] == "pass"
    assert own.defense is not None
    wider = dataclasses.replace(own.defense, notes={**own.defense.notes, "encoder_parameters": 10**6})
    rows = {r.id: r.status for r in control_rows(request, [control], wider, arms, y, {})}
    assert rows["arms-matched"] == "fail"


def test_a_poisoned_graph_says_where_the_poison_is_from_about_the_comparison_alone() -> None:
    target = toy_target(epochs=1)
    assert origin_rows(target) == ()
    named = dataclasses.replace(target.graph, name="deeprobust/cora:metattack=0.25")
    (row,) = origin_rows(dataclasses.replace(target, graph=named))
    assert (row.id, row.kind, row.status, row.touches) == ("attack-origin", "warning", "warn", ("gain",))
    assert poisoned_by("deeprobust/cora") == poisoned_by("cora:metattack=0.25") == ""
