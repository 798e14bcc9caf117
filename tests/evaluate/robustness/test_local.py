"""Single nodes end to end: what is drawn, what is verified, what is found and what is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, PairNorm, SimpleConv

from attacks.robustness.near import Near
from attacks.robustness.soft_flips import Victim
from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.robustness.node_answers import NodeAnswers
from auditor.evaluate.robustness.one_by_one import check_mode
from auditor.evaluate.robustness.oracle import Oracle
from auditor.evaluate.robustness.protocols import drawn
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.targets.surroundings import Parts
from auditor.targets.target import Capability
from auditor.view import Access, grant_graph
from tests.evaluate.robustness.probing import claims, evaluated, marked_target, number, permuted, rows, shipped
from tests.evaluate.robustness.questions import parts_are_found_out
from tests.toys import sbm_graph, toy_target

PROBE = "local-evasion"


@pytest.fixture(scope="module")
def gcn():
    return toy_target("gcn")


@pytest.fixture(scope="module")
def standard(gcn):
    return evaluated(PROBE, gcn, profile="standard")


def test_one_number_is_judged_beside_random_tries(standard):
    (judged,) = [m for m in standard.measured if m.judged]
    assert (judged.metric, judged.subset, judged.question) == ("one_flip_rate", "uniform", "robustness")
    assert judged.finding == "robustness-node"
    (control,) = judged.controls
    assert control.name == "local-random"
    assert judged.contrast.value == pytest.approx(judged.estimate.value - control.estimate.value)
    assert judged.contrast.lo <= judged.contrast.value <= judged.contrast.hi
    assert judged.excess.value == judged.contrast.value
    assert (judged.facts.tries, judged.facts.attacked, judged.facts.largest) == (6, judged.estimate.n, 1)


def test_more_flips_break_more_and_every_degree_has_its_own_row(standard):
    assert number(standard, "degree_flip_rate", "uniform").estimate.value >= 0.8
    assert number(standard, "degree_flip_rate", "uniform").excess.lo > 0
    strata = {m.subset: m.estimate.n for m in standard.measured if m.subset.startswith("degree=")}
    assert strata
    for name, n in strata.items():
        assert len(standard.params["targets"][name]) == n <= 20
    assert all(row.status != "fail" for row in standard.validity), standard.validity


def test_reported_flips_break_by_an_independent_dense_forward(gcn):
    """Re-derives who breaks from the attack's flips alone, with a dense adjacency and the plain model."""
    kept = {}
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.update({(v.split("=")[1], p.budget): p.keys for p, v in zip(outcome.points, outcome.variant, strict=True)})
        return outcome

    result = evaluated(PROBE, gcn, attacks=(claims(remember), shipped(PROBE)[1]))
    n, graph = gcn.graph.num_nodes, gcn.graph
    broken = {}
    for (node, _), keys in kept.items():
        dense = torch.zeros(n, n)
        dense[graph.edge_index[0], graph.edge_index[1]] = 1
        for key in keys.tolist():
            u, v = divmod(key, n)
            dense[u, v] = dense[v, u] = 1 - dense[u, v]
        z = gcn.model(graph.x, torch.stack(dense.nonzero(as_tuple=True)))
        if int(z[int(node)].argmax()) != int(graph.y[int(node)]):
            broken[node] = min(keys.numel(), broken.get(node, 99))
    assert broken == {node: k for node, k in result.params["flips"].items() if k is not None}


def test_equal_cells_give_equal_results_and_other_seeds_other_nodes(gcn):
    first, second = (evaluated(PROBE, gcn, targets="10") for _ in range(2))
    assert first == second
    assert evaluated(PROBE, gcn, targets="10", seed=1).params["targets"] != first.params["targets"]


def test_a_planted_edge_breaks_every_node_with_one_flip():
    result = evaluated(PROBE, marked_target(), targets="20")
    main = number(result, "one_flip_rate")
    assert main.estimate.value == 1
    assert main.control.estimate.value < 0.9
    assert set(result.params["flips"].values()) == {1}


def test_first_flips_break_what_exhaustive_search_breaks():
    result = evaluated(PROBE, toy_target("gcn", graph=sbm_graph(60, degree=4.0)), oracle="30")
    row = rows(result)["oracle"]
    assert row.status == "pass", row.evidence
    assert not row.evidence.startswith("some single flip breaks 0")


