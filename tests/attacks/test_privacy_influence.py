"""Influence: the score by hand, what it finds where everything or nothing is there, what coarse answers leave of it."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import attacks.privacy
from attacks.privacy.influence import Influence, _largest, smallest_step
from auditor import registry
from auditor.compare.arms import make_defense
from auditor.defense import DefenseTask
from auditor.errors import ConfigError
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.outcomes import LinkOutcome
from auditor.parameters import build
from auditor.probe import Attempt
from auditor.runner.execute import TrainedCache
from auditor.statistics.ranking import Ranking, auc
from auditor.targets.config import TargetFile
from auditor.targets.live import live_target
from auditor.targets.queries import Full
from auditor.targets.target import Target
from auditor.view import Access, SideKnowledge, View, grant_privacy, uniform_pairs
from benchmarks.trust import planted
from benchmarks.trust.models import NeighbourHash
from tests.toys import sbm_graph, toy_target

ACCESS = frozenset(map(Access, registry.find("attacks", "influence").access))
GRAPH = sbm_graph(60, degree=3.0)
PAIRS = uniform_pairs(60, 10**6, np.random.default_rng(0))


def view_of(target: Target, side: SideKnowledge | None = None, attacked: Tensor | None = None) -> View:
    return grant_privacy(target, ACCESS, side or SideKnowledge(), np.random.default_rng(0), attacked=attacked)


def run(
    target: Target, side: SideKnowledge | None = None, attacked: Tensor | None = None, **settings: Any
) -> LinkOutcome:
    attempt = Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0))
    return Influence(**settings).run(view_of(target, side, attacked), attempt)


def area(score: Tensor, target: Target) -> float:
    """AUC over all pairs, in the order of PAIRS."""
    u, v = PAIRS
    keys = set(target.private_graph.pair_keys().tolist())
    is_edge = np.array([key in keys for key in (u * 60 + v).tolist()])
    return float(auc(Ranking(score.numpy(), is_edge).curve()))


def by_hand(target: Target, d: float, *, logarithms: bool) -> tuple[Tensor, Tensor]:
    """|change| / d of every answer for every source in whole forwards, [source, node], with and without centring."""
    full = Full(target, torch.float64)
    x, own, plain = full.graph.x, [], []
    for v in range(60):
        moved = x.clone()
        moved[v] = (1 + d) * x[v] if x[v].any() else d * x.mean(dim=0)
        rows = [full._run(each).softmax(dim=1) for each in (x, moved)]
        plain.append((rows[1] - rows[0]).norm(dim=1) / d)
        seen = [row.clamp_min(1e-12).log() for row in rows] if logarithms else rows
        centred = [row - row.mean(dim=1, keepdim=True) for row in seen]
        own.append((centred[1] - centred[0]).norm(dim=1) / d)
    return torch.stack(own), torch.stack(plain)


@pytest.fixture(scope="module")
def target() -> Target:
    x = GRAPH.x.clone()
    x[11] = 0  # a node without a word
    return toy_target("gcn", graph=dataclasses.replace(GRAPH, x=x))


def test_the_score_is_the_mean_of_both_directions_in_units_of_the_influence_on_oneself(target: Target) -> None:
    outcome = run(target)
    influence, plain = by_hand(target, outcome.notes["d"], logarithms=outcome.notes["resolution"] <= 1e-6)
    u, v = PAIRS
    unit = influence / influence.diagonal()[:, None]
    torch.testing.assert_close(outcome.score(PAIRS), (unit[u, v] + unit[v, u]) / 2, rtol=1e-6, atol=1e-9)
    published = run(target, mode="linkteller")
    expected = (plain[u, v] + plain[v, u]) / 2
    torch.testing.assert_close(published.score(PAIRS), expected, rtol=1e-6, atol=1e-9)
    assert area(outcome.score(PAIRS), target) > area(published.score(PAIRS), target) - 0.02


def test_pairs_beyond_two_layers_score_exactly_nothing(target: Target) -> None:
    step = torch.eye(60)
    step[tuple(GRAPH.edge_index)] = 1
    far = (step @ step)[PAIRS[0], PAIRS[1]] == 0
    score = run(target).score(PAIRS)
    assert int(far.sum()) > 100
    assert not score[far].any()
    assert area(score, target) > 0.97


def test_of_some_nodes_the_directions_asked_count(target: Target) -> None:
    asked = torch.tensor([40, 3, 12])
    whole = run(target)
    influence, _plain = by_hand(target, whole.notes["d"], logarithms=whole.notes["resolution"] <= 1e-6)
    unit = influence / influence.diagonal()[:, None]
    score = run(target, attacked=asked).score(torch.tensor([[3, 3, 5], [12, 5, 6]]))
    expected = torch.stack([(unit[3, 12] + unit[12, 3]) / 2, unit[3, 5], torch.tensor(0.0, dtype=torch.float64)])
    torch.testing.assert_close(score, expected, rtol=1e-6, atol=1e-9)
    assert view_of(target, attacked=asked).query.count == 0


@pytest.mark.parametrize(("answers", "step"), [([[0.2, 0.8], [0.5, 0.5]], 0.3), ([[0.1, 0.1], [0.1, 0.1]], 0.0)])
def test_the_smallest_step_of_answers(answers: list[list[float]], step: float) -> None:
    noisy = torch.tensor(answers, dtype=torch.float64)
    noisy[0] += 1e-15  # the last digits of a sum are no step
    assert smallest_step(noisy) == pytest.approx(step, abs=1e-9)


@pytest.mark.parametrize(
    ("spec", "digits", "least"),
    [("", 4, 0.7), ("coarse-outputs:digits=1", None, 0.5), ("coarse-outputs:labels-only=true", None, 0.5)],
)
def test_coarse_answers_are_asked_with_a_larger_change(
    spec: str, digits: int | None, least: float, target: Target
) -> None:
    served = make_defense(spec).fit(target, DefenseTask(0, TrainedCache())) if spec else target
    outcome = run(served, SideKnowledge(served_digits=digits))
    assert outcome.notes["d"] == 1.0
    score = outcome.score(PAIRS)
    assert bool(torch.isfinite(score).all())
    assert area(score, target) >= least


def test_logits_are_compared_without_their_mean(target: Target) -> None:
    exact = SideKnowledge(outputs="logits")
    assert area(run(target, exact).score(PAIRS), target) > 0.97
    assert area(run(target, exact, mode="linkteller").score(PAIRS), target) > 0.9


def test_a_model_that_reads_no_edge_gives_no_influence_at_all() -> None:
    view = view_of(toy_target("mlp", graph=GRAPH))
    outcome = Influence().run(view, Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0)))
    assert not outcome.score(PAIRS).any()
    assert view.query.count == 60 + 20, "a larger change was tried on a few nodes"


@pytest.mark.parametrize("number", [0, 1])
def test_a_model_that_rounds_its_features_is_asked_again_with_a_larger_change(number: int) -> None:
    """A ten-thousandth of a word that is there or not is rounded away before any neighbour sees it."""
    made = planted.made("neighbour-hash", number)
    masks = {name: torch.zeros(400, dtype=torch.bool).index_fill(0, ids, True) for name, ids in made.split.items()}
    target = live_target(made.model, made.graph.data, TargetFile(), masks=masks)
    view, attempt = view_of(target), Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0))
    outcome = Influence().run(view, attempt)
    assert outcome.notes["resolution"] < 1e-7
    assert outcome.notes["d"] == 1.0
    assert view.query.count == 2 * 400 + 20
    pairs = prior_pairs(Truth.of(target.private_graph), 10**6, np.random.default_rng(0))
    assert float(auc(Ranking(outcome.score(pairs.tensor).numpy(), pairs.is_edge).curve())) > 0.95


def test_exact_answers_that_move_are_asked_for_once(target: Target) -> None:
    view = view_of(target)
    Influence().run(view, Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0)))
    assert view.query.count == 60


def test_the_largest_influences_of_each_query_are_kept() -> None:
    change = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.3, 0.4], dtype=torch.float64)
    which = torch.tensor([0, 0, 0, 1, 1, 2])
    assert _largest(change, which, 3).all()
    assert _largest(change, which, 1).tolist() == [False, True, False, False, True, True]


@pytest.mark.parametrize("seed", range(20))
def test_a_hash_of_the_neighbours_is_found(seed: int) -> None:
    """No likeness of answers tells an edge of this model; every edge shows in what changes."""
    rng = np.random.default_rng(seed)
    graph = sbm_graph(60, degree=3.0, seed=seed)
    graph = dataclasses.replace(graph, x=torch.from_numpy(rng.normal(size=(60, 8))).float())
    torch.manual_seed(seed)
    model = NeighbourHash(8, 3)
    target = dataclasses.replace(toy_target("mlp", graph=GRAPH, epochs=0), graph=graph, model=model)
    assert area(run(target).score(PAIRS), target) > 0.9


@pytest.mark.parametrize("seed", range(20))
def test_what_is_served_on_another_graph_tells_nothing_of_this_one(seed: int) -> None:
    """Edges of one graph, asked of a model that is served on an independent one of the same size."""
    target = toy_target("gcn", graph=sbm_graph(60, degree=3.0, mixing=2 / 3, seed=seed), epochs=0)
    score = run(target).score(PAIRS)
    other = dataclasses.replace(target, graph=sbm_graph(60, degree=3.0, mixing=2 / 3, seed=seed + 100))
    assert abs(area(score, other) - 0.5) < 0.15


def test_no_privacy_attack_reaches_behind_the_handle() -> None:
    """The oracle is no part of what attacks import."""
    for file in Path(attacks.privacy.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "auditor.targets.queries"), file


def test_another_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="linkteller"):
        build(Influence, {"mode": "linktelling"}, owner="influence")


def test_prior_pairs_near_some_nodes_hold_one_of_them() -> None:
    truth = Truth.of(GRAPH).near(np.array([1, 4, 50]))
    prior = prior_pairs(truth, 10**6, np.random.default_rng(0))
    assert prior.size == truth.num_pairs == 3 * 57 + 3
    assert np.isin(prior.pairs, [1, 4, 50]).any(axis=0).all()
