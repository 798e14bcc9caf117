"""Edges from one node towards another cluster, so that a partition made anew puts the node there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View
from defenses.joint_cluster.layout import ClusterLayout
from defenses.joint_cluster.matching import match_clusters


@parameters
class ClusterJump:
    """Adds edges at a target one by one towards each of its most-connected rival clusters until its cluster changes.

    No more edges than the target has, nor than the budget. After each edge the graph is partitioned again and the new
    clusters are matched to the old ones, whose numbers permute freely. Partners are the rival's nodes by falling
    degree. Rivals are ordered by neighbours of the target, then by edges to the target's cluster. The claim is the
    shortest path that jumps, else the whole path towards the first rival; it is named `target=i`.

    Attributes:
        rivals: clusters tried.
    """

    rivals: Annotated[int, Field(ge=1)] = 3

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per target (the view's items) and budget.

        Raises:
            SkippedError: the model does not partition the graph it is asked about.
        """
        x, space = view.x, EdgeSpace.of(view.graph)
        layout = ClusterLayout.of(view.model.on_cpu, view.train_mask)
        if layout is None or layout.model.mode != "recluster":
            raise SkippedError("the model does not partition anew: no edge moves a node to another cluster")
        old = layout.model.clusters_on(x, space.graph.edge_index)
        degree = torch.bincount(torch.cat(space.ends(space.existing)), minlength=view.num_nodes)
        search = _Search(space, x, old, layout, degree, self.rivals)
        points, variants = [], []
        for done, node in enumerate(view.items.tolist()):
            attempt.tick(done / view.items.numel(), f"target {done + 1} of {view.items.numel()}")
            paths = search.paths(node, max(attempt.budgets, default=0))
            for budget in attempt.budgets:
                points.append(FlipSet(budget, _claim(paths, budget)))
                variants.append(f"target={node}")
        return FlipOutcome(tuple(points), tuple(variants), {"rivals": self.rivals})


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Paths of edges at one node after another."""

    space: EdgeSpace
    x: Tensor
    old: Tensor
    layout: ClusterLayout
    degree: Tensor
    rivals: int

    def paths(self, node: int, budget: int) -> list[tuple[Tensor, bool]]:
        """(keys in the order they were added, whether the last one made the node jump) towards each rival."""
        most = min(budget, int(self.degree[node]))
        found: list[tuple[Tensor, bool]] = []
        for rival in self._rivals_of(node):
            keys = self._towards(node, rival)[:most]
            steps = next((n for n in range(1, keys.numel() + 1) if self._jumps(node, keys[:n])), 0)
            found.append((keys[:steps] if steps else keys, steps > 0))
            most = min(most, steps) if steps else most
        return found

    def _jumps(self, node: int, keys: Tensor) -> bool:
        edges = self.space.toggled(torch.sort(keys).values).edge_index
        new = match_clusters(self.old, self.layout.model.clusters_on(self.x, edges))
        return int(new[node]) != int(self.old[node])

    def _rivals_of(self, node: int) -> list[int]:
        """Other clusters, most-connected first, at most `rivals`."""
        u, v = self.space.graph.edge_index
        u, v = torch.cat([u, v]), torch.cat([v, u])
        size = int(self.old.max()) + 1
        near, cut = (
            torch.bincount(there[there >= 0], minlength=size).tolist()
            for there in (self.old[v[u == node]], self.old[v[self.old[u] == self.old[node]]])
        )
        others = [k for k in range(size) if k != int(self.old[node])]
        return sorted(others, key=lambda k: (-near[k], -cut[k], k))[: self.rivals]

    def _towards(self, node: int, rival: int) -> Tensor:
        """Keys of absent pairs between the node and the rival's nodes, by falling degree of those."""
        others = torch.nonzero(self.old == rival).flatten()
        others = others[torch.argsort(self.degree[others], descending=True, stable=True)]
        others = others[others != node]
        n, own = self.space.graph.num_nodes, torch.full_like(others, node)
        keys = others * n + own if self.space.directed else torch.minimum(own, others) * n + torch.maximum(own, others)
        return keys[~self.space.exists(keys)]


def _claim(paths: list[tuple[Tensor, bool]], budget: int) -> Tensor:
    """The shortest path that jumps within the budget, else the first one cut to it; empty when there is none."""
    jumping = [keys for keys, jumps in paths if jumps and keys.numel() <= budget]
    if jumping:
        return min(jumping, key=lambda keys: keys.numel())
    return paths[0][0][:budget] if paths else torch.empty(0, dtype=torch.int64)
