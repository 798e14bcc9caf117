"""Views: an attack cannot reach what it was not granted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from auditor import registry
from auditor.errors import AccessError, ConfigError
from auditor.evaluate.robustness import strength
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.probe import Attempt, Cell, Registered
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.edit_queries import EditQueries, open_edit_queries
from auditor.targets.relaxation import Relaxation
from auditor.view import Access, SideKnowledge, View, grant_graph, grant_privacy, uniform_pairs
from tests.toys import toy_target

FIELDS = {
    "x": Access.FEATURES,
    "y": Access.LABELS,
    "known": Access.LABELS,
    "density": Access.DENSITY,
    "posteriors": Access.POSTERIORS,
    "outputs": Access.POSTERIORS,
    "served_digits": Access.POSTERIORS,
    "alone": Access.OWN_QUERIES,
    "own_queries": Access.OWN_QUERIES,
    "edit_queries": Access.OWN_QUERIES,
    "references": Access.REFERENCES,
    "query": Access.QUERIES,
    "model": Access.WEIGHTS,
    "relaxation": Access.WEIGHTS,
    "graph": Access.GRAPH,
    "train_mask": Access.GRAPH,
    "val_mask": Access.GRAPH,
    "items": Access.GRAPH,
}


@pytest.mark.parametrize(("name", "needed"), FIELDS.items())
def test_a_field_opens_only_with_its_access(name: str, needed: Access) -> None:
    target = toy_target(epochs=2)
    granted = frozenset(Access) - {needed, Access.GRAPH}
    view = grant_privacy(target, granted, SideKnowledge(), np.random.default_rng(0))
    with pytest.raises(AccessError, match=str(needed)):
        getattr(view, name)


def test_privacy_never_gets_the_graph() -> None:
    target = toy_target(epochs=2)
    with pytest.raises(AccessError, match="private edges"):
        grant_privacy(target, frozenset({Access.GRAPH}), SideKnowledge(), np.random.default_rng(0))


def test_test_labels_are_not_in_a_shift_view() -> None:
    target = toy_target(epochs=2)
    view = grant_graph(target, frozenset({Access.GRAPH, Access.LABELS}), with_test_labels=False)
    assert bool((view.y[target.split.test] == -1).all())
    assert bool((view.y[target.split.train] == target.graph.y[target.split.train]).all())
    assert not view.known[target.split.test].any()
    assert int(view.graph.y.abs().sum()) == 0


def test_changing_a_view_does_not_change_the_target() -> None:
    target = toy_target(epochs=2)
    before = target.graph.digest()
    view = grant_graph(target, frozenset({Access.GRAPH, Access.FEATURES, Access.LABELS}), with_test_labels=True)
    view.x.zero_()
    view.graph.edge_index.zero_()
    view.y.zero_()
    assert target.graph.digest() == before


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"labels": "some"}, "all"),
        ({"outputs": "votes"}, "probs"),
        ({"density": 0.0}, "above 0"),
        ({"served_digits": 0}, "at least 1"),
        ({"queries": "some"}, "served"),
    ],
)
def test_bad_side_knowledge_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SideKnowledge(**table)  # type: ignore[arg-type]


def test_served_posteriors_are_rounded_when_the_service_rounds() -> None:
    target = toy_target(epochs=2)
    side = SideKnowledge(served_digits=2)
    view = grant_privacy(target, frozenset({Access.POSTERIORS}), side, np.random.default_rng(0))
    assert torch.equal(view.posteriors, view.posteriors.round(decimals=2))
    assert view.served_digits == 2


EDITS = (torch.empty(0, dtype=torch.int64), torch.tensor([1]))
"""Nothing toggled, and the pair of the nodes 0 and 1, which lie in one graph."""


@pytest.mark.parametrize("arch", ["gcn", "graph-gin"])
def test_whoever_holds_the_graph_is_answered_as_the_service_answers(arch: str) -> None:
    """Rounded outputs stay rounded in every interface of a robustness view."""
    target, side = toy_target(arch, epochs=20), SideKnowledge(served_digits=1)
    view = grant_graph(target, frozenset(Access), with_test_labels=True, side=side)
    exact = grant_graph(target, frozenset(Access), with_test_labels=True)
    assert torch.equal(view.posteriors, exact.posteriors.round(decimals=1))
    assert not torch.equal(view.posteriors, exact.posteriors)
    assert (view.served_digits, view.is_coarse) == (1, True)
    assert (exact.served_digits, exact.is_coarse) == (None, False)
    for keys in EDITS:
        answers = view.edit_queries(keys)
        assert torch.equal(answers, exact.edit_queries(keys).round(decimals=1))
        assert not torch.equal(answers, exact.edit_queries(keys))


@pytest.mark.parametrize("arch", ["gcn", "graph-gin"])
def test_the_harness_grants_what_the_user_says_of_the_service(arch: str) -> None:
    """An attack that every harness of edits may run sees rounded answers, whoever opened its queries."""
    target, seen = toy_target(arch, epochs=20), list[torch.Tensor]()

    class Curious:
        def run(self, view: View, attempt: Attempt) -> FlipOutcome:
            seen.append(view.edit_queries(EDITS[0]))
            return FlipOutcome((), ())

    entry = registry.find("attacks", "black-box")
    side = SideKnowledge(served_digits=1)
    probe, curious = registry.find_probe("black-box"), Registered(entry, Curious())
    cell = Cell(target, probe, (curious,), {}, "quick", 0, side, TrainedCache())
    FlipClaims().run(curious, target, torch.nonzero(target.split.test).flatten(), cell.attempt(curious), _nothing)
    assert torch.equal(seen[0], seen[0].round(decimals=1))


def test_the_check_by_answers_asks_the_service_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search that gradients are held against reads rounded answers where the service rounds."""
    target, digits = toy_target(epochs=20), list[int | None]()

    def opened(*given: Any, **how: Any) -> EditQueries:
        digits.append(how["digits"])
        return open_edit_queries(*given, **how)

    monkeypatch.setattr(strength, "open_edit_queries", opened)
    attacks, params = build_attacks(registry.find_probe("structure-evasion"), {})
    side, probe = SideKnowledge(served_digits=1), registry.find_probe("structure-evasion")
    cell = Cell(target, probe, attacks, params, "standard", 0, side, TrainedCache())
    items = torch.nonzero(target.split.test).flatten()
    verifier = Verifier(target, items)
    level = Level("eps=0.01", 0.01, 2)
    before = [Tried("active-set", "search", "tanh", 0, verifier.clean(), FlipSet(2, EDITS[0]))]
    rerun = strength.Rerun(cell, target, attacks[0], items)
    assert strength.by_answers(rerun, level, 0, verifier, before, np.random.default_rng(0)) is not None
    assert digits == [1]


