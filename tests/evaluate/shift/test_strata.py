from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attacks.shift.strata import Strata
from auditor.data.fields import Fields
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
    for m in result.measured:
        if m.metric == "accuracy" and m.subset.startswith("degree"):
            rest = (correct.sum() - m.estimate.value * m.estimate.n) / (len(correct) - m.estimate.n)
            assert m.control.estimate.value == pytest.approx(rest)
            assert m.excess.value == pytest.approx(rest - m.estimate.value)


def test_every_interval_holds_its_value_and_has_a_width(result):
    for m in result.measured:
        assert m.estimate.lo <= m.estimate.value <= m.estimate.hi
        assert m.estimate.hi > m.estimate.lo
        assert m.excess.lo <= m.excess.value <= m.excess.hi
        assert m.excess.hi > m.excess.lo


def test_label_strata_are_diagnostic_and_never_judged(result):
    diagnostic = [m for m in result.measured if m.subset.startswith(("class=", "homophily="))]
    assert diagnostic
    assert not any(m.judged for m in diagnostic)
    assert all(m.facts.diagnostic for m in diagnostic)
    worst = row(result, "worst_group_accuracy", "all properties")
    assert not worst.facts.diagnostic


def test_judged_are_the_worst_group_and_the_two_directions_of_calibration(result):
    judged = {(m.metric, m.subset, m.question) for m in result.measured if m.judged}
    assert judged == {
        ("worst_group_accuracy", "all properties", "worst-group"),
        ("over_confidence", "", "over-confidence"),
        ("under_confidence", "", "under-confidence"),
    }


def test_a_planted_worst_group_is_found(target):
    degree = torch.bincount(target.graph.edge_index[0], minlength=400)
    found = row(evaluate(make_cell(planted(target, degree <= 3), "strata")), "worst_group_accuracy", "all properties")
    assert found.facts.cut_by == "degree"
    assert found.estimate.value == 0.0
    assert found.excess.lo > 0.10
    assert found.p_adjusted <= 0.025


def test_a_group_that_only_a_column_of_the_user_tells_is_found(target):
    region = torch.from_numpy(np.random.default_rng(3).integers(0, 3, 400))  # tells nothing of the place in the graph
    marked = replace(target, graph=replace(target.graph, fields=Fields(node={"region": region})))
    failing = planted(marked, region == 1)
    found = row(evaluate(make_cell(failing, "strata", Strata(columns=("region",)))), "worst_group_accuracy", "region")
    assert (found.facts.cut_by, found.facts.group) == ("region", "1")
    assert found.estimate.value == 0
    judged = row(
        evaluate(make_cell(failing, "strata", Strata(columns=("region",)))), "worst_group_accuracy", "all properties"
    )
    assert judged.facts.cut_by == "region"
    assert judged.excess.lo > 0.1
    without = row(evaluate(make_cell(failing, "strata")), "worst_group_accuracy", "all properties")
    assert without.excess.lo < 0.1


def test_errors_at_random_raise_no_group(target):
    wrong = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.2
    found = row(evaluate(make_cell(planted(target, wrong), "strata")), "worst_group_accuracy", "all properties")
    assert found.p_adjusted > 0.025
    assert found.excess.lo < 0.10


def test_random_strata_are_raised_in_at_most_five_percent():
    rng, raised, low_p = np.random.default_rng(0), 0, 0
    for _ in range(200):
        correct = (rng.random(600) < 0.8).astype(float)
        cut = rng.integers(0, 10, (3, 600))
        groups = [[labels == k for k in range(10)] for labels in cut]
        worst = worst_group(correct, groups, None, items_as_blocks=np.arange(600), rng=rng, repeats=100)
        low_p += worst.p <= 0.05
        raised += worst.by_items - worst.bounds[1] > 0.10 and worst.p <= 0.025
    assert raised <= 10
    assert low_p <= 18  # 5 % of 200, and three standard errors


