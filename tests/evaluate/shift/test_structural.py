from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor import registry
from auditor.data.graph import Graph, Split
from auditor.document import Measured
from auditor.document.facts import Domain
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.shift.structural import evaluate, property_parts, random_parts
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Capability, Fitted, Target
from auditor.view import SideKnowledge
from tests.toys import sbm_graph, toy_target

RATIOS = [0.3, 0.1, 0.1, 0.1, 0.4]
NODES = 800


def evaluated(target: Target, seed: int = 0, **params: str) -> CellResult:
    probe = registry.find_probe("structural-split")
    return evaluate(Cell(target, probe, (), params, "full", seed, SideKnowledge(), TrainedCache()))


def row(result: CellResult, metric: str, split: str) -> Measured:
    (found,) = [each for each in result.measured if (each.metric, each.subset) == (metric, f"split={split}")]
    return found


class Answers(nn.Module):
    """Names a class for each node, whatever it is asked."""

    def __init__(self, classes: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.functional.one_hot(classes, 3).float())

    def forward(self, x, edge_index):
        return 5 * self.table


@dataclass
class Planted:
    """A recipe whose model answers by a rule of the labels and of the split that it is trained by."""

    rule: Callable[[torch.Tensor, Split], torch.Tensor]
    splits: list[Split] = field(default_factory=list)

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        self.splits.append(split)
        return Fitted(Answers(self.rule(graph.y, split)))

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.fixture(scope="module")
def base() -> Target:
    return toy_target(graph=sbm_graph(NODES), epochs=1)


def planted(base: Target, rule: Callable[[torch.Tensor, Split], torch.Tensor]) -> tuple[Target, Planted]:
    recipe = Planted(rule)
    return replace(base, recipe=recipe, digest=f"planted-{id(recipe)}"), recipe


def degree(graph: Graph) -> torch.Tensor:
    return torch.bincount(graph.edge_index[0], minlength=graph.num_nodes)


def test_parts_have_their_sizes_and_the_near_end_has_the_high_values(base: Target) -> None:
    parts = property_parts(base.graph, "popularity", RATIOS, seed=0)
    masks = (parts.train, parts.val, parts.near, parts.far)
    assert [int(mask.sum()) for mask in masks] == [240, 80, 80, 320]
    assert int(torch.stack(masks).sum(dim=0).max()) == 1
    held = degree(base.graph).double()
    assert held[parts.near].mean() > held[parts.far].mean() + 1
    assert held[parts.train].mean() == pytest.approx(held[parts.near].mean(), abs=1)


