"""Which items are attacked: every test node, or as many of the test graphs as are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from auditor.probe import Cell
from auditor.registry import Profile

GRAPHS: Mapping[Profile, int] = {"quick": 40, "standard": 100, "full": 10**9}


def attacked_items(cell: Cell, graphs: int) -> Tensor:
    """Ids of the attacked items, int64 [n] ascending.

    Args:
        cell: its target, profile and random streams.
        graphs: how many test graphs are drawn at most (task `graph`); 0 for the profile's number.
    """
    items = torch.nonzero(cell.target.split.test).flatten()
    if cell.target.task.level == "node":
        return items
    drawn = cell.rng("graphs").permutation(items.numel())[: graphs or GRAPHS[cell.profile]]
    return items[torch.from_numpy(np.sort(drawn))]
