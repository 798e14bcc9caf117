"""Uniform flips: the control of the family, never an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.robustness.projection import within_caps
from auditor.data.edits import EdgeSpace, select_graphs
from auditor.errors import ConfigError
from auditor.probe import AttackTask, FlipOutcome, FlipSet
from auditor.targets.target import Capability
from auditor.view import Access, View


@dataclass(frozen=True, slots=True)
class RandomFlips:
    """B uniform pairs, `draws` times; within a draw each budget's set begins with that of the smaller budget."""

    draws: int = 5

    id: ClassVar[str] = "random"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    access: ClassVar[frozenset[Access]] = frozenset({Access.GRAPH})

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"random: draws={self.draws}; expected at least 1.")

    def run(self, view: View, task: AttackTask) -> FlipOutcome:
        """`draws` flip sets per budget."""
        points, variant = [], []
        for draw in range(self.draws):
            sets = _per_graph(view, task) if view.task == "graph" else _nested(view, task)
            points += [FlipSet(budget, keys) for budget, keys in zip(task.budgets, sets, strict=True)]
            variant += [f"draw {draw}"] * len(sets)
        return FlipOutcome(tuple(points), tuple(variant))


def _nested(view: View, task: AttackTask) -> list[Tensor]:
    """One draw of the largest budget, cut to each budget."""
    space = EdgeSpace.of(view.graph)
    largest = max(task.budgets, default=0)
    if task.node_caps is None:
        keys = space.draw(largest, task.rng)
        return [keys[:budget] for budget in task.budgets]
    many = space.draw(min(4 * largest, space.num_pairs), task.rng)
    u, v = space.ends(many)
    keys = many[within_caps(torch.arange(many.numel()), u, v, task.node_caps, largest)]
    return [keys[:budget] for budget in task.budgets]


def _per_graph(view: View, task: AttackTask) -> list[Tensor]:
    """Each attacked graph gets its own draw, cut to its own budgets."""
    sets: list[list[Tensor]] = [[] for _ in task.budgets]
    for place, item in enumerate(view.items.tolist()):
        graph, nodes = select_graphs(view.graph, torch.tensor([item]))
        space = EdgeSpace.of(graph)
        counts = [int(budgets[place]) for budgets in task.item_budgets]
        u, v = space.ends(space.draw(min(max(counts), space.num_pairs), task.rng))
        keys = nodes[u] * view.graph.num_nodes + nodes[v]
        for chosen, count in zip(sets, counts, strict=True):
            chosen.append(keys[:count])
    return [torch.cat(chosen) for chosen in sets]