def test_the_worst_of_many_groups_has_the_wider_interval():
    correct = np.r_[np.zeros(10), np.ones(90)]
    groups = [[np.arange(100) // 25 == k for k in range(4)]]
    worst = worst_group(correct, groups, None, items_as_blocks=np.arange(100), rng=np.random.default_rng(0))
    assert (worst.index, worst.value) == (0, 0.6)
    assert worst.bounds == pytest.approx(wilson(15, 25, confidence=1 - 0.05 / 4))


def test_what_would_go_unseen_is_where_the_interval_begins_to_lie_below_chance():
    """A group exactly `detectable` below chance is proven to be worse, one a little less below is not."""
    correct = np.r_[np.zeros(30), np.ones(370)]
    groups = [[np.arange(400) % 4 == k for k in range(4)]]
    worst = worst_group(correct, groups, None, items_as_blocks=np.arange(400), rng=np.random.default_rng(0))
    assert worst.confidence == 1 - 0.05 / 4
    assert worst.items == pytest.approx([100] * 4)
    for by, is_seen in ((0.999, False), (1.001, True)):
        p = worst.chance - by * worst.detectable
        _, upper = wilson(100 * p, 100, confidence=worst.confidence)
        assert (upper < worst.chance) is is_seen


def test_the_group_with_the_fewest_independent_items_sees_least():
    rng = np.random.default_rng(0)
    correct = (rng.random(600) < 0.8).astype(float)
    even, uneven = (np.arange(600) // 200, np.searchsorted([30, 300], np.arange(600), side="right"))
    found = [
        worst_group(correct, [[cut == k for k in range(3)]], None, items_as_blocks=np.arange(600), rng=rng)
        for cut in (even, uneven)
    ]
    assert found[0].detectable < found[1].detectable
    clumped = worst_group(
        np.repeat(correct[::10], 10),
        [[even == k for k in range(3)]],
        None,
        items_as_blocks=np.arange(600) // 10,
        rng=rng,
    )
    assert clumped.items.max() < 50  # ten equal answers are one
    assert clumped.detectable > 2 * found[0].detectable


def test_no_group_is_worse_than_the_lowest_end_of_all_intervals():
    """30 of 40 right looks better than 290 of 400, and may be far worse."""
    correct = np.r_[np.ones(30), np.zeros(10), np.ones(290), np.zeros(110), np.ones(160)]
    cut = np.r_[np.zeros(40), np.ones(400), np.full(160, 2)]
    groups = [[cut == k for k in range(3)]]
    worst = worst_group(correct, groups, None, items_as_blocks=np.arange(600), rng=np.random.default_rng(0))
    small, large = (wilson(right, n, confidence=worst.confidence) for right, n in ((30, 40), (290, 400)))
    assert worst.value == 290 / 400
    assert worst.bounds == pytest.approx(large)
    assert worst.lowest == pytest.approx(small[0])
    assert small[0] < large[0]


def test_a_small_test_set_never_clears_its_groups(target):
    """A model that errs at random on 200 items: no group is proven to be worse, and none is proven not to be."""
    wrong = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.2
    cell = make_cell(planted(target, wrong), "strata")
    found = row(evaluate(cell), "worst_group_accuracy", "all properties")
    assert found.facts.detectable > 0.10
    assert found.excess.hi > 0.10
    assert found.contrast.n == 200


def test_whole_blocks_lower_what_chance_gives():
    """Errors that come in blocks make random groups of whole blocks worse than groups of single items."""
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(60), 10)
    correct = np.repeat((rng.random(60) < 0.8).astype(float), 10)
    halves = [[blocks % 6 == k for k in range(6)]]
    worst = worst_group(correct, halves, blocks, items_as_blocks=blocks, rng=rng)
    assert worst.by_blocks < worst.by_items


def test_calibration_of_a_model_that_is_sure_and_half_right(target):
    wrong = torch.arange(400) % 2 == 0
    result = evaluate(make_cell(planted(target, wrong), "strata"))
    over, ece = row(result, "over_confidence"), row(result, "ece")
    confidence = float(torch.tensor([5.0, 0, 0]).softmax(0)[0])
    accuracy = float((~wrong)[target.split.test].double().mean())
    assert over.estimate.value == pytest.approx(confidence - accuracy)
    assert over.excess.lo > 0.10
    assert (over.facts.confidence.value, over.facts.accuracy.value) == pytest.approx((confidence, accuracy))
    assert ece.estimate.value == pytest.approx(over.estimate.value)
    assert row(result, "under_confidence").excess.hi < -0.10
    assert not ece.judged


def test_under_confidence_is_a_result_of_its_own(target):
    model = Tabled(0.2 * nn.functional.one_hot(target.graph.y, 3).float())
    result = evaluate(make_cell(with_model(target, model), "strata"))
    over, under = row(result, "over_confidence"), row(result, "under_confidence")
    assert under.estimate.value > 0.5
    assert under.excess.lo > 0
    assert over.excess.hi < 0


def test_the_two_directions_are_one_number_with_both_signs(result):
    over, under = row(result, "over_confidence"), row(result, "under_confidence")
    assert under.estimate == over.estimate.negated()
    assert (under.excess.value, under.excess.lo, under.excess.hi) == (
        -over.excess.value,
        -over.excess.hi,
        -over.excess.lo,
    )
    assert over.contrast.to == under.contrast.to == "confidence equal to accuracy"
    assert (over.contrast.value, over.contrast.lo, over.contrast.hi) == (
        over.estimate.value,
        over.estimate.lo,
        over.estimate.hi,
    )
    assert {m.worse_when for m in (over, under, row(result, "ece"), row(result, "ece_equal_mass"))} == {"higher"}


def test_a_model_of_classes_only_has_no_calibration(target):
    blind = replace(target, capabilities=frozenset({Capability.LABELS}))
    result = evaluate(make_cell(blind, "strata"))
    assert not [m for m in result.measured if m.metric in ("over_confidence", "under_confidence", "ece")]
    assert row(result, "worst_group_accuracy", "all properties").judged


def without_edges(count=400, **changes):
    graph = sbm_graph(count)
    return replace(toy_target("gcn", graph=graph.with_edges(graph.edge_index[:, :0])), **changes)


def few_items():
    return toy_target("gcn", graph=sbm_graph(90))


@pytest.mark.parametrize("make", [without_edges, few_items])
def test_where_no_property_splits_the_items_calibration_is_measured(make):
    result = evaluate(make_cell(make(), "strata"))
    assert {m.metric for m in result.measured if m.judged} == {"over_confidence", "under_confidence"}
    assert {"over_confidence", "ece", "ece_equal_mass"} <= {m.metric for m in result.measured}
    assert not [m for m in result.measured if m.metric == "worst_group_accuracy"]
    assert all(m.facts.diagnostic for m in result.measured if m.metric == "accuracy")
    assert set(result.params["skipped"]) == {
        "degree",
        "pagerank",
        "personalised-pagerank",
        "hops-to-train",
        "clustering",
    }
    assert "shift-support" not in {check.id for check in result.validity}
    assert "reliability" in {series.id for series in result.series}


def test_calibration_does_not_depend_on_whether_strata_were_found(target, result):
    class Blank(Strata):
        """Finds no stratum."""

        def run(self, view, attempt):
            return replace(super().run(view, attempt), sets=())

    alone = evaluate(make_cell(target, "strata", Blank()))
    for metric in ("over_confidence", "under_confidence", "ece", "ece_equal_mass"):
        assert row(alone, metric) == row(result, metric)


def test_nothing_to_judge_is_skipped_with_every_reason():
    with pytest.raises(SkippedError, match=r"no confidence: degree: .*; clustering: "):
        evaluate(make_cell(without_edges(capabilities=frozenset({Capability.LABELS})), "strata"))


def test_a_group_that_few_messages_reach_is_found_in_a_directed_graph(target):
    u, v = target.graph.edge_index
    graph = target.graph.with_edges(target.graph.edge_index[:, (u < v) | ((u + v) % 3 == 0)])
    directed = replace(target, graph=graph)
    few = torch.bincount(graph.edge_index[1], minlength=400) <= 3
    result = evaluate(make_cell(planted(directed, few), "strata"))
    found = row(result, "worst_group_accuracy", "all properties")
    assert (found.facts.cut_by, found.estimate.value) == ("in-degree", 0.0)
    assert found.excess.lo > 0.10
    assert "degree" not in {m.facts.cut_by for m in result.measured if m.metric == "accuracy"}


def test_graph_task_has_size_and_density():
    result = evaluate(make_cell(toy_target("graph-gin", graph=small_graphs(400)), "strata"))
    assert {"nodes", "mean-degree", "density", "class"} == {
        m.subset.partition("=")[0] for m in result.measured if m.metric == "accuracy"
    }


def test_same_seed_same_bytes_and_another_order_of_nodes_the_same_values(target, result):
    again = evaluate(make_cell(target, "strata"))
    dump = [[m.model_dump(mode="json") for m in r.measured] for r in (result, again)]
    assert json.dumps(dump[0], sort_keys=True) == json.dumps(dump[1], sort_keys=True)
    turn = torch.randperm(400, generator=torch.Generator().manual_seed(3))
    graph, split = target.graph, target.split
    moved = replace(
        target,
        graph=replace(graph, x=graph.x[turn], edge_index=torch.argsort(turn)[graph.edge_index], y=graph.y[turn]),
        split=replace(split, train=split.train[turn], val=split.val[turn], test=split.test[turn]),
    )
    turned = evaluate(make_cell(moved, "strata"))
    for m, other in zip(result.measured, turned.measured, strict=True):
        assert (m.metric, m.subset, m.estimate.n) == (other.metric, other.subset, other.estimate.n)
        assert m.estimate.value == pytest.approx(other.estimate.value, abs=1e-6)


class Lying(Strata):
    """Strata whose items are tampered with on the way out."""

    def run(self, view, attempt):
        outcome = super().run(view, attempt)
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
