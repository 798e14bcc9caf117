"""The model without edges as a second control, and the model that no edge can move."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

from auditor.document.facts import Robust
from auditor.errors import SkippedError
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.edge_free import EdgeFree, edge_free_reference, without_edges
from auditor.evaluate.robustness.envelope import Point, Tried
from auditor.evaluate.robustness.harness import evaluate
from auditor.evaluate.robustness.measure import Beside, Found, numbers
from auditor.evaluate.robustness.verification import Verified
from auditor.targets.target import Capability, Target
from auditor.tasks import Task
from tests.evaluate.robustness.cells import cell, facts, robust, shipped
from tests.toys import MLP, ToyRecipe, sbm_graph, toy_target


def below(result):
    return next(m for m in result.measured if m.metric == "attacked_accuracy")


def row(result, id_):
    return next((row for row in result.validity if row.id == id_), None)


def found(attacked: np.ndarray, reference: EdgeFree | None) -> Found:
    """One budget of 5 %: `attacked` is left, random edits break nothing, clean is right everywhere."""
    n = len(attacked)
    whole = np.ones(n, dtype=bool)
    clean, worst = (Verified(correct, True, 0, 0) for correct in (whole, attacked))
    return Found(
        probe="structure-evasion",
        task=Task("node"),
        levels=(Level("eps=0.05", 0.05, 10),),
        points=(
            Point(whole, Tried("clean", "control", "", -1, clean)),
            Point(attacked, Tried("search", "search", "", 0, worst)),
        ),
        beside=(Beside("random", True, (whole.astype(np.float64),)),),
        tried=(),
        majority=0.3,
        reference=reference,
        items=torch.arange(n),
    )


# 40 right by both, 12 under attack alone, 17 without edges alone, 31 by neither: 52 and 57 of 100
ATTACKED = np.repeat([True, True, False, False], [40, 12, 17, 31])
WITHOUT = np.repeat([True, False, True, False], [40, 12, 17, 31])


def test_attacked_accuracy_is_compared_item_by_item_with_what_is_right_without_edges():
    main, own = numbers(found(ATTACKED, EdgeFree(WITHOUT)), np.random.default_rng(0))
    assert (main.metric, main.finding) == ("robust_accuracy", "robustness-structure")
    assert (own.metric, own.finding) == ("attacked_accuracy", "robustness-below-edge-free")
    assert own.estimate == main.estimate
    assert own.estimate.value == 0.52
    assert [(control.name, control.estimate.value) for control in own.controls] == [("edge-free", 0.57)]
    # Agresti and Min: (12.5 - 17.5) / 102 +- 1.96 sqrt(30 - 25 / 102) / 102
    assert own.excess.value == pytest.approx(0.05)
    assert (own.excess.lo, own.excess.hi) == pytest.approx((-0.055796, 0.153836), abs=1e-5)
    assert (own.question, own.judged, own.worse_when) == ("edge-free", True, "lower")
    assert own.facts == main.facts
    assert main.facts.edge_free.value == 0.57


def test_without_such_a_model_the_commonest_class_is_named_and_the_fact_says_why():
    constant = np.repeat([True, False], [30, 70])
    _, own = numbers(found(ATTACKED, EdgeFree(constant, "no-recipe")), np.random.default_rng(0))
    assert own.control.name == "constant"
    assert own.control.estimate.value == 0.3
    assert (own.facts.edge_free, own.facts.no_edge_free) == (None, "no-recipe")
    assert own.excess.hi < 0


def test_a_model_that_no_edge_can_move_has_no_second_row():
    (main,) = numbers(found(ATTACKED, None), np.random.default_rng(0))
    assert main.facts.no_edge_free == "edges-unused"


@pytest.fixture(scope="module")
def heterophilous() -> Target:
    """Edges that say nothing of classes, and features that do: to average over neighbours is to lose."""
    return toy_target("gcn", graph=sbm_graph(n=300, mixing=2 / 3, degree=10, seed=3))


def test_under_attack_a_graph_of_strangers_leaves_less_than_no_graph(heterophilous):
    result = evaluate(cell(heterophilous))
    own = below(result)
    assert own.control.name == "edge-free"
    assert own.excess.lo > 0
    reference = facts(result).edge_free
    assert reference.value > facts(result).attacked.value
    assert reference == own.control.estimate
    assert result.params["reference"] == "edge-free"


def test_the_reference_is_the_same_recipe_on_no_edges_and_one_for_all_seeds(heterophilous):
    items = torch.nonzero(heterophilous.split.test).flatten()
    first = cell(heterophilous)
    asked = []

    class Watched(type(first.models)):
        def twin(self, target, graph, seed):
            asked.append((target, graph.num_edges, seed))
            return super().twin(target, graph, seed)

    found = [edge_free_reference(dataclasses.replace(first, models=Watched(), seed=s), items, 0) for s in (0, 1)]
    assert np.array_equal(found[0].correct, found[1].correct)
    (target, edges, seed), second = asked
    assert (target, edges) == (heterophilous, 0)
    assert second == asked[0]
    alone = heterophilous.recipe.fit(without_edges(heterophilous.graph), heterophilous.split, seed).model
    x = heterophilous.graph.x
    z = alone(x, torch.empty(2, 0, dtype=torch.long))
    expected = (z.argmax(dim=1) == heterophilous.graph.y)[items].numpy()
    assert np.array_equal(found[0].correct, expected)


def test_a_run_trains_it_once_for_all_attack_seeds(heterophilous):
    trained = []

    @dataclasses.dataclass(frozen=True)
    class Counting(ToyRecipe):
        def fit(self, graph, split, seed):
            trained.append(graph.num_edges)
            return super().fit(graph, split, seed)

    target = dataclasses.replace(heterophilous, recipe=Counting(heterophilous.build))
    first = cell(target, seed=0)
    for each in (first, dataclasses.replace(cell(target, seed=1), models=first.models)):
        evaluate(each)
    assert trained == [0]


def test_of_many_graphs_every_one_loses_its_edges():
    target = toy_target("graph-gin")
    items = torch.nonzero(target.split.test).flatten()
    reference = edge_free_reference(cell(target), items, 0)
    assert reference.correct.shape == (60,)
    assert below(evaluate(cell(target))).control.name == reference.name


def test_a_collapsed_training_gives_way_to_the_commonest_class_by_validation_items_alone(heterophilous):
    items = torch.nonzero(heterophilous.split.test).flatten()
    untrained = dataclasses.replace(heterophilous, recipe=ToyRecipe(lambda: _Says(1), epochs=0))
    y = heterophilous.graph.y
    better = int((y[heterophilous.split.val] == 1).sum() > (y[heterophilous.split.val] == 0).sum())
    assert edge_free_reference(cell(untrained), items, 1).missing == "not-better"  # as good is not better
    found = edge_free_reference(cell(untrained), items, 0)
    assert found.missing == ("" if better else "not-better")
    constant = edge_free_reference(cell(untrained), items, 1)
    assert np.array_equal(constant.correct, (y[items] == 1).numpy())


class _Says(MLP):
    """Always the same class."""

    def __init__(self, class_: int) -> None:
        super().__init__(24, 4, 3)
        self.class_ = class_

    def forward(self, x, edge_index):
        return 0 * self.layers(x) + nn.functional.one_hot(torch.tensor(self.class_), 3)


def test_without_a_recipe_and_where_training_breaks_the_commonest_class_stands_in(heterophilous):
    items = torch.nonzero(heterophilous.split.test).flatten()
    bare = dataclasses.replace(heterophilous, recipe=None)
    assert edge_free_reference(cell(bare), items, 0).missing == "no-recipe"
    no_capability = dataclasses.replace(heterophilous, capabilities=heterophilous.capabilities - {Capability.RETRAIN})
    assert edge_free_reference(cell(no_capability), items, 0).missing == "no-recipe"

    class NeedsEdges(MLP):
        def forward(self, x, edge_index):
            return self.layers(x) + edge_index.max() * 0

    breaks = dataclasses.replace(heterophilous, recipe=ToyRecipe(lambda: NeedsEdges(24, 4, 3)))
    found = edge_free_reference(cell(breaks), items, 0)
    assert found.missing == "failed"
    assert "RuntimeError" in found.reason
    assert evaluate(cell(breaks)).params["no_reference"] == found.reason


def test_a_defended_target_is_held_against_the_recipe_of_the_undefended_one(heterophilous):
    items = torch.nonzero(heterophilous.split.test).flatten()

    @dataclasses.dataclass(frozen=True)
    class Refits(ToyRecipe):
        def fit(self, graph, split, seed):
            raise AssertionError("a defence is not part of the reference")

    defended = dataclasses.replace(heterophilous, base=heterophilous, digest="defended", recipe=Refits(lambda: None))
    ours, theirs = (edge_free_reference(cell(target), items, 0) for target in (defended, heterophilous))
    assert np.array_equal(ours.correct, theirs.correct)


# ---- a model that no edge can move ----------------------------------------------------------------------------------


def mlp() -> Target:
    target = toy_target("mlp")
    return dataclasses.replace(target, capabilities=target.capabilities - {Capability.GRAD_EDGE})


@pytest.mark.parametrize("attacks", [shipped(), tuple(a for a in shipped() if a.entry.role != "search")])
def test_no_edge_can_change_an_answer_is_a_zero(attacks):
    result = evaluate(cell(mlp(), attacks, profile="standard"))
    curve = [m for m in result.measured if m.metric == "robust_accuracy"]
    assert [m.subset for m in curve] == ["eps=0.01", "eps=0.05", "eps=0.1", "eps=0.25"]
    for number in curve:
        assert number.estimate.value == pytest.approx(mlp().accuracy())
        assert number.control.name == "random"
        assert number.control.estimate == number.estimate
        assert (number.excess.value, number.excess.lo, number.excess.hi) == (0, 0, 0)
        assert isinstance(number.facts, Robust)
        assert (number.facts.no_edge_free, number.facts.edits) == ("edges-unused", 0)
    assert [m.metric for m in result.measured if m.judged] == ["robust_accuracy"]
    assert row(result, "edge-dependence").status == "pass"
    assert {each.id: each.status for each in result.validity} == dict.fromkeys(
        ("canonical", "budget", "finite-under-attack", "edge-dependence"), "pass"
    )


class Hidden(MLP):
    """Adds up over a graph of its own, whatever it is handed."""

    def __init__(self, own: torch.Tensor) -> None:
        super().__init__(24, 16, 3)
        self.own = own

    def forward(self, x, edge_index):
        return self.layers(x.index_add(0, self.own[1], x[self.own[0]]))


class Counts(MLP):
    def forward(self, x, edge_index):
        return self.layers(x) + torch.tensor([0.05, 0, 0]) * (edge_index.shape[1] - 706)


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        (Hidden(sbm_graph().edge_index), "own [2, 706] has a side that counts edges"),
        (Counts(24, 16, 3), "the number of edges changes the answers"),
    ],
)
def test_what_only_looks_unmoved_is_measured_and_does_not_count(model, seen):
    target = dataclasses.replace(mlp(), model=model)
    result = evaluate(cell(target))
    found = row(result, "edge-dependence")
    assert (found.status, found.kind) == ("fail", "integrity")
    assert seen in found.evidence
    assert robust(result).judged


class Barely(MLP):
    """On its features, but for a hundred millionth of what a layer on edges says."""

    def __init__(self) -> None:
        super().__init__(24, 16, 3)
        self.conv = GCNConv(24, 3)

    def forward(self, x, edge_index):
        return self.layers(x) + 1e-8 * self.conv(x, edge_index)


def test_edges_that_move_answers_by_next_to_nothing_are_attacked_like_any_other():
    result = evaluate(cell(dataclasses.replace(mlp(), model=Barely(), capabilities=frozenset(Capability))))
    assert row(result, "edge-dependence") is None
    assert "active-set" in result.params["attacks"]
    assert facts(result).no_edge_free != "edges-unused"


def test_a_model_of_edges_without_a_gradient_is_skipped_and_what_it_lacks_is_named():
    searching_none = tuple(attack for attack in shipped() if attack.entry.role != "search")  # as it is planned
    target = dataclasses.replace(toy_target("gcn"), capabilities=frozenset(Capability) - {Capability.GRAD_EDGE})
    with pytest.raises(SkippedError, match="GRAD_EDGE") as reason:
        evaluate(cell(target, searching_none))
    assert reason.value.lacks == ("GRAD_EDGE",)
