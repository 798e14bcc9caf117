"""Added nodes without a purpose: what those with one are measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.alike import enough
from auditor.data.added_nodes import likeness, usual_edges
from auditor.data.batches import nodes_of
from auditor.data.feature_space import FeatureSpace
from auditor.errors import SkippedError
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class InjectionRandom:
    """As many added nodes with as many edges, to random nodes, and the features of random nodes.

    Of many graphs in each as many as it may have, with features of nodes of training graphs.
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
        if view.task.level == "graph":
            return self._to_graphs(space, view, attempt, each)
        most = max(attempt.budgets, default=0)
        points: list[AddedNodes] = []
        variants: list[str] = []
        for draw in range(self.draws):
            if attempt.joins_items:
                edges, raw = self._joined(view, space, most, attempt)
            elif attempt.likeness is not None:
                edges, raw = self._twins(view, space, most, each, attempt)
            else:
                ends = [torch.from_numpy(attempt.rng.choice(n, each, replace=False)) for _ in range(most)]
                edges = torch.stack([torch.arange(most).repeat_interleave(each), torch.cat(ends)])
                raw = space.raw[torch.from_numpy(attempt.rng.integers(0, n, most))]
            points += [AddedNodes(budget, raw[:budget], edges[:, edges[0] < budget]) for budget in attempt.budgets]
            variants += [f"draw {draw}"] * len(attempt.budgets)
        return InjectionOutcome(tuple(points), tuple(variants))

    def _joined(self, view: View, space: FeatureSpace, most: int, attempt: Attempt) -> tuple[Tensor, Tensor]:
        """One edge each to a random attacked node, int64 [2, most], and features of random nodes [most, F]."""
        items = view.items[torch.from_numpy(attempt.rng.integers(0, view.items.numel(), most))]
        rows = []
        for item in items.tolist():
            able = torch.arange(view.graph.num_nodes)
            if attempt.likeness is not None:
                pairs = torch.stack([able, torch.full_like(able, item)])
                able = able[likeness(space.raw, space.raw, pairs) >= enough(attempt.likeness)]
            if not able.numel():
                raise SkippedError("no node is as like an attacked one as an added node must be")
            rows.append(able[int(attempt.rng.integers(0, able.numel()))])
        return torch.stack([torch.arange(most), items]), space.raw[torch.stack(rows)]

    def _twins(self, view: View, space: FeatureSpace, most: int, each: int, attempt: Attempt) -> tuple[Tensor, Tensor]:
        """Edges int64 [2, k] and features [most, F] of twins of random nodes."""
        bound = attempt.likeness
        u, v = view.graph.edge_index[:, view.graph.edge_index[0] != view.graph.edge_index[1]]
        degree = torch.bincount(u, minlength=view.graph.num_nodes)
        like = likeness(space.raw, space.raw, torch.stack([u, v])) >= enough(bound or 0.0)
        able = torch.nonzero(like & (degree > 0) & (degree <= each)).flatten()
        if not able.numel():
            raise SkippedError(f"no node of at most {each} neighbours is as like them as added nodes must be")
        twins = able[torch.from_numpy(attempt.rng.integers(0, able.numel(), most))]
        order = torch.argsort(u, stable=True)
        starts = torch.cumsum(degree, dim=0) - degree
        found = [torch.unique(v[order[starts[twin] : starts[twin] + degree[twin]]]) for twin in twins]
        owners = torch.arange(most).repeat_interleave(torch.tensor([ends.numel() for ends in found]))
        return torch.stack([owners, torch.cat(found)]), space.raw[twins]

    def _to_graphs(self, space: FeatureSpace, view: View, attempt: Attempt, each: int) -> InjectionOutcome:
        """The same in each attacked graph."""
        batch, largest = view.graph.batch, torch.stack(attempt.item_budgets).max(dim=0).values.tolist()
        if batch is None:
            raise ValueError("budgets of each graph need many graphs; this is one")
        trained = torch.nonzero(view.train_mask[batch]).flatten()
        points: list[AddedNodes] = []
        inside = nodes_of(batch, view.items)
        for _ in range(self.draws):
            ends, of, number = list[Tensor](), list[int](), list[int]()
            for item, own, count in zip(view.items.tolist(), inside, largest, strict=True):
                for place in range(count):
                    ends.append(own[torch.from_numpy(attempt.rng.permutation(own.numel())[:each])])
                    of.append(item)
                    number.append(place)
            raw = space.raw[trained[torch.from_numpy(attempt.rng.integers(0, trained.numel(), len(of)))]]
            graphs = torch.tensor(of)
            for budget, allowed in zip(attempt.budgets, attempt.item_budgets, strict=True):
                room = torch.zeros(view.graph.num_items, dtype=torch.int64).index_put((view.items,), allowed)
                kept = torch.nonzero(torch.tensor(number) < room[graphs]).flatten()
                joined = [ends[k] for k in kept.tolist()]
                new = torch.arange(kept.numel()).repeat_interleave(torch.tensor([part.numel() for part in joined]))
                edges = torch.stack([new, torch.cat(joined)])
                points.append(AddedNodes(budget, raw[kept], edges, graphs=graphs[kept]))
        variants = [f"draw {draw}" for draw in range(self.draws) for _ in attempt.budgets]
        return InjectionOutcome(tuple(points), tuple(variants))
