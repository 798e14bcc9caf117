from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attacks.shift.strata import Strata
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.harness import evaluate
from auditor.evaluate.shift.strata import homophily
from auditor.evaluate.shift.worst_group import worst_group
from auditor.statistics.intervals import wilson
from auditor.targets.target import Capability
from tests.evaluate.shift.cells import make_cell, row, with_model
from tests.toys import sbm_graph, small_graphs, toy_target


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn", graph=sbm_graph(400))


@pytest.fixture(scope="module")
def result(target):
    return evaluate(make_cell(target, "strata"))


class Tabled(nn.Module):
    """Answers from a table: what each node gets right is planted."""

    def __init__(self, logits):
        super().__init__()
        self.table = nn.Parameter(logits)

    def forward(self, x, edge_index):
        return self.table + 0 * x.sum()


def planted(target, wrong):
    """A target that is right everywhere but in `wrong` (bool [N])."""
    y = target.graph.y
    said = torch.where(wrong, (y + 1) % target.num_classes, y)
    return with_model(target, Tabled(5 * nn.functional.one_hot(said, target.num_classes).float()))


def test_strata_and_their_rest_share_no_item(target, result):
    test = target.split.test
    correct = (target.clean_logits().argmax(1) == target.graph.y)[test].double().numpy()
    for m in result.measurements:
        if m.name == "accuracy" and m.subset.startswith("degree"):
            rest = (correct.sum() - m.value * m.n) / (len(correct) - m.n)
            assert m.control.value == pytest.approx(rest)
            assert m.advantage.value == pytest.approx(rest - m.value)


def test_every_interval_holds_its_value_and_has_a_width(result):
    for m in result.measurements:
        assert m.ci.lo <= m.value <= m.ci.hi
        assert m.ci.hi > m.ci.lo
        assert m.advantage.ci.lo <= m.advantage.value <= m.advantage.ci.hi
        assert m.advantage.ci.hi > m.advantage.ci.lo


def test_label_strata_are_diagnostic_and_never_judged(result):
    diagnostic = [m for m in result.measurements if m.subset.startswith(("class=", "homophily="))]
    assert diagnostic
    assert not any(m.primary or m.limit for m in diagnostic)
    assert all(m.notes["diagnostic"] for m in diagnostic)
    worst = row(result, "worst_group_accuracy", "all properties")
    assert not worst.notes["stratum"].startswith(("class", "homophily"))


def test_judged_are_the_worst_group_and_the_signed_calibration_error(result):
    primary = {(m.name, m.subset, m.limit.name) for m in result.measurements if m.primary}
    assert primary == {
        ("worst_group_accuracy", "all properties", "max_worst_group_excess_pt"),
        ("sce", "", "max_abs_sce_pt"),
    }


def test_a_planted_worst_group_is_found(target):
    degree = torch.bincount(target.graph.edge_index[0], minlength=400)
    found = row(evaluate(make_cell(planted(target, degree <= 3), "strata")), "worst_group_accuracy", "all properties")
    assert found.notes["stratum"].startswith("degree")
    assert found.value == 0.0
    assert found.advantage.ci.lo > 0.10
    assert found.p_adjusted <= 0.025


def test_errors_at_random_raise_no_group(target):
    wrong = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.2
    found = row(evaluate(make_cell(planted(target, wrong), "strata")), "worst_group_accuracy", "all properties")
    assert found.text.startswith("no group below")
    assert found.p_adjusted > 0.025


def test_random_strata_are_raised_in_at_most_five_percent():
    rng, raised, low_p = np.random.default_rng(0), 0, 0
    for _ in range(200):
        correct = (rng.random(600) < 0.8).astype(float)
        cut = rng.integers(0, 10, (3, 600))
        groups = [[labels == k for k in range(10)] for labels in cut]
        worst = worst_group(correct, groups, None, items_as_blocks=np.arange(600), rng=rng, repeats=100)
        low_p += worst.p <= 0.05
        raised += worst.control - worst.bounds[1] > 0.10 and worst.p <= 0.025
    assert raised <= 10
    assert low_p <= 18  # 5 % of 200, and three standard errors


