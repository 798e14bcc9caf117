"""The control of an adversary who asks: the best of as many random flip sets as there are queries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attacks.robustness.asked import Answers, Asked
from attacks.robustness.black_box import Inside
from attacks.robustness.evolution import Ints
from auditor.data.edits import EdgeSpace
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class RandomQueries:
    """Uniform flips, asked about until every query is spent; the best set is kept.

    Attributes:
        answers: as of the search.
    """

    answers: Answers = "scores"

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per budget; queries are shared out equally."""
        asked = Asked(view, self.answers)
        points = []
        for place, budget in enumerate(attempt.budgets):
            share = asked.left // (len(attempt.budgets) - place)
            if view.task.level == "graph":
                keys = _of_graphs(view, attempt, asked, attempt.item_budgets[place], share)
            else:
                keys = _of_nodes(view, attempt, asked, budget, share)
            points.append(FlipSet(budget, torch.from_numpy(keys)))
        return FlipOutcome(tuple(points), (self.answers,) * len(points), {"queries": view.edit_queries.count})


def _of_nodes(view: View, attempt: Attempt, asked: Asked, budget: int, queries: int) -> Ints:
    space = EdgeSpace.of(view.graph)
    best, found = (-1, 0.0), np.empty(0, dtype=np.int64)
    for query in range(queries):
        if query % 50 == 0:
            attempt.tick(query / queries, f"random sets: {query} of {queries} queries")
        keys = np.sort(space.draw(min(budget, space.num_pairs), attempt.rng).numpy())
        wrong, near = asked.about(keys)
        fitness = int(wrong.sum()), float(near.sum())
        if fitness > best:
            best, found = fitness, keys
    return found


def _of_graphs(view: View, attempt: Attempt, asked: Asked, own: Tensor, queries: int) -> Ints:
    inside = Inside.each(view)
    going = [place for place in range(len(inside)) if int(own[place]) > 0]
    best = [(-1, 0.0)] * len(inside)
    found: list[Ints] = [np.empty(0, dtype=np.int64) for _ in inside]
    for _ in range(queries // len(inside)):
        if not going:
            break
        sets = [inside[place].draw(int(own[place]), attempt.rng) for place in going]
        wrong, near = asked.about(np.concatenate(sets))
        for place, keys in zip(going, sets, strict=True):
            fitness = int(wrong[place]), float(near[place])
            if fitness > best[place]:
                best[place], found[place] = fitness, keys
        going = [place for place in going if not wrong[place]]
    return np.concatenate(found)
