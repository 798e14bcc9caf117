"""Cells of any probe of the family on a toy target, and attacks that claim what they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from auditor import registry
from auditor.data.graph import Graph, Split
from auditor.document import Measured, ValidityRow
from auditor.outcomes import Outcome
from auditor.probe import Attempt, Cell, CellResult, Registered
from auditor.registry import Entry, Profile
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.target import Target
from auditor.view import SideKnowledge, View
from tests.toys import ALL


def cell(
    probe: str,
    target: Target,
    *,
    profile: Profile = "quick",
    seed: int = 0,
    attacks: Sequence[Registered] | None = None,
    **params: str,
) -> Cell:
    """A cell of the probe with its own attacks, or with these."""
    entry = registry.find_probe(probe)
    built, own = build_attacks(entry, params)
    chosen = built if attacks is None else tuple(attacks)
    return Cell(target, entry, chosen, own, profile, seed, SideKnowledge(), TrainedCache())


def evaluated(probe: str, target: Target, **more: Any) -> CellResult:
    """What the harness of a probe answers."""
    asked = cell(probe, target, **more)
    result: CellResult = registry.load_location(asked.probe.evaluation)(asked)
    return result


def shipped(probe: str, **params: str) -> tuple[Registered, ...]:
    """The registered attacks of a probe."""
    return build_attacks(registry.find_probe(probe), params)[0]


@dataclass(frozen=True)
class Claims:
    """Returns what it is told, for planting faults."""

    make: Callable[[View, Attempt], Outcome]

    def run(self, view: View, attempt: Attempt) -> Outcome:
        return self.make(view, attempt)


def claims(make: Callable[[View, Attempt], Outcome]) -> Registered:
    """A search that returns what it is told."""
    access = ("weights", "graph", "features", "labels")
    return Registered(Entry("claims", "tests:claims", "", "robustness", access=access, role="search"), Claims(make))


def number(result: CellResult, metric: str, subset: str = "") -> Measured:
    """One number by name, of any subset where none is named."""
    return next(m for m in result.measured if m.metric == metric and subset in ("", m.subset))


def rows(result: CellResult) -> dict[str, ValidityRow]:
    """Checks by id."""
    return {row.id: row for row in result.validity}


class Marked(nn.Module):
    """The class of a node is whether any neighbour is marked: one edge to a marked node decides."""

    def __init__(self) -> None:
        super().__init__()
        from torch_geometric.nn import SimpleConv

        self.sum = SimpleConv(aggr="sum")

    def forward(self, x, edge_index):
        marked = self.sum(x[:, :1], edge_index)
        return torch.cat([torch.full_like(marked, 0.5), marked], dim=1)


def marked_target(n: int = 60) -> Target:
    """Nodes 0–4 carry the mark; the rest form a ring and have class 0."""
    ring = torch.arange(5, n)
    edges = torch.stack([ring, torch.roll(ring, -1)])
    x = torch.zeros(n, 2)
    x[:5, 0] = 1
    graph = Graph(x, torch.cat([edges, edges.flip(0)], dim=1), torch.zeros(n, dtype=torch.int64), name="ring")
    test = torch.arange(n) >= 10
    train = torch.arange(n) < 5
    split = Split(train, ~(test | train), test)
    return Target("marked", graph, split, 2, ALL, "factory", "marked", {}, Marked())


def permuted(target: Target, seed: int = 0) -> Target:
    """The same target with its labels permuted: nothing to lose."""
    y = target.graph.y[torch.randperm(target.graph.num_items, generator=torch.Generator().manual_seed(seed))]
    return replace(target, graph=replace(target.graph, y=y))


def holds_nothing(probe: str, target: Target, seeds: int, **params: str) -> int:
    """In how many of so many seeds the excess of a second random arm, of streams of its own, may be 0."""
    control, held = shipped(probe, draws="1")[1], 0
    arm = claims(lambda view, attempt: control.run(view, attempt))
    for seed in range(seeds):
        result = evaluated(probe, target, seed=seed, profile="full", attacks=(arm, control), **params)
        excess = result.measured[0].excess
        assert excess is not None
        assert excess.lo is not None
        assert excess.hi is not None
        held += excess.lo <= 0 <= excess.hi
    return held
