from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attacks.shift.edge_edits import block_edges, redraw_edges
from attacks.shift.feature_edits import permute_features
from attacks.shift.ood_detection import OodDetection
from auditor import registry
from auditor.data.graph import Graph
from auditor.document.facts import Unlike
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.detectors import kinship, propagate
from auditor.evaluate.shift.embedded import embedded
from auditor.evaluate.shift.inputs import best_statistic, statistics
from auditor.evaluate.shift.unlike import evaluate
from auditor.outcomes import ShiftOutcome
from auditor.probe import CellResult
from auditor.targets.target import Capability, Target
from tests.evaluate.shift.cells import make_cell, row, with_model
from tests.toys import sbm_graph, small_graphs, toy_target

ID = "ood-detection"
NODE_SETS = ("sbm", "sbm-matched", "feature-interpolation", "feature-permutation", "rewired", "er")


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target(graph=sbm_graph(400, degree=8, mixing=0.05))


@pytest.fixture(scope="module")
def result(target: Target) -> CellResult:
    return evaluated(target)


def evaluated(target: Target, attack: OodDetection | None = None, **params: str) -> CellResult:
    return evaluate(make_cell(target, ID, attack, params=params))


def test_every_set_has_every_score_beside_chance_and_what_the_inputs_show(result: CellResult) -> None:
    assert {m.subset for m in result.measured} == set(NODE_SETS)
    metrics = {m.metric for m in result.measured}
    assert metrics == {
        "msp_auroc", "max_logit_auroc", "energy_auroc", "energy_prop_auroc", "prop_by_kind_auroc", "mahalanobis_auroc",
        "knn_auroc",
    }  # fmt: skip
    for m in result.measured:
        assert m.judged == (m.metric == "msp_auroc")
        assert m.estimate.lo <= m.estimate.value <= m.estimate.hi
        assert m.estimate.hi > m.estimate.lo
        assert isinstance(m.facts, Unlike)
        visible = next(c for c in m.controls if c.name == "input-statistics")
        assert visible.estimate.value == m.facts.inputs >= 0.5
        assert m.facts.aupr_chance == pytest.approx(200 / 600)
    assert {"shift-halves", "shift-claims"} <= {v.id for v in result.validity}


def test_edges_that_carried_the_classes_are_missed(result: CellResult) -> None:
    rewired = row(result, "energy_prop_auroc", "rewired")
    assert rewired.estimate.lo > 0.6
    assert rewired.facts.inputs < 0.6, "degrees are what they were"


def test_a_model_that_reads_no_edges_notices_none_of_them() -> None:
    """The null: the same answers, on test items and on all nodes."""
    mlp = toy_target("mlp", graph=sbm_graph(400))
    result = evaluated(mlp, OodDetection(sets=("rewired", "er", "sbm-matched")))
    for subset in ("rewired", "er", "sbm-matched"):
        found = row(result, "msp_auroc", subset)
        assert abs(found.estimate.value - 0.5) < 0.1  # training nodes are among all nodes, and surer
    assert "EMBEDDINGS" in result.params["missing"]
    assert "mahalanobis_auroc" not in {m.metric for m in result.measured}


def test_equal_seeds_give_equal_results_and_draws_are_averaged(target: Target) -> None:
    attack = OodDetection(sets=("rewired",), draws=3)
    first, second = evaluated(target, attack), evaluated(target, attack)
    assert first == second
    assert row(first, "msp_auroc", "rewired").facts.draws == 3


def test_graphs_are_made_anew_one_by_one() -> None:
    graphs = toy_target("graph-gin", graph=small_graphs(200))
    result = evaluated(graphs)
    assert {m.subset for m in result.measured} == {"feature-interpolation", "feature-permutation", "rewired", "er"}
    assert set(result.params["skipped"]) == {"sbm", "sbm-matched"}
    assert row(result, "msp_auroc", "er").estimate.n == int(graphs.split.test.sum())


class LogSoftmax(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x, edge_index):
        return self.inner(x, edge_index).log_softmax(dim=1)


def test_a_model_that_answers_log_probabilities_has_no_energy(target: Target) -> None:
    result = evaluated(with_model(target, LogSoftmax(target.model)), OodDetection(sets=("rewired",)))
    assert {m.metric for m in result.measured} & {"energy_auroc", "max_logit_auroc", "energy_prop_auroc"} == set()
    assert row(result, "prop_by_kind_auroc", "rewired").estimate.value > 0.5


