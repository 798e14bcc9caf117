"""`partition-leak`: finds a planted leak, none in a random table, and applies only where a table is shipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from auditor import registry
from auditor.audit import Measurement
from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.probe import AttackTask, Cell
from auditor.targets.target import Target
from auditor.view import SideKnowledge, grant_privacy
from defenses.joint_cluster.method import JointCluster
from defenses.joint_cluster.probes.attacks.partition_leak import PartitionLeak, find_table
from tests.defenses.joint_cluster.test_method import Fresh, fitted
from tests.toys import sbm_graph, toy_target


class Tabled(torch.nn.Module):
    """A model with a table."""

    def __init__(self, model: torch.nn.Module, table: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("table", table)

    def forward(self, x, edge_index, edge_weight=None):
        return self.model(x, edge_index, edge_weight=edge_weight)


def shipped(target: Target, table: torch.Tensor) -> Target:
    return replace(target, model=Tabled(target.model, table), recipe=None, build=None, _clean={})


def auc(target: Target, seed: int = 0) -> Measurement:
    probe = registry.find_probe("partition-leak")
    cell = Cell(target, probe, (PartitionLeak(),), {"replicates": "200"}, "quick", seed, SideKnowledge(), Fresh())
    result = registry.load_location(probe.evaluation)(cell)
    return next(m for m in result.measurements if m.name == "auc" and m.subset == "prior")


def planted() -> tuple[Target, torch.Tensor]:
    """Islands of one class mix each: neither features nor labels know them, connected components do."""
    rng = np.random.default_rng(0)
    island = np.arange(160) % 8
    y = torch.from_numpy(rng.integers(0, 3, 160))
    u, v = np.triu_indices(160, 1)
    keep = (island[u] == island[v]) & (rng.random(len(u)) < 0.3)
    edges = torch.from_numpy(np.stack([np.r_[u[keep], v[keep]], np.r_[v[keep], u[keep]]]))
    graph = Graph(torch.from_numpy(rng.random((160, 24)).astype(np.float32)), edges, y)
    ones = np.ones(edges.shape[1])
    found = connected_components(csr_array((ones, edges.numpy()), shape=(160, 160)), directed=False)[1]
    return toy_target(graph=graph, epochs=2), torch.from_numpy(found).long()


def test_a_planted_leak_is_found() -> None:
    target, table = planted()
    row = auc(shipped(target, table))
    assert row.value is not None
    assert row.value > 0.9
    assert row.advantage is not None
    assert row.advantage.ci.lo is not None
    assert row.advantage.ci.lo > 0.3


def test_a_random_table_has_no_advantage() -> None:
    target, table = planted()
    shuffled = table[torch.randperm(160, generator=torch.Generator().manual_seed(1))]
    row = auc(shipped(target, shuffled))
    assert row.advantage is not None
    ci = row.advantage.ci
    assert ci.lo is not None
    assert ci.lo <= 0 <= (1.0 if ci.hi is None else ci.hi)


def test_the_defence_ships_what_the_attack_reads_and_nearest_assignment_does_not() -> None:
    target = fitted(base=toy_target(epochs=2))
    view = grant_privacy(target, PartitionLeak.access, SideKnowledge(), np.random.default_rng(0))
    assert torch.equal(find_table(view), target.model.table)
    for other in (toy_target(epochs=2), fitted(base=toy_target(epochs=2), assignment="nearest")):
        view = grant_privacy(other, PartitionLeak.access, SideKnowledge(), np.random.default_rng(0))
        with pytest.raises(SkippedError, match="no table"):
            PartitionLeak().run(view, AttackTask(np.random.default_rng(0), torch.Generator()))


def test_an_untrained_twin_of_the_defence_holds_nothing_of_the_graph() -> None:
    target = fitted(base=toy_target(epochs=2))
    fresh = target.build()
    assert torch.equal(fresh.table, torch.zeros(120, dtype=torch.int64))
    assert float(fresh.prototypes.abs().max()) == 0
    g = sbm_graph()
    assert bool(torch.isfinite(fresh.eval()(g.x, g.edge_index)).all())


def test_nodes_without_a_cluster_share_none() -> None:
    target = shipped(toy_target(epochs=1), torch.full((120,), -1))
    view = grant_privacy(target, PartitionLeak.access, SideKnowledge(), np.random.default_rng(0))
    out = PartitionLeak().run(view, AttackTask(np.random.default_rng(0), torch.Generator()))
    assert float(out.score(torch.tensor([[0, 1], [2, 3]])).max()) <= 0.25 + 1e-9
    assert out.notes["without a cluster"] == 120


def test_features_partition_reads_no_edge_so_that_its_table_cannot_leak_one() -> None:
    defense = JointCluster(partition="features", clusters=4)
    base = toy_target(epochs=2)
    other = replace(base, graph=Graph(base.graph.x, sbm_graph(seed=3).edge_index, base.graph.y), _clean={})
    tables = [defense._partitioned(t.graph, t.split, t.graph.edge_index, 0)[0].assign for t in (base, other)]
    assert torch.equal(*tables)
