"""The contract suite: every registered attack and probe is held to the same rules, without a row of its own.

Same seed, same bytes; inputs unchanged; nothing read beyond the access on the registry line; parameters checked;
budgets and caps kept, on one graph and on many; no harness drops a claim; link scorers symmetric, finite, independent
of the other pairs, equivariant under node relabelling. A probe's headline is a number that its harness gives, and what
it says it touches are checks that are made.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from pydantic.dataclasses import is_pydantic_dataclass
from torch import Tensor

from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.data.fields import Fields
from auditor.errors import AccessError, ConfigError, SkippedError
from auditor.evaluate.membership.queries import margins
from auditor.evaluate.robustness.budgets import graph_levels, node_caps
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipOutcome, LinkOutcome, Outcome, ShiftOutcome
from auditor.parameters import build
from auditor.probe import Attack, Attempt, Cell, CellResult, Registered
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.target import Target
from auditor.targets.validity import validity_rows
from auditor.view import Access, References, SideKnowledge, View, grant_graph, grant_privacy, uniform_pairs
from tests.defenses.joint_cluster.fits import Tabled, fitted
from tests.toys import small_graphs, toy_target

# The toy target of a method that `gcn` says nothing about (of a task `graph`: GRAPHS); a probe's attacks share it.
TARGETS = {
    "partition-leak": "clustered-gcn",
    "prototype-membership": "joint-frozen",
    "prototype-edit": "joint-live",
    "cluster-jump": "joint-recluster",
    "graph-membership": "graph-gin",
    "graph-threshold": "graph-gin",
    "graph-lira": "graph-gin",
    "heldout-domain": "marked-gcn",
    "prototype-ood": "graph-gin",
}
GRAPHS = "graph-gin"
THREE_KINDS = "three-graph-gin"
OF_GRAPHS = {"left-out-class": THREE_KINDS}
# Parameters that make a probe fast.
LINKS = {"counterfactuals": "0", "negatives": "300", "replicates": "50"}
FAST: dict[str, dict[str, str]] = {
    "graphmi": {"steps": "10", **LINKS},
    "posterior-similarity": LINKS,
    "embedding-similarity": LINKS,
    "explanation-similarity": LINKS,
    "ensemble-white-box": LINKS,
    "ensemble-outputs": LINKS,
    "ensemble-all": LINKS,
    "influence": LINKS,
    "blackbox-graphmi": {"queries": "81", **LINKS},
    "extraction": {"budgets": "25", "epochs": "40"},
    "partition-leak": LINKS,
    "prototype-membership": {"draws": "2", "replicates": "50"},
    "membership-threshold": {"replicates": "50"},
    "membership-lira": {"references": "3", "replicates": "50"},
    "graph-membership": {"references": "3", "replicates": "50"},
    "structure-evasion": {"cycles": "1", "losses": "tanh", "eps": "0.05", "local_cap": "0.5"},
    "black-box": {"max_queries": "60", "graphs": "10"},
    "poisoning": {"cycles": "1", "losses": "tanh", "draws": "2", "trainings": "2"},
    "certificate": {"samples": "300", "choosing": "100", "draws": "1", "parts": "5", "graphs": "30"},
    "prototype-edit": {"budgets": "1", "draws": "2", "replicates": "50"},
    "cluster-jump": {"targets": "4", "edges": "2", "draws": "2", "replicates": "50"},
    "corruption": {"kinds": "edge-drop", "draws": "2"},
    "graph-benefit": {"replicates": "50"},
    "structural-split": {"properties": "density", "ratios": "0.2/0.1/0.3/0.1/0.3"},
    "heldout-domain": {"column": "source"},
    "ood-detection": {"draws": "1"},
    "prototype-ood": {"pool": "6", "prototypes": "2", "graphs": "30"},
    "left-out-class": {"classes": "0"},
}
BUDGETS = (5, 18)


def clustered(target: Target) -> Target:
    """Its model ships a table of clusters: eight, each of fifteen nodes in a row."""
    return dataclasses.replace(target, model=Tabled(target.model, torch.arange(120) // 15))


def marked(target: Target) -> Target:
    """Its data say where an item came from: of the test items every second one from elsewhere."""
    graph, test = target.graph, target.split.test
    source = {"source": (test & (torch.cumsum(test.long(), 0) % 2 == 0)).float()}
    fields = Fields(node=source) if graph.batch is None else Fields(graph=source)
    return dataclasses.replace(target, graph=dataclasses.replace(graph, fields=fields))


ATTACKS = registry.entries("attacks")
PROBES = registry.probes()
KINDS: dict[str, type[Outcome]] = {id_: get_type_hints(entry.load().run)["return"] for id_, entry in ATTACKS.items()}


def toy(id_: str) -> str:
    """The toy target of an attack or a probe."""
    return TARGETS.get(id_, "gcn")


@pytest.fixture(scope="module")
def targets() -> Callable[[str], Target]:
    made: dict[str, Target] = {}

    def get(arch: str) -> Target:
        if arch not in made:
            if arch.startswith("joint-"):
                made[arch] = fitted(prototypes=arch.removeprefix("joint-"))
            else:
                graphs = (
                    small_graphs(300) if arch in (GRAPHS, THREE_KINDS) else None
                )  # fewer have no group worth the name
                if graphs is not None and arch == THREE_KINDS:
                    graphs = dataclasses.replace(graphs, y=torch.where(torch.arange(300) % 3 == 0, 2, graphs.y))
                plain = arch.removeprefix("clustered-").removeprefix("marked-").removeprefix("three-")
                target = toy_target(plain, graph=graphs)
                made[arch] = clustered(target) if arch.startswith("clustered-") else target
                made[arch] = marked(target) if arch.startswith("marked-") or arch == GRAPHS else made[arch]
        return made[arch]

    return get


def make_view(family: str, target: Target, access: frozenset[Access], seed: int = 1) -> View:
    if family == "privacy":
        made = references(target, access) if Access.REFERENCES in access else None
        own = access == {Access.OWN_QUERIES}
        rng = np.random.default_rng(seed)
        return grant_privacy(target, access, SideKnowledge(), rng, references=made, with_own_graph=own)
    return grant_graph(target, access, with_test_labels=family == "robustness")


def references(target: Target, access: frozenset[Access]) -> References:
    """Four models that were trained on a half of the candidates each, their answers the target's with noise."""
    own = margins(grant_privacy(target, access - {Access.REFERENCES}, SideKnowledge(), np.random.default_rng(0)))
    noise = torch.randn(4, target.graph.num_items, generator=torch.Generator().manual_seed(0)).double()
    half = torch.arange(target.graph.num_items) % 2 == 0
    tables = {query: phi + noise for query, phi in own.items()}
    return References(target.split.train | target.split.test, torch.stack([half, ~half] * 2), tables)


