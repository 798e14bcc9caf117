"""Extraction: nothing beyond the control where answers are the labels, all of it where they are others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor import registry
from auditor.data.graph import Graph
from auditor.document import Measured
from auditor.document.facts import Copy
from auditor.errors import ConfigError, SkippedError
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.statistics.intervals import paired_bootstrap
from auditor.statistics.shares import paired
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from tests.toys import random_split, sbm_graph, toy_target

EVALUATION = registry.load_location("auditor.evaluate.extraction.harness:evaluate")
FAST = {"budgets": "25/100", "epochs": "60"}


def evaluated(target: Target, seed: int = 0, **params: str) -> CellResult:
    probe = registry.find_probe("extraction")
    attacks, own = build_attacks(probe, {**FAST, **params})
    return EVALUATION(Cell(target, probe, attacks, own, "full", seed, SideKnowledge(), TrainedCache()))


def judged(result: CellResult) -> Measured:
    (number,) = (each for each in result.measured if each.judged)
    return number


class Told(nn.Module):
    """Answers what stands in the last columns of the features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.scale = nn.Parameter(torch.tensor(9.0))

    def forward(self, x, edge_index):
        return self.scale * x[:, -self.classes :]


def with_columns(graph: Graph, classes: torch.Tensor) -> Graph:
    told = nn.functional.one_hot(classes, int(graph.y.max()) + 1).float()
    return replace(graph, x=torch.cat([graph.x, told], dim=1))


def test_a_model_that_answers_the_labels_gives_nothing_beyond_them() -> None:
    target = toy_target(epochs=1)
    graph = with_columns(target.graph, target.graph.y)
    number = judged(evaluated(replace(target, graph=graph, model=Told(3)), answers="labels"))
    by_name = {control.name: control for control in number.controls}
    assert by_name["label-trained"].estimate.value == number.estimate.value
    assert by_name["label-trained"].contrast.value == 0
    assert number.excess is not None
    assert number.excess.lo < 0 < number.excess.hi


def test_a_model_trained_on_other_labels_is_copied_and_the_labels_do_not_help() -> None:
    graph = sbm_graph(300)
    other = torch.from_numpy(np.random.default_rng(7).permutation(3))[graph.y]
    assert float((other == graph.y).double().mean()) < 0.5
    trained = toy_target(graph=replace(graph, y=other))
    number = judged(evaluated(replace(trained, graph=graph), budgets="50"))
    assert number.estimate.value > 0.8
    assert number.excess.lo > 0.3


def test_the_budget_nearest_to_a_quarter_is_judged_and_every_answer_counted() -> None:
    result = evaluated(toy_target(epochs=30), budgets="10/30/100")
    assert [(m.subset, m.judged) for m in result.measured] == [
        ("answers=30%", True), ("answers=10%", False), ("answers=100%", False),
    ]  # fmt: skip
    assert result.params["answers"] == {"10 %": 3, "30 %": 9, "100 %": 30}
    facts = result.measured[0].facts
    assert isinstance(facts, Copy)
    assert (facts.budget, facts.answers, facts.structure) == (0.3, 9, "own")
    (series,) = result.series
    assert [curve.role for curve in series.curves] == ["value", "control", "reference"]
    assert series.curves[0].x == (3.0, 9.0, 30.0)
    assert result.measured[0].estimate.n == 30


@pytest.mark.parametrize("structure", ["own", "knn", "none"])
def test_copy_and_model_are_asked_about_the_same_graph(structure: str) -> None:
    target = toy_target(epochs=60)
    result = evaluated(target, structure=structure, budgets="100")
    assert (result.params["own_edges"] == 0) == (structure == "none")
    assert judged(result).facts.structure == structure
    assert judged(result).estimate.value > 0.6


def test_the_closed_interval_is_that_of_a_paired_bootstrap_of_nodes() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.random(800) < 0.9, rng.random(800) < 0.8
    gain = own.astype(float) - other
    lo, hi = paired_bootstrap(lambda w: float(w @ gain / w.sum()), 800, rng=rng)
    found = paired(own, other)
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=0.006)


def test_too_few_nodes_of_its_own_are_a_reason() -> None:
    target = toy_target(epochs=1)
    with pytest.raises(SkippedError, match="may be asked"):
        evaluated(replace(target, split=random_split(120, train=0.5, val=0.4)))


@pytest.mark.parametrize("budgets", ["0", "101", "-5", "some"])
def test_a_budget_that_is_no_share_is_refused_before_anything_runs(budgets: str) -> None:
    with pytest.raises(ConfigError, match="budgets=") as caught:
        build_attacks(registry.find_probe("extraction"), {"budgets": budgets})
    assert caught.value.exit_code == 2
