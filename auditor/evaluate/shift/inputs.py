"""What is visible without a model: simple statistics of the inputs, and how well the best of them tells data apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.statistics.detection import auroc

Floats = NDArray[np.float64]


def statistics(graph: Graph) -> dict[str, Floats]:
    """Row sum, entries other than 0, largest entry, degree of every node; of many graphs their means, and sizes."""
    x = graph.x.double()
    degree = torch.zeros(graph.num_nodes).double()
    degree.index_add_(0, graph.edge_index[1], torch.ones(graph.num_edges).double())
    found = {"degree": degree}
    if graph.num_features:
        found |= {"row sum": x.sum(dim=1), "non-zeros": (x != 0).double().sum(dim=1), "row max": x.max(dim=1).values}
    if graph.batch is not None:
        sizes = torch.bincount(graph.batch, minlength=graph.num_items).double()
        found = {name: _per_graph(value, graph.batch, sizes) for name, value in found.items()}
        found["nodes"] = sizes
    return {name: value.numpy() for name, value in found.items()}


def best_statistic(own: Mapping[str, Floats], made: Sequence[Mapping[str, Floats]]) -> tuple[str, float]:
    """The statistic that tells test items best from those of a set, either way round, and its AUROC over the draws."""
    points = {name: float(np.mean([auroc(own[name], each[name]) for each in made])) for name in own}
    best = max(points, key=lambda name: abs(points[name] - 0.5))
    return best, max(points[best], 1 - points[best])


def _per_graph(value: Tensor, batch: Tensor, sizes: Tensor) -> Tensor:
    return torch.zeros(len(sizes)).double().index_add_(0, batch, value) / sizes.clamp_min(1)