def attempt(family: str, seed: int = 0, profile: registry.Profile = "quick") -> Attempt:
    budgets = BUDGETS if family == "robustness" else ()
    return Attempt(np.random.default_rng(seed), torch.Generator().manual_seed(seed), profile, budgets)


def registered(id_: str, **settings: Any) -> Registered:
    return Registered(ATTACKS[id_], ATTACKS[id_].load()(**settings))


def run(id_: str, target: Target, *, seed: int = 0, profile: registry.Profile = "quick") -> Outcome:
    attack, family = registered(id_), ATTACKS[id_].family
    return attack.run(make_view(family, target, attack.access), attempt(family, seed, profile))


@dataclasses.dataclass(frozen=True)
class Run:
    """What an attack answers on its target, and what it must not touch as it was before and after."""

    outcome: Outcome
    before: tuple[str, ...]
    after: tuple[str, ...]


@pytest.fixture(scope="module")
def runs(targets: Any) -> Callable[[str], Run]:
    """Each attack on its target: run once, and never changed."""
    made: dict[str, Run] = {}

    def get(id_: str) -> Run:
        if id_ not in made:
            target = targets(toy(id_))
            before = around(target)
            made[id_] = Run(run(id_, target), before, around(target))
        return made[id_]

    return get


@pytest.fixture(scope="module")
def outcomes(runs: Callable[[str], Run]) -> Callable[[str], Outcome]:
    """What each attack answers on its target."""
    return lambda id_: runs(id_).outcome


