"""Adds nodes graph by graph: several places for them are tried at once, their features written by gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.robustness.added_rows import AddedRows
from attacks.robustness.attacked_graphs import AttackedGraphs, answered, in_groups
from attacks.robustness.losses import margins, tanh_loss
from auditor.data.added_nodes import with_nodes
from auditor.data.batches import in_one_batch
from auditor.data.feature_space import FeatureSpace
from auditor.data.graph import Graph
from auditor.outcomes import AddedNodes

STARTS = 16
"""Places that are tried for the nodes of a graph: where its answer depends on features most, and others at random."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How features of added nodes are written.

    Attributes:
        space: what they may be.
        edges: of each added node, where its graph has as many nodes.
        steps, momentum: of the gradient.
        weight: of new edges: the median over all graphs, not over those at hand; None where edges have no weight.
    """

    space: FeatureSpace
    edges: int
    steps: int
    momentum: float
    weight: Tensor | None = None


def add_by_graph(
    graphs: AttackedGraphs, budget: int, most: Tensor, writing: Writing, rng: np.random.Generator
) -> AddedNodes:
    """Nodes for every graph that is right, in the numbering of the attacked graphs and their nodes.

    Args:
        graphs: attacked.
        budget: the sum of `most`.
        most: nodes added to each, int64 [n].
        writing: how.
        rng: draws the places.
    """
    clean = graphs.reader.graph.x
    alive = [place for place, left in enumerate(graphs.margins(clean).tolist()) if left > 0]
    x = clean.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(graphs.reader.loss(x, tanh_loss), x)
    depends = gradient.nan_to_num(0.0).norm(dim=1)
    nodes = [STARTS * (graph.num_nodes + int(count)) for graph, count in zip(graphs.each, most, strict=True)]
    added = AddedNodes(
        budget, writing.space.raw[:0], torch.empty(2, 0, dtype=torch.int64), graphs=torch.empty(0, dtype=torch.int64)
    )
    groups = in_groups(alive, nodes) if alive else []
    return _joined([added, *(_best_of(graphs, group, depends, most, writing, rng) for group in groups)])


def _best_of(
    graphs: AttackedGraphs,
    group: Sequence[int],
    depends: Tensor,
    most: Tensor,
    writing: Writing,
    rng: np.random.Generator,
) -> AddedNodes:
    """The best places and features for each graph of the group."""
    copies = [place for place in group for _ in range(STARTS)]
    whole, starts = in_one_batch([graphs.each[place] for place in copies])
    new, old, owner = [], [], list[int]()
    for copy, place in enumerate(copies):
        first, size = graphs.starts[place], graphs.each[place].num_nodes
        order: NDArray[np.int64] = rng.permutation(size)
        if copy % STARTS == 0:
            order = torch.argsort(depends[first : first + size], descending=True, stable=True).numpy()
        each = min(writing.edges, size)
        for number in range(int(most[place])):
            ends = order[(number * each + np.arange(each)) % size]
            new += [len(owner)] * each
            old.append(torch.from_numpy(ends) + starts[copy])
            owner.append(copy)
    edges, of = torch.stack([torch.tensor(new), torch.cat(old)]), torch.tensor(owner)
    raw, left = _written(graphs, copies, whole, edges, of, writing)
    chosen = left.view(len(group), STARTS).argmin(dim=1) + STARTS * torch.arange(len(group))
    kept = torch.isin(of, chosen)
    place_of = torch.cumsum(kept.long(), dim=0) - 1
    inside = kept[edges[0]]
    at = of[edges[0, inside]]
    begins = torch.tensor([graphs.starts[place] for place in copies])
    local = edges[1, inside] - torch.tensor(starts)[at] + begins[at]
    return AddedNodes(
        int(kept.sum()),
        raw[kept],
        torch.stack([place_of[edges[0, inside]], local]),
        graphs=torch.tensor(copies)[of[kept]],
    )


def _written(
    graphs: AttackedGraphs, copies: Sequence[int], whole: Graph, edges: Tensor, of: Tensor, writing: Writing
) -> tuple[Tensor, Tensor]:
    """Features of the added nodes, raw [r, F], and the least margin of each copy that they come with."""
    reader, y = graphs.reader, graphs.reader.y[list(copies)]

    def scores(raw: Tensor) -> Tensor:
        graph = with_nodes(whole, writing.space.read(raw), edges, of, weight=writing.weight)
        return reader.outputs.read(reader.handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch))

    rows = AddedRows.start(writing.space, of.numel())
    best, speed, lowest = rows.raw, torch.zeros_like(rows.raw), torch.full((len(copies),), float("inf"))
    for _ in range(writing.steps):
        raw = rows.raw.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(tanh_loss(scores(raw), y), raw)
        speed = writing.momentum * speed + gradient.nan_to_num(0.0)
        rows = rows.moved(speed)
        with torch.no_grad():
            left = answered(margins(scores(rows.raw), y))
        better = left < lowest
        best = torch.where(better[of][:, None], rows.raw, best)
        lowest = torch.where(better, left, lowest)
    return best, lowest


def _joined(parts: Sequence[AddedNodes]) -> AddedNodes:
    """All of them under the budget of the first, those of each numbered on from those before."""
    counts = [part.x.shape[0] for part in parts]
    before = [torch.tensor([[sum_], [0]]) for sum_ in accumulate([0, *counts[:-1]])]
    edges = [part.edges + shift for part, shift in zip(parts, before, strict=True)]
    graphs = [part.graphs for part in parts if part.graphs is not None]
    return AddedNodes(
        parts[0].budget, torch.cat([part.x for part in parts]), torch.cat(edges, dim=1), graphs=torch.cat(graphs)
    )
