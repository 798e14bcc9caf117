"""`prototype-edit` and `cluster-jump`: planted effects are found, none where there is none, every claim is checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.data.graph import Graph, Split
from auditor.errors import ConfigError, SkippedError
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.probe import CellResult, Registered
from auditor.targets.target import Target
from defenses.joint_cluster.matching import match_clusters
from tests.defenses.joint_cluster import fits
from tests.defenses.joint_cluster.fits import fitted, row
from tests.toys import sbm_graph, toy_target

PROBES = ("prototype-edit", "cluster-jump")


def run(probe: str, target: Target, *attacks: Registered, **params: str) -> CellResult:
    return fits.run(probe, target, *attacks, params={"replicates": "200", **params})


class Planted(nn.Module):
    """Two clusters of 20 nodes; each answers class 0 unless its prototype hears of the one poisonous node (feature 1).

    `modes`: the model answers by the prototype as it is now (`live`) or by the stored one (`frozen`).
    """

    def __init__(self, members: Tensor, mode: str = "live") -> None:
        super().__init__()
        self.mode = mode
        self.register_buffer("table", torch.arange(40) // 20)
        self.register_buffer("members", members)
        self.register_buffer("member_cluster", members // 20)

    def in_mode(self, mode: str) -> nn.Module:
        return Planted(self.members, mode)

    def clusters_on(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.table

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        heard = torch.zeros(40).index_add(0, edge_index[1], weight * x[edge_index[0], 1])
        if self.mode == "frozen":
            heard = torch.zeros(40) * heard
        prototype = torch.zeros(2).index_add(0, self.member_cluster, heard[self.members])
        out = torch.stack([torch.full((40,), 0.5), prototype[self.table]], dim=1)
        return out + 0 * heard[:, None]


def line(n: int) -> Tensor:
    u = torch.arange(n - 1)
    return torch.cat([torch.stack([u, u + 1]), torch.stack([u + 1, u])], dim=1)


def planted_edit(mode: str = "live") -> Target:
    x = torch.zeros(40, 2)
    x[:, 0], x[39, 1] = 1, 1  # node 39 is poisonous: its neighbour 38 is no prototype node
    train = torch.zeros(40, dtype=torch.bool)
    train[[0, 5, 20, 25]] = True
    test = ~train
    test[39] = False
    graph = Graph(x, line(40), torch.zeros(40, dtype=torch.int64))
    model = Planted(torch.nonzero(train).flatten(), mode)
    base = toy_target(epochs=1)
    split = Split(train, torch.zeros_like(train), test, "given", 0)
    return replace(base, graph=graph, split=split, num_classes=2, model=model, recipe=None, build=None)


def test_a_planted_prototype_effect_is_found_and_counted_exactly() -> None:
    result = run("prototype-edit", planted_edit())
    # One edge 39 -> prototype node turns all 18 (17 without node 39) test nodes of the cluster.
    first = row(result, "prototype_flips_per_edge", "edges=1")
    assert first.estimate.value == pytest.approx((18 + 17) / 2)
    ten = row(result, "prototype_flips_per_edge", "edges=10")
    assert [m.subset for m in result.measured if m.judged] == ["edges=10"]
    assert ten.estimate.value == pytest.approx((18 + 17) / 2 / 10)
    assert ten.limit is not None
    assert (ten.limit.name, ten.limit.value) == ("max_prototype_flips", 1)
    assert first.excess is not None
    assert first.excess.lo is not None
    assert first.excess.lo > 10
    assert first.facts.numbers["cluster 0"] == 18
    worst = row(result, "prototype_flips_per_edge", "worst cluster, edges=10")
    assert worst.estimate.value == pytest.approx(1.8)
    assert worst.facts.numbers["cluster"] == 0
    assert result.validity[0].status == "pass"


@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_frozen_prototypes_carry_exactly_nothing(mode: str) -> None:
    result = run("prototype-edit", fitted(1, prototypes=mode), draws="2")
    rows = [m for m in result.measured if m.metric == "prototype_flips_per_edge"]
    assert len(rows) == 5
    for m in rows:
        assert m.estimate.value is not None
        assert m.control is not None
        if mode == "frozen":
            assert (m.estimate.value, m.control.estimate.value, m.estimate.lo, m.estimate.hi) == (0, 0, 0, 0)
    by_budget = [m.facts.numbers for m in rows if "frozen" in m.facts.numbers]
    assert max(numbers["frozen"] for numbers in by_budget) > 0  # the edits do bite: by their messages
    if mode == "live":
        assert any(numbers["live"] != numbers["frozen"] for numbers in by_budget)


@dataclass(frozen=True)
class Claims:
    """An attack that claims what it is told."""

    claims: tuple[tuple[str, FlipSet], ...]

    def run(self, view: Any, attempt: Any) -> FlipOutcome:
        return FlipOutcome(tuple(flips for _, flips in self.claims), tuple(name for name, _ in self.claims))


def claims(*claims: tuple[str, FlipSet]) -> Registered:
    return fits.told(Claims(claims), role="search")


def keys(*pairs: tuple[int, int], n: int = 40) -> Tensor:
    return torch.tensor([min(p) * n + max(p) for p in pairs], dtype=torch.int64)


@pytest.mark.parametrize(
    ("name", "flips", "message"),
    [
        ("cluster=0", FlipSet(1, keys((0, 7), (0, 8))), "2 flips, budget 1"),
        ("cluster=0", FlipSet(1, keys((7, 9))), "none of its prototype nodes"),
        ("cluster=0", FlipSet(2, keys((0, 7), (0, 7))), "listed twice"),
        ("cluster=0", FlipSet(3, keys((0, 7))), "not asked for"),
        ("cluster=9", FlipSet(1, keys((0, 7))), "names no cluster"),
    ],
)
def test_a_claim_that_breaks_a_rule_is_dropped(name: str, flips: FlipSet, message: str) -> None:
    liar = claims((name, flips), ("cluster=1", FlipSet(1, keys((20, 7)))))
    result = run("prototype-edit", planted_edit(), liar)
    assert result.validity[0].status == "fail"
    assert message in result.validity[0].evidence
    assert row(result, "prototype_flips_per_edge", "edges=1").estimate.n == 1


@pytest.mark.parametrize("probe", PROBES)
def test_ordinary_targets_are_skipped(probe: str) -> None:
    for target in (
        toy_target(epochs=2),
        toy_target("graph-gin", epochs=2),
        fitted(arm="ce", base=toy_target(epochs=2)),
    ):
        with pytest.raises(SkippedError, match="no stored table"):
            run(probe, target)
    with pytest.raises(SkippedError, match="no stored table"):
        run(probe, fitted(base=toy_target(epochs=2), assignment="nearest", prototypes="live"))


def test_each_probe_wants_its_own_mode() -> None:
    for mode in ("frozen", "live"):
        with pytest.raises(SkippedError, match="is stored"):
            run("cluster-jump", fitted(base=toy_target(epochs=2), prototypes=mode))
    with pytest.raises(SkippedError, match="made anew"):
        run("prototype-edit", fitted(base=toy_target(epochs=2), prototypes="recluster"))


@pytest.mark.parametrize(
    ("probe", "params"),
    [
        ("prototype-edit", {"budgets": "0/1"}),
        ("prototype-edit", {"budgets": "1/1"}),
        ("prototype-edit", {"draws": "1"}),
        ("prototype-edit", {"targets": "8"}),
        ("cluster-jump", {"targets": "1"}),
        ("cluster-jump", {"edges": "0"}),
        ("cluster-jump", {"replicates": "10"}),
        ("cluster-jump", {"budgets": "1"}),
    ],
)
def test_bad_parameters_are_refused(probe: str, params: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"expected|has no parameter"):
        run(probe, planted_edit(), **params)


class Voting(nn.Module):
    """A partition made anew: each node joins the plurality of its neighbours' stored clusters, its own on a tie.

    With `shaky`, a graph with other edges gets another partition at random: half of the nodes move.
    """

    mode = "recluster"

    def __init__(self, table: Tensor, *, shaky: bool = False) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.shaky = shaky

    def in_mode(self, mode: str) -> nn.Module:
        return self

    def clusters_on(self, x: Tensor, edge_index: Tensor) -> Tensor:
        n = self.table.shape[0]
        if self.shaky:
            there = torch.unique(edge_index[0] * n + edge_index[1])
            rng = torch.Generator().manual_seed(int((there * (there + 7919) % 1_000_003).sum()))
            move = torch.rand(n, generator=rng) < (0.5 if there.numel() != 2 * EDGES else 0.0)
            return torch.where(move, (self.table + 1) % 3, self.table)
        votes = torch.zeros(n, 3).index_put_(
            (edge_index[0], self.table[edge_index[1]]), torch.ones(edge_index.shape[1]), accumulate=True
        )
        votes[torch.arange(n), self.table] += 0.5
        return votes.argmax(dim=1)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return torch.eye(3)[self.clusters_on(x, edge_index)]


EDGES = sbm_graph().pair_keys().numel()


def voting(*, shaky: bool = False) -> Target:
    """Answers the cluster; the labels are the clusters of the unedited graph."""
    base = toy_target(epochs=1)
    y = base.graph.y
    for _ in range(20):  # until every node agrees with its neighbours: then the votes say what an edge does
        y = Voting(y).clusters_on(base.graph.x, base.graph.edge_index)
    model = Voting(y, shaky=shaky)
    assert torch.equal(model.clusters_on(base.graph.x, base.graph.edge_index), y)
    graph = Graph(base.graph.x, base.graph.edge_index, y)
    return replace(base, graph=graph, model=model, recipe=None, build=None)


def test_a_planted_jump_is_found_with_the_fewest_edges_and_the_placebo_moves_nobody() -> None:
    target = voting()
    result = run("cluster-jump", target, draws="2")
    rate = row(result, "jump_rate")
    assert [m.metric for m in result.measured if m.judged] == ["jump_rate"]
    least = [edges_to_jump(target, node) for node in result.params["targets"]]
    needed = [edges for edges in least if edges is not None]
    assert 5 < len(needed) < 40
    assert rate.estimate.n == 40
    assert rate.estimate.value == pytest.approx(len(needed) / 40)
    assert rate.facts.numbers["moved"] == len(needed)
    assert [c.estimate.value for c in rate.controls] == [0, 0]
    assert rate.excess is not None
    assert rate.excess.lo is not None
    assert rate.excess.lo > 0.1
    flips = row(result, "flips_given_jump").estimate
    assert (flips.value, flips.n) == (1, len(needed))  # the answer is the cluster
    assert row(result, "median_edges").estimate.value == np.median(needed)


def edges_to_jump(target: Target, node: int) -> int | None:
    """Fewest new neighbours of one other cluster that outvote a node's own, at most its degree and 10; else None."""
    g = target.graph
    table = target.model.table
    near = table[g.edge_index[1][g.edge_index[0] == node]].tolist()
    own = int(table[node])
    for edges in range(1, min(len(near), 10) + 1):
        for rival in {0, 1, 2} - {own}:
            votes = [float(near.count(k)) for k in range(3)]
            votes[own] += 0.5
            votes[rival] += edges
            if votes[rival] > votes[own]:
                return edges
    return None


