"""Renames the clusters of one partition after those of another: labels of a partition permute freely."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def match_clusters(old: Tensor, new: Tensor) -> Tensor:
    """`new` with its cluster numbers replaced by those of `old`, so that as many nodes as possible keep theirs.

    One to one (Hungarian method on the overlaps, O(K^3)); a new cluster without a partner gets a number that `old` does
    not use. Negative entries mean "no cluster" and stay.

    Args:
        old: int64 [N].
        new: int64 [N].

    Raises:
        ValueError: unequal lengths.
    """
    if old.shape != new.shape:
        raise ValueError(f"{old.shape[0]} nodes before and {new.shape[0]} after cannot be matched")
    rows, columns = (int(each.max()) + 1 if each.numel() else 0 for each in (old, new))
    rows, columns = max(rows, 0), max(columns, 0)
    both = (old >= 0) & (new >= 0)
    overlap = torch.bincount(old[both] * columns + new[both], minlength=rows * columns).view(rows, columns)
    partner, cluster = linear_sum_assignment(overlap.numpy(), maximize=True)
    name = torch.arange(rows, rows + columns)
    name[torch.from_numpy(cluster)] = torch.from_numpy(partner)
    return torch.where(new >= 0, name[new.clamp_min(0)] if columns else new, new)
