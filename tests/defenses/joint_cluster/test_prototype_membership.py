"""`prototype-membership`: finds who a mean was made of, nobody where it was made of others; and what the file holds."""

from __future__ import annotations

import copy
import datetime
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import registry
from auditor.audit import CellRow, Finding, Measurement
from auditor.data.graph import Graph
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.policy import Policy
from auditor.policy.judge import judge
from auditor.probe import AttackTask, Cell, MembershipOutcome, Result
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from defenses.joint_cluster.probes.attacks.prototype_membership import PrototypeMembership
from tests.defenses.joint_cluster.test_method import Fresh, fitted
from tests.toys import random_split, toy_target

N, K, WIDTH = 600, 10, 16


class Means(nn.Module):
    """Serves features as embeddings, and a mean of some nodes for each cluster."""

    mode = "frozen"

    def __init__(self, table: Tensor, prototypes: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.register_buffer("prototypes", prototypes)
        self.embedding, self.head = nn.Identity(), nn.Linear(WIDTH, 2)

    def forward(self, x, edge_index):
        return self.head(self.embedding(x))

    def in_mode(self, mode: str) -> nn.Module:
        return copy.deepcopy(self)

    def clusters_on(self, x, edge_index):
        return self.table


def means_target(seed: int, *, of_members: bool, far: float = 1.0, noise: float = 0.0) -> Target:
    """Prototypes are means of the training nodes, or of as many others; training nodes lie `far` times as far out."""
    rng = np.random.default_rng(seed)
    table, split = torch.arange(N) % K, random_split(N, train=0.15, val=0.1, seed=seed)
    z = torch.from_numpy(rng.normal(size=(N, WIDTH))).float()
    z[split.train] *= far
    others = torch.nonzero(~split.train & ~split.val).flatten()
    drawn = torch.zeros(N, dtype=torch.bool)
    drawn[others[torch.from_numpy(rng.permutation(len(others)))[: int(split.train.sum())]]] = True
    of = split.train if of_members else drawn
    prototypes = torch.stack([z[of & (table == k)].mean(dim=0) for k in range(K)])
    prototypes += noise * torch.from_numpy(rng.normal(size=(K, WIDTH))).float()
    graph = Graph(z, torch.tensor([[0, 1], [1, 0]]), torch.arange(N) % 2)
    base = toy_target(epochs=1)
    model = Means(table, prototypes)
    return replace(base, graph=graph, split=split, num_classes=2, model=model, embedding_layer="embedding", _clean={})


def audited(target: Target, seed: int = 0, attack: object = PrototypeMembership(), **params: str) -> Result:
    probe = registry.find_probe("prototype-membership")
    cell = Cell(target, probe, (attack,), {"replicates": "200", **params}, "quick", seed, SideKnowledge(), Fresh())
    return registry.load_location(probe.evaluation)(cell)  # type: ignore[no-any-return]


def row(result: Result, name: str, subset: str = "") -> Measurement:
    return next(m for m in result.measurements if (m.name, m.subset) == (name, subset))


def proven(measurement: Measurement) -> float:
    assert measurement.advantage is not None
    assert measurement.advantage.ci.lo is not None
    return measurement.advantage.ci.lo


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_gives_away_whom_it_was_made_of(seed: int) -> None:
    result = audited(means_target(seed, of_members=True), seed)
    for variant in ("distance", "centred"):
        assert proven(row(result, "auc", variant)) > 0.05


def test_far_training_nodes_hide_from_the_distance_and_not_from_the_centred_one() -> None:
    result = audited(means_target(0, of_members=True, far=1.6))
    distance, centred = row(result, "auc", "distance"), row(result, "auc", "centred")
    assert distance.value is not None
    assert distance.value < 0.5
    assert proven(distance) < 0  # below chance: nobody is found so, whatever the control says
    assert {c.name: c.value for c in distance.controls}["prototypes of random non-members"] < distance.value
    assert proven(centred) > 0.1


@pytest.mark.parametrize("far", [1.0, 1.6])
def test_means_of_others_give_no_training_node_away(far: float) -> None:
    held = [
        proven(row(audited(means_target(seed, of_members=False, far=far), seed, replicates="100"), "auc", "centred"))
        <= 0
        for seed in range(20)
    ]
    assert sum(held) >= 18


def test_far_training_nodes_are_not_found_by_noise() -> None:
    # A prototype far from everybody ranks nodes by how far out they are, whoever it was made of.
    found = row(audited(means_target(0, of_members=True, far=1.6, noise=20.0)), "auc", "centred")
    assert found.value is not None
    assert found.value > 0.7
    assert found.advantage is not None
    assert found.advantage.value == pytest.approx(0, abs=0.03)


def test_value_and_control_are_compared_on_nodes_that_made_neither_prototype() -> None:
    # As many nodes are judged as made none of the control's: with them its AUC would be .46.
    controls = []
    for seed in range(6):
        target = means_target(seed, of_members=True)
        found = row(audited(target, seed, replicates="50"), "auc", "distance")
        assert found.notes["members"] == int(target.split.train.sum())
        assert found.n == int((~target.split.val).sum())
        controls.append(next(c.value for c in found.controls if c.name != "chance"))
    assert np.mean(controls) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("nodes", ["train", "train+val"])
@pytest.mark.parametrize("mode", ["frozen", "live", "recluster"])
def test_training_ids_in_the_file_are_counted_in_every_mode(mode: str, nodes: str) -> None:
    target = fitted(base=toy_target(epochs=4), prototypes=mode, prototype_nodes=nodes)
    found = row(audited(target), "training_ids")
    inside = int((target.model.table[target.split.train] >= 0).sum())
    assert found.value == (0 if mode == "frozen" else inside)
    assert found.control is not None
    assert found.control.value == 0
    assert found.finding == "joint-live-needs-training-graph"


def test_small_prototypes_are_counted_on_the_artefact_and_judged_on_their_own() -> None:
    target = fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1)
    result = audited(target)
    sizes = torch.bincount(target.model.table[target.split.train])
    assert int(sizes.min()) == 1
    found = row(result, "small_prototypes")
    assert found.value == int((sizes < 5).sum())
    assert found.notes["smallest_occupancy"] == 1
    few = row(result, "auc", "centred, occupancy below 5")
    assert few.finding == "joint-small-prototype"
    assert few.notes["members"] <= int(sizes[sizes < 5].sum())


