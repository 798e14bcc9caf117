"""The graphs under attack, side by side and each alone: what attacks that edit graph by graph share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.robustness.feature_steps import Reader
from attacks.robustness.losses import margins
from auditor.data.batches import in_one_batch
from auditor.data.edits import select_graphs, single_graphs
from auditor.data.feature_space import FeatureSpace
from auditor.data.graph import Graph
from auditor.view import View

BATCH_NODES = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class AttackedGraphs:
    """The attacked ones of many graphs; others are left out, so that they cost nothing.

    Attributes:
        reader: the model on them.
        space: features of their nodes, [N', F]; what values vary by is that of all graphs.
        nodes: ids of their nodes among all, int64 [N'].
        each: every one alone.
        starts: the first node of each, and where the last one ends, n + 1 numbers.
    """

    reader: Reader
    space: FeatureSpace
    nodes: Tensor
    each: tuple[Graph, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, view: View, space: FeatureSpace) -> AttackedGraphs:
        """Those of `view.items`, in their order, which is ascending."""
        whole, nodes = select_graphs(view.graph, view.items)
        each = tuple(graph for graph, _ in single_graphs(whole, torch.arange(whole.num_items)))
        starts = [0]
        for graph in each:
            starts.append(starts[-1] + graph.num_nodes)
        reader = Reader.on(view.model, whole, torch.arange(len(each)), view.y[view.items])
        return cls(reader, space.part(nodes), nodes, each, tuple(starts))

    @property
    def batch(self) -> Tensor:
        """The graph of each node, int64 [N']."""
        return torch.repeat_interleave(torch.tensor([graph.num_nodes for graph in self.each]))

    def margins(self, x: Tensor) -> Tensor:
        """What each graph has left before its answer is wrong, [n], on these features [N', F]."""
        with torch.no_grad():
            left = margins(self.reader.outputs.read(self.reader.logits(x)), self.reader.y)
        return answered(left)

    def margins_of(self, places: Sequence[int], x: Tensor) -> Tensor:
        """The same of copies of some of them, [k], on the features of all these copies' nodes."""
        whole, _ = in_one_batch([self.each[place] for place in places])
        with torch.no_grad():
            z = self.reader.handle.logits(x, whole.edge_index, whole.edge_weight, whole.batch, whole.fields)
            left = margins(self.reader.outputs.read(z), self.reader.y[list(places)])
        return answered(left)


def answered(left: Tensor) -> Tensor:
    """Margins; minus infinity where there is no finite answer, which is wrong."""
    return torch.where(torch.isfinite(left), left, torch.full_like(left, float("-inf")))


def in_groups(places: Sequence[int], nodes: Sequence[int]) -> list[list[int]]:
    """Consecutive places whose nodes together stay below BATCH_NODES.

    Args:
        places: of graphs.
        nodes: how many a graph takes, for every graph.
    """
    groups: list[list[int]] = [[]]
    filled = 0
    for place in places:
        if groups[-1] and filled + nodes[place] > BATCH_NODES:
            groups.append([])
            filled = 0
        groups[-1].append(place)
        filled += nodes[place]
    return groups
