"""Trainings on edited graphs: verified edits, the same seeds in every arm, an effect where one is planted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.data.sources import load_data
from auditor.document import Measured, ValidityRow
from auditor.document.facts import Poisoned
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.poisoning.given import poisoned_graph
from auditor.evaluate.poisoning.harness import HARNESS, Settings, evaluate, over_trainings
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import build
from auditor.probe import Attempt, Cell, CellResult, Registered
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.statistics import draws
from auditor.statistics.estimate import SHARES
from auditor.targets.target import Capability, Target
from auditor.view import SideKnowledge, View
from tests.toys import ALL, toy_target

FAST = {"cycles": "1", "losses": "tanh", "draws": "2", "trainings": "3"}


def cell(target: Target, *attacks: Registered, seed: int = 0, **params: str) -> Cell:
    probe = registry.find_probe("poisoning")
    made, own = build_attacks(probe, {**FAST, **params})
    return Cell(target, probe, attacks or made, own, "quick", seed, SideKnowledge(), TrainedCache())


def judged(result: CellResult) -> Measured:
    (number,) = (each for each in result.measured if each.judged)
    return number


def row(result: CellResult, id_: str) -> ValidityRow:
    (found,) = (row for row in result.validity if row.id == id_)
    return found


@dataclass(frozen=True)
class Planted:
    """Claims the flips that it is told."""

    keys: Tensor

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        return FlipOutcome((FlipSet(attempt.budgets[0], self.keys),), ("planted",))


def planted(keys: Tensor) -> tuple[Registered, Registered]:
    search, control = (registry.find("attacks", id_) for id_ in ("poison-flips", "poison-random"))
    return Registered(search, Planted(keys)), Registered(control, control.load()(draws=2))


def seeds(count: int) -> list[int]:
    return [draws.integer(0, HARNESS, f"training {k}") for k in range(count)]


def accuracies(target: Target, graphs: list[Any]) -> list[float]:
    return [
        target.retrained(graph, seed=seed).accuracy() for graph, seed in zip(graphs, seeds(len(graphs)), strict=True)
    ]


def test_numbers_are_those_of_the_recipe_on_the_really_edited_graph() -> None:
    target = toy_target()
    space = EdgeSpace.of(target.graph)
    keys = space.draw(9, np.random.default_rng(0))
    result = evaluate(cell(target, *planted(keys), eps="0.1"))
    number = judged(result)
    assert isinstance(number.facts, Poisoned)
    wanted = accuracies(target, [space.toggled(keys)] * 3)
    assert list(number.facts.by_seed) == pytest.approx(wanted)
    assert number.estimate.value == pytest.approx(np.mean(wanted))
    clean = accuracies(target, [target.graph] * 3)
    assert number.facts.clean.value == pytest.approx(np.mean(clean))
    assert number.facts.edits == 9
    assert result.params["trainings"] == seeds(3)
    beside = number.controls[0]
    assert number.contrast.value == pytest.approx(number.estimate.value - beside.estimate.value)
    assert {row.status for row in result.validity} == {"pass"}


def test_an_interval_over_trainings_ends_where_accuracy_does() -> None:
    """Student's interval of .95, 1 and 1 goes on to 1.05."""
    shares = np.array([0.95, 1.0, 1.0])
    for end, values in (("hi", shares), ("lo", 1 - shares)):
        assert getattr(over_trainings(values), end) == (1.0 if end == "hi" else 0.0)
    apart = over_trainings(np.array([-1.0, -0.9, -1.0]), SHARES.of_differences)
    assert apart.lo == -1.0


def test_edges_between_classes_poison_what_random_ones_do_not() -> None:
    target = toy_target()
    space, y = EdgeSpace.of(target.graph), target.graph.y
    every = space.sample(space.num_ordered, np.random.default_rng(0))
    u, v = space.ends(every)
    apart = every[(y[u] != y[v]) & ~space.exists(every)]
    inside = space.existing[y[space.ends(space.existing)[0]] == y[space.ends(space.existing)[1]]]
    keys = torch.cat([inside, apart])[: space.m]
    number = judged(evaluate(cell(target, *planted(keys), eps="1", trainings="5")))
    assert number.contrast.hi < 0
    assert number.facts.clean.value > number.estimate.value


def test_random_flips_in_place_of_the_search_show_no_effect() -> None:
    target = toy_target()
    space = EdgeSpace.of(target.graph)
    number = judged(
        evaluate(cell(target, *planted(space.draw(17, np.random.default_rng(1))), eps="0.05", trainings="5"))
    )
    assert number.contrast.lo <= 0 <= number.contrast.hi


