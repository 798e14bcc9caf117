"""The harness end to end on toy targets, the verifier, and faults planted in attacks and targets."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.robustness.harness import evaluate
from auditor.evaluate.robustness.trust import relaxation_row
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.targets.target import Capability
from tests.evaluate.robustness.cells import cell, claims, facts, robust, shipped
from tests.toys import sbm_graph, toy_target


def rows(result):
    return {row.id: row for row in result.validity}


def harmless(space, budget, attempt):
    return torch.empty(0, dtype=torch.int64)


def uniform(space, budget, attempt):
    return space.draw(budget, attempt.rng)


@pytest.fixture(scope="module")
def gcn():
    return toy_target("gcn")


@pytest.fixture(scope="module")
def standard(gcn):
    return evaluate(cell(gcn, profile="standard"))


def test_the_curve_is_monotone_and_begins_at_the_clean_accuracy(standard, gcn):
    (series,) = standard.series
    worst = next(curve for curve in series.curves if curve.role == "worst")
    assert worst.x[0] == 0
    assert worst.y[0] == pytest.approx(gcn.accuracy())
    assert all(a >= b for a, b in zip(worst.y, worst.y[1:], strict=False))
    assert all(lo <= y <= hi for lo, y, hi in zip(worst.lo, worst.y, worst.hi, strict=True))


def test_numbers_carry_controls_and_intervals_and_one_is_judged(standard, gcn):
    named = {(m.metric, m.subset) for m in standard.measured}
    assert {("robust_accuracy", f"eps={eps}") for eps in ("0.01", "0.05", "0.1", "0.25")} <= named
    assert {m.metric for m in standard.measured} == {"robust_accuracy", "rauc", "eps50", "attacked_accuracy"}
    judged = {m.metric: (m.subset, m.question) for m in standard.measured if m.judged}
    assert judged == {
        "robust_accuracy": ("eps=0.05", "robustness"),
        "attacked_accuracy": ("eps=0.05", "edge-free"),
    }
    main = robust(standard)
    assert main.finding == "robustness-structure"
    assert [(c.name, c.contrast is None) for c in main.controls] == [("random", False), ("dice", True)]
    assert main.control.name == "random"
    assert main.contrast.value == pytest.approx(main.estimate.value - main.control.estimate.value)
    assert main.contrast.lo <= main.contrast.value <= main.contrast.hi
    assert main.excess.value == -main.contrast.value
    assert robust(standard, "eps=0.25").excess.lo > 0


def test_facts_say_what_was_done_to_the_worst_set_and_what_a_model_without_edges_gets(standard, gcn):
    found, main = facts(standard), robust(standard)
    assert (found.clean.value, found.attacked) == (pytest.approx(gcn.accuracy()), main.estimate)
    assert found.random == main.control.estimate
    assert found.edits == found.additions + found.deletions <= found.budget == 17
    assert found.attacked_items == main.estimate.n == gcn.split.sizes[2]
    assert found.attempts[found.winner] == found.attacked.value == min(found.attempts.values())
    assert found.no_edge_free == ""
    assert found.majority < found.edge_free.value < found.clean.value
    area, half = (next(m for m in standard.measured if m.metric == name) for name in ("rauc", "eps50"))
    assert area.facts.reference_error == pytest.approx(1 - found.edge_free.value)
    assert (half.facts.majority, half.facts.largest_budget) == (found.majority, 0.25)
    assert half.contrast is None


def test_a_way_to_weight_edges_that_has_no_answer_is_said_in_words():
    notes = {"relaxation": "mask", "gap": 0.0, "gaps": (("native", float("inf")), ("mask", 0.0))}
    row = relaxation_row(notes)
    assert row.status == "warn"
    assert "native gives no finite answer, mask 0.0e+00" in row.evidence


def test_every_trust_row_passes_on_a_healthy_target(standard):
    statuses = {row.id: row.status for row in standard.validity}
    assert {id_ for id_, status in statuses.items() if status == "fail"} == set()
    expected = {"canonical", "budget", "finite-under-attack", "claim", "random-wins", "relaxation"}
    assert all(statuses[id_] == "pass" for id_ in expected), statuses


def test_reported_accuracy_is_that_of_the_edited_graph_by_an_independent_forward(gcn):
    """Re-derives the reported number from the flips alone, with a dense adjacency and the plain model."""
    kept = {}

    def remember(space, budget, attempt):
        kept[budget] = space.draw(budget, attempt.rng)
        return kept[budget]

    result = evaluate(cell(gcn, (claims(remember), *shipped()[1:2]), eps="0.3"))
    n = gcn.graph.num_nodes
    dense = torch.zeros(n, n)
    dense[gcn.graph.edge_index[0], gcn.graph.edge_index[1]] = 1
    for key in next(iter(kept.values())).tolist():
        u, v = divmod(key, n)
        dense[u, v] = dense[v, u] = 1 - dense[u, v]
    z = gcn.model(gcn.graph.x, torch.stack(dense.nonzero(as_tuple=True)))
    expected = float((z.argmax(dim=1) == gcn.graph.y)[gcn.split.test].double().mean())
    assert facts(result, "eps=0.3").attempts["claims (planted)"] == pytest.approx(expected)


def test_equal_cells_give_equal_results_and_other_seeds_others(gcn):
    attacks = shipped()
    state = torch.get_rng_state()
    first, second = (evaluate(cell(gcn, attacks)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert first == second
    assert robust(evaluate(cell(gcn, attacks, seed=1))).controls != robust(first).controls


def test_the_target_is_untouched(gcn):
    before = (gcn.graph.digest(), {k: v.clone() for k, v in gcn.model.state_dict().items()}, gcn.model.training)
    evaluate(cell(gcn))
    assert gcn.graph.digest() == before[0]
    assert gcn.model.training == before[2]
    assert all(torch.equal(v, before[1][k]) for k, v in gcn.model.state_dict().items())


def test_params_are_plain_json(standard):
    assert json.loads(json.dumps(dict(standard.params)))["budgets"]["eps=0.05"] == 17


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda space, budget, attempt: space.draw(budget + 1, attempt.rng), "budget"),
        (lambda space, budget, attempt: space.draw(1, attempt.rng).repeat(2), "twice"),
        (lambda space, budget, attempt: torch.tensor([5 * 120 + 5]), "self-loops"),
        (lambda space, budget, attempt: torch.tensor([9 * 120 + 5]), "min"),
        (lambda space, budget, attempt: torch.tensor([120 * 120]), "expected"),
        (lambda space, budget, attempt: torch.tensor([-1]), "expected"),
        (lambda space, budget, attempt: torch.tensor([5.0]), "int64"),
    ],
)
def test_a_leaking_attack_is_dropped_and_flagged(gcn, make, reason):
    result = evaluate(cell(gcn, (*shipped()[1:], claims(make))))
    row = rows(result)["budget"]
    assert row.status == "fail"
    assert row.kind == "integrity"
    assert reason in row.evidence
    assert "claims (planted)" not in facts(result).attempts


def test_caps_are_checked(gcn):
    def all_at_one_node(space, budget, attempt):
        return torch.arange(1, 9)

    result = evaluate(cell(gcn, (*shipped(), claims(all_at_one_node)), local_cap="0.5"))
    assert "cap" in rows(result)["budget"].evidence
    assert facts(result).edits <= 17


def test_a_boasting_attack_fails_the_claim_row(gcn):
    assert rows(evaluate(cell(gcn, (claims(harmless, 0.1), *shipped()[1:]))))["claim"].status == "fail"
    honest = claims(harmless, gcn.accuracy())
    assert rows(evaluate(cell(gcn, (honest, *shipped()[1:]))))["claim"].status == "pass"


def test_a_search_weaker_than_chance_fails_random_wins(gcn):
    result = evaluate(cell(gcn, (claims(harmless), *shipped()[1:2]), eps="1"))
    assert rows(result)["random-wins"].status == "fail"
    found = facts(result, "eps=1")
    assert found.attacked.value == found.clean.value == pytest.approx(gcn.accuracy())
    assert (found.winner, found.edits) == ("clean", 0)


def test_a_second_random_attack_has_no_excess(gcn):
    """The null: the interval of (one more uniform draw − control) contains 0 in at least 19 of 20 cells."""
    contains = 0
    for seed in range(20):
        result = evaluate(cell(gcn, (claims(uniform), shipped()[1]), seed=seed, eps="0.5"))
        contrast = robust(result, "eps=0.5").contrast
        contains += contrast.lo <= 0 <= contrast.hi
    assert contains >= 19


def test_missing_capability_is_skipped(gcn):
    target = dataclasses.replace(gcn, capabilities=frozenset({Capability.LABELS}))
    with pytest.raises(SkippedError, match="GRAD_EDGE"):
        evaluate(cell(target))


def test_no_edges_is_skipped(gcn):
    empty = dataclasses.replace(gcn, graph=gcn.graph.with_edges(torch.empty(2, 0, dtype=torch.int64)))
    with pytest.raises(SkippedError, match="no edges"):
        evaluate(cell(empty))


def test_an_untrained_model_has_nothing_to_lose():
    result = evaluate(cell(toy_target("gcn", epochs=0)))
    row = rows(result)["nothing-to-lose"]
    assert (row.status, row.kind) == ("fail", "strength")


@pytest.mark.parametrize(
    "params",
    [
        {"eps": "2"},
        {"eps": "0.05/0.05"},
        {"epz": "0.05"},
        {"local_cap": "-1"},
        {"graphs": "-1"},
        {"budget_of": "edge"},
        {"undirected": "yes"},
    ],
)
def test_bad_parameters_are_refused(gcn, params):
    with pytest.raises(ConfigError, match="structure-evasion"):
        evaluate(cell(gcn, **params))


def test_duplicate_edges_are_dropped_and_said(gcn):
    edges = torch.cat([gcn.graph.edge_index, gcn.graph.edge_index[:, :30]], dim=1)
    result = evaluate(cell(dataclasses.replace(gcn, graph=gcn.graph.with_edges(edges))))
    row = rows(result)["canonical"]
    assert row.status in ("warn", "fail")
    assert "30 duplicate" in row.evidence


class Scaled(nn.Module):
    """Logits so large that every softmax is saturated."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x, edge_index, edge_weight=None):
        return 1000 * self.model(x, edge_index, edge_weight)


