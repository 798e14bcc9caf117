"""`prototype-membership`: finds who a mean was made of, nobody where it was made of others; and what the file holds."""

from __future__ import annotations

import copy
import datetime
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.document import CellRow, Measured, Result
from auditor.document.facts import Shipped
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.outcomes import MembershipOutcome
from auditor.policy import Policy, judge
from auditor.probe import Attempt, CellResult, Registered
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of
from auditor.targets.target import Target
from tests.defenses.joint_cluster import fits
from tests.defenses.joint_cluster.fits import fitted, row
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
    return replace(base, graph=graph, split=split, num_classes=2, model=model, embedding_layer="embedding")


def audited(target: Target, seed: int = 0, *attacks: Registered, **params: str) -> CellResult:
    given = {"replicates": "200", **params}
    return fits.run("prototype-membership", target, *attacks, params=given, profile="quick", seed=seed)


def proven(number: Measured) -> float:
    assert number.excess is not None
    assert number.excess.lo is not None
    return number.excess.lo


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_gives_away_whom_it_was_made_of(seed: int) -> None:
    result = audited(means_target(seed, of_members=True), seed)
    for variant in ("distance", "centred"):
        assert proven(row(result, "auc", variant)) > 0.05


def test_far_training_nodes_hide_from_the_distance_and_not_from_the_centred_one() -> None:
    result = audited(means_target(0, of_members=True, far=1.6))
    distance, centred = row(result, "auc", "distance"), row(result, "auc", "centred")
    assert distance.estimate.value is not None
    assert distance.estimate.value < 0.5
    assert proven(distance) < 0  # below chance: nobody is found so, whatever the control says
    beside = {c.name: c.estimate.value for c in distance.controls}
    assert beside["prototypes of random non-members"] < distance.estimate.value
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
    assert found.estimate.value is not None
    assert found.estimate.value > 0.7
    assert found.excess is not None
    assert found.excess.value == pytest.approx(0, abs=0.03)


def test_value_and_control_are_compared_on_nodes_that_made_neither_prototype() -> None:
    # As many nodes are judged as made none of the control's: with them its AUC would be .46.
    controls = []
    for seed in range(6):
        target = means_target(seed, of_members=True)
        found = row(audited(target, seed, replicates="50"), "auc", "distance")
        assert found.facts.numbers["members"] == int(target.split.train.sum())
        assert found.estimate.n == int((~target.split.val).sum())
        controls.append(next(c.estimate.value for c in found.controls if c.name != "chance"))
    assert np.mean(controls) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("nodes", ["train", "train+val"])
@pytest.mark.parametrize("mode", ["frozen", "live", "recluster"])
def test_training_ids_in_the_file_are_counted_in_every_mode(mode: str, nodes: str) -> None:
    target = fitted(base=toy_target(epochs=4), prototypes=mode, prototype_nodes=nodes)
    found = row(audited(target), "training_ids")
    inside = int((target.model.table[target.split.train] >= 0).sum())
    given = 0 if mode == "frozen" else inside
    assert found.estimate.value == given
    assert found.control is not None
    assert found.control.estimate.value == 0
    assert found.finding == "joint-live-needs-training-graph"
    severity = "medium" if given else "none"
    assert found.facts == Shipped(severity=severity, count=given, of=target.split.sizes[0], mode=mode)


def test_small_prototypes_are_counted_on_the_artefact_and_judged_on_their_own() -> None:
    target = fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1)
    result = audited(target)
    sizes = torch.bincount(target.model.table[target.split.train])
    assert int(sizes.min()) == 1
    found = row(result, "small_prototypes")
    assert found.estimate.value == int((sizes < 5).sum())
    assert (found.facts.smallest, found.facts.alone, found.facts.severity) == (1, int((sizes == 1).sum()), "high")
    few = row(result, "auc", "centred, occupancy below 5")
    assert few.finding == "joint-small-prototype"
    assert not few.judged
    assert few.facts.numbers["members"] <= int(sizes[sizes < 5].sum())


def test_default_occupancy_and_a_table_that_is_not_shipped_raise_nothing() -> None:
    safe = audited(fitted(base=toy_target(epochs=4), clusters=30))
    least = row(safe, "small_prototypes")
    assert (least.estimate.value, least.facts.severity) == (0, "none")
    assert not any("below 5" in m.subset for m in safe.measured)
    hidden = audited(fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1, assignment="nearest"))
    assert "small_prototypes" not in {m.metric for m in hidden.measured}  # sizes are nowhere in the file
    live = {"min_occupancy": 1, "assignment": "nearest", "prototypes": "live"}
    told = fitted(base=toy_target(epochs=4), clusters=30, **live)
    few = int((torch.bincount(told.model.member_cluster) < 5).sum())
    assert row(audited(told), "small_prototypes").estimate.value == few


def judged(answered: CellResult) -> dict[str, Result]:
    """Judged results by finding and subset."""
    cell = CellRow(key="k", probe="prototype-membership", family="privacy", arm="joint-cluster", seed=0, status="ok")
    results = results_of([Finished(cell, answered.access, answered.measured)], "toy")
    done = judge(results, [cell], (), "toy", Policy.named("standard"), as_of=datetime.date(2026, 1, 1))
    return {f"{result.finding} {result.subset}".strip(): result for result in done if result.judgement is not None}


def test_results_are_judged_with_their_severity() -> None:
    small = judged(audited(fitted(base=toy_target(epochs=4), clusters=30, min_occupancy=1)))
    found = small["joint-small-prototype"].judgement
    assert found is not None
    assert (found.status, found.severity) == ("fail", "high")  # one node's embedding
    assert "AML.T0024.000" in small["prototype-membership centred"].taxonomy
    live = judged(audited(fitted(base=toy_target(epochs=4), prototypes="live")))
    assert live["joint-live-needs-training-graph"].judgement.severity == "medium"
    assert live["joint-small-prototype"].judgement.severity == "none"
    frozen = judged(audited(fitted(base=toy_target(epochs=4))))["joint-live-needs-training-graph"].judgement
    assert (frozen.status, frozen.severity) == ("pass", "none")


def test_an_arm_without_prototypes_and_clusters_without_others_are_skipped() -> None:
    with pytest.raises(SkippedError, match="ships no prototypes"):
        audited(fitted(base=toy_target(epochs=2), arm="ce"))
    target = means_target(0, of_members=True)
    test = torch.nonzero(target.split.test).flatten()[:5]
    only = torch.zeros(N, dtype=torch.bool).index_fill(0, test, True)
    split = replace(target.split, val=~target.split.train & ~only, test=only)
    with pytest.raises(SkippedError, match="more other nodes"):
        audited(replace(target, split=split))


def test_too_few_draws_are_refused_and_scores_that_are_no_numbers() -> None:
    with pytest.raises(ConfigError, match="draws"):
        audited(means_target(0, of_members=True), draws="1")

    class Broken:
        def run(self, view: object, attempt: Attempt) -> MembershipOutcome:
            return MembershipOutcome(torch.full((1, N), float("nan")), ("x",))

    broken = fits.told(Broken(), needs=("PARAMS",), access=("weights",))
    with pytest.raises(EvaluationError, match="finite"):
        audited(means_target(0, of_members=True), 0, broken)
