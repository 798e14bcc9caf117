"""Views: an attack cannot reach what it was not granted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.errors import AccessError, ConfigError
from auditor.view import Access, SideKnowledge, grant_graph, grant_privacy, uniform_pairs
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


def test_uniform_pairs_are_ordered_and_all_when_few() -> None:
    pairs = uniform_pairs(10, 1000, np.random.default_rng(0))
    assert pairs.shape == (2, 45)
    many = uniform_pairs(1000, 5000, np.random.default_rng(0))
    assert bool((many[0] < many[1]).all())
    assert int(many.max()) < 1000