def around(target: Target) -> tuple[str, ...]:
    """Digests of what no attack may touch: the graph, the model, the global random state of torch and of NumPy."""
    states = torch.get_rng_state().numpy(), np.random.get_state()[1]  # noqa: NPY002
    random = (hashlib.sha256(each.tobytes()).hexdigest() for each in states)
    return (target.graph.digest(), digest_model(target), *random)


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


@pytest.mark.parametrize("id_", ATTACKS)
def test_outcome_has_the_declared_kind_and_equal_seeds_give_equal_bytes(
    id_: str, targets: Any, outcomes: Callable[[str], Outcome]
) -> None:
    first, second = outcomes(id_), run(id_, targets(toy(id_)))
    assert isinstance(first, KINDS[id_])
    assert digest(first) == digest(second)


@pytest.mark.parametrize("id_", [id_ for id_, entry in ATTACKS.items() if entry.deterministic])
def test_a_deterministic_attack_says_the_same_whatever_is_drawn(id_: str, targets: Any, outcomes: Any) -> None:
    attack, family, target = registered(id_), ATTACKS[id_].family, targets(toy(id_))
    other = attack.run(make_view(family, target, attack.access, seed=2), attempt(family, seed=7))
    assert digest(other) == digest(outcomes(id_))


@pytest.mark.parametrize("id_", ATTACKS)
def test_global_random_state_and_inputs_are_untouched(id_: str, runs: Callable[[str], Run]) -> None:
    assert runs(id_).after == runs(id_).before


def digest_model(target: Target) -> str:
    sha = hashlib.sha256(str(target.model.training).encode())
    for name, value in target.model.state_dict().items():
        sha.update(name.encode() + value.numpy().tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("id_", ATTACKS)
def test_a_class_is_its_parameters_and_the_registry_line_says_the_rest(id_: str) -> None:
    attack, kind = registered(id_), ATTACKS[id_].load()
    assert isinstance(attack.attack, Attack)
    assert is_pydantic_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(kind))
    for word in ("id", "needs", "access", "role"):
        assert not hasattr(kind, word), f"{word} is declared once, on the registry line"
    assert attack.access, "an adversary who holds nothing"
    assert all(str(need).isupper() for need in attack.needs)  # words that are no capability have raised by now
    assert (ATTACKS[id_].probe or id_) in PROBES
    with pytest.raises(ConfigError, match="no parameter"):
        build(kind, {"nothing-of-the-kind": "1"}, owner=id_)


@pytest.mark.parametrize("id_", ATTACKS)
def test_without_its_access_the_attack_is_stopped(id_: str, targets: Any) -> None:
    family = ATTACKS[id_].family
    view = make_view(family, targets(toy(id_)), frozenset())
    with pytest.raises(AccessError):
        registered(id_).run(view, attempt(family))


@pytest.mark.parametrize("id_", [i for i, kind in KINDS.items() if kind is FlipOutcome])
def test_flips_keep_to_their_budget_and_are_distinct_pairs(
    id_: str, targets: Any, outcomes: Callable[[str], Outcome]
) -> None:
    target, outcome = targets(toy(id_)), outcomes(id_)
    assert isinstance(outcome, FlipOutcome)
    assert {point.budget for point in outcome.points} == set(BUDGETS)
    assert len(outcome.points) == len(outcome.variant)
    for point in outcome.points:
        u, v = point.keys // target.graph.num_nodes, point.keys % target.graph.num_nodes
        assert point.keys.dtype == torch.int64
        assert point.keys.numel() == torch.unique(point.keys).numel() <= point.budget
        assert bool((u < v).all())


HARNESS = PROBES["structure-evasion"].evaluation
EDITING = [entry.id for entry in ATTACKS.values() if PROBES[entry.probe or entry.id].evaluation == HARNESS]
"""Attacks of the harness that sets caps and, on many graphs, a budget for each of them."""