class Breaks(nn.Module):
    """NaN wherever a node has more than four neighbours."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x, edge_index):
        degree = torch.bincount(edge_index[1], minlength=len(x))
        return torch.where(degree[:, None] > 12, torch.nan, self.inner(x, edge_index))


def test_answers_that_are_no_numbers_are_what_the_model_knows_least(target: Target) -> None:
    result = evaluated(with_model(target, Breaks(target.model)), OodDetection(sets=("rewired", "er")))
    for m in result.measured:
        assert np.isfinite(m.estimate.value)


def test_isolated_nodes_keep_or_decay_and_it_is_said(target: Target) -> None:
    sparse = toy_target(graph=sbm_graph(400, degree=1.5))
    attack = OodDetection(sets=("sbm",))
    kept, decayed = (evaluated(sparse, attack, isolated=word) for word in ("keep", "decay"))
    one, two = (row(each, "energy_prop_auroc", "sbm") for each in (kept, decayed))
    assert (one.facts.isolated, two.facts.isolated) == ("keep", "decay")
    assert one.estimate.value != two.estimate.value
    assert row(kept, "msp_auroc", "sbm").estimate == row(decayed, "msp_auroc", "sbm").estimate


@pytest.mark.parametrize(
    ("graph", "sets", "said"),
    [
        (
            Graph(torch.rand(100, 3), torch.zeros(2, 0, dtype=torch.int64), torch.arange(100) % 2),
            ("rewired",),
            "no edges",
        ),
        (replace(sbm_graph(120), x=torch.ones(120, 2)), ("feature-permutation",), "same features"),
        (replace(sbm_graph(120), whole_x=True), ("feature-interpolation",), "whole numbers"),
        (replace(sbm_graph(60, degree=55), y=torch.arange(60) % 2), ("sbm",), "too dense"),
    ],
)
def test_what_cannot_be_made_is_a_reason(graph: Graph, sets: tuple, said: str) -> None:
    with pytest.raises(SkippedError, match=said):
        evaluated(toy_target(graph=graph, epochs=1), OodDetection(sets=sets))


class Lies(OodDetection):
    """Gives another thing than it says."""

    def run(self, view, attempt) -> ShiftOutcome:
        outcome = super().run(view, attempt)
        (first,) = list(outcome.sets)
        return replace(outcome, sets=(replace(first, graph=self.lie(first.graph)),))

    def lie(self, graph: Graph) -> Graph:
        return redraw_edges(graph, np.random.default_rng(0))


def test_a_set_that_is_not_what_it_claims_is_refused(target: Target) -> None:
    with pytest.raises(EvaluationError, match="changed degrees"):
        evaluated(target, Lies(sets=("rewired",), draws=1))
    with pytest.raises(EvaluationError, match="changed edges"):
        evaluated(target, Lies(sets=("feature-permutation",), draws=1))


# ---- what is made ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("directed", [False, True])
def test_a_block_model_has_the_expected_number_of_edges_and_no_class_in_it(directed: bool) -> None:
    graph = sbm_graph(400, degree=8)
    if directed:
        graph = graph.keeping(torch.from_numpy(np.random.default_rng(0).random(graph.num_edges) < 0.5))
    counts = {}
    for matched in (True, False):
        made = [block_edges(graph, 4, np.random.default_rng(k), matched=matched) for k in range(20)]
        assert all(each.num_edges == len(each.arc_keys()) for each in made)
        assert all(each.is_undirected != directed for each in made)
        assert not any(bool((each.edge_index[0] == each.edge_index[1]).any()) for each in made)
        counts[matched] = np.mean([each.num_edges for each in made]) / graph.num_edges
    assert counts[True] == pytest.approx(1, abs=0.03)
    assert counts[False] == pytest.approx(0.75, abs=0.03)
    one = block_edges(graph, 4, np.random.default_rng(0), matched=True)
    same = (graph.y[one.edge_index[0]] == graph.y[one.edge_index[1]]).double().mean()
    assert float(same) == pytest.approx(1 / 3, abs=0.05)


def test_redrawn_edges_are_as_many_in_every_graph_and_permuted_features_stay_inside() -> None:
    graphs = small_graphs(30)
    made = redraw_edges(graphs, np.random.default_rng(0))
    of = [torch.bincount(each.batch[each.edge_index[0]], minlength=30).tolist() for each in (graphs, made)]
    assert of[0] == of[1]
    moved = permute_features(graphs, np.random.default_rng(0))
    assert not torch.equal(moved, graphs.x)
    for b in range(30):
        inside = graphs.batch == b
        assert torch.equal(moved[inside].sort(dim=0).values, graphs.x[inside].sort(dim=0).values)


# ---- scores ---------------------------------------------------------------------------------------------------------


def test_equal_weights_propagate_as_none_and_a_weight_of_nothing_is_no_edge() -> None:
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    e = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    plain = propagate(e, edges)
    torch.testing.assert_close(plain, torch.tensor([0.75, 1.0, 1.25], dtype=torch.float64))
    torch.testing.assert_close(propagate(e, edges, weight=torch.full((4,), 0.3, dtype=torch.float64)), plain)
    cut = propagate(e, edges, weight=torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    assert float(cut[2]) == 2.0
    torch.testing.assert_close(cut[:2], propagate(e[:2], edges[:, :2]))


def test_ends_are_of_one_kind_where_their_posteriors_agree() -> None:
    log_p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], dtype=torch.float64).log()
    found = kinship(log_p, torch.tensor([[0, 0], [1, 2]]))
    torch.testing.assert_close(found, torch.tensor([0.74, 0.18], dtype=torch.float64))


def test_distances_are_those_of_numpy(target: Target) -> None:
    known, missing = embedded(target)
    assert missing == ""
    assert known is not None
    z = np.random.default_rng(0).normal(size=(5, known.means.shape[1]))
    far = [min(float((v - m) @ known.precision @ (v - m)) for m in known.means) for v in z]
    found = known.scores(z)
    np.testing.assert_allclose(found["mahalanobis"], -np.array(far))
    assert (found["knn"] <= 0).all()
    broken = np.where(np.arange(5)[:, None] == 2, np.nan, z)
    assert np.isneginf(known.scores(broken)["knn"]).tolist() == [False, False, True, False, False]


def test_statistics_tell_what_is_visible_either_way_round() -> None:
    graph = sbm_graph(100)
    own, more = statistics(graph), statistics(replace(graph, x=graph.x * 0.5))
    name, visible = best_statistic(own, [more])
    assert visible > 0.9
    assert name in {"row sum", "row max"}
    assert best_statistic(own, [own])[1] == pytest.approx(0.5)


def test_it_needs_posteriors() -> None:
    entry = registry.find("attacks", ID)
    assert Capability.PROBS in {Capability(word) for word in entry.needs}
