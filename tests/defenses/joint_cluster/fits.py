"""Fits of the defence on small targets, cells of its probes, and graphs that only connected components know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from auditor import registry
from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.document import Measured
from auditor.outcomes import FlipSet
from auditor.probe import Attack, Cell, CellResult, Registered
from auditor.registry import Entry, Profile
from auditor.shared import Shared
from auditor.statistics.node_bootstrap import Memo
from auditor.targets.target import Target
from auditor.view import SideKnowledge
from defenses.joint_cluster.method import JointCluster
from tests.toys import toy_target


class Fresh:
    """A cache that keeps no model."""

    def __init__(self) -> None:
        self.replicates: Memo = {}
        self.shared = Shared()

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        return target.retrained(graph, seed=seed)

    def keep_flips(self, target: Target, flips: Sequence[FlipSet]) -> None:
        """Forgets them."""


def task(seed: int = 0) -> DefenseTask:
    return DefenseTask(seed, Fresh())


def fitted(seed: int = 0, base: Target | None = None, **params: Any) -> Target:
    params = {"partition": "bfs", "clusters": 6, **params}
    return JointCluster(**params).fit(base or toy_target(epochs=20), task(seed))


def answer(target: Target, graph: Graph | None = None) -> Tensor:
    g = graph or target.graph
    with torch.no_grad():
        return target.logits(g.x, g.edge_index, g.edge_weight)


def attack_of(probe: str) -> Registered:
    """The registered attack of a probe with its defaults."""
    (entry,) = registry.attacks_of(probe)
    return Registered(entry, entry.load()())


def told(attack: Attack, **line: Any) -> Registered:
    """An attack of a test, beside a registry line of its own."""
    return Registered(Entry("told", "tests.defenses:told", "", **line), attack)


def run(
    probe: str,
    target: Target,
    *attacks: Registered,
    params: Mapping[str, str],
    profile: Profile = "standard",
    seed: int = 0,
) -> CellResult:
    """What the harness of a probe answers."""
    entry = registry.find_probe(probe)
    given = attacks or (attack_of(probe),)
    cell = Cell(target, entry, given, params, profile, seed, SideKnowledge(), Fresh())
    result: CellResult = registry.load_location(entry.evaluation)(cell)
    return result


def row(result: CellResult, metric: str, subset: str = "") -> Measured:
    return next(m for m in result.measured if (m.metric, m.subset) == (metric, subset))


def islands() -> tuple[Target, Tensor]:
    """A target on islands of one class mix each, and the island of each node.

    Neither features nor labels know them, connected components do.
    """
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


def leak(target: Target, seed: int = 0) -> Measured:
    """How well a shipped table of clusters tells edges."""
    return row(run("partition-leak", target, params={"replicates": "200"}, profile="quick", seed=seed), "auc", "prior")


def shipping(target: Target, table: Tensor) -> Target:
    """The target with a table in its model's buffers."""
    return replace(target, model=Tabled(target.model, table), recipe=None, build=None)


class Tabled(torch.nn.Module):
    """A model with a table."""

    def __init__(self, model: torch.nn.Module, table: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("table", table)

    def forward(self, x, edge_index, edge_weight=None):  # type: ignore[no-untyped-def]
        return self.model(x, edge_index, edge_weight=edge_weight)
