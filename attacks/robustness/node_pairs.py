"""Which pairs an attack on one node may toggle, by the way it goes about it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.probe import Attempt
from auditor.registry import Profile
from auditor.targets.surroundings import around
from auditor.view import View

Mode = Literal["direct", "influencer", "additions", "deletions"]
MODES: dict[Profile, tuple[Mode, ...]] = {
    "quick": ("direct",),
    "standard": ("direct",),
    "full": ("direct", "influencer", "additions", "deletions"),
}
MOST_PAIRS = 100_000


def pairs_for(space: EdgeSpace, node: int, mode: Mode, hops: int, rng: np.random.Generator) -> Tensor:
    """Keys that an attack on `node` may toggle, sorted, int64 [K].

    Args:
        space: of the clean graph.
        node: the one that is to be broken.
        mode: `direct`: pairs with one end at the node; `additions`, `deletions`: those that are no edge, that are one;
            `influencer`: pairs of two others, both within `hops` steps of it, a sample where there are many.
        hops: steps that its answer depends on.
        rng: of that sample.
    """
    if mode == "influencer":
        near = around(space.graph, torch.tensor([node]), hops)
        return _among(space, near[near != node], rng)
    keys = space.at(node)
    if mode == "direct":
        return keys
    return keys[space.exists(keys) == (mode == "deletions")]


def _among(space: EdgeSpace, nodes: Tensor, rng: np.random.Generator) -> Tensor:
    """Pairs of these nodes: all, or as many as MOST_PAIRS at random beside every edge."""
    n, count = space.graph.num_nodes, nodes.numel()
    if count * count <= MOST_PAIRS:
        u, v = torch.cartesian_prod(nodes, nodes).T if count else (nodes, nodes)
    else:
        u, v = nodes[torch.from_numpy(rng.integers(0, count, (2, MOST_PAIRS)))]
    keys = (u * n + v)[u != v] if space.directed else (u * n + v)[u < v]
    a, b = space.ends(space.existing)
    there = space.existing[torch.isin(a, nodes) & torch.isin(b, nodes)]
    distinct: Tensor = torch.unique(torch.cat([keys, there]))
    return distinct


def modes_of(asked: tuple[Mode, ...], profile: Profile) -> tuple[Mode, ...]:
    """The modes asked for, or those of the profile."""
    return asked or MODES[profile]


def room(view: View, attempt: Attempt) -> list[Tensor]:
    """Flips allowed at each of `view.items` under each budget, int64 [n].

    Raises:
        SkippedError: a target that classifies graphs.
    """
    if view.task.level == "graph":
        raise SkippedError("single nodes are attacked; this target classifies whole graphs")
    n = view.items.numel()
    return list(attempt.item_budgets) or [torch.full((n,), budget) for budget in attempt.budgets]


def labelled(mode: Mode, node: int, draw: int | None = None) -> str:
    """The name of a claim: `direct target=12`, `direct target=12 draw=3`."""
    return f"{mode} target={node}" + ("" if draw is None else f" draw={draw}")