def test_an_unstable_partition_is_no_finding() -> None:
    rate = row(run("cluster-jump", voting(shaky=True), draws="3"), "jump_rate")
    value = rate.estimate.value
    assert value is not None
    assert value > 0.8  # nearly every node can be moved, by anything
    assert rate.contrast is not None
    assert rate.contrast.to == "random edges elsewhere, same search"
    assert rate.contrast.lo is not None
    assert rate.contrast.hi is not None
    assert rate.contrast.lo <= 0 <= rate.contrast.hi
    (single,) = [c.estimate.value for c in rate.controls if c.name.startswith("as many")]
    assert single is not None
    assert value - single > 0.2  # what a placebo without the search would have shown as an effect


def test_no_edge_is_no_jump() -> None:
    target = voting()
    nodes = torch.nonzero(target.split.test).flatten().tolist()
    none = claims(*((f"target={i}", FlipSet(10, torch.empty(0, dtype=torch.int64))) for i in nodes))
    result = run("cluster-jump", target, none, targets="200", draws="2")
    assert row(result, "jump_rate").estimate.value == 0
    assert row(result, "flips_given_jump").estimate.value is None
    assert row(result, "median_edges").estimate.value is None


def test_jump_claims_are_new_edges_at_the_target_within_its_degree() -> None:
    target = voting()
    node = int(torch.nonzero(target.split.test)[0])
    g = target.graph
    near = g.edge_index[1][g.edge_index[0] == node].tolist()
    far = [i for i in range(120) if i != node and i not in near]
    bad = (
        keys((node, near[0]), n=120),
        keys((far[0], far[1]), n=120),
        keys(*((node, i) for i in far[: len(near) + 1]), n=120),
    )
    for flips in bad:
        liar = claims((f"target={node}", FlipSet(40, flips)))
        result = run("cluster-jump", target, liar, targets="200", edges="40", draws="2")
        assert result.validity[0].status == "fail"
        assert result.measured == ()


def test_the_defence_in_mode_recluster_is_measured() -> None:
    target = fitted(prototypes="recluster")
    result = run("cluster-jump", target, targets="8", edges="3", draws="2")
    assert result.validity[0].status == "pass"
    rate = row(result, "jump_rate").estimate
    assert rate.n == 8
    assert rate.value is not None
    assert 0 <= rate.value <= 1
    assert len(result.params["targets"]) == 8


def test_matching_undoes_a_renaming_and_leaves_nodes_without_a_cluster() -> None:
    old = torch.tensor([0, 0, 0, 1, 1, 2, 2, -1])
    new = torch.tensor([2, 2, 0, 0, 0, 1, 1, -1])
    assert match_clusters(old, new).tolist() == [0, 0, 1, 1, 1, 2, 2, -1]
    split = match_clusters(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 2, 1]))
    assert split.tolist()[:2] == [0, 0]
    assert split.tolist()[3] == 1
    assert split.tolist()[2] >= 2  # a cluster without a partner is none of the old
    with pytest.raises(ValueError, match="cannot be matched"):
        match_clusters(old, new[:3])