def test_default_occupancy_and_a_table_that_is_not_shipped_raise_nothing() -> None:
    safe = audited(fitted(base=toy_target(epochs=4), clusters=30))
    assert row(safe, "small_prototypes").value == 0
    assert not any("below 5" in m.subset for m in safe.measurements)
    hidden = audited(fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1, assignment="nearest"))
    assert "small_prototypes" not in {m.name for m in hidden.measurements}  # sizes are nowhere in the file
    live = {"min_occupancy": 1, "assignment": "nearest", "prototypes": "live"}
    told = fitted(base=toy_target(epochs=4), clusters=30, **live)
    assert row(audited(told), "small_prototypes").value == int((torch.bincount(told.model.member_cluster) < 5).sum())


def findings(result: Result) -> dict[str, Finding]:
    cell = CellRow(
        key="k", probe="prototype-membership", family="privacy", defense="joint-cluster", seed=0, status="ok",
        access=result.access, measurements=result.measurements,
    )  # fmt: skip
    judged = judge([cell], (), "toy", Policy.named("standard"), as_of=datetime.date(2026, 1, 1))
    return {f"{found.id} {found.subset}".strip(): found for found in judged}


def test_findings_are_raised_with_their_severity() -> None:
    small = findings(audited(fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1)))
    assert small["joint-small-prototype"].status == "fail"
    assert small["joint-small-prototype"].severity == "high"  # one node's embedding
    assert "AML.T0024.000" in small["prototype-membership centred"].ids
    live = findings(audited(fitted(base=toy_target(epochs=4), prototypes="live")))
    assert live["joint-live-needs-training-graph"].severity == "medium"
    assert live["joint-small-prototype"].severity == "none"
    frozen = findings(audited(fitted(base=toy_target(epochs=4))))
    assert frozen["joint-live-needs-training-graph"].severity == "none"
    assert frozen["joint-live-needs-training-graph"].status == "pass"


def test_an_arm_without_prototypes_and_clusters_without_others_are_skipped() -> None:
    with pytest.raises(SkippedError, match="ships no prototypes"):
        audited(fitted(base=toy_target(epochs=2), arm="ce"))
    target = means_target(0, of_members=True)
    test = torch.nonzero(target.split.test).flatten()[:5]
    only = torch.zeros(N, dtype=torch.bool).index_fill(0, test, True)
    split = replace(target.split, val=~target.split.train & ~only, test=only)
    with pytest.raises(SkippedError, match="more other nodes"):
        audited(replace(target, split=split, _clean={}))


def test_too_few_draws_are_refused_and_scores_that_are_no_numbers() -> None:
    with pytest.raises(ConfigError, match="draws"):
        audited(means_target(0, of_members=True), draws="1")

    class Broken:
        id, needs, access = "broken", PrototypeMembership.needs, PrototypeMembership.access

        def run(self, view: object, task: AttackTask) -> MembershipOutcome:
            return MembershipOutcome(torch.full((1, N), float("nan")), ("x",))

    with pytest.raises(EvaluationError, match="finite"):
        audited(means_target(0, of_members=True), attack=Broken())
