"""Which attacked items a change of edges can reach: changes that reach different items are judged in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.robustness.soft_flips import Victim
from auditor.data.keys import distinct
from auditor.targets.soft_edges import message_passing_layers

Ints = NDArray[np.int64]
FAR, FARTHEST = 0.5, 5000
"""A change that reaches this share or number of the nodes is judged alone: little could stand beside it."""
LOOKED_AT = 512
"""Changes looked at for one call, so that a long queue is not gone through again and again."""
SAME = 1e-4


def depth_of(victim: Victim) -> int:
    """How many hops a node sees: one for each layer of message passing, K for a layer that passes K times."""
    layers = message_passing_layers(victim.relaxation.handle.model)
    return sum(int(getattr(layer, "K", 1) or 1) for layer in layers)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Pairs that are toggled together, int64 [k], and the places of the attacked items that they can reach.

    `items` is None where that may be any of them.
    """

    keys: Tensor
    items: Ints | None


class Reach:
    """What each of some changes can reach, in the union of the clean graph and everything that may be added.

    A node's answer depends on edges within `depth` hops of it, and its degree and those of its neighbours belong to
    edges that are no farther. So toggling (u, v) moves no answer beyond `depth` hops of u and v. A model that couples
    all nodes (a norm over the graph, a virtual node) breaks this: then `depth` is None and each change judged alone.

    Args:
        victim: under attack.
        depth: see `depth_of`.
        added: every pair that may be an edge while these changes are judged, int64.
    """

    def __init__(self, victim: Victim, depth: int | None, added: Tensor) -> None:
        graph = victim.space.graph
        self._n, self._depth = graph.num_nodes, depth
        self._most = min(FAR * self._n, FARTHEST)
        u, v = (end.numpy() for end in victim.space.ends(distinct(torch.cat([victim.space.existing, added]))))
        rows, columns = np.concatenate([u, v]), np.concatenate([v, u])
        order = np.argsort(rows, kind="stable")
        self._columns = columns[order]
        self._starts = np.searchsorted(rows[order], np.arange(self._n + 1))
        self._marked = np.zeros(self._n, dtype=bool)
        self._place = np.full(self._n, -1)
        self._place[victim.items.numpy()] = np.arange(victim.items.numel())

    def of(self, keys: Tensor) -> Change:
        """The change that toggles all of `keys`."""
        if self._depth is None:
            return Change(keys, None)
        seen = self._seen(distinct(torch.cat([keys // self._n, keys % self._n])).numpy(), self._depth)
        self._marked[seen] = False
        if len(seen) > self._most:
            return Change(keys, None)
        places = self._place[seen]
        return Change(keys, places[places >= 0])

    def _seen(self, ends: Ints, depth: int) -> Ints:
        """Nodes within `depth` hops of `ends`, marked; fewer hops where they are too many already."""
        seen = frontier = ends
        self._marked[ends] = True
        for _ in range(depth):
            beside = self._neighbours(frontier)
            frontier = np.sort(beside[~self._marked[beside]])
            frontier = frontier[np.concatenate([[True], frontier[1:] != frontier[:-1]])] if frontier.size else frontier
            self._marked[frontier] = True
            seen = np.concatenate([seen, frontier])
            if len(seen) > self._most:
                break
        return seen

    def together(self, changes: Sequence[Change]) -> Iterator[list[int]]:
        """Places of changes that reach different items, batch by batch and in their order, until none is left."""
        left = list(range(len(changes)))
        while left:
            taken = np.zeros(self._n, dtype=bool)
            batch: list[int] = []
            later: list[int] = []
            for at, place in enumerate(left[:LOOKED_AT]):
                items = changes[place].items
                if items is None and not batch:  # it is judged alone
                    batch.append(place)
                    later += left[at + 1 : LOOKED_AT]
                    break
                if items is None or taken[items].any():
                    later.append(place)
                    continue
                taken[items] = True
                batch.append(place)
            yield batch
            left = later + left[LOOKED_AT:]

    def _neighbours(self, nodes: Ints) -> Ints:
        """Of all nodes, each as often as it is one."""
        counts = self._starts[nodes + 1] - self._starts[nodes]
        firsts = np.repeat(self._starts[nodes] - (np.cumsum(counts) - counts), counts)
        found: Ints = self._columns[firsts + np.arange(counts.sum())]
        return found


def checked_depth(victim: Victim, keys: Tensor) -> int | None:
    """`depth_of`, or None where toggling one of `keys` moves an answer that it should not reach."""
    depth = depth_of(victim)
    reach = Reach(victim, depth, keys)
    clean = victim.logits(torch.empty(0, dtype=torch.int64))
    for key in torch.split(keys, 1):
        items = reach.of(key).items
        if items is None:
            continue
        beyond = torch.ones(victim.items.numel(), dtype=torch.bool)
        beyond[torch.from_numpy(items)] = False
        moved = (victim.logits(key) - clean)[beyond].abs()
        if moved.numel() and not float(moved.max()) <= SAME * max(1.0, float(clean.abs().max())):
            return None
    return depth