def test_a_search_that_misses_flips_is_flagged_by_the_oracle():
    def nothing(view, attempt):
        none = torch.empty(0, dtype=torch.int64)
        points = [FlipSet(budget, none) for budget in attempt.budgets for _ in view.items]
        names = [f"direct target={node}" for _ in attempt.budgets for node in view.items.tolist()]
        return FlipOutcome(tuple(points), tuple(names))

    result = evaluated(PROBE, marked_target(40), attacks=(claims(nothing), shipped(PROBE)[1]), oracle="3", targets="20")
    assert rows(result)["oracle"].status == "warn"
    assert rows(result)["random-wins"].status == "fail"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (lambda node, n: [node * n + node], "self-loops"),
        (lambda node, n: [min(node, 7) * n + max(node, 7)] * 2, "listed twice|2 flips against"),
        (lambda node, n: [0 * n + 1] if node > 1 else [2 * n + 3], "are not direct"),
        (lambda node, n: [k * n + node for k in range(node)][:60], "flips against node"),
    ],
)
def test_claims_that_break_a_rule_are_dropped_and_said(gcn, keys, message):
    def leak(view, attempt):
        node = int(view.items[-1])
        point = FlipSet(attempt.budgets[0], torch.tensor(keys(node, view.num_nodes)))
        return FlipOutcome((point,), (f"direct target={node}",))

    row = rows(evaluated(PROBE, gcn, attacks=(claims(leak), shipped(PROBE)[1]), targets="8"))["budget"]
    assert row.status == "fail"
    assert any(part in row.evidence for part in message.split("|")), row.evidence


@pytest.mark.parametrize("variant", ["direct", "direct target=x", "direct target=9999", "sideways target=NODE"])
def test_claims_without_a_known_node_or_mode_are_dropped(gcn, variant):
    def stray(view, attempt):
        node = int(view.items[0])
        other = (node + 1) % view.num_nodes
        key = torch.tensor([min(node, other) * view.num_nodes + max(node, other)])
        return FlipOutcome((FlipSet(attempt.budgets[0], key),), (variant.replace("NODE", str(node)),))

    row = rows(evaluated(PROBE, gcn, attacks=(claims(stray), shipped(PROBE)[1]), targets="8"))["budget"]
    assert row.status == "fail"


def test_modes_are_held_to_what_they_say(gcn):
    space = EdgeSpace.of(gcn.graph)
    old = space.existing[:1]
    node = int(space.ends(old)[0])
    check_mode(space, node, "direct", old)
    check_mode(space, node, "deletions", old)
    for mode in ("additions", "influencer"):
        with pytest.raises(EvaluationError, match=f"are not {mode}"):
            check_mode(space, node, mode, old)


def test_every_mode_runs_in_full_and_stays_beside_its_own_control(gcn):
    result = evaluated(PROBE, gcn, profile="full", targets="6", protocols="uniform", oracle="0")
    shown = {m.subset for m in result.measured}
    assert shown == {"uniform", "uniform, influencer", "uniform, additions", "uniform, deletions"}
    assert all(len(m.controls) == 1 for m in result.measured)
    assert rows(result)["budget"].status == "pass"


def test_protocols_draw_what_they_say():
    nodes = torch.arange(100, 300)
    margins, degrees = torch.arange(200.0), torch.tensor([1] * 150 + [5] * 45 + [16] * 5)
    rng = np.random.default_rng(0)
    (chosen,) = drawn("margin40", nodes, margins, degrees, 0, rng).values()
    assert chosen.numel() == torch.unique(chosen).numel() == 40
    assert set(range(100, 110)) | set(range(290, 300)) <= set(chosen.tolist())
    strata = drawn("degree120", nodes, margins, degrees, 0, rng)
    assert {name: ids.numel() for name, ids in strata.items()} == {"degree=1": 20, "degree=5": 20, "degree=15-25": 5}
    (few,) = drawn("margin40", nodes[:12], margins[:12], degrees[:12], 0, rng).values()
    assert few.tolist() == list(range(100, 112))


def test_a_model_that_needs_the_whole_graph_is_asked_about_it():
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = GCNConv(24, 3), PairNorm()

        def forward(self, x, edge_index):
            return self.norm(self.conv(x, edge_index))

    target = dataclasses.replace(toy_target("gcn"), model=Normed())
    for given, agrees in ((target, False), (toy_target("gat"), True), (toy_target("sage"), True)):
        view = grant_graph(given, frozenset(Access), with_test_labels=True)
        near = Near(Victim.of(view))
        node, y = int(view.items[0]), view.y[view.items[:1]]
        keys = torch.tensor([[0 * 120 + 5], [3 * 120 + 90]])
        left = near.margins(node, y, list(keys))
        assert near.agrees is agrees
        whole = [float(given.task.margin(given.logits(*_edited(given, key)), given.graph.y)[node]) for key in keys]
        z = near.margins(node, y, list(keys))
        torch.testing.assert_close(left, z, atol=1e-4, rtol=1e-4)
        assert [bool(m > 0) for m in left] == [m > 0 for m in whole]


