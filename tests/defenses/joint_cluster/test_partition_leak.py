"""`partition-leak`: finds a planted leak, none in a random table, and applies only where a table is shipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.probe import Attempt
from auditor.targets.target import Target
from auditor.view import SideKnowledge, View, grant_privacy
from defenses.joint_cluster.method import JointCluster
from defenses.joint_cluster.probes.attacks.partition_leak import find_table
from tests.defenses.joint_cluster.fits import attack_of, fitted, islands, leak, shipping
from tests.toys import sbm_graph, toy_target

ATTACK = attack_of("partition-leak")


def view_of(target: Target) -> View:
    return grant_privacy(target, ATTACK.access, SideKnowledge(), np.random.default_rng(0))


def attempt() -> Attempt:
    return Attempt(np.random.default_rng(0), torch.Generator())


def test_a_planted_leak_is_found() -> None:
    target, table = islands()
    row = leak(shipping(target, table))
    assert row.estimate.value is not None
    assert row.estimate.value > 0.9
    assert row.excess is not None
    assert row.excess.lo is not None
    assert row.excess.lo > 0.3


def test_a_random_table_leaks_nothing() -> None:
    target, table = islands()
    excess = leak(shipping(target, table[torch.randperm(160, generator=torch.Generator().manual_seed(1))])).excess
    assert excess is not None
    assert excess.lo is not None
    assert excess.lo <= 0 <= (1.0 if excess.hi is None else excess.hi)


def test_the_defence_ships_what_the_attack_reads_and_nearest_assignment_does_not() -> None:
    target = fitted(base=toy_target(epochs=2))
    assert torch.equal(find_table(view_of(target)), target.model.table)
    for other in (toy_target(epochs=2), fitted(base=toy_target(epochs=2), assignment="nearest")):
        with pytest.raises(SkippedError, match="no table"):
            ATTACK.run(view_of(other), attempt())


def test_an_untrained_twin_of_the_defence_holds_nothing_of_the_graph() -> None:
    target = fitted(base=toy_target(epochs=2))
    fresh = target.build()
    assert torch.equal(fresh.table, torch.zeros(120, dtype=torch.int64))
    assert float(fresh.prototypes.abs().max()) == 0
    g = sbm_graph()
    assert bool(torch.isfinite(fresh.eval()(g.x, g.edge_index)).all())


def test_nodes_without_a_cluster_share_none() -> None:
    out = ATTACK.run(view_of(shipping(toy_target(epochs=1), torch.full((120,), -1))), attempt())
    assert float(out.score(torch.tensor([[0, 1], [2, 3]])).max()) <= 0.25 + 1e-9
    assert out.notes["without a cluster"] == 120


def test_features_partition_reads_no_edge_so_that_its_table_cannot_leak_one() -> None:
    defense = JointCluster(partition="features", clusters=4)
    base = toy_target(epochs=2)
    other = replace(base, graph=Graph(base.graph.x, sbm_graph(seed=3).edge_index, base.graph.y))
    tables = [defense._partitioned(t.graph, t.split, t.graph.edge_index, 0)[0].assign for t in (base, other)]
    assert torch.equal(*tables)