def test_edges_are_relaxed_for_whoever_asks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing a relaxation takes dozens of forwards, which an attack on features needs no one of."""
    chosen, choose = [0], Relaxation.choose

    def counted(*given: Any, **how: Any) -> Relaxation:
        chosen[0] += 1
        return choose(*given, **how)

    monkeypatch.setattr(Relaxation, "choose", counted)
    target = toy_target(epochs=2)
    view, other = (grant_graph(target, frozenset(Access), with_test_labels=True) for _ in range(2))
    assert view.model.logits(view.x, view.graph.edge_index).shape[0] == view.num_nodes
    assert chosen == [0]
    fewer = view.with_items(view.items[:3])
    assert view.relaxation is fewer.relaxation
    assert chosen == [1]
    assert (other.relaxation.kind, other.relaxation.gaps) == (view.relaxation.kind, view.relaxation.gaps)
    assert other.relaxation.handle.model is not view.relaxation.handle.model
    assert chosen == [1]  # two views of one target are tried once, and hold copies of their own


def _nothing(_claim: Any, _variant: str) -> None: ...


def test_uniform_pairs_are_ordered_and_all_when_few() -> None:
    pairs = uniform_pairs(10, 1000, np.random.default_rng(0))
    assert pairs.shape == (2, 45)
    many = uniform_pairs(1000, 5000, np.random.default_rng(0))
    assert bool((many[0] < many[1]).all())
    assert int(many.max()) < 1000
