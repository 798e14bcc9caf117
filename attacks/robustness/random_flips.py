"""Uniform flips: what every other attack is measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from auditor.data.edits import EdgeSpace, single_graphs
from auditor.evaluate.poisoning.harness import TRAININGS
from auditor.flips import ranked_flips
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.view import View


def _none_left(here: Circumstances) -> str:
    """Where flips are trained on, each training takes the next draw."""
    if (trainings := here.values.get("trainings")) is None:
        return ""
    count, draws = trainings or TRAININGS[here.profile], here.values["draws"]
    return f"each of {count} trainings takes a draw, and {draws - count} would be left" if draws > count else ""


@parameters
class RandomFlips:
    """B uniform pairs, `draws` times; within a draw each budget's set begins with that of the smaller budget."""

    draws: Annotated[int, Field(ge=1), Only(unless=_none_left)] = 5

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """`draws` flip sets per budget."""
        points: list[FlipSet] = []
        variant: list[str] = []
        for draw in range(self.draws):
            drawn = _per_graph(view, attempt) if view.task.level == "graph" else _anywhere(view, attempt)
            points += ranked_flips(drawn, attempt, view)
            variant += [f"draw {draw}"] * len(attempt.budgets)
        return FlipOutcome(tuple(points), tuple(variant))


def _anywhere(view: View, attempt: Attempt) -> Tensor:
    """One draw of the largest budget, or of four times as many pairs where caps will turn some away."""
    space = EdgeSpace.of(view.graph)
    largest = max(attempt.budgets, default=0)
    return space.draw(largest if attempt.node_caps is None else min(4 * largest, space.num_pairs), attempt.rng)


def _per_graph(view: View, attempt: Attempt) -> Tensor:
    """Each attacked graph gets its own draw of its own largest budget."""
    largest = torch.stack(attempt.item_budgets).max(dim=0).values  # [n]
    drawn = []
    for (graph, nodes), count in zip(single_graphs(view.graph, view.items), largest.tolist(), strict=True):
        space = EdgeSpace.of(graph)
        u, v = space.ends(space.draw(min(count, space.num_pairs), attempt.rng))
        drawn.append(nodes[u] * view.graph.num_nodes + nodes[v])
    return torch.cat(drawn)
