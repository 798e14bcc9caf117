from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from auditor import registry
from auditor.data.graph import Graph, Split
from auditor.document import Measured
from auditor.document.facts import Worth
from auditor.errors import SkippedError
from auditor.evaluate.links.rewiring import rewired_graph
from auditor.evaluate.shift.benefit import evaluate
from auditor.evaluate.shift.tabular import tabular_answers
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Capability, Fitted, Target
from auditor.view import SideKnowledge
from tests.toys import random_split, sbm_graph, small_graphs, toy_target


def evaluated(target: Target, seed: int = 0, **params: str) -> CellResult:
    probe = registry.find_probe("graph-benefit")
    return evaluate(Cell(target, probe, (), params, "full", seed, SideKnowledge(), TrainedCache()))


def number(result: CellResult, finding: str) -> Measured:
    (found,) = [each for each in result.measured if each.finding == finding]
    assert found.judged
    return found


class Right(nn.Module):
    """Right on the nodes that it is told, wrong on all others; its copies count the edges that they were asked on."""

    asked: ClassVar[list[int]] = []

    def __init__(self, y: torch.Tensor, right: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.functional.one_hot(torch.where(right, y, (y + 1) % 3), 3).float())

    def forward(self, x, edge_index):
        self.asked.append(edge_index.shape[1])
        return 5 * self.table


@dataclass
class Planted:
    """A recipe whose model is right on as many nodes as `rule` says of the graph that it is trained on."""

    rule: Callable[[Graph], int]
    graphs: list[Graph] = field(default_factory=list)

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        self.graphs.append(graph)
        items = torch.nonzero(split.test).flatten()
        right = ~split.test
        right[items[: self.rule(graph)]] = True
        return Fitted(Right(graph.y, right))

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.fixture(scope="module")
def base() -> Target:
    graph = sbm_graph(300)
    noise = torch.from_numpy(np.random.default_rng(0).random((300, 4), dtype=np.float32))
    return toy_target(graph=replace(graph, x=noise), epochs=1)  # features that tell nothing


def planted(base: Target, rule: Callable[[Graph], int]) -> tuple[Target, Planted]:
    recipe = Planted(rule)
    return replace(base, recipe=recipe, digest=f"planted-{id(recipe)}"), recipe


def touches_test(graph: Graph, split: Split) -> bool:
    return bool(split.test[graph.edge_index].any())


def rule_of(base: Target, *, full: int, rewired: int, none: int, hidden: int) -> Callable[[Graph], int]:
    def rule(graph: Graph) -> int:
        if graph.num_edges == 0:
            return none
        if not touches_test(graph, base.split):
            return hidden
        return full if torch.equal(graph.edge_index, base.graph.edge_index) else rewired

    return rule


def test_what_the_graph_is_worth_is_the_difference_to_the_best_that_does_without_it(base: Target) -> None:
    target, _ = planted(base, rule_of(base, full=120, rewired=60, none=75, hidden=105))
    result = evaluated(target)
    worth = number(result, "graph-no-benefit")
    by_name = {control.name: control for control in worth.controls}
    assert set(by_name) == {"rewired-recipe", "edge-free", "features-alone"}
    assert worth.estimate.value == pytest.approx(120 / 150)
    assert by_name["rewired-recipe"].estimate.value == pytest.approx(60 / 150)
    assert worth.contrast.to == "edge-free"
    assert worth.contrast.value == pytest.approx(45 / 150)
    assert worth.excess.hi < 0, "the graph is of use, beyond doubt"
    facts = worth.facts
    assert isinstance(facts, Worth)
    assert facts.worth.value == pytest.approx(45 / 150)
    assert facts.vanishes.value == pytest.approx(15 / 150)
    hidden = number(result, "split-transductive-gap")
    assert hidden.excess.value == pytest.approx(15 / 150)
    assert hidden.excess.lo > 0
    assert 0 < facts.hidden_edges < 1


def test_the_graph_is_worth_nothing_where_the_recipe_does_better_without_it(base: Target) -> None:
    target, _ = planted(base, rule_of(base, full=75, rewired=60, none=120, hidden=75))
    worth = number(evaluated(target), "graph-no-benefit")
    assert worth.excess.lo > 0
    assert number(evaluated(target), "split-transductive-gap").excess.value == 0
    assert number(evaluated(target), "split-transductive-gap").excess.hi > 0, "never a range without width"


