"""Searches of a graph that is called large: what they leave out, that they say so, and no change elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from auditor.data.edits import EdgeSpace
from auditor.evaluate.robustness import strength
from auditor.evaluate.robustness.harness import evaluate
from auditor.view import grant_graph
from tests.attacks.asked import attack, attempt
from tests.evaluate.robustness.cells import cell, claims, facts, shipped
from tests.toys import toy_target


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


def run(id_, target, asked, **settings):
    given = attack(id_, **settings)
    return given.run(grant_graph(target, given.access, with_test_labels=True), asked)


def budgets(target):
    m = EdgeSpace.of(target.graph).m
    return [m // 20, m // 10, m // 5, m // 4]


def test_one_loss_goes_on_until_budgets_are_large(target):
    asked = budgets(target)
    outcome = run("active-set", target, attempt(*asked, sparing=True), cycles=1)
    left = {
        (name, point.budget): point.claimed_accuracy
        for name, point in zip(outcome.variant, outcome.points, strict=True)
    }
    ran = {budget: {name for name, at in left if at == budget} for budget in asked}
    assert [len(ran[budget]) for budget in asked] == [2, 1, 2, 1]
    for first, then in ((asked[0], asked[1]), (asked[2], asked[3])):
        (winner,) = ran[then]
        assert left[winner, first] == min(left[name, first] for name in ran[first])
        assert left[winner, then] <= left[winner, first]
    (winner,) = ran[asked[1]]
    assert all(left[name, asked[2]] <= left[winner, asked[1]] for name in ran[asked[2]])  # both begin with its flips
    assert all(point.keys.numel() <= point.budget for point in outcome.points)
    assert "both losses at the smallest budget" in outcome.notes["sparing"]


def test_without_being_asked_every_loss_has_every_budget_and_nothing_is_said(target):
    outcome = run("active-set", target, attempt(*budgets(target)), cycles=1)
    assert outcome.variant == ("tanh",) * 4 + ("prob",) * 4
    assert "sparing" not in outcome.notes
    assert "sparing" not in run("greedy", target, attempt(20)).notes


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "a large graph: both losses at the smallest budget"),
        ({"losses": ("prob",)}, "a large graph: 8 cycles at every budget"),
        ({"losses": ("prob",), "cycles": 1}, "a large graph: 100,000 random pairs a cycle"),
        ({"losses": ("prob",), "cycles": 1, "scan": 50}, None),
    ],
)
def test_what_is_said_to_be_spared_is_what_is_spared(target, settings, said):
    found = run("active-set", target, attempt(10, sparing=True), **{"rounds": 0, **settings}).notes.get("sparing")
    assert found is None if said is None else str(found).startswith(said)
    assert said is None or ("; 8 cycles" in str(found)) == (not settings)


def test_a_variant_alone_finds_what_its_loss_finds(target):
    alone = run("active-set", target, attempt(20, variant="prob"), cycles=1)
    same = run("active-set", target, attempt(20), cycles=1, losses=("prob",))
    assert alone.variant == same.variant == ("prob",)
    assert torch.equal(alone.points[0].keys, same.points[0].keys)


def test_sparing_greedy_goes_on_from_the_smaller_budget_in_fewer_steps(target):
    asked = budgets(target)
    usual = run("greedy", target, attempt(*asked))
    outcome = run("greedy", target, attempt(*asked, sparing=True))
    for small, large in pairwise(outcome.points):
        assert torch.equal(large.keys[: small.keys.numel()], small.keys)
        assert small.keys.numel() < large.keys.numel() <= large.budget
    assert "11 steps" in outcome.notes["sparing"]
    assert not torch.equal(usual.points[1].keys[: usual.points[0].keys.numel()], usual.points[0].keys)


def test_a_large_graph_is_searched_sparingly_and_the_document_says_so(target, monkeypatch):
    given = cell(target, (*shipped(), attack("greedy")), profile="standard")
    usual = evaluate(given)
    monkeypatch.setattr(strength, "LARGE", target.graph.num_edges)
    sparing = evaluate(given)
    for result, said in ((usual, False), (sparing, True)):
        notes = result.params["notes"]
        assert all(("sparing" in notes.get(id_, {})) == said for id_ in ("active-set", "greedy"))
        (row,) = [row for row in result.validity if row.id == "convergence"]
        assert ("alone was run again" in row.evidence) == said
    assert not strength.is_large(replace(target.graph, edge_index=target.graph.edge_index[:, 2:]))
    assert not strength.is_large(toy_target("graph-gin").graph)


def test_steps_are_doubled_of_a_search_that_takes_notice_where_another_one_is_the_strongest(target):
    """The planted search, as `greedy`, does the same whatever it is asked for: run again, it says nothing of steps."""
    strong = claims(lambda _space, budget, _attempt: run("active-set", target, attempt(budget)).points[0].keys)
    result = evaluate(cell(target, (strong, *shipped(**{"active-set": {"rounds": 0}})), profile="standard"))
    assert facts(result).winner.startswith("claims")
    for id_ in ("convergence", "unbounded"):
        (row,) = [row for row in result.validity if row.id == id_]
        assert "active-set" in row.evidence
