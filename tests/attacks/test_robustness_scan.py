"""How many random pairs a cycle of the search looks at: more from `standard` on, fewer where the search is sparing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.data.edits import EdgeSpace
from auditor.view import grant_graph
from tests.attacks.asked import attack, attempt
from tests.toys import toy_target


@pytest.mark.parametrize(
    ("id_", "profile", "sparing", "given", "expected"),
    [
        ("active-set", "quick", False, {}, 100_000),
        ("active-set", "standard", False, {}, 300_000),
        ("active-set", "full", False, {}, 300_000),
        ("active-set", "standard", True, {}, 100_000),
        ("active-set", "standard", True, {"scan": "50"}, 50),
        ("greedy", "standard", False, {}, 100_000),
        ("greedy", "standard", False, {"scan": "70"}, 70),
    ],
)
def test_pairs_of_a_cycle(monkeypatch, id_, profile, sparing, given, expected):
    asked, sample = set(), EdgeSpace.sample

    def noted(space, count, rng, **how):
        asked.add(count)
        return sample(space, count, rng, **how)

    monkeypatch.setattr(EdgeSpace, "sample", noted)
    search = attack(id_, **given, **({"cycles": "1", "rounds": "0"} if id_ == "active-set" else {}))
    view = grant_graph(toy_target("gcn"), search.access, with_test_labels=True)
    search.run(view, replace(attempt(5, sparing=sparing), profile=profile))
    assert asked == {expected}