def _edited(target, keys):
    graph = EdgeSpace.of(target.graph).toggled(keys)
    return graph.x, graph.edge_index


def test_where_no_edge_can_change_an_answer_nothing_breaks():
    result = evaluated(PROBE, toy_target("mlp"))
    main = number(result, "one_flip_rate")
    assert (main.estimate.value, main.contrast.value, main.judged) == (0, 0, True)
    assert rows(result)["edge-dependence"].status == "pass"
    assert result.fixed


def test_what_cannot_be_attacked_is_skipped_with_a_reason(gcn):
    without = dataclasses.replace(gcn, capabilities=gcn.capabilities - {Capability.GRAD_EDGE})
    with pytest.raises(SkippedError, match="gradient to its edges"):
        evaluated(PROBE, without)
    wrong = dataclasses.replace(gcn, graph=dataclasses.replace(gcn.graph, y=(gcn.clean_logits().argmax(dim=1) + 1) % 3))
    with pytest.raises(SkippedError, match="nothing to break"):
        evaluated(PROBE, wrong)
    bare = dataclasses.replace(gcn, graph=gcn.graph.keeping(torch.empty(0, dtype=torch.int64)))
    with pytest.raises(SkippedError, match="no edges"):
        evaluated(PROBE, bare)


def test_labels_that_mean_nothing_leave_nothing_to_lose(gcn):
    assert rows(evaluated(PROBE, permuted(gcn)))["nothing-to-lose"].status == "fail"


@pytest.mark.parametrize(
    "params",
    [{"protocols": "unifrom"}, {"targets": "-1"}, {"most": "0"}, {"modes": "direkt"}, {"shortlist": "0"}, {"x": "1"}],
)
def test_bad_parameters_are_refused(gcn, params):
    with pytest.raises(ConfigError):
        evaluated(PROBE, gcn, **params)


def test_on_large_graphs_fewer_nodes_are_attacked_and_a_row_says_so(gcn, monkeypatch):
    whole = evaluated(PROBE, gcn, targets="20")
    assert "single-nodes" not in rows(whole)
    monkeypatch.setattr("auditor.evaluate.robustness.local.MOST_ARCS", 5 * gcn.graph.num_edges)
    result = evaluated(PROBE, gcn, targets="20")
    row = rows(result)["single-nodes"]
    assert row.status == "not_checked"
    assert "of 20 nodes were attacked" in row.evidence
    kept, drawn_ = (each.params["targets"]["uniform"] for each in (result, whole))
    assert set(kept) < set(drawn_)
    assert row.evidence.startswith(f"{len(kept)} of 20")
    assert number(result, "one_flip_rate").estimate.n == len(kept) >= 5


def test_what_little_is_read_for_a_node_does_not_limit_the_search(monkeypatch):
    target = toy_target("gcn", graph=sbm_graph(n=900, degree=2.0), epochs=10)
    monkeypatch.setattr("auditor.evaluate.robustness.local.MOST_ARCS", 10 * target.graph.num_edges)
    assert "single-nodes" not in rows(evaluated(PROBE, target, targets="20", per_degree="1"))


def _questions(target, per_node=3):
    """Verified nodes of a target, and some distinct flips at each."""
    nodes = torch.nonzero(target.split.test).flatten()[:20]
    verifier, n = Verifier(target, nodes), target.graph.num_nodes
    rng = np.random.default_rng(0)
    asked = []
    for place, node in enumerate(nodes.tolist()):
        for count in range(1, per_node + 1):
            others = torch.from_numpy(rng.choice(np.delete(np.arange(n), node), count, replace=False))
            keys = others.clamp_max(node) * n + others.clamp_min(node)
            asked.append((place, FlipSet(count, keys)))
    return verifier, asked