class Softmaxed(Scaled):
    def forward(self, x, edge_index, edge_weight=None):
        return self.model(x, edge_index, edge_weight).softmax(dim=1)


@pytest.mark.parametrize("wrap", [Scaled, Softmaxed])
def test_attack_strength_survives_the_form_of_the_outputs(gcn, wrap):
    attacks = shipped(**{"active-set": {"cycles": 2}})
    plain = robust(evaluate(cell(gcn, attacks, eps="0.2")), "eps=0.2").estimate.value
    wrapped = dataclasses.replace(gcn, model=wrap(gcn.model))
    other = robust(evaluate(cell(wrapped, attacks, eps="0.2")), "eps=0.2").estimate.value
    assert other <= plain + 0.1
    assert other < gcn.accuracy() - 0.1


class Cached(nn.Module):
    def __init__(self, model) -> None:
        super().__init__()
        first, second = model.convs
        self.one, self.two = GCNConv(24, 16, cached=True), GCNConv(16, 3, cached=True)
        self.one.load_state_dict(first.state_dict())
        self.two.load_state_dict(second.state_dict())

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).relu(), edge_index)


def test_a_cached_layer_does_not_make_the_model_look_robust(gcn):
    model = Cached(gcn.model).eval()
    model(gcn.graph.x, gcn.graph.edge_index)  # the cache now holds the clean graph
    cached = dataclasses.replace(gcn, model=model)
    attacks = shipped()
    assert robust(evaluate(cell(cached, attacks))).estimate.value == pytest.approx(
        robust(evaluate(cell(gcn, attacks))).estimate.value, abs=0.07
    )
    assert robust(evaluate(cell(cached, attacks))).estimate.value < cached.accuracy()


