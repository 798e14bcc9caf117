"""Another order of the nodes and edges of the same graph, and how far two answers are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph

TOLERANCE = 1e-4
"""Answers within this share of their scale are one."""


@dataclass(frozen=True, slots=True, eq=False)
class Relabelling:
    """Old ids in their new order, int64 [N] and [E]; nodes of one of many graphs stay side by side."""

    nodes: Tensor
    edges: Tensor

    @classmethod
    def draw(cls, graph: Graph, rng: np.random.Generator) -> Relabelling:
        """A uniform one; of many graphs, inside each."""
        nodes = torch.from_numpy(rng.permutation(graph.num_nodes))
        if graph.batch is not None:
            nodes = nodes[torch.argsort(graph.batch[nodes], stable=True)]  # still graph by graph
        return cls(nodes, torch.from_numpy(rng.permutation(graph.num_edges)))

    @property
    def of_edges_alone(self) -> Relabelling:
        """The same order of the edges, the nodes as they are."""
        return Relabelling(torch.arange(self.nodes.numel()), self.edges)

    @property
    def of_nodes_alone(self) -> Relabelling:
        """The same order of the nodes, the edges as they are."""
        return Relabelling(self.nodes, torch.arange(self.edges.numel()))

    def graph(self, graph: Graph) -> Graph:
        """The graph in the new order."""
        items = self.nodes if graph.batch is None else torch.arange(graph.num_items)
        return graph.taking(self.nodes, items, self.edges)

    def answers(self, logits: Tensor, graph: Graph) -> Tensor:
        """What an answer to `graph` must become: rows of nodes move along, those of graphs stay."""
        return logits[self.nodes] if graph.batch is None else logits


def apart(a: Tensor, b: Tensor) -> Tensor:
    """|a - b| entry by entry: 0 where both are the same infinity or both NaN, infinite where one alone is."""
    same = (a == b) | (a.isnan() & b.isnan())
    return (a - b).abs().masked_fill(same, 0.0).nan_to_num(nan=float("inf"), posinf=float("inf"))


def scale_of(logits: Tensor) -> float:
    """max(1, max |logit|) over the finite ones."""
    finite = logits[torch.isfinite(logits)]
    return max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)
