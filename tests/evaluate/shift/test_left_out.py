from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.data.graph import Graph, Split
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.shift.detectors import of_others
from auditor.evaluate.shift.left_out import FINDING, check_classes, evaluate
from auditor.probe import Cell, CellResult
from auditor.registry import find_probe
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Capability, Fitted, Target
from auditor.view import SideKnowledge
from tests.evaluate.shift.cells import row
from tests.toys import sbm_graph, small_graphs, toy_target

ID = "left-out-class"


def evaluated(target: Target, seed: int = 0, **params: str) -> CellResult:
    return evaluate(Cell(target, find_probe(ID), (), params, "full", seed, SideKnowledge(), TrainedCache()))


class Answers(nn.Module):
    """Logits for each node, whatever it is asked."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(logits)

    def forward(self, x, edge_index):
        return self.table


@dataclass
class Planted:
    """A recipe whose model answers by a rule of the labels."""

    rule: Callable[[torch.Tensor], torch.Tensor]
    splits: list[Split] = field(default_factory=list)

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        self.splits.append(split)
        return Fitted(Answers(self.rule(graph.y)))

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.fixture(scope="module")
def base() -> Target:
    return toy_target(graph=sbm_graph(400), epochs=30)


def planted(base: Target, rule: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Target, Planted]:
    recipe = Planted(rule)
    bare = base.capabilities - {Capability.EMBEDDINGS}
    return replace(base, recipe=recipe, capabilities=bare, digest=f"planted-{id(recipe)}"), recipe


def sure_of(y: torch.Tensor, how_sure: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(y, 3).float() * how_sure[:, None]


def test_each_class_is_left_out_in_turn_and_no_item_of_it_trains_or_chooses(base: Target) -> None:
    target, recipe = planted(base, lambda y: sure_of(y, torch.ones(len(y))))
    result = evaluated(target)
    assert [m.subset for m in result.measured if m.judged] == ["class=0", "class=1", "class=2"]
    for c, split in enumerate(recipe.splits):
        assert not bool(((split.train | split.val) & (base.graph.y == c)).any())
        assert int(split.train.sum()) == int((base.split.train & (base.graph.y != c)).sum())
    found = row(result, "new_class_auroc", "class=1")
    assert found.estimate.n == int((base.graph.y == 1).sum())
    assert found.finding == FINDING
    assert {control.name for control in found.controls} >= {"chance", "input-statistics"}


def test_a_recipe_that_is_unsure_of_what_it_never_saw_notices_it(base: Target) -> None:
    target, _ = planted(base, lambda y: sure_of(y, 1 + torch.rand(len(y), generator=torch.Generator().manual_seed(0))))
    found = row(evaluated(target, classes="2"), "new_class_auroc", "class=2")
    assert found.estimate.value == 1.0  # without its column the logits of class 2 are all 0
    assert found.estimate.lo < 1.0
    assert found.facts.accuracy == 1.0


def test_a_recipe_that_is_surer_of_what_it_never_saw_is_found(base: Target) -> None:
    def rule(y: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(len(y), generator=torch.Generator().manual_seed(0))
        return sure_of(torch.where(y == 2, 0, y), torch.where(y == 2, 6 + noise, 3 + noise))

    target, _ = planted(base, rule)
    found = row(evaluated(target, classes="2"), "new_class_auroc", "class=2")
    assert found.estimate.value == 0.0
    assert found.contrast is not None
    assert found.contrast.hi < -0.25
    assert found.judged


def test_confidence_without_regard_to_the_class_is_chance(base: Target) -> None:
    """The null."""

    def rule(y: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(y), 3, generator=torch.Generator().manual_seed(1))

    target, _ = planted(base, rule)
    for c in range(3):
        found = row(evaluated(target), "new_class_auroc", f"class={c}")
        assert found.estimate.lo < 0.5 < found.estimate.hi


def test_the_real_recipe_runs_with_every_score(base: Target) -> None:
    result = evaluated(base, classes="0")
    assert {m.metric for m in result.measured} >= {
        "new_class_auroc", "energy_auroc", "energy_prop_auroc", "prop_by_kind_auroc", "mahalanobis_auroc", "knn_auroc",
    }  # fmt: skip
    assert evaluated(base, classes="0") == result


def test_a_recipe_that_learned_nothing_gives_no_pass(base: Target) -> None:
    """Its confidence means nothing, with or without a class."""
    blank = toy_target(graph=sbm_graph(400), epochs=0)
    report = auditor.audit(replace(blank, recipe=base.recipe), only=f"{ID}:classes=2", profile="quick", seeds=[0])
    judgements = [r.judgement for r in report.document.results if r.judgement is not None]
    assert judgements
    assert all(judgement.untrusted for judgement in judgements)


def test_classes_of_graphs_are_left_out_as_well() -> None:
    graphs = small_graphs(300)
    three = replace(graphs, y=torch.where(torch.arange(300) % 3 == 0, 2, graphs.y))
    result = evaluated(toy_target("graph-gin", graph=three, epochs=5), classes="2")
    found = row(result, "new_class_auroc", "class=2")
    assert found.estimate.n == 100
    assert "energy_prop_auroc" not in {m.metric for m in result.measured}


def test_the_answers_of_a_class_are_taken_away() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    torch.testing.assert_close(of_others(logits, (1,)), logits[:, [0, 2]])
    given = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double().log_softmax(dim=1)
    for answers in (logits.softmax(dim=1), logits.log_softmax(dim=1)):
        torch.testing.assert_close(of_others(answers, (1,)).log_softmax(dim=1), given, atol=1e-6, rtol=0)
    broken = of_others(torch.tensor([[torch.nan, 0.1, 0.2], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]), (0,))
    assert torch.isfinite(broken).all(dim=1).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("classes", "said"),
    [("3", "tells 3 classes, 0 to 2"), ("0/1", "leaves 1 of 3 classes"), ("-1", "classes"), ("x", "classes")],
)
def test_classes_that_do_not_fit_are_refused_before_anything_runs(base: Target, classes: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_classes(base, {"classes": classes}, ID)


def test_what_cannot_be_left_out_is_a_reason(base: Target) -> None:
    two = toy_target("graph-gin", graph=small_graphs(200), epochs=1)
    with pytest.raises(SkippedError, match="2 classes"):
        evaluated(two)
    rare = torch.where(base.graph.y == 2, torch.where(torch.arange(400) < 30, 2, 1), base.graph.y)
    few = replace(base, graph=replace(base.graph, y=rare))
    assert "at least 30" in evaluated(few).params["missing"]["2"]
    with pytest.raises(SkippedError, match="RETRAIN"):
        evaluated(replace(base, capabilities=base.capabilities - {Capability.RETRAIN}))