def test_the_worst_of_many_groups_has_the_wider_interval():
    correct = np.r_[np.zeros(10), np.ones(90)]
    groups = [[np.arange(100) // 25 == k for k in range(4)]]
    worst = worst_group(correct, groups, None, items_as_blocks=np.arange(100), rng=np.random.default_rng(0))
    assert (worst.index, worst.value) == (0, 0.6)
    assert worst.bounds == pytest.approx(wilson(15, 25, confidence=1 - 0.05 / 4))


def test_whole_blocks_lower_what_chance_gives():
    """Errors that come in blocks make random groups of whole blocks worse than groups of single items."""
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(60), 10)
    correct = np.repeat((rng.random(60) < 0.8).astype(float), 10)
    halves = [[blocks % 6 == k for k in range(6)]]
    worst = worst_group(correct, halves, blocks, items_as_blocks=blocks, rng=rng)
    assert worst.by_blocks < worst.by_items
    assert worst.control == worst.by_blocks


def test_calibration_of_a_model_that_is_sure_and_half_right(target):
    wrong = torch.arange(400) % 2 == 0
    result = evaluate(make_cell(planted(target, wrong), "strata"))
    sce, ece = row(result, "sce"), row(result, "ece")
    confidence = float(torch.tensor([5.0, 0, 0]).softmax(0)[0])
    accuracy = float((~wrong)[target.split.test].double().mean())
    assert sce.value == pytest.approx(confidence - accuracy)
    assert sce.advantage.ci.lo > 0.10
    assert "over-confident" in sce.text
    assert ece.value == pytest.approx(sce.value)
    assert ece.limit is None
    assert not ece.primary


def test_under_confidence_is_positive_advantage_too(target):
    model = Tabled(0.2 * nn.functional.one_hot(target.graph.y, 3).float())
    sce = row(evaluate(make_cell(with_model(target, model), "strata")), "sce")
    assert sce.value < -0.5
    assert sce.advantage.value == pytest.approx(-sce.value)
    assert "under-confident" in sce.text


def test_a_model_of_classes_only_has_no_calibration(target):
    blind = replace(target, capabilities=frozenset({Capability.LABELS}))
    result = evaluate(make_cell(blind, "strata"))
    assert not [m for m in result.measurements if m.name in ("sce", "ece")]
    assert row(result, "worst_group_accuracy", "all properties").primary


def test_graph_task_has_size_and_density():
    result = evaluate(make_cell(toy_target("graph-gin", graph=small_graphs(400)), "strata"))
    assert {"nodes", "mean-degree", "density", "class"} == {
        m.subset.partition("=")[0] for m in result.measurements if m.name == "accuracy"
    }


def test_same_seed_same_bytes_and_another_order_of_nodes_the_same_values(target, result):
    again = evaluate(make_cell(target, "strata"))
    dump = [[m.model_dump(mode="json") for m in r.measurements] for r in (result, again)]
    assert json.dumps(dump[0], sort_keys=True) == json.dumps(dump[1], sort_keys=True)
    turn = torch.randperm(400, generator=torch.Generator().manual_seed(3))
    graph, split = target.graph, target.split
    moved = replace(
        target,
        graph=replace(graph, x=graph.x[turn], edge_index=torch.argsort(turn)[graph.edge_index], y=graph.y[turn]),
        split=replace(split, train=split.train[turn], val=split.val[turn], test=split.test[turn]),
        _clean={},
    )
    turned = evaluate(make_cell(moved, "strata"))
    for m, other in zip(result.measurements, turned.measurements, strict=True):
        assert (m.name, m.subset, m.n) == (other.name, other.subset, other.n)
        assert m.value == pytest.approx(other.value, abs=1e-6)


class Lying(Strata):
    """Strata whose items are tampered with on the way out."""

    def run(self, view, task):
        outcome = super().run(view, task)
        first, *others = outcome.sets
        return replace(outcome, sets=(self.tamper(first, view), *others))


class WithTrainingItems(Lying):
    def tamper(self, stratum, view):
        return replace(stratum, items=torch.cat([stratum.items, torch.nonzero(view.train_mask).flatten()[:1]]))


class LeavesOut(Lying):
    def tamper(self, stratum, view):
        return replace(stratum, items=stratum.items[1:])


@pytest.mark.parametrize("attack", [WithTrainingItems(), LeavesOut()])
def test_false_claims_are_refused(target, attack):
    with pytest.raises(EvaluationError):
        evaluate(make_cell(target, "strata", attack))


def test_homophily_by_hand():
    graph = sbm_graph(4)
    path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    h = homophily(replace(graph, edge_index=path, y=torch.tensor([0, 0, 1, 1])))
    assert h[:3].tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(h[3])


def test_one_class_or_few_items_skip_with_a_reason():
    graph = sbm_graph(400)
    one = toy_target("gcn", graph=replace(graph, y=torch.zeros(400, dtype=torch.int64)), epochs=1)
    with pytest.raises(SkippedError, match="class"):
        evaluate(make_cell(replace(one, num_classes=2), "strata"))
    with pytest.raises(SkippedError, match="30"):
        evaluate(make_cell(toy_target("gcn", graph=sbm_graph(40), epochs=1), "corruption"))
