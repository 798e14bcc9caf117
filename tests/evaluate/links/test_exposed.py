"""Which edges are named: true ones, first those that need the model most; none where nothing is proven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.evaluate.links.harness import evaluate
from auditor.probe import CellResult
from auditor.targets.target import Target
from tests.evaluate.links.cells import Fixed, make_cell
from tests.toys import toy_target


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target("gcn")


def run(target: Target, score: object, exposed: int) -> CellResult:
    cell = make_cell(target, Fixed(score), replicates=60, counterfactuals=0)  # type: ignore[arg-type]
    return evaluate(replace(cell, exposed=exposed))


def knows(target: Target, share: float = 1.0):
    """A score that is 1 for this share of the edges."""
    keys = torch.sort(target.graph.pair_keys()).values
    keys = keys[: int(share * keys.numel())]
    return lambda pairs: torch.isin(pairs.amin(0) * target.graph.num_nodes + pairs.amax(0), keys).double()


def test_nobody_is_named_unless_that_was_asked_for(target: Target) -> None:
    assert run(target, knows(target), 0).exposed == ()


def test_what_is_named_are_edges_and_first_those_that_need_the_model_most(target: Target) -> None:
    (named,) = run(target, knows(target, 0.5), 10).exposed
    edges = set(target.graph.pair_keys().tolist())
    keys = [u * target.graph.num_nodes + v for u, v in (item.ids for item in named.items)]
    assert len(keys) == 10
    assert set(keys) <= set(torch.sort(target.graph.pair_keys()).values[: len(edges) // 2].tolist())
    assert named.of == len(edges)
    assert named.subset == "prior"
    shares = np.array([(item.with_model, item.without_model) for item in named.items])
    assert (shares[:, 0] < shares[:, 1]).all()
    half = 0.5 / (target.graph.num_nodes * (target.graph.num_nodes - 1) // 2 - len(edges))
    assert (np.diff((shares[:, 1] + half) / (shares[:, 0] + half)) <= 1e-9).all()


def test_nobody_is_named_where_nothing_is_proven(target: Target) -> None:
    """Of edges that a score knows nothing of some always rank high: that is luck, and says nothing of the model."""
    n = target.graph.num_nodes

    def noise(pairs: torch.Tensor) -> torch.Tensor:
        return ((pairs.amin(0) * n + pairs.amax(0)) * 2654435761 % 1000).double()

    result = run(target, noise, 10)
    assert all(m.excess.lo <= 0 for m in result.measured if m.judged)
    assert result.exposed == ()


def test_a_score_that_counts_in_reverse_names_edges_too(target: Target) -> None:
    score = knows(target)
    (named,) = run(target, lambda pairs: -score(pairs), 5).exposed
    edges = set(target.graph.pair_keys().tolist())
    assert {u * target.graph.num_nodes + v for u, v in (item.ids for item in named.items)} <= edges