def test_the_split_is_that_of_the_seed_and_the_global_generator_is_left_alone(base: Target) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = property_parts(base.graph, "density", RATIOS, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again, other = (property_parts(base.graph, "density", RATIOS, seed=seed) for seed in (1, 2))
    assert torch.equal(first.near, again.near)
    assert not torch.equal(first.near, other.near)


def test_nodes_that_meet_at_one_value_are_counted() -> None:
    graph = sbm_graph(NODES, degree=1.0)  # hardly a triangle: nearly all have clustering 0
    parts = property_parts(graph, "density", RATIOS, seed=0)
    assert parts.tied > 0.9
    assert property_parts(graph, "density", [0.05, 0.05, 0.05, 0.05, 0.8], seed=0).tied > 0.9
    assert property_parts(sbm_graph(NODES), "popularity", RATIOS, seed=0).tied < 0.1


def test_the_random_split_has_the_same_sizes_and_leaves_nodes_without_a_label_out(base: Target) -> None:
    y = base.graph.y.clone()
    y[::10] = -1
    graph = replace(base.graph, y=y)
    parts = property_parts(graph, "popularity", RATIOS, seed=0)
    drawn = random_parts(graph, parts, rng=np.random.default_rng(0))
    for mine, other in zip((parts.train, parts.val, parts.near, parts.far), vars_of(drawn), strict=True):
        assert int(mine.sum()) == int(other.sum())
        assert not bool((other & (graph.y < 0)).any())
        assert not bool((mine & (graph.y < 0)).any())


def vars_of(parts) -> tuple[torch.Tensor, ...]:
    return parts.train, parts.val, parts.near, parts.far


def test_what_falls_with_degree_is_found_beyond_the_random_split(base: Target) -> None:
    """Right on nodes with many neighbours: lost from end to end of PageRank, and nothing on a random split."""
    many = degree(base.graph) >= degree(base.graph).median()
    target, recipe = planted(base, lambda y, _: torch.where(many, y, (y + 1) % 3))
    result = evaluated(target, properties="popularity")
    found = row(result, "structural_gap", "popularity")
    assert found.judged
    assert found.finding == "shift-structural-gap"
    assert found.estimate.value > 0.5
    (control,) = found.controls
    assert control.name == "random-split"
    assert abs(control.estimate.value) < 0.2
    assert found.contrast.value == pytest.approx(found.estimate.value - control.estimate.value)
    assert found.excess.lo > 0.1
    assert found.p_adjusted < 0.025
    assert found.facts.inside.value - found.facts.outside.value == pytest.approx(found.estimate.value)
    assert row(result, "structural_gap_at_equal_mix", "popularity").finding == "shift-structural-gap"
    assert len(recipe.splits) == 2
    for split in recipe.splits:
        assert int(split.train.sum()) == 240
        assert not bool((split.train & split.test).any())


def test_a_recipe_that_does_as_well_everywhere_has_no_gap(base: Target) -> None:
    coin = torch.from_numpy(np.random.default_rng(0).random(NODES) < 0.8)
    target, _ = planted(base, lambda y, _: torch.where(coin, y, (y + 1) % 3))
    result = evaluated(target)
    for split in ("popularity", "locality", "density"):
        found = row(result, "structural_gap", split)
        assert found.excess.lo < 0 < found.excess.hi
        assert found.p_adjusted > 0.025


def test_a_class_that_lies_at_the_far_end_is_a_class_mix_and_no_structure(base: Target) -> None:
    """Equal recalls at both ends: the whole gap is that a class never answered is common at the far end."""
    ranked = torch.argsort(torch.argsort(degree(base.graph), stable=True), stable=True).double() / NODES
    rng = np.random.default_rng(1)
    hard = torch.from_numpy(rng.random(NODES)) < torch.where(ranked < 0.5, 0.7, 0.1)
    y = torch.where(hard, torch.tensor(2), torch.from_numpy(rng.integers(0, 2, NODES)))
    target, _ = planted(
        replace(base, graph=replace(base.graph, y=y)), lambda y, _: torch.where(y == 2, torch.tensor(0), y)
    )
    result = evaluated(target, properties="popularity")
    gap, equal = row(result, "structural_gap", "popularity"), row(result, "structural_gap_at_equal_mix", "popularity")
    assert gap.estimate.lo > 0.1
    assert equal.finding == "shift-class-mix"
    assert equal.estimate.value == pytest.approx(0, abs=1e-9)
    assert not equal.judged
    facts = gap.facts
    assert isinstance(facts, Domain)
    assert facts.prior_distance > 0.2


def test_classes_with_few_training_items_are_named(base: Target) -> None:
    parts = property_parts(base.graph, "popularity", RATIOS, seed=0)
    y = base.graph.y % 2
    y[torch.nonzero(parts.far).flatten()[:40]] = 2  # no seed of the cell is that of these parts: nearly all lie far
    target, _ = planted(replace(base, graph=replace(base.graph, y=y)), lambda y, _: y)
    result = evaluated(target, properties="popularity")
    assert result.params["few_training_items"]["popularity"] == [2]


@pytest.mark.parametrize("ratios", ["0.3/0.1/0.1/0.1/0.5", "0.5/0.5", "0.6/0.1/0.1/0.1/0.2"])
def test_ratios_that_do_not_add_up_are_refused(base: Target, ratios: str) -> None:
    with pytest.raises(ConfigError, match="expected five that add up to 1"):
        evaluated(base, ratios=ratios)


def test_ratios_whose_float_sum_is_not_one_are_taken(base: Target) -> None:
    assert sum((0.6, 0.1, 0.1, 0.1, 0.1)) != 1.0
    target, _ = planted(base, lambda y, _: y)
    result = evaluated(target, ratios="0.6/0.1/0.1/0.1/0.1", properties="popularity")
    assert result.params["items"]["popularity"] == [80, 80]


def test_without_a_recipe_it_does_not_apply(base: Target) -> None:
    with pytest.raises(SkippedError, match="needs") as caught:
        evaluated(replace(base, capabilities=base.capabilities - {Capability.RETRAIN}))
    assert caught.value.lacks == ("RETRAIN",)


def test_too_few_nodes_are_a_reason() -> None:
    with pytest.raises(SkippedError, match="12 test nodes at the near end"):
        evaluated(toy_target(epochs=1))


def test_a_split_that_the_recipe_fails_on_is_left_out(base: Target) -> None:
    def rule(y: torch.Tensor, split: Split) -> torch.Tensor:
        if degree(base.graph)[split.train].double().mean() > degree(base.graph).double().mean() + 1:
            raise ValueError("too popular")
        return y

    result = evaluated(planted(base, rule)[0], properties="popularity/density")
    assert result.params["missing"] == {"popularity": "ValueError: too popular"}
    assert {each.subset for each in result.measured} == {"split=density"}


def test_equal_seeds_give_equal_results_and_the_target_is_left_alone() -> None:
    target = toy_target(graph=sbm_graph(400), epochs=5)
    before = target.graph.digest()
    assert evaluated(target, properties="density") == evaluated(target, properties="density")
    assert target.graph.digest() == before
    assert evaluated(target, seed=1, properties="density").params["training_seed"] == 1
