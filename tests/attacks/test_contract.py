"""The contract suite: every registered attack is held to the same rules. A new attack adds one row to FAMILIES' table.

Same seed, same bytes; inputs unchanged; nothing read beyond its access; needs equal to the registry line; budgets kept;
link scorers symmetric, finite, independent of the other pairs, equivariant under node relabelling.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor import registry
from auditor.errors import AccessError
from auditor.probe import AttackTask, FlipOutcome, LinkOutcome, MembershipOutcome, Outcome, ShiftOutcome
from auditor.targets.target import Target
from auditor.view import Access, SideKnowledge, View, grant_graph, grant_privacy, uniform_pairs
from tests.defenses.joint_cluster.test_method import fitted
from tests.toys import toy_target

# One row per attack: the toy target it is tried on, and the outcome it must return.
ROWS: dict[str, tuple[str, type[Outcome]]] = {
    "graphmi": ("gcn", LinkOutcome),
    "posterior-similarity": ("gcn", LinkOutcome),
    "partition-leak": ("clustered-gcn", LinkOutcome),
    "prototype-membership": ("joint-frozen", MembershipOutcome),
    "active-set": ("gcn", FlipOutcome),
    "prototype-shift": ("joint-live", FlipOutcome),
    "cluster-jump": ("joint-recluster", FlipOutcome),
    "random": ("gcn", FlipOutcome),
    "dice": ("gcn", FlipOutcome),
    "strata": ("gcn", ShiftOutcome),
    "corruption": ("gcn", ShiftOutcome),
}
BUDGETS = (5, 18)


class Clustered(torch.nn.Module):
    """A model that ships a table of clusters: eight, each of fifteen nodes in a row."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("table", torch.arange(120) // 15)

    def forward(self, x, edge_index, edge_weight=None):
        return self.model(x, edge_index, edge_weight=edge_weight)


def clustered(target: Target) -> Target:
    return dataclasses.replace(target, model=Clustered(target.model), _clean={})


ATTACKS = sorted(registry.entries("attacks"))


@pytest.fixture(scope="module")
def targets() -> Callable[[str], Target]:
    made: dict[str, Target] = {}

    def get(arch: str) -> Target:
        if arch not in made:
            if arch.startswith("joint-"):
                made[arch] = fitted(prototypes=arch.removeprefix("joint-"))
            else:
                target = toy_target(arch.removeprefix("clustered-"))
                made[arch] = clustered(target) if arch.startswith("clustered-") else target
        return made[arch]

    return get


def make_view(family: str, target: Target, access: frozenset[Access]) -> View:
    if family == "privacy":
        return grant_privacy(target, access, SideKnowledge(), np.random.default_rng(1))
    return grant_graph(target, access, with_test_labels=family == "adversarial")


def task(seed: int = 0, family: str = "") -> AttackTask:
    budgets = BUDGETS if family == "adversarial" else ()
    return AttackTask(np.random.default_rng(seed), torch.Generator().manual_seed(seed), "quick", budgets)


def run(id_: str, target: Target, *, seed: int = 0, **settings: Any) -> Outcome:
    entry = registry.find("attacks", id_)
    attack = entry.load()(**settings)
    return attack.run(make_view(entry.family, target, attack.access), task(seed, entry.family))  # type: ignore[no-any-return]


def digest(outcome: Outcome) -> str:
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            sha.update(value.detach().contiguous().numpy().tobytes())
        elif isinstance(value, ShiftOutcome):  # its sets may be made while they are read
            add([list(value.sets), dict(value.properties), value.notes])
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                add(getattr(value, field.name))
        elif isinstance(value, dict):
            for key in sorted(value):
                sha.update(str(key).encode())
                add(value[key])
        elif isinstance(value, tuple | list):
            for item in value:
                add(item)
        elif not callable(value):
            sha.update(repr(value).encode())

    if isinstance(outcome, LinkOutcome):
        add(outcome.score(uniform_pairs(120, 10**6, np.random.default_rng(0))))
    else:
        add(outcome)
    return sha.hexdigest()


def test_every_attack_has_its_row() -> None:
    assert set(ROWS) == set(ATTACKS)


@pytest.mark.parametrize("id_", ATTACKS)
def test_outcome_has_the_declared_kind_and_equal_seeds_give_equal_bytes(id_: str, targets: Any) -> None:
    arch, kind = ROWS[id_]
    first, second = run(id_, targets(arch)), run(id_, targets(arch))
    assert isinstance(first, kind)
    assert digest(first) == digest(second)


