"""Flips found by asking: every query is counted, nothing but answers is seen, and planted effects are found."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attacks.robustness.black_box import BlackBox
from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.document import Measured, ValidityRow
from auditor.document.facts import Robust
from auditor.errors import AccessError, ConfigError, EvaluationError, SkippedError
from auditor.evaluate.black_box.harness import Settings, evaluate
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import build
from auditor.probe import Attempt, Cell, CellResult, Registered
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks, choose_probes, plan
from auditor.targets.edit_queries import open_edit_queries
from auditor.targets.target import Target
from auditor.view import Access, SideKnowledge, View, grant_graph
from tests.toys import ALL, MLP, sbm_graph, small_graphs, toy_target

ACCESS = frozenset({Access.OWN_QUERIES, Access.GRAPH, Access.LABELS})


def cell(target: Target, *attacks: Registered, seed: int = 0, side: SideKnowledge | None = None, **params: str) -> Cell:
    probe = registry.find_probe("black-box")
    made, own = build_attacks(probe, {"max_queries": "150", **params})
    return Cell(target, probe, attacks or made, own, "quick", seed, side or SideKnowledge(), TrainedCache())


def judged(result: CellResult) -> Measured:
    (number,) = (each for each in result.measured if each.judged)
    return number


def row(result: CellResult, id_: str) -> ValidityRow:
    (found,) = (row for row in result.validity if row.id == id_)
    return found


class Counted(nn.Module):
    """The same model, every forward counted."""

    def __init__(self, model: nn.Module, calls: list[int]) -> None:
        super().__init__()
        self.model = model
        self.register_forward_hook(lambda *_: calls.append(1))

    def forward(self, x, edge_index):
        return self.model(x, edge_index)


def test_queries_are_the_forwards_that_hooks_count() -> None:
    target, calls = toy_target(), list[int]()
    target = replace(target, model=Counted(target.model, calls))
    queries = open_edit_queries(target, most=40)
    calls.clear()
    view = grant_graph(target, ACCESS, with_test_labels=True).with_edit_queries(queries)
    outcome = BlackBox().run(view, Attempt(np.random.default_rng(0), torch.Generator(), budgets=(5, 9)))
    assert queries.count == len(calls) == 40
    assert queries.rows == 40 * 120
    assert outcome.notes["queries"] == 40


def test_past_the_last_query_nothing_is_answered() -> None:
    queries = open_edit_queries(toy_target(), most=2)
    none = torch.empty(0, dtype=torch.int64)
    queries(none)
    queries(none)
    assert queries.left == 0
    with pytest.raises(AccessError, match="2 of 2 are spent"):
        queries(none)
    assert queries.count == 2


def test_of_many_graphs_each_edited_one_is_a_query() -> None:
    target = toy_target("graph-gin", graph=small_graphs(20))
    queries, graph = open_edit_queries(target, most=10), target.graph
    first = [int(torch.nonzero(graph.batch == b)[0]) for b in range(4)]
    queries(torch.tensor([v * graph.num_nodes + v + 1 for v in first]))
    assert queries.count == 4
    queries(torch.empty(0, dtype=torch.int64))
    assert queries.count == 5


def test_no_parameter_module_or_gradient_can_be_reached_from_the_view() -> None:
    target = toy_target()
    view = grant_graph(target, ACCESS, with_test_labels=True)
    for value in reachable(view):
        assert not isinstance(value, nn.Module)
        assert not isinstance(value, nn.Parameter)
        assert not (isinstance(value, torch.Tensor) and value.requires_grad)
    assert not view.edit_queries(torch.tensor([3])).requires_grad
    for name in ("model", "relaxation", "x", "posteriors"):
        with pytest.raises(AccessError):
            getattr(view, name)


def reachable(value: Any) -> list[Any]:
    """Everything that a view holds, through objects of ours and containers; types, modules and code are not held."""
    found, waiting, seen = [], [value], set[int]()
    while waiting:
        each = waiting.pop()
        if (
            id(each) in seen
            or isinstance(each, type | str | int | float | bool)
            or callable(getattr(each, "mro", None))
        ):
            continue
        seen.add(id(each))
        found.append(each)
        if isinstance(each, Mapping | list | tuple | set | frozenset) or type(each).__module__.startswith("auditor"):
            waiting += [part for part in gc.get_referents(each) if not isinstance(part, type)]
    return found


def test_answers_are_those_of_the_model_on_the_really_edited_graph() -> None:
    target = toy_target()
    space = EdgeSpace.of(target.graph)
    keys = space.draw(7, np.random.default_rng(0))
    edited = space.toggled(keys)
    with torch.no_grad():
        wanted = target.logits(edited.x, edited.edge_index).double().softmax(dim=1)
    torch.testing.assert_close(open_edit_queries(target)(keys), wanted, rtol=0, atol=1e-6)
    coarse = open_edit_queries(target, digits=1)(keys)
    torch.testing.assert_close(coarse, wanted.round(decimals=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("answers", ["scores", "labels"])
def test_search_beats_as_many_random_tries(answers: str) -> None:
    target = toy_target(graph=sbm_graph(300))  # of 60 attacked nodes no interval would leave out 0
    result = evaluate(cell(target, answers=answers, max_queries="600", eps="0.2"))
    number = judged(result)
    assert number.contrast is not None
    assert number.estimate.value < number.controls[0].estimate.value
    assert number.contrast.hi < 0
    assert isinstance(number.facts, Robust)
    assert number.facts.queries == 600
    assert number.facts.edits <= number.facts.budget
    assert row(result, "queries-counted").status == "pass"
    assert row(result, "claim").status == "pass"
    assert [row.evidence for row in result.validity if row.status == "fail"] == []


def test_search_and_control_spend_the_same_queries_and_budget() -> None:
    result = evaluate(cell(toy_target(), eps="0.05/0.1"))
    assert set(result.params["queries"].values()) == {150}
    curves = {curve.name: curve for curve in result.series[0].curves}
    for name in ("black-box", "random-queries"):
        assert curves[name].x[-1] == 150
        assert list(curves[name].y) == sorted(curves[name].y, reverse=True)
    assert len({m.subset for m in result.measured}) == 2


def test_a_model_that_falls_under_random_tries_as_well_passes_nothing() -> None:
    target = toy_target()
    fragile = replace(target, model=Fragile(target.model, target.graph.num_edges))
    result = evaluate(cell(fragile, max_queries="20"))
    assert judged(result).excess.value == 0
    assert (row(result, "beyond-chance").kind, row(result, "beyond-chance").status) == ("strength", "fail")


def test_on_a_model_without_edges_nothing_is_found() -> None:
    target = toy_target()
    mlp = replace(target, model=MLP(target.graph.num_features, 16, 3))
    number = judged(evaluate(cell(mlp)))
    assert number.estimate.value == float(mlp.accuracy())
    assert number.contrast.value == 0
    assert number.facts.edits == 0


class Fragile(nn.Module):
    """Answers as the model does, and no numbers once an edge is missing or new."""

    def __init__(self, model: nn.Module, edges: int) -> None:
        super().__init__()
        self.model, self.edges = model, edges

    def forward(self, x, edge_index):
        out = self.model(x, edge_index)
        return out if edge_index.shape[1] == self.edges else out * float("nan")


def test_answers_that_are_no_numbers_are_wrong_and_spoil_the_result() -> None:
    target = toy_target()
    fragile = replace(target, model=Fragile(target.model, target.graph.num_edges))
    result = evaluate(cell(fragile, max_queries="20"))
    assert judged(result).estimate.value == 0
    assert row(result, "finite-under-attack").status == "fail"


def test_a_second_control_in_place_of_the_search_shows_no_effect() -> None:
    target, hits = toy_target(), 0
    entry = replace(registry.find("attacks", "random-queries"), id="again", role="search")
    control = registry.find("attacks", "random-queries")
    for seed in range(10):
        attacks = (Registered(entry, entry.load()()), Registered(control, control.load()()))
        number = judged(evaluate(cell(target, *attacks, seed=seed, max_queries="30")))
        hits += number.contrast.lo <= 0 <= number.contrast.hi
    assert hits >= 9


def test_graphs_are_broken_one_by_one() -> None:
    target = toy_target("graph-gin", graph=small_graphs(80))
    result = evaluate(cell(target, max_queries="60", eps="0.2"))
    number = judged(result)
    assert number.estimate.value < number.facts.clean.value
    assert number.estimate.value <= number.controls[0].estimate.value
    assert max(result.params["queries"].values()) <= 60 * result.params["targets"]


@dataclass(frozen=True)
class TooMany:
    """Claims more flips than the budget."""

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        keys = EdgeSpace.of(view.graph).draw(attempt.budgets[0] + 1, attempt.rng)
        return FlipOutcome((FlipSet(attempt.budgets[0], keys),), ("planted",))


@dataclass(frozen=True)
class Greedy:
    """Asks for more than it may."""

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        while True:
            view.edit_queries(torch.empty(0, dtype=torch.int64))


def planted(attack: Any) -> Registered:
    entry = registry.find("attacks", "black-box")
    return Registered(entry, attack)


def test_a_claim_over_the_budget_is_dropped_and_spoils_the_result() -> None:
    result = evaluate(cell(toy_target(), planted(TooMany())))
    assert row(result, "budget").status == "fail"
    assert judged(result).facts.edits == 0


def test_an_attack_that_asks_on_is_stopped() -> None:
    with pytest.raises(AccessError, match="spent"):
        evaluate(cell(toy_target(), planted(Greedy())))


@dataclass(frozen=True)
class Counterfeit:
    """Would rather count by itself."""

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        for name in ("count", "most", "rows"):
            with pytest.raises(AttributeError):
                setattr(view.edit_queries, name, 0)
        return FlipOutcome((), ())


def test_whoever_asks_cannot_count() -> None:
    evaluate(cell(toy_target(), planted(Counterfeit())))


def test_with_no_query_but_the_first_nothing_is_found_or_claimed() -> None:
    target = toy_target(epochs=3)  # some answers are wrong as it is
    result = evaluate(cell(target, max_queries="1"))
    assert judged(result).facts.edits == 0
    assert judged(result).facts.clean.value < 0.95
    assert row(result, "claim").status == "pass"


def test_graphs_that_lack_an_arc_are_edited_as_all_of_them_are() -> None:
    target = toy_target("graph-gin", graph=small_graphs(80))
    tested = target.split.test[target.graph.batch[target.graph.edge_index[0]]]
    arcs = torch.nonzero(tested & (target.graph.edge_index[0] < target.graph.edge_index[1])).flatten()
    lacking = target.graph.keeping(torch.arange(target.graph.num_edges) != arcs[0])
    result = evaluate(cell(replace(target, graph=lacking), max_queries="20", eps="0.5"))
    assert row(result, "budget").status == "pass"


def test_an_outcome_of_another_kind_is_refused() -> None:
    class Other:
        def run(self, view: View, attempt: Attempt) -> str:
            return "flips"

    with pytest.raises(EvaluationError, match="takes a FlipOutcome"):
        evaluate(cell(toy_target(), planted(Other())))


def test_the_same_seed_gives_the_same_result_and_node_numbers_do_not_matter_to_the_target() -> None:
    target = toy_target()
    before, state = target.graph.digest(), torch.get_rng_state()
    assert evaluate(cell(target)) == evaluate(cell(target))
    assert target.graph.digest() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_skipped_where_nobody_may_ask_or_there_are_no_edges() -> None:
    target = toy_target()
    with pytest.raises(SkippedError, match="queries is served"):
        evaluate(cell(target, side=SideKnowledge(queries="served")))
    with pytest.raises(SkippedError, match="no edges"):
        evaluate(cell(replace(target, graph=target.graph.keeping(torch.empty(0, dtype=torch.int64)))))


@pytest.mark.parametrize(
    "given", [{"eps": "2"}, {"eps": "0"}, {"eps": "0.1/0.1"}, {"eps": "x"}, {"max_queries": "-1"}, {"no": "1"}]
)
def test_parameters_that_cannot_be_used_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        build(Settings, given, owner="black-box")


@pytest.mark.parametrize("given", [{"answers": "all"}, {"population": "2"}, {"elites": "0"}])
def test_parameters_of_the_search_are_checked(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        build(BlackBox, given, owner="black-box")


def test_quick_has_it_only_where_gradients_are_missing() -> None:
    target, without = toy_target(), replace(toy_target(), capabilities=ALL - {"GRAD_EDGE"})

    def planned(of: Target, profile: Any, **only: str) -> set[str]:
        requests = choose_probes(profile=profile, **only)
        return {each.id for each in plan(of, requests, seeds=(0,), profile=profile, side=SideKnowledge())}

    assert "black-box" not in planned(target, "quick")
    assert "black-box" in planned(without, "quick")
    assert "black-box" in planned(target, "standard")
    assert "black-box" in planned(target, "quick", only="black-box")


def test_evolution_finds_what_chance_does_not() -> None:
    from attacks.robustness.evolution import Evolution

    class Uniform:
        def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
            return rng.integers(100, size=count)

    evolution = Evolution(5, Uniform(), np.random.default_rng(0), population=16, elites=4)
    best = []
    for _ in range(400):
        keys = evolution.ask()
        assert len(np.unique(keys)) == len(keys) <= 5
        evolution.tell(keys, (int((keys < 10).sum()), 0.0))
        best.append(evolution.best_fitness[0])
    assert best == sorted(best)
    assert best[-1] == 5  # each key is one of ten in a hundred: by chance one set in 100,000