def test_directed_graphs_are_attacked_arc_by_arc():
    base = sbm_graph()
    directed = base.with_edges(base.edge_index[:, base.edge_index[0] < base.edge_index[1]])
    result = evaluate(cell(toy_target("gcn", graph=directed)))
    assert result.params["directed"]
    assert result.params["edges"] == directed.num_edges
    assert rows(result)["budget"].status == "pass"


def without_an_arc(target, count=1):
    g = target.graph
    return dataclasses.replace(target, graph=g.with_edges(g.edge_index[:, count:]))


def test_a_missing_arc_does_not_change_what_an_edit_is(gcn):
    whole, slip = (evaluate(cell(each)) for each in (gcn, without_an_arc(gcn)))
    assert not slip.params["directed"]
    assert slip.params["edges"] == whole.params["edges"] == 353
    assert slip.params["budgets"] == whole.params["budgets"]
    assert robust(slip).estimate.value == pytest.approx(robust(whole).estimate.value, abs=0.07)
    row = rows(slip)["canonical"]
    assert row.status == "warn"
    assert "1 of 705 arcs has no reverse (less than 1 %): one edit toggles both arcs" in row.evidence
    assert rows(slip)["budget"].status == "pass"


@pytest.mark.parametrize(
    ("missing", "asked", "directed"),
    [(6, "auto", False), (8, "auto", True), (0, "false", True), (300, "true", False), (300, "auto", True)],
)
def test_what_an_edit_toggles_is_settled_once(gcn, missing, asked, directed):
    target = without_an_arc(gcn, missing)
    result = evaluate(cell(target, undirected=asked, eps="0.5"))
    assert result.params["directed"] == directed
    assert result.params["edges"] == (706 - missing if directed else 353)
    assert rows(result)["budget"].status == "pass"
    said = rows(result)["canonical"].evidence
    assert ("as was asked" in said) == (asked != "auto")


