"""Drops edges between nodes that have little in common (GCN-Jaccard's rule)."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.errors import ConfigError
from defenses.joint_cluster.partition import says_nothing

BLOCK = 8192
THRESHOLDS = (0.0, 0.01, 0.02, 0.03, 0.05)


def similarity(x: Tensor, edge_index: Tensor) -> Tensor:
    """Jaccard similarity of binary rows, cosine of others, float [E]; 0 where a row is empty. No gradient.

    Source: Wu et al., "Adversarial Examples for Graph Data", IJCAI 2019 (GCN-Jaccard).
    """
    with torch.no_grad():
        binary = bool(((x == 0) | (x == 1)).all())
        size = x.sum(dim=1) if binary else x.norm(dim=1)
        parts = []
        for u, v in zip(*(torch.split(end, BLOCK) for end in edge_index), strict=True):
            inner = (x[u] * x[v]).sum(dim=1)
            whole = size[u] + size[v] - inner if binary else size[u] * size[v]
            parts.append(inner / torch.where(whole > 0, whole, torch.ones_like(whole)))
        return torch.cat(parts) if parts else x.new_zeros(0)


def drop_unlike(
    x: Tensor, edge_index: Tensor, edge_weight: Tensor | None, threshold: float
) -> tuple[Tensor, Tensor | None]:
    """Edges with similarity >= threshold, loops always, and their weights. The gradient of kept weights is exact."""
    if threshold <= 0:
        return edge_index, edge_weight
    kept = (similarity(x, edge_index) >= threshold) | (edge_index[0] == edge_index[1])
    return edge_index[:, kept], None if edge_weight is None else edge_weight[kept]


def check_features(x: Tensor) -> None:
    """Raises ConfigError where features cannot tell alike nodes from others."""
    if says_nothing(x):
        raise ConfigError(
            "clean=jaccard compares features of the two ends; these are the identity or constant: it would drop "
            "every edge or none. Leave clean out."
        )
