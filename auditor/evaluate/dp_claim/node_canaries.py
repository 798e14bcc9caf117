"""Node level: training nodes with features and a label of their own, too far apart to meet in any subgraph."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.subject import Bits, column_scale, negative_losses, tensors_digest, with_data
from auditor.targets.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class NodeCanaries:
    """m training nodes, more than 2r hops apart, with random features at the data's column scale and a random label.

    Out means blanked (relation `zero-out`): features zero, no root, no arc that leaves it (its kept list), while the
    arcs of others into it stay. A Split cannot hold a root without a term, so that the number of roots, which the
    claim takes for public, is smaller by the blanked ones. For `replace` the bit picks one of two feature rows and
    labels.

    Attributes:
        target: whose private graph they live in.
        nodes: ids, int64 [m].
        x, y: features [2, m, F] and labels [2, m]; row 1 is what "in" means, row 0 is used by `replace` alone.
        swaps: whether the relation is `replace`.
    """

    target: Target
    nodes: Tensor
    x: Tensor
    y: Tensor
    swaps: bool

    @classmethod
    def make(cls, target: Target, m: int, *, hops: int, swaps: bool, rng: np.random.Generator) -> NodeCanaries:
        """Draws the canaries, more than 2 · `hops` hops apart.

        Raises:
            ConfigError: the target is no node classifier, or has not that many such training nodes.
        """
        graph = target.private_graph
        if graph.task.level != "node":
            raise ConfigError(
                f"--level node needs a target that classifies the nodes of one graph; {target.name} classifies graphs. "
                "Audit it at --level graph."
            )
        nodes = _scattered(target, 2 * hops, rng)
        if m > len(nodes):
            raise ConfigError(
                f"--canaries is {m}; {graph.name} has {len(nodes)} training nodes more than {2 * hops} hops apart. "
                f"Use --canaries {len(nodes)}, or a split that trains on more nodes."
            )
        mean, std = column_scale(graph.x)
        noise = torch.from_numpy(rng.standard_normal((2, m, graph.num_features)))
        x = (mean.double() + std.double() * noise).to(graph.x.dtype)
        y = torch.from_numpy(rng.integers(0, target.num_classes, (2, m)))
        return cls(target, torch.from_numpy(nodes[:m]), x, y, swaps)

    @property
    def m(self) -> int:
        """Canaries."""
        return int(self.nodes.shape[0])

    @property
    def score(self) -> str:
        """What is scored."""
        return "minus the loss at the root" + (", less that of the twin" if self.swaps else "")

    @property
    def digest(self) -> str:
        """Of ids, features and labels."""
        return tensors_digest(self.nodes, self.x, self.y)

    def planted(self, included: Bits) -> Target:
        """The target with every canary in its place, the others blanked or swapped."""
        bits = torch.from_numpy(included)
        rows = bits.long()
        graph, split = self.target.private_graph, self.target.split
        x, y = graph.x.clone(), graph.y.clone()
        columns = torch.arange(self.m)
        x[self.nodes], y[self.nodes] = self.x[rows, columns], self.y[rows, columns]
        if self.swaps:
            return with_data(self.target, replace(graph, x=x, y=y), split)
        out = self.nodes[~bits]
        x[out] = 0.0
        train = split.train.clone()
        train[out] = False
        kept = ~torch.isin(graph.edge_index[0], out)
        blanked = replace(graph.keeping(kept), x=x, y=y)
        return with_data(self.target, blanked, replace(split, train=train))

    def scores(self, trained: Target) -> Tensor:
        """Minus the loss at each canary on the graph that has them all, float64 [m]."""
        own = self._losses(trained, 1)
        return own - self._losses(trained, 0) if self.swaps else own

    def _losses(self, trained: Target, row: int) -> Tensor:
        graph = self.target.private_graph
        x = graph.x.clone()
        x[self.nodes] = self.x[row]
        with torch.no_grad():
            logits = trained.logits(x, graph.edge_index, graph.edge_weight, None, graph.fields)
        return negative_losses(logits[self.nodes], self.y[row])


def _scattered(target: Target, apart: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Training nodes no two of which are within `apart` hops, greedily in random order."""
    graph = target.private_graph
    u, v = graph.edge_index
    blocked = torch.zeros(graph.num_nodes, dtype=torch.bool)
    chosen = []
    for node in rng.permutation(torch.nonzero(target.split.train).flatten().numpy()):
        if blocked[node]:
            continue
        chosen.append(int(node))
        reached = torch.zeros(graph.num_nodes, dtype=torch.bool)
        reached[node] = True
        for _ in range(apart):
            reached = reached.index_fill(0, v[reached[u]], True).index_fill(0, u[reached[v]], True)
        blocked |= reached
    return np.asarray(chosen, dtype=np.int64)
