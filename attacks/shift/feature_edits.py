"""Blind edits of the features, at the tensor handed to the model; edges untouched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attacks.shift.edit import Edit
from auditor.data.feature_space import is_binary
from auditor.data.graph import Graph


def mask_features(graph: Graph, rate: float, rng: np.random.Generator, *, seen: Tensor | None = None) -> Edit:
    """Zeroes each entry of x with probability `rate`, all nodes; claims the share of non-zero entries it hit.

    Of whole-number features 0 is a category like any other: what is hit is drawn again from the same column of a random
    row of `seen` [M, F], the training nodes' (default: all), so that no value comes that the model was not trained on.
    """
    hit = torch.from_numpy(rng.random(graph.x.shape, dtype=np.float32) < rate)
    if graph.whole_x:
        known = graph.x if seen is None else seen
        rows = torch.from_numpy(rng.integers(0, len(known), graph.x.shape))
        return Edit(replace(graph, x=torch.where(hit, known.gather(0, rows), graph.x)))
    filled = graph.x != 0
    claimed = int((hit & filled).sum()) / max(int(filled.sum()), 1)
    return Edit(replace(graph, x=graph.x.masked_fill(hit, 0.0)), claimed_rate=claimed)


def add_noise(graph: Graph, scale: float, rng: np.random.Generator, *, sigma: Tensor) -> Edit:
    """Adds scale · sigma · e to every entry of x, e ~ N(0, 1).

    `norm_ratio` = mean ‖x_v‖ / mean ‖noise_v‖: "noise × 1" is many times the row of a sparse graph, so that scales are
    comparable inside a data set only. `leaves_domain` marks binary features that real data could not hold.
    """
    noise = torch.from_numpy(rng.standard_normal(graph.x.shape, dtype=np.float32)) * (scale * sigma)
    size = float(noise.norm(dim=1).mean())
    notes = {"norm_ratio": float(graph.x.norm(dim=1).mean()) / size} if size else {}
    return Edit(replace(graph, x=graph.x + noise), leaves_domain=is_binary(graph.x), notes=notes)


def interpolate_features(graph: Graph, rng: np.random.Generator) -> Tensor:
    """A mix u · x_i + (1 − u) · x_j for every node, i and j uniform nodes and u uniform in [0, 1), [N, F].

    Source: Wu et al., "Energy-based out-of-distribution detection for graph neural networks" (GNNSafe), ICLR 2023.
    """
    n = graph.num_nodes
    one, two = (torch.from_numpy(rng.integers(0, n, n)) for _ in range(2))
    share = torch.from_numpy(rng.random(n, dtype=np.float32)).unsqueeze(1)
    return share * graph.x[one] + (1 - share) * graph.x[two]


def permute_features(graph: Graph, rng: np.random.Generator) -> Tensor:
    """The rows of x on other nodes, of many graphs inside each, [N, F]."""
    batch = np.zeros(graph.num_nodes, dtype=np.int64) if graph.batch is None else graph.batch.numpy()
    order = np.lexsort((rng.random(graph.num_nodes), batch))
    return graph.x[torch.from_numpy(order)]


def noise_sigma(graph: Graph, train_nodes: Tensor) -> Tensor:
    """Unit of the noise: mean |non-zero entry| when fewer than half the entries are so, else per-feature train sd.

    Args:
        graph: all features, [N, F].
        train_nodes: nodes the model was trained on, bool [N].

    Returns:
        [1] or [F].
    """
    if not graph.num_features:
        return torch.zeros(1)
    filled = graph.x != 0
    if 2 * int(filled.sum()) < graph.x.numel():
        return graph.x.abs().sum().div(max(int(filled.sum()), 1)).reshape(1)
    return graph.x[train_nodes].std(dim=0, correction=0)