def test_the_shipped_search_runs_and_the_largest_budget_is_judged() -> None:
    target = toy_target()
    before, state = target.graph.digest(), torch.get_rng_state()
    result = evaluate(cell(target, eps="0.05/0.2"))
    assert judged(result).subset == "eps=0.2"
    assert [m.subset for m in result.measured] == ["eps=0.05", "eps=0.2"]
    assert result.measured[0].facts.edits <= result.measured[0].facts.budget
    assert [curve.name for curve in result.series[0].curves] == ["poison-flips", "poison-random"]
    assert evaluate(cell(target, eps="0.05/0.2")) == result
    assert target.graph.digest() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_claim_over_the_budget_is_dropped() -> None:
    target = toy_target()
    keys = EdgeSpace.of(target.graph).draw(60, np.random.default_rng(0))
    with pytest.raises(SkippedError, match="breaks a rule"):
        evaluate(cell(target, *planted(keys), eps="0.05"))


def test_a_recipe_that_is_not_the_targets_is_noticed() -> None:
    target = toy_target()
    fresh = replace(target, model=target.build())
    result = evaluate(cell(fresh, *planted(EdgeSpace.of(target.graph).draw(9, np.random.default_rng(0))), eps="0.1"))
    assert row(result, "recipe-like-target").status == "fail"


def test_it_is_skipped_without_a_recipe_or_edges_and_on_a_released_graph() -> None:
    target = toy_target()
    with pytest.raises(SkippedError, match="recipe"):
        evaluate(cell(replace(target, capabilities=ALL - {Capability.RETRAIN})))
    with pytest.raises(SkippedError, match="GRAD_EDGE"):
        evaluate(cell(target, planted(torch.tensor([1]))[1]))
    with pytest.raises(SkippedError, match="no edges"):
        evaluate(cell(replace(target, graph=target.graph.keeping(torch.empty(0, dtype=torch.int64)))))
    with pytest.raises(SkippedError, match="released"):
        evaluate(cell(replace(target, private=target.graph)))


class Broken:
    """A recipe that fails."""

    def fit(self, *_: Any) -> Any:
        raise RuntimeError("no")

    def describe(self) -> dict[str, Any]:
        return {}


def test_a_training_that_fails_is_the_reason_of_the_row() -> None:
    with pytest.raises(SkippedError, match="training on the clean graph failed: RuntimeError: no"):
        evaluate(cell(replace(toy_target(), recipe=Broken())))


@pytest.mark.parametrize(
    "given",
    [
        {"eps": "2"},
        {"eps": "0"},
        {"eps": "0.1/0.1"},
        {"trainings": "1"},
        {"graph": "cora"},
        {"graph": "deeprobust/cora"},
        {"no": "1"},
    ],
)
def test_parameters_that_cannot_be_used_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        build(Settings, given, owner="poisoning")


@pytest.mark.parametrize(
    ("name", "rate", "added", "removed"),
    [
        ("cora", "0.05", 253, 0),
        ("cora", "0.25", 1222, 45),
        ("citeseer", "0.05", 183, 0),
        ("citeseer", "0.25", 899, 18),
        ("polblogs", "0.05", 735, 100),
        ("polblogs", "0.25", 2550, 1628),
    ],
)
def test_poisoned_graphs_have_the_flips_that_were_counted_in_them(
    name: str, rate: str, added: int, removed: int, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITOR_DATA", str(data_root))
    graph = load_data(f"deeprobust/{name}", root=data_root).graph
    space, target = EdgeSpace.of(graph), SimpleNamespace(transform="none")
    given = poisoned_graph(f"deeprobust/{name}:metattack={rate}", target, space)  # type: ignore[arg-type]
    gone = int(space.exists(given.keys).sum())
    assert (given.keys.numel() - gone, gone) == (added, removed)
    assert given.row.status == "pass"
    assert given.level.subset == f"metattack={rate}"


def test_a_poisoned_graph_of_another_graph_is_not_used(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITOR_DATA", str(data_root))
    with pytest.raises(SkippedError, match="another graph"):
        evaluate(cell(toy_target(), graph="deeprobust/cora:metattack=0.25"))


def test_few_test_items_give_no_verdict() -> None:
    target = toy_target()
    few = torch.zeros_like(target.split.test)
    few[torch.nonzero(target.split.test).flatten()[:20]] = True
    split = replace(target.split, test=few, val=target.split.val | (target.split.test & ~few))
    result = evaluate(cell(replace(target, split=split), trainings="2"))
    assert row(result, "underpowered").status == "fail"
