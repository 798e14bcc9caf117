"""`prototype-shift` and `cluster-jump`: planted effects are found, none where there is none, every claim is checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import registry
from auditor.audit import Measurement
from auditor.data.graph import Graph, Split
from auditor.errors import ConfigError, SkippedError
from auditor.probe import Cell, FlipOutcome, FlipSet, Result
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from defenses.joint_cluster.matching import match_clusters
from defenses.joint_cluster.probes.attacks.cluster_jump import ClusterJump
from defenses.joint_cluster.probes.attacks.prototype_edit import PrototypeShift
from tests.defenses.joint_cluster.test_method import Fresh, fitted
from tests.toys import sbm_graph, toy_target

ATTACKS = {"prototype-shift": PrototypeShift, "cluster-jump": ClusterJump}


def run(probe: str, target: Target, *attacks: Any, seed: int = 0, **params: str) -> Result:
    entry = registry.find_probe(probe)
    given = attacks or (ATTACKS[probe](),)
    cell = Cell(target, entry, given, {"replicates": "200", **params}, "standard", seed, SideKnowledge(), Fresh())
    return registry.load_location(entry.evaluation)(cell)


def row(result: Result, name: str, subset: str = "") -> Measurement:
    return next(m for m in result.measurements if m.name == name and m.subset == subset)


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


def planted_shift(mode: str = "live") -> Target:
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
    return replace(base, graph=graph, split=split, num_classes=2, model=model, recipe=None, build=None, _clean={})


def test_a_planted_prototype_effect_is_found_and_counted_exactly() -> None:
    result = run("prototype-shift", planted_shift())
    # One edge 39 -> prototype node turns all 18 (17 without node 39) test nodes of the cluster.
    first = row(result, "prototype_flips_per_edge", "edges=1")
    assert first.value == pytest.approx((18 + 17) / 2)
    ten = row(result, "prototype_flips_per_edge", "edges=10")
    assert ten.primary
    assert ten.value == pytest.approx((18 + 17) / 2 / 10)
    assert first.advantage is not None
    assert first.advantage.ci.lo is not None
    assert first.advantage.ci.lo > 10
    worst = row(result, "prototype_flips_per_edge", "worst cluster, edges=10")
    assert worst.value == pytest.approx(1.8)
    assert worst.notes["cluster"] == 0
    assert result.validity[0].status == "pass"


@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_frozen_prototypes_carry_exactly_nothing(mode: str) -> None:
    result = run("prototype-shift", fitted(prototypes=mode), draws="2")
    rows = [m for m in result.measurements if m.name == "prototype_flips_per_edge"]
    assert len(rows) == 5
    for m in rows:
        assert m.value is not None
        assert m.control is not None
        if mode == "frozen":
            assert (m.value, m.control.value, m.ci and m.ci.lo, m.ci and m.ci.hi) == (0, 0, 0, 0)
    direct = [m.notes["frozen"] for m in rows if "frozen" in m.notes]
    assert max(direct) > 0  # the edits do bite: by their messages
    if mode == "live":
        assert any(m.notes["live"] != m.notes["frozen"] for m in rows if "live" in m.notes)


@dataclass(init=False)
class Claims:
    """An attack that claims what it is told."""

    needs: frozenset[Any] = frozenset()
    access: frozenset[Any] = frozenset()

    def __init__(self, id_: str, *claims: tuple[str, FlipSet]) -> None:
        self.id, self.claims = id_, claims

    def run(self, view: Any, task: Any) -> FlipOutcome:
        return FlipOutcome(tuple(flips for _, flips in self.claims), tuple(name for name, _ in self.claims))


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
    liar = Claims("liar", (name, flips), ("cluster=1", FlipSet(1, keys((20, 7)))))
    result = run("prototype-shift", planted_shift(), liar)
    assert result.validity[0].status == "fail"
    assert message in result.validity[0].evidence
    assert row(result, "prototype_flips_per_edge", "edges=1").n == 1


@pytest.mark.parametrize("probe", ATTACKS)
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
        run("prototype-shift", fitted(base=toy_target(epochs=2), prototypes="recluster"))


@pytest.mark.parametrize("params", [{"budgets": "0/1"}, {"budgets": "1/1"}, {"targets": "1"}, {"draws": "1"}])
def test_bad_parameters_are_refused(params: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        run("prototype-shift", planted_shift(), **params)


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
    return replace(base, graph=graph, model=model, recipe=None, build=None, _clean={})


def test_a_planted_jump_is_found_with_the_fewest_edges_and_the_placebo_moves_nobody() -> None:
    target = voting()
    result = run("cluster-jump", target, draws="2")
    rate = row(result, "jump_rate")
    assert rate.primary
    least = [edges_to_jump(target, node) for node in result.params["targets"]]
    needed = [edges for edges in least if edges is not None]
    assert 5 < len(needed) < 40
    assert rate.n == 40
    assert rate.value == pytest.approx(len(needed) / 40)
    assert [c.value for c in rate.controls] == [0, 0]
    assert rate.advantage is not None
    assert rate.advantage.ci.lo is not None
    assert rate.advantage.ci.lo > 0.1
    assert row(result, "flips_given_jump").value == 1  # the answer is the cluster
    assert row(result, "flips_given_jump").n == len(needed)
    assert row(result, "median_edges").value == np.median(needed)


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
    assert rate.value is not None
    assert rate.value > 0.8  # nearly every node can be moved, by anything
    assert rate.control is not None
    assert rate.control.name == "random edges elsewhere, same search"
    assert rate.advantage is not None
    ci = rate.advantage.ci
    assert ci.lo is not None
    assert ci.hi is not None
    assert ci.lo <= 0 <= ci.hi
    single = next(c for c in rate.controls if c.name.startswith("as many"))
    assert single.value is not None
    assert rate.value - single.value > 0.2  # what a placebo without the search would have shown as an effect


def test_no_edge_is_no_jump() -> None:
    target = voting()
    nodes = torch.nonzero(target.split.test).flatten().tolist()
    none = Claims("none", *((f"target={i}", FlipSet(10, torch.empty(0, dtype=torch.int64))) for i in nodes))
    result = run("cluster-jump", target, none, targets="200", draws="2")
    assert row(result, "jump_rate").value == 0
    assert row(result, "flips_given_jump").value is None
    assert row(result, "median_edges").value is None


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
        liar = Claims("liar", (f"target={node}", FlipSet(40, flips)))
        result = run("cluster-jump", target, liar, targets="200", edges="40", draws="2")
        assert result.validity[0].status == "fail"
        assert result.measurements == ()


def test_the_defence_in_mode_recluster_is_measured() -> None:
    target = fitted(prototypes="recluster")
    result = run("cluster-jump", target, targets="8", edges="3", draws="2")
    assert result.validity[0].status == "pass"
    rate = row(result, "jump_rate")
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
