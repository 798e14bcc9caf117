"""Added nodes without a purpose: what those with one are measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from auditor.data.added_nodes import usual_edges
from auditor.data.feature_space import FeatureSpace
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class InjectionRandom:
    """As many added nodes with as many edges, to random nodes, and the features of random nodes."""

    draws: Annotated[int, Field(ge=1)] = 5

    def run(self, view: View, attempt: Attempt) -> InjectionOutcome:
        """`draws` sets of added nodes per budget; a smaller budget's begins a larger one's.

        Raises:
            SkippedError: features that cannot be written.
        """
        space, n = FeatureSpace.of(view.x), view.graph.num_nodes
        each = min(attempt.edges or usual_edges(view.graph), n)
        most = max(attempt.budgets, default=0)
        points: list[AddedNodes] = []
        variants: list[str] = []
        for draw in range(self.draws):
            ends = [torch.from_numpy(attempt.rng.choice(n, each, replace=False)) for _ in range(most)]
            edges = torch.stack([torch.arange(most).repeat_interleave(each), torch.cat(ends)])
            raw = space.raw[torch.from_numpy(attempt.rng.integers(0, n, most))]
            points += [AddedNodes(budget, raw[:budget], edges[:, : budget * each]) for budget in attempt.budgets]
            variants += [f"draw {draw}"] * len(attempt.budgets)
        return InjectionOutcome(tuple(points), tuple(variants))
