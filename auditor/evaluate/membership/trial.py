"""Whom the scores are judged on: members are what was trained on, others the test items, validation neither."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.errors import SkippedError
from auditor.targets.target import Target

QUARTILES = 4
LEAST_OF_GROUP = 10
"""Members, and others, that a group needs to be shown by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Members and others of one target.

    Attributes:
        items: ids, int64 [n], ascending.
        member: which were trained on, bool [n].
        y: class of each, int64 [n].
        groups: parts of the items by a word for each, `class=3`, `degree=1-2`; bool [n].
    """

    items: Tensor
    member: NDArray[np.bool_]
    y: NDArray[np.int64]
    groups: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, target: Target) -> Trial:
        """Everybody whose part is known. Validation items chose the checkpoint: they are on neither side.

        Raises:
            SkippedError: the split is not known, or there is one class.
        """
        if not target.split.is_known:
            raise SkippedError("which items the model was trained on is not known, so that nobody can be judged")
        if target.num_classes < 2:
            raise SkippedError(f"{target.name} has one class: an answer says the same of everybody")
        items = torch.nonzero(target.split.train | target.split.test).flatten()
        y = target.graph.y[items].numpy()
        member = target.split.train[items].numpy()
        parts = {f"class={c}": y == c for c in np.unique(y).tolist()}
        parts |= _quartiles(*sizes_of(target), items)
        groups = {name: inside for name, inside in parts.items() if _enough(inside, member)}
        return cls(items, member, y, groups)

    @property
    def members(self) -> int:
        """How many."""
        return int(self.member.sum())

    @property
    def others(self) -> int:
        """How many."""
        return int((~self.member).sum())


def degrees(target: Target) -> Tensor:
    """Edges of each node of the private graph, loops and repetitions left out, int64 [N]."""
    graph = target.private_graph
    keys = graph.pair_keys()
    ends = torch.cat([keys // graph.num_nodes, keys % graph.num_nodes])
    return torch.bincount(ends, minlength=graph.num_nodes)


def sizes_of(target: Target) -> tuple[str, Tensor]:
    """What items are grouped by, and how much each has: the degree of a node, the number of nodes of a graph."""
    batch = target.graph.batch
    return ("degree", degrees(target)) if batch is None else ("nodes", torch.bincount(batch))


def _quartiles(name: str, value: Tensor, items: Tensor) -> dict[str, NDArray[np.bool_]]:
    """Quarters of the items by a whole number, as far as equal values leave any."""
    own = value[items].numpy()
    edges = np.unique(np.quantile(own, np.linspace(0, 1, QUARTILES + 1)).astype(np.int64))
    found: dict[str, NDArray[np.bool_]] = {}
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        first = low if k == 0 else low + 1
        inside = (own >= first) & (own <= high)
        found[f"{name}={first}" if first == high else f"{name}={first}-{high}"] = inside
    return found


def _enough(inside: NDArray[np.bool_], member: NDArray[np.bool_]) -> bool:
    return min(int((inside & member).sum()), int((inside & ~member).sum())) >= LEAST_OF_GROUP
