"""Added nodes without a purpose: what those with one are measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.alike import SLACK
from auditor.data.added_nodes import likeness, usual_edges
from auditor.data.feature_space import FeatureSpace
from auditor.errors import SkippedError
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class InjectionRandom:
    """As many added nodes with as many edges, to random nodes, and the features of random nodes.

    Where added nodes must be like their neighbours, each is the twin of a random node that is: its features, and edges
    to its neighbours, as many as are allowed.
    """

    draws: Annotated[int, Field(ge=1)] = 5

    def run(self, view: View, attempt: Attempt) -> InjectionOutcome:
        """`draws` sets of added nodes per budget; a smaller budget's begins a larger one's.

        Raises:
            SkippedError: features that cannot be written, or no node that is like enough to its neighbours.
        """
        space, n = FeatureSpace.of(view.x), view.graph.num_nodes
        each = min(attempt.edges or usual_edges(view.graph), n)
        most = max(attempt.budgets, default=0)
        points: list[AddedNodes] = []
        variants: list[str] = []
        for draw in range(self.draws):
            if attempt.likeness is not None:
                edges, raw = self._twins(view, space, most, each, attempt)
            else:
                ends = [torch.from_numpy(attempt.rng.choice(n, each, replace=False)) for _ in range(most)]
                edges = torch.stack([torch.arange(most).repeat_interleave(each), torch.cat(ends)])
                raw = space.raw[torch.from_numpy(attempt.rng.integers(0, n, most))]
            points += [AddedNodes(budget, raw[:budget], edges[:, edges[0] < budget]) for budget in attempt.budgets]
            variants += [f"draw {draw}"] * len(attempt.budgets)
        return InjectionOutcome(tuple(points), tuple(variants))

    def _twins(self, view: View, space: FeatureSpace, most: int, each: int, attempt: Attempt) -> tuple[Tensor, Tensor]:
        """Edges int64 [2, k] and features [most, F] of twins of random nodes."""
        bound = attempt.likeness
        u, v = view.graph.edge_index[:, view.graph.edge_index[0] != view.graph.edge_index[1]]
        degree = torch.bincount(u, minlength=view.graph.num_nodes)
        like = likeness(space.raw, space.raw, torch.stack([u, v])) >= (bound or 0.0) + SLACK
        able = torch.nonzero(like & (degree > 0) & (degree <= each)).flatten()
        if not able.numel():
            raise SkippedError(f"no node of at most {each} neighbours is as like them as added nodes must be")
        twins = able[torch.from_numpy(attempt.rng.integers(0, able.numel(), most))]
        found = [torch.unique(v[u == twin]) for twin in twins]
        owners = torch.arange(most).repeat_interleave(torch.tensor([ends.numel() for ends in found]))
        return torch.stack([owners, torch.cat(found)]), space.raw[twins]