def test_three_rivals_are_beaten_together(base: Target) -> None:
    """The best of three is picked on the test items: its interval is wider than one for it alone."""
    target, _ = planted(base, rule_of(base, full=120, rewired=60, none=75, hidden=120))
    worth = number(evaluated(target), "graph-no-benefit")
    target, _ = planted(base, rule_of(base, full=120, rewired=60, none=60, hidden=75))
    alone = number(evaluated(target), "split-transductive-gap")  # the same difference, compared once
    assert worth.contrast.half_width > 1.1 * alone.contrast.half_width


def test_hidden_means_no_edge_at_a_test_item_in_training_and_all_of_them_when_asked(base: Target) -> None:
    target, recipe = planted(base, rule_of(base, full=100, rewired=60, none=60, hidden=90))
    Right.asked.clear()
    result = evaluated(target)
    (hidden,) = [graph for graph in recipe.graphs if graph.num_edges and not touches_test(graph, base.split)]
    inside = ~base.split.test[base.graph.edge_index].any(dim=0)
    assert torch.equal(hidden.edge_index, base.graph.edge_index[:, inside])
    assert base.graph.num_edges in Right.asked
    assert hidden.num_edges not in Right.asked, "it is asked on the whole graph"
    assert number(result, "split-transductive-gap").estimate.value == pytest.approx(90 / 150)


def test_a_graph_that_carries_the_classes_is_worth_something_and_one_that_does_not_is_not() -> None:
    graph = sbm_graph(400, degree=8, mixing=0.05)
    rng = np.random.default_rng(1)
    noisy = torch.from_numpy((rng.random(graph.x.shape) < 0.3).astype(np.float32))
    mixed = torch.where(torch.from_numpy(rng.random(graph.x.shape)) < 0.5, noisy, graph.x)
    useful = number(evaluated(toy_target(graph=replace(graph, x=mixed))), "graph-no-benefit")
    assert useful.excess.hi < 0
    told = torch.cat([graph.x, 3 * nn.functional.one_hot(graph.y, 3).float()], dim=1)
    ends = torch.from_numpy(rng.integers(0, 400, (2, 1600)))
    useless = Graph(told, torch.cat([ends, ends.flip(0)], dim=1), graph.y)
    assert number(evaluated(toy_target(graph=useless)), "graph-no-benefit").excess.lo > 0


def test_equal_seeds_give_equal_results_and_the_target_is_left_alone() -> None:
    target = toy_target()
    before = target.graph.digest()
    assert evaluated(target, replicates="50") == evaluated(target, replicates="50")
    assert target.graph.digest() == before
    assert evaluated(target, seed=1, replicates="50").params["training_seed"] == 1


def test_a_recipe_that_fails_without_edges_leaves_that_control_out(base: Target) -> None:
    def rule(graph: Graph) -> int:
        if graph.num_edges == 0:
            raise ValueError("no edges here")
        return 100

    result = evaluated(planted(base, rule)[0])
    assert result.params["missing"] == {"edge-free": "ValueError: no edges here"}
    assert {control.name for control in number(result, "graph-no-benefit").controls} == {
        "rewired-recipe", "features-alone",
    }  # fmt: skip


def test_a_graph_that_cannot_be_rewired_is_not_compared_with_itself(base: Target) -> None:
    ends = torch.stack([torch.zeros(299, dtype=torch.int64), torch.arange(1, 300)])  # a star
    star = replace(base, graph=base.graph.with_edges(torch.cat([ends, ends.flip(0)], dim=1)))
    target, _ = planted(star, lambda graph: 120 if graph.num_edges else 75)
    result = evaluated(target)
    worth = number(result, "graph-no-benefit")
    assert "rewired-recipe" not in {control.name for control in worth.controls}
    assert worth.excess.hi < 0, "beyond doubt of use beside what does without it"
    rows = {row.id: row for row in result.validity}
    assert rows["shift-rewired"].status == rows["shift-recipe"].status == "warn"
    assert "Not compared with: rewired-recipe" in rows["shift-recipe"].evidence


