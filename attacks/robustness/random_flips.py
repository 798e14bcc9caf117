"""Uniform flips: what every other attack is measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.projection import within_caps
from auditor.data.edits import EdgeSpace, select_graphs
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class RandomFlips:
    """B uniform pairs, `draws` times; within a draw each budget's set begins with that of the smaller budget."""

    draws: Annotated[int, Field(ge=1)] = 5

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """`draws` flip sets per budget."""
        points, variant = [], []
        for draw in range(self.draws):
            sets = _per_graph(view, attempt) if view.task.level == "graph" else _nested(view, attempt)
            points += [FlipSet(budget, keys) for budget, keys in zip(attempt.budgets, sets, strict=True)]
            variant += [f"draw {draw}"] * len(sets)
        return FlipOutcome(tuple(points), tuple(variant))


def _nested(view: View, attempt: Attempt) -> list[Tensor]:
    """One draw of the largest budget, cut to each budget."""
    space = EdgeSpace.of(view.graph)
    largest = max(attempt.budgets, default=0)
    if attempt.node_caps is None:
        keys = space.draw(largest, attempt.rng)
        return [keys[:budget] for budget in attempt.budgets]
    many = space.draw(min(4 * largest, space.num_pairs), attempt.rng)
    u, v = space.ends(many)
    keys = many[within_caps(torch.arange(many.numel()), u, v, attempt.node_caps, largest)]
    return [keys[:budget] for budget in attempt.budgets]


def _per_graph(view: View, attempt: Attempt) -> list[Tensor]:
    """Each attacked graph gets its own draw, cut to its own budgets."""
    sets: list[list[Tensor]] = [[] for _ in attempt.budgets]
    for place, item in enumerate(view.items.tolist()):
        graph, nodes = select_graphs(view.graph, torch.tensor([item]))
        space = EdgeSpace.of(graph)
        counts = [int(budgets[place]) for budgets in attempt.item_budgets]
        u, v = space.ends(space.draw(min(max(counts), space.num_pairs), attempt.rng))
        keys = nodes[u] * view.graph.num_nodes + nodes[v]
        for chosen, count in zip(sets, counts, strict=True):
            chosen.append(keys[:count])
    return [torch.cat(chosen) for chosen in sets]