@pytest.mark.parametrize("id_", ATTACKS)
def test_global_random_state_and_inputs_are_untouched(id_: str, targets: Any) -> None:
    target = targets(ROWS[id_][0])
    before = (target.graph.digest(), digest_model(target), torch.get_rng_state(), np.random.get_state()[1].copy())  # noqa: NPY002
    run(id_, target)
    assert target.graph.digest() == before[0]
    assert digest_model(target) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert np.array_equal(np.random.get_state()[1], before[3])  # noqa: NPY002


def digest_model(target: Target) -> str:
    sha = hashlib.sha256(str(target.model.training).encode())
    for name, value in target.model.state_dict().items():
        sha.update(name.encode() + value.numpy().tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("id_", ATTACKS)
def test_class_attributes_agree_with_the_registry_line(id_: str) -> None:
    entry = registry.find("attacks", id_)
    attack = entry.load()
    assert attack.id == id_
    assert {str(need) for need in attack.needs} == set(entry.needs)
    assert dataclasses.is_dataclass(attack)
    assert attack.__dataclass_params__.frozen
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(attack))


@pytest.mark.parametrize("id_", ATTACKS)
def test_without_its_access_the_attack_is_stopped(id_: str, targets: Any) -> None:
    entry = registry.find("attacks", id_)
    attack = entry.load()()
    view = make_view(entry.family, targets(ROWS[id_][0]), frozenset())
    with pytest.raises(AccessError):
        attack.run(view, task(family=entry.family))


@pytest.mark.parametrize("id_", [i for i, (_, kind) in ROWS.items() if kind is FlipOutcome])
def test_flips_keep_to_their_budget_and_are_distinct_pairs(id_: str, targets: Any) -> None:
    target = targets(ROWS[id_][0])
    outcome = run(id_, target)
    assert isinstance(outcome, FlipOutcome)
    assert {point.budget for point in outcome.points} == set(BUDGETS)
    assert len(outcome.points) == len(outcome.variant)
    for point in outcome.points:
        u, v = point.keys // target.graph.num_nodes, point.keys % target.graph.num_nodes
        assert point.keys.dtype == torch.int64
        assert point.keys.numel() == torch.unique(point.keys).numel() <= point.budget
        assert bool((u < v).all())


@pytest.mark.parametrize("id_", [i for i, (_, kind) in ROWS.items() if kind is LinkOutcome])
def test_scorer_is_symmetric_finite_and_independent_of_the_other_pairs(id_: str, targets: Any) -> None:
    outcome = run(id_, targets(ROWS[id_][0]))
    assert isinstance(outcome, LinkOutcome)
    pairs = uniform_pairs(120, 500, np.random.default_rng(3))
    scores = outcome.score(pairs)
    assert scores.dtype == torch.float64
    assert scores.shape == (pairs.shape[1],)
    assert bool(torch.isfinite(scores).all())
    assert torch.unique(scores).numel() > 10
    torch.testing.assert_close(outcome.score(pairs.flip(0)), scores, rtol=0, atol=1e-9)
    halves = torch.cat([outcome.score(pairs[:, :100]), outcome.score(pairs[:, 100:])])
    torch.testing.assert_close(halves, scores, rtol=0, atol=1e-9)


@pytest.mark.parametrize("id_", [i for i, (_, kind) in ROWS.items() if kind is LinkOutcome])
def test_scores_follow_the_nodes_when_they_are_relabelled(id_: str, targets: Any) -> None:
    target = targets(ROWS[id_][0])
    place = torch.from_numpy(np.random.default_rng(5).permutation(120))  # node i becomes node place[i]
    pairs = uniform_pairs(120, 500, np.random.default_rng(3))
    # Candidates among equally near nodes are chosen by their number; the dense form has no such choice.
    settings = {"form": "dense"} if id_ == "graphmi" else {}
    given, moved = (run(id_, each, **settings) for each in (target, relabelled(target, place)))
    assert isinstance(given, LinkOutcome)
    assert isinstance(moved, LinkOutcome)
    torch.testing.assert_close(moved.score(place[pairs]), given.score(pairs), rtol=0, atol=1e-5)


def relabelled(target: Target, place: Tensor) -> Target:
    """The same target with node i renamed to `place[i]`, a table that its model ships included."""
    back = torch.argsort(place)
    graph, split, model = target.graph, target.split, target.model
    if isinstance(model, Clustered):
        model = Clustered(model.model)
        model.table = target.model.get_buffer("table")[back]
    return dataclasses.replace(
        target,
        graph=dataclasses.replace(graph, x=graph.x[back], edge_index=place[graph.edge_index], y=graph.y[back]),
        split=dataclasses.replace(split, train=split.train[back], val=split.val[back], test=split.test[back]),
        model=model,
        _clean={},
    )