def test_relabelling_the_nodes_keeps_every_verified_accuracy(gcn):
    order = torch.from_numpy(np.random.default_rng(0).permutation(120))
    place = torch.argsort(order)
    g, s = gcn.graph, gcn.split
    moved = Graph(g.x[order], place[g.edge_index], g.y[order], name=g.name)
    split = dataclasses.replace(s, train=s.train[order], val=s.val[order], test=s.test[order])
    other = dataclasses.replace(gcn, graph=moved, split=split)
    space = EdgeSpace.of(g)
    keys = space.draw(40, np.random.default_rng(1))
    ends = torch.stack(space.ends(keys))
    moved_keys = place[ends].min(dim=0).values * 120 + place[ends].max(dim=0).values
    items = torch.nonzero(s.test).flatten()
    a = Verifier(gcn, items).check(FlipSet(40, keys))
    b = Verifier(other, place[items]).check(FlipSet(40, moved_keys))
    assert np.array_equal(a.correct, b.correct)
    assert (a.additions, a.deletions) == (b.additions, b.deletions)


def test_non_finite_logits_count_as_wrong_and_are_flagged(gcn):
    class Breaks(nn.Module):
        def __init__(self, model) -> None:
            super().__init__()
            self.model = model

        def forward(self, x, edge_index, edge_weight=None):
            z = self.model(x, edge_index, edge_weight)
            return z if edge_index.shape[1] == 706 else torch.full_like(z, float("nan"))

    broken = dataclasses.replace(gcn, model=Breaks(gcn.model))
    verifier = Verifier(broken, torch.nonzero(gcn.split.test).flatten())
    verified = verifier.check(FlipSet(1, verifier.space.existing[:1]))
    assert not verified.finite
    assert verified.accuracy == 0


def test_graph_task_has_a_budget_in_each_graph():
    target = toy_target("graph-gin")
    result = evaluate(cell(target, profile="standard", graphs="30"))
    assert result.params["targets"] == 30
    names = {(m.metric, m.subset) for m in result.measured}
    assert {("robust_accuracy", "flips=1"), ("robust_accuracy", "eps=0.05"), ("success_rate", "eps=0.1")} <= names
    assert robust(result, "flips=1").excess.lo > 0
    assert rows(result)["budget"].status == "pass"
    assert "dice" in result.params["skipped_attacks"]
    assert {c.name for m in result.measured for c in m.controls} == {"random", "edge-free"}
    (series,) = result.series
    worst = next(curve for curve in series.curves if curve.role == "worst")
    assert len(worst.x) == 4  # one flip in every graph is no point of the curve
    broken = next(m for m in result.measured if m.metric == "success_rate")
    assert broken.facts.median_edits >= 1


def test_verifier_refuses_flips_outside_the_attacked_graphs():
    target = toy_target("graph-gin")
    graph, items = target.graph, torch.tensor([0, 1])
    n, verifier = graph.num_nodes, Verifier(target, items)
    first = [int(torch.nonzero(graph.batch == b)[0]) for b in range(3)]
    one = torch.ones(2, dtype=torch.int64)
    for keys, reason in (
        ([first[0] * n + first[1]], "join"),
        ([first[2] * n + first[2] + 1], "not attacked"),
        ([first[0] * n + first[0] + 1, first[0] * n + first[0] + 2], "in graph 0"),
    ):
        with pytest.raises(EvaluationError, match=reason):
            verifier.check(FlipSet(9, torch.tensor(keys)), item_budgets=one)
