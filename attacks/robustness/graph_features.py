"""Edits features graph by graph: the few whose gradient promises most are tried, and the best of them kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.robustness.attacked_graphs import AttackedGraphs, in_groups
from attacks.robustness.feature_steps import TRY_EVERY, direction
from attacks.robustness.losses import Loss
from auditor.data.feature_space import Within

SHORTLIST = 16


def edits_by_graph(
    graphs: AttackedGraphs, loss: Loss, most: Tensor, rounds: int, room: Tensor | None
) -> list[list[int]]:
    """For each graph the edits of its bits or categories, in the order found: keys row · F + column of its nodes.

    Each round ranks every edit by one gradient; of each graph that is still right the best 16 are made for real, one at
    a time, and the one that leaves the least margin is kept. A budget of more than `rounds` edits takes several in a
    round, from twice as many that are tried.

    Args:
        graphs: attacked.
        loss: what the gradient is of.
        most: edits allowed in each, int64 [n].
        rounds: within how many a budget is spent.
        room: edits allowed at each of all nodes of the data, int64 [N]; None for no bound.
    """
    search = _Search(graphs, room)
    each = [-(-count // rounds) for count in most.tolist()]
    alive = [place for place, left in enumerate(graphs.margins(graphs.reader.graph.x).tolist()) if left > 0]
    while alive:
        promise = search.promise(loss)
        sizes = [max(SHORTLIST, 2 * each[p]) * graph.num_nodes for p, graph in enumerate(graphs.each)]
        stuck = set()
        for group in in_groups(alive, sizes):
            asked = [min(each[place], int(most[place]) - len(search.found[place])) for place in group]
            stuck |= search.edit(group, promise, asked)
        left = graphs.margins(search.x).tolist()
        alive = [p for p in alive if left[p] > 0 and p not in stuck and len(search.found[p]) < int(most[p])]
    return search.found


class _Search:
    """What was edited so far.

    Attributes:
        found: edits of each graph, in order.
    """

    def __init__(self, graphs: AttackedGraphs, room: Tensor | None) -> None:
        self.graphs, self.space = graphs, graphs.space
        self.raw = self.space.raw.clone()
        self.found: list[list[int]] = [[] for _ in graphs.each]
        self._done = torch.zeros_like(self.raw, dtype=torch.bool)
        rows, width = self.raw.shape
        free = torch.full((rows,), width) if room is None else room[graphs.nodes].clone()
        self._room = torch.ones_like(free) if self.space.kind == "categories" else free

    @property
    def x(self) -> Tensor:
        """Features as the model reads them, [N', F]."""
        return self.space.read(self.raw)

    def promise(self, loss: Loss) -> Tensor:
        """What each edit promises, [N', F]; minus infinity where it may not be made."""
        raw = self.raw.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.graphs.reader.loss(self.space.read(raw), loss), raw)
        closed = self._done | (self._room <= 0)[:, None]
        return self.space.promised(self.raw, gradient).masked_fill(closed, float("-inf"))

    def edit(self, group: Sequence[int], promise: Tensor, asked: Sequence[int]) -> set[int]:
        """Makes the best edits of each graph of the group, as many as asked; which of them have none left."""
        starts, width = self.graphs.starts, self.raw.shape[1]
        short, copies = [], []
        for place, count in zip(group, asked, strict=True):
            first, end = starts[place] * width, starts[place + 1] * width
            own = promise.view(-1)[first:end]
            open_ = int((own > float("-inf")).sum())
            keys = torch.topk(own, min(max(SHORTLIST, 2 * count), open_)).indices + first
            short.append(keys)
            copies += [self._copies(place, keys)] if keys.numel() else []
        tried = [place for place, keys in zip(group, short, strict=True) for _ in range(keys.numel())]
        stuck = {place for place, keys in zip(group, short, strict=True) if not keys.numel()}
        if not tried:
            return stuck
        left = torch.split(
            self.graphs.margins_of(tried, self.space.read(torch.cat(copies))), [keys.numel() for keys in short]
        )
        for place, keys, margins, count in zip(group, short, left, asked, strict=True):
            self._keep(place, keys[torch.argsort(margins, stable=True)].tolist(), count)
        return stuck

    def _copies(self, place: int, keys: Tensor) -> Tensor:
        """Raw features of the graph, once with each of the edits, [k · n, F]."""
        first, end = self.graphs.starts[place], self.graphs.starts[place + 1]
        width = self.raw.shape[1]
        rows = self.raw[first:end].reshape(1, -1).repeat(keys.numel(), 1)
        for key in self._toggles(keys):
            at = (key - first * width)[:, None]
            rows.scatter_(1, at, 1 - rows.gather(1, at))
        return rows.view(-1, width)

    def _toggles(self, keys: Tensor) -> Sequence[Tensor]:
        """The bits that each edit toggles: one, or that of the old category and that of the new one."""
        return self.space.bits_of(keys).view(keys.numel(), -1).unbind(dim=1)

    def _keep(self, place: int, keys: Sequence[int], count: int) -> None:
        """Makes the first of the edits that their nodes have room for."""
        made = 0
        for key in keys:
            row = key // self.raw.shape[1]
            if made == count:
                return
            if self._room[row] > 0:
                bits = self.space.bits_of(torch.tensor([key]))
                self.raw.view(-1)[bits] = 1 - self.raw.view(-1)[bits]
                self._done.view(-1)[bits] = True
                self._room[row] -= 1
                self.found[place].append(key)
                made += 1


def change_by_graph(graphs: AttackedGraphs, loss: Loss, radius: float, steps: int, within: Within) -> Tensor:
    """What to add to the values, [N', F]: steps along the gradient; of each graph the one that leaves least margin."""
    space = graphs.space
    change = torch.zeros_like(space.raw)
    best, lowest, batch = change, graphs.margins(space.raw), graphs.batch
    for k in range(1, steps + 1):
        at = (space.raw + change).requires_grad_(True)
        (gradient,) = torch.autograd.grad(graphs.reader.loss(at, loss), at)
        step = 2.5 * radius / steps * direction(gradient * space.scale, within)
        change = space.moved(space.units(change) + step, radius, within)
        if k % TRY_EVERY == 0 or k == steps:
            left = graphs.margins(space.raw + change)
            better = left < lowest
            best = torch.where(better[batch][:, None], change, best)
            lowest = torch.where(better, left, lowest)
    return best
