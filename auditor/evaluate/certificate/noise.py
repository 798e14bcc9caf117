"""Copies of a graph with noise on its edges, and what a model answers about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.evaluate.certificate.division import Ints, add_votes
from auditor.evaluate.certificate.smoothing import Noise
from auditor.targets.memo import LinearMemo
from auditor.targets.target import Target

Draw = Callable[[int], np.random.Generator]
"""The generator of a block of copies, by its number."""
BLOCKS = 100
"""Copies are drawn in so many blocks, each from a stream of its own: one of them can be drawn again."""


class NoisyCopies:
    """The model on copies of a graph whose edges are there, or not, by chance.

    Args:
        target: whose model answers.
        space: of the graph, edited or not, that is copied.
        noise: of its pairs.
        items: what is answered, int64 [n].
    """

    def __init__(self, target: Target, space: EdgeSpace, noise: Noise, items: Tensor) -> None:
        self._space, self._noise, self._items = space, noise, items
        self._handle, self._classes = target.handle(), target.num_classes
        graph = space.graph
        self._memo = LinearMemo(self._handle.model)  # the features are the same in every copy
        self._memo.fix(graph.x)
        self._loops = torch.nonzero(graph.edge_index[0] == graph.edge_index[1]).flatten()

    def votes(self, samples: int, draw: Draw, tick: Callable[[float], None] = lambda _done: None) -> list[Ints]:
        """Votes of `samples` copies for each class of each item, int64 [n, C] a block."""
        found = []
        for number, size in enumerate(sizes(samples)):
            tick(number / BLOCKS)
            found.append(self.block(size, draw(number)))
        return found

    def block(self, size: int, rng: np.random.Generator) -> Ints:
        """Votes of `size` copies, int64 [n, C]; an answer that is no number is no vote."""
        graph = self._space.graph
        votes = np.zeros((self._items.numel(), self._classes), dtype=np.int64)
        with torch.no_grad():
            for _ in range(size):
                edge_index, weight = self._copy(rng)
                logits = self._handle.logits(graph.x, edge_index, weight, None, graph.fields_on(edge_index))
                add_votes(votes, graph.task.answers(logits[self._items]).numpy())
        return votes

    def _copy(self, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """The arcs of one copy, int64 [2, E'], and their weights."""
        graph, space = self._space.graph, self._space
        stays = torch.from_numpy(rng.random(space.m) >= self._noise.minus)
        kept = torch.cat([self._loops, space.places[stays].flatten()])
        added = space.arcs(self._absent(int(rng.binomial(space.num_pairs - space.m, self._noise.plus)), rng))
        weight = graph.edge_weight
        if weight is not None:
            weight = torch.cat([weight[kept], weight.median().expand(added.shape[1])])
        return torch.cat([graph.edge_index[:, kept], added], dim=1), weight

    def _absent(self, count: int, rng: np.random.Generator) -> Tensor:
        """So many distinct uniform pairs that are no edges, int64 [count]: no list of all pairs is made."""
        space = self._space
        share = 1 - space.m / space.num_pairs
        if share == 0:  # edits may have joined every pair
            return space.draw(0, rng)
        while True:
            wanted = min(space.num_pairs, math.ceil(1.1 * count / share) + 16)
            keys = space.draw(wanted, rng)
            absent = keys[~space.exists(keys)]
            if absent.numel() >= count:  # in random order, so that the first ones are uniform
                return absent[:count]
            share /= 2


def total(blocks: Sequence[Ints]) -> Ints:
    """Votes of all blocks, int64 [n, C]."""
    found: Ints = np.sum(blocks, axis=0)
    return found


def sizes(samples: int) -> list[int]:
    """How many copies each block has; the first ones have one more where it does not divide."""
    return [samples // BLOCKS + (number < samples % BLOCKS) for number in range(BLOCKS)]
