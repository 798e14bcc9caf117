"""Which members are named: true ones, beside class and degree, and none where nothing is proven."""

from __future__ import annotations

from dataclasses import replace

import torch

from auditor.evaluate.membership.harness import evaluate
from auditor.evaluate.membership.trial import degrees
from tests.evaluate.membership.cells import answering, base, cell


def test_members_are_named_beside_class_and_degree() -> None:
    target = base()
    remembering = answering(target, 4.0, 0, remembers=target.split.train)
    assert evaluate(cell(remembering, "membership-threshold")).exposed == ()
    result = evaluate(replace(cell(remembering, "membership-threshold"), exposed=10))
    # The model answers alike with and without edges, so that both ways of asking have a list.
    assert [named.subset for named in result.exposed] == ["full", "0-hop"]
    degree, members = degrees(target), set(torch.nonzero(target.split.train).flatten().tolist())
    for named in result.exposed:
        assert len(named.items) == 10
        assert named.of == len(members)
        for item in named.items:
            (node,) = item.ids
            assert node in members
            assert (item.label, item.size) == (int(target.graph.y[node]), int(degree[node]))
            assert item.with_model < item.without_model


def test_nobody_is_named_where_the_model_remembers_nobody() -> None:
    target = base(seed=3)
    result = evaluate(replace(cell(answering(target, 0.0, 3), "membership-threshold"), exposed=10))
    assert all(m.excess.lo <= 0 for m in result.measured if m.judged)
    assert result.exposed == ()