@pytest.mark.parametrize("many", [False, True], ids=["one-graph", "many-graphs"])
@pytest.mark.parametrize("id_", EDITING)
def test_no_flip_set_breaks_a_cap_or_the_budget_of_a_graph(id_: str, many: bool, targets: Any) -> None:
    target = targets(GRAPHS if many else toy(id_))
    items = torch.nonzero(target.split.test).flatten()[:12]
    space = EdgeSpace.of(target.graph)
    if many:
        own = tuple(level.item_budgets for level in graph_levels(space, items, ("one", "0.3"), "quick"))
        asked = {"item_budgets": own, "budgets": tuple(int(each.sum()) for each in own)}
    else:
        asked = {"node_caps": node_caps(space, 0.25), "budgets": BUDGETS}
    attack = registered(id_)
    view = make_view("robustness", target, attack.access).with_items(items)
    try:
        outcome = attack.run(view, dataclasses.replace(attempt("robustness"), **asked))
    except SkippedError:
        return  # it cannot keep to them, and says so
    assert isinstance(outcome, FlipOutcome)
    verifier = Verifier(target, items, node_caps=asked.get("node_caps"))
    for point in outcome.points:
        place = asked["budgets"].index(point.budget)
        verifier.check(point, item_budgets=own[place] if many else None)


@pytest.mark.parametrize("id_", [i for i, kind in KINDS.items() if kind is LinkOutcome])
def test_scorer_is_symmetric_finite_and_independent_of_the_other_pairs(
    id_: str, outcomes: Callable[[str], Outcome]
) -> None:
    outcome = outcomes(id_)
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


@pytest.mark.parametrize("id_", [i for i, kind in KINDS.items() if kind is LinkOutcome])
def test_scores_follow_the_nodes_when_they_are_relabelled(id_: str, targets: Any) -> None:
    target = targets(toy(id_))
    place = torch.from_numpy(np.random.default_rng(5).permutation(120))  # node i becomes node place[i]
    pairs = uniform_pairs(120, 500, np.random.default_rng(3))
    # Candidates among equally near nodes are chosen by their number; the dense form, that of `full`, chooses none.
    given, moved = (run(id_, each, profile="full") for each in (target, relabelled(target, place)))
    assert isinstance(given, LinkOutcome)
    assert isinstance(moved, LinkOutcome)
    torch.testing.assert_close(moved.score(place[pairs]), given.score(pairs), rtol=0, atol=1e-5)


def relabelled(target: Target, place: Tensor) -> Target:
    """The same target with node i renamed to `place[i]`, a table that its model ships included."""
    back = torch.argsort(place)
    graph, split, model = target.graph, target.split, target.model
    if isinstance(model, Tabled):
        model = Tabled(model.model, model.get_buffer("table")[back])
    return dataclasses.replace(
        target,
        graph=dataclasses.replace(graph, x=graph.x[back], edge_index=place[graph.edge_index], y=graph.y[back]),
        split=dataclasses.replace(split, train=split.train[back], val=split.val[back], test=split.test[back]),
        model=model,
    )


@pytest.mark.parametrize(("id_", "task"), [(probe.id, task) for probe in PROBES.values() for task in probe.tasks])
def test_the_harness_gives_the_headline_and_raises_only_findings_on_the_registry_line(
    id_: str, task: str, targets: Any
) -> None:
    probe = PROBES[id_]
    result = evaluated(id_, targets(OF_GRAPHS.get(id_, GRAPHS) if task == "graph" else toy(id_)))
    assert [row.evidence for row in result.validity if row.kind == "integrity" and row.status == "fail"] == []
    assert {number.finding for number in result.measured} <= set(probe.findings)
    wanted = probe.headline
    shown = [m for m in result.measured if m.metric == wanted.metric and wanted.subset in (None, m.subset)]
    assert [m for m in shown if m.judged or wanted.subset is not None], "the headline is of the judged numbers"
    assert all(m.estimate.value is not None for m in shown if m.judged)
    assert wanted.as_value or any(m.excess is not None for m in shown if m.judged)


def evaluated(id_: str, target: Target) -> CellResult:
    probe = PROBES[id_]
    attacks, own = build_attacks(probe, FAST.get(id_, {}))
    cell = Cell(target, probe, attacks, own, "quick", 0, SideKnowledge(sensitive=0), TrainedCache())
    result: CellResult = registry.load_location(probe.evaluation)(cell)
    return result


def test_what_a_probe_touches_are_checks_that_are_made(targets: Any) -> None:
    made = {row.id for arch in ("gcn", GRAPHS) for row in validity_rows(targets(arch), np.random.default_rng(0))}
    assert {id_: set(probe.touches) - made for id_, probe in PROBES.items() if set(probe.touches) - made} == {}
