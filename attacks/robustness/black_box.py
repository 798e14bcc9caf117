"""Evolution over flip sets by answers alone: no weight, no gradient."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from attacks.robustness.asked import Answers, Asked
from attacks.robustness.evolution import Evolution, Ints
from auditor.data.edits import EdgeSpace, single_graphs
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View

ANYWHERE = 0.2
"""Share of new flips that are uniform pairs; the others join a target that is right to a node of another class."""
TRIES = 8


@parameters
class BlackBox:
    """Flip sets that broke many answers live on and have children.

    Attributes:
        answers: what is read of the answers: `scores`, or `labels` alone.
        population: sets that live at a time.
        elites: the best of them, which live on.

    Source: the idea of evolution over discrete edits is that of EvA (2025); operators and numbers are ours.
    """

    answers: Answers = "scores"
    population: Annotated[int, Field(ge=4)] = 32
    elites: Annotated[int, Field(ge=1, le=4)] = 4

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per budget; queries are shared out equally."""
        asked = Asked(view, self.answers)
        points = []
        for place, budget in enumerate(attempt.budgets):
            share = asked.left // (len(attempt.budgets) - place)
            if view.task.level == "graph":
                points.append(self._graphs(view, attempt, asked, budget, attempt.item_budgets[place], share))
            else:
                points.append(self._nodes(view, attempt, asked, budget, share))
        notes = {"answers": self.answers, "queries": view.edit_queries.count, "rows": view.edit_queries.rows}
        return FlipOutcome(tuple(points), (self.answers,) * len(points), notes)

    def _nodes(self, view: View, attempt: Attempt, asked: Asked, budget: int, queries: int) -> FlipSet:
        """The best of as many sets as may be asked about; one query goes to the graph as it is."""
        space = EdgeSpace.of(view.graph)
        classes, right = asked.clean()
        proposals = Near(space, view.items, classes, right)
        evolution = self._evolution(min(budget, space.num_pairs), proposals, attempt)
        errors = int((~right).sum())  # of the empty set, which stays where no query is left
        for query in range(1, queries):
            if query % 50 == 0:
                attempt.tick(query / queries, f"black-box: {query} of {queries} queries, {errors} wrong")
            keys = evolution.ask()
            wrong, near = asked.about(keys)
            evolution.tell(keys, (int(wrong.sum()), float(near.sum())))
            if np.array_equal(evolution.best, keys):
                errors = int(wrong.sum())
                proposals.right = ~wrong
        n = view.items.numel()
        return FlipSet(budget, torch.from_numpy(evolution.best), 1 - errors / n if n else None)

    def _graphs(self, view: View, attempt: Attempt, asked: Asked, budget: int, own: Tensor, queries: int) -> FlipSet:
        """Each graph by itself, all of them side by side; one that is wrong is asked about no more."""
        n = view.items.numel()
        insides = Inside.each(view)
        runs = [self._evolution(flips, inside, attempt) for inside, flips in zip(insides, own.tolist(), strict=True)]
        going = [place for place in range(n) if int(own[place]) > 0]
        wrong_at_all = np.zeros(n, dtype=np.bool_)
        for _ in range(queries // n):  # as many for each graph, spent or not
            if not going:
                break
            attempt.tick(None, f"black-box: {len(going)} graphs still right")
            sets = [runs[place].ask() for place in going]
            wrong, near = asked.about(np.concatenate(sets))
            for place, keys in zip(going, sets, strict=True):
                runs[place].tell(keys, (int(wrong[place]), float(near[place])))
            wrong_at_all |= wrong
            going = [place for place in going if not wrong[place]]
        return FlipSet(
            budget, torch.from_numpy(np.concatenate([run.best for run in runs])), 1 - float(wrong_at_all.mean())
        )

    def _evolution(self, budget: int, proposals: Near | Inside, attempt: Attempt) -> Evolution:
        return Evolution(budget, proposals, attempt.rng, population=self.population, elites=self.elites)


class Near:
    """Pairs at targets that are still right, of few neighbours rather, and nodes of another class; some anywhere.

    Args:
        space: the pairs.
        items: attacked nodes, int64 [n].
        classes: what is answered about every node as nothing is edited, int64 [N].
        right: which of the attacked nodes are right then, bool [n].
    """

    def __init__(self, space: EdgeSpace, items: Tensor, classes: NDArray[np.int64], right: NDArray[np.bool_]) -> None:
        self._space, self._items, self._classes = space, items.numpy(), classes
        degree = torch.bincount(torch.cat(space.ends(space.existing)), minlength=space.graph.num_nodes)
        self._weight = 1 / (degree[items].numpy() + 1.0)
        self.right = right
        """Targets that the best set leaves right, bool [n]."""

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """See `Proposals`."""
        anywhere = int(rng.binomial(count, ANYWHERE))
        weight = self._weight * self.right if self.right.any() else self._weight
        v = rng.choice(self._items, size=count - anywhere, p=weight / weight.sum())
        n = self._space.graph.num_nodes
        u = rng.integers(n, size=v.size)
        for _ in range(TRIES):
            alike = (self._classes[u] == self._classes[v]) | (u == v)
            u[alike] = rng.integers(n, size=int(alike.sum()))
        u, v = u[u != v], v[u != v]
        near = u * n + v if self._space.directed else np.minimum(u, v) * n + np.maximum(u, v)
        return np.concatenate([near, self._space.draw(min(anywhere, self._space.num_pairs), rng).numpy()])


class Inside:
    """Uniform pairs of one of many graphs, numbered as all of them are."""

    def __init__(self, space: EdgeSpace, nodes: Tensor, num_nodes: int) -> None:
        self._space, self._nodes, self._n = space, nodes, num_nodes

    @classmethod
    def each(cls, view: View) -> list[Inside]:
        """Of every attacked graph, in their order."""
        n = view.graph.num_nodes
        return [cls(EdgeSpace.of(graph), nodes, n) for graph, nodes in single_graphs(view.graph, view.items)]

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """See `Proposals`."""
        u, v = self._space.ends(self._space.draw(min(count, self._space.num_pairs), rng))
        keys: Ints = (self._nodes[u] * self._n + self._nodes[v]).numpy()
        return keys