def test_a_part_that_differs_elsewhere_than_at_the_flips_is_refused(monkeypatch):
    verifier, asked = _questions(toy_target("gcn", graph=sbm_graph(n=600, degree=3.0), epochs=1))
    parts, usual = Parts.of(verifier.space), Parts.part

    def careless(self, nodes, keys):
        part = usual(self, nodes, keys)
        return part.keeping(torch.arange(2, part.num_edges)) if keys.numel() else part

    place, claim = asked[2]
    node = int(verifier.items[place])
    part, ids = verifier.edited_around(claim, node, parts, hops=2, most=600)
    assert torch.equal(part.edge_index, verifier.edited(claim).induced(ids).edge_index)
    assert verifier.edited_around(claim, node, parts, hops=2, most=3) is None
    with pytest.raises(EvaluationError, match="self-loops"):
        verifier.edited_around(FlipSet(1, torch.tensor([7 * 600 + 7])), node, parts, hops=2, most=600)
    monkeypatch.setattr(Parts, "part", careless)
    with pytest.raises(EvaluationError, match="differs at"):
        verifier.edited_around(claim, node, parts, hops=2, most=600)


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
def test_answers_side_by_side_are_those_of_whole_graphs_and_take_fewer_calls(arch):
    target = toy_target(arch, graph=sbm_graph(n=600, degree=3.0), epochs=20)
    verifier, asked = _questions(target)
    answers = NodeAnswers(verifier)
    for name, (place, claim) in enumerate(asked):
        answers.ask(name, place, claim)
    answers.settle()
    assert answers.agrees is True
    assert 0 < verifier.handle.calls < len(asked) / 2
    for name, (place, claim) in enumerate(asked):
        whole = verifier.check(claim)
        assert answers.known[name].correct == bool(whole.correct[place])
        assert answers.known[name].finite


def test_a_model_that_couples_all_nodes_is_asked_about_whole_graphs():
    target = toy_target("gcn", graph=sbm_graph(n=600, degree=3.0), epochs=20)

    class Coupled(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x, edge_index):
            z = self.model(x, edge_index)
            return z - z.mean(dim=0) * 3

    coupled = dataclasses.replace(target, model=Coupled(target.model))
    verifier, asked = _questions(coupled)
    parts_are_found_out(verifier, asked)


def test_an_answer_at_the_boundary_is_asked_on_the_whole_graph():
    target = toy_target("gcn", graph=sbm_graph(n=600, degree=3.0), epochs=20)

    class Tied(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x, edge_index):
            return self.model(x, edge_index) * 1e-6

    verifier, asked = _questions(dataclasses.replace(target, model=Tied(target.model)), per_node=1)
    answers = NodeAnswers(verifier)
    for name, (place, claim) in enumerate(asked):
        answers.ask(name, place, claim)
    answers.settle()
    assert verifier.handle.calls >= len(asked)


def test_where_chance_breaks_as_many_the_small_excess_is_not_believed():
    control = shipped(PROBE)[1]
    search = claims(lambda view, attempt: control.run(view, attempt))
    assert "beyond-chance" not in rows(evaluated(PROBE, marked_target()))
    found = rows(evaluated(PROBE, marked_target(), attacks=(search, control)))
    assert found["beyond-chance"].status == "fail"


class Third(nn.Module):
    """Class 0 unless a neighbour is marked: one kind of mark nudges class 1, another kind is class 2 by far."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = SimpleConv(aggr="sum")

    def forward(self, x, edge_index):
        nudge, push = self.sum(x, edge_index).split(1, dim=1)
        return torch.cat([torch.full_like(nudge, 1.0), 0.5 + 0.1 * nudge, -1 + 3 * push], dim=1)


def test_a_class_that_is_far_behind_is_pushed_past_both_by_one_flip():
    """The margin itself has no gradient towards class 2: only what nudges class 1 seems to help."""
    like = marked_target()
    graph = dataclasses.replace(like.graph, x=torch.zeros(60, 2))
    graph.x[:8, 0] = 1
    graph.x[8:10, 1] = 1
    target = dataclasses.replace(like, graph=graph, model=Third())
    judged = number(evaluated(PROBE, target), "one_flip_rate", "uniform")
    assert judged.estimate.value == 1
    alone = number(evaluated(PROBE, target, rivals="1"), "one_flip_rate", "uniform")
    assert alone.estimate.value == 0


def test_every_flip_at_a_node_is_tried_and_the_search_breaks_what_any_of_them_does(gcn, standard):
    row = rows(standard)["oracle"]
    assert (row.status, row.kind) == ("pass", "warning")
    nodes = torch.nonzero(gcn.split.test).flatten()
    verifier = Verifier(gcn, nodes)
    oracle, clean = Oracle(verifier), verifier.clean().correct
    for place in np.flatnonzero(clean)[:12].tolist():
        singly = [
            verifier.check(FlipSet(1, key)).correct[place] for key in verifier.space.at(int(nodes[place]))[:, None]
        ]
        found = oracle.breaking(place)
        assert (found is not None) == (not all(singly))


def test_a_search_that_misses_what_single_flips_break_is_flagged(gcn):
    blind = claims(lambda view, attempt: shipped(PROBE)[1].run(view, attempt))
    found = evaluated(PROBE, marked_target(), attacks=(blind,), oracle="20", targets="20")
    assert rows(found)["oracle"].status == "warn"