def test_a_recipe_that_cannot_hide_edges_says_nothing_of_what_vanishes(base: Target) -> None:
    def rule(graph: Graph) -> int:
        if graph.num_edges and not touches_test(graph, base.split):
            raise RuntimeError("too few edges")
        return 100

    (only,) = evaluated(planted(base, rule)[0]).measured
    assert only.finding == "graph-no-benefit"
    assert only.facts.vanishes is None


@pytest.mark.parametrize("lacking", [Capability.RETRAIN, Capability.SPLIT])
def test_without_a_recipe_or_a_split_it_does_not_apply(base: Target, lacking: Capability) -> None:
    with pytest.raises(SkippedError, match="needs") as caught:
        evaluated(replace(base, capabilities=base.capabilities - {lacking}))
    assert caught.value.lacks == (str(lacking),)


def test_a_recipe_that_fails_on_its_own_graph_is_a_reason(base: Target) -> None:
    def rule(graph: Graph) -> int:
        raise KeyError("gone")

    with pytest.raises(SkippedError, match="cannot be trained on its own graph: KeyError"):
        evaluated(planted(base, rule)[0])


def test_a_recipe_unlike_the_model_warns(base: Target) -> None:
    target, recipe = planted(base, rule_of(base, full=140, rewired=60, none=60, hidden=90))
    rows = {row.id: row for row in evaluated(target).validity}
    assert rows["shift-recipe"].status == "warn"
    same = replace(target, model=recipe.fit(base.graph, base.split, 0).model)
    assert {row.id: row.status for row in evaluated(same).validity}["shift-recipe"] == "pass"


# ---- rewiring -------------------------------------------------------------------------------------------------------


def degrees(graph: Graph) -> tuple[list[int], list[int]]:
    out, into = (torch.bincount(end, minlength=graph.num_nodes).tolist() for end in graph.edge_index)
    return out, into


@pytest.mark.parametrize("kind", ["undirected", "directed", "many"])
def test_a_rewired_graph_keeps_every_degree_its_loops_and_its_weights(kind: str) -> None:
    graph = small_graphs(40) if kind == "many" else sbm_graph(150)
    if kind == "directed":
        graph = graph.keeping(torch.from_numpy(np.random.default_rng(0).random(graph.num_edges) < 0.5))
        assert not graph.is_undirected
    loops = torch.tensor([[3, 7], [3, 7]])
    arcs = torch.cat([graph.edge_index, loops], dim=1)
    weight = (arcs[0] + arcs[1]).float() + 1  # of an edge, whichever way
    graph = graph.with_edges(arcs, weight)
    made, swapped = rewired_graph(graph, rng=np.random.default_rng(0))
    assert degrees(made) == degrees(graph)
    assert made.is_undirected == graph.is_undirected
    assert made.num_edges == graph.num_edges == len(made.arc_keys())
    assert swapped.overlap < 1
    same = made.edge_index[0] == made.edge_index[1]
    assert torch.equal(made.edge_index[:, same], loops)
    assert torch.equal(made.edge_weight[same], weight[-2:])
    assert set(made.edge_weight.tolist()) <= set(weight.tolist())
    if kind != "directed":  # both ways of an edge weigh the same
        held = dict(zip(map(tuple, made.edge_index.T.tolist()), made.edge_weight.tolist(), strict=True))
        assert all(held[v, u] == each for (u, v), each in held.items())
    if graph.batch is not None:
        assert torch.equal(made.batch[made.edge_index[0]], made.batch[made.edge_index[1]])


# ---- features alone -------------------------------------------------------------------------------------------------


def masks(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    split = random_split(n)
    return split.train.numpy(), split.val.numpy(), split.test.numpy()


def test_trees_tell_what_no_line_does_and_read_no_test_label() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64)
    train, val, test = masks(600)
    found = tabular_answers(x, y, train, val, seed=0)
    assert (found == y)[test].mean() > 0.85
    other = np.where(test, 1 - y, y)
    assert np.array_equal(tabular_answers(x, other, train, val, seed=0), found)


def test_features_that_tell_nothing_leave_the_commonest_class() -> None:
    train, val, _ = masks(90)
    y = np.where(np.arange(90) < 60, 2, 0)
    assert set(tabular_answers(np.zeros((90, 0), np.float32), y, train, val, seed=0)) == {2}
    one = np.where(train, 1, y)
    assert set(tabular_answers(np.random.default_rng(0).random((90, 3), np.float32), one, train, val, seed=0)) == {1}
