"""Division and vote: the edges of a graph are divided by a hash, the model answers for each part, and most parts win.

An edge lies in one part, wherever the others are: an edit of it changes one part, and so one vote. With N_a votes for
the winner a and N_b for another class b, r edits leave N_a >= N_a − r and N_b <= N_b + r, and a stays the winner where
N_a − N_b − [b < a] >= 2 r (a tie goes to the smaller class). Exact, for any model; nothing is drawn.

Source: Xia et al., "GNNCert: Deterministic Certification of Graph Neural Networks against Adversarial Perturbations",
ICLR 2024. There the model is trained on parts too; here it is the one that is audited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.targets.target import ModelHandle

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


@dataclass(frozen=True, slots=True)
class Division:
    """Which part each pair of nodes lies in.

    Attributes:
        parts: number of parts T.
        directed: whether an edge is an arc; otherwise both arcs of an edge lie in one part.
    """

    parts: int
    directed: bool

    def part_of(self, graph: Graph, arcs: Tensor) -> Ints:
        """The part of each arc int64 [2, K] of many graphs, int64 [K].

        It follows from the numbers of its ends in their own graph alone: no edge and no other graph matters to it.
        """
        if graph.batch is None:
            raise ValueError("a division is of many graphs; this is one")
        sizes = torch.bincount(graph.batch)
        first = torch.cumsum(sizes, dim=0) - sizes
        ends = (arcs - first[graph.batch[arcs]]).numpy()
        u, v = ends if self.directed else (ends.min(axis=0), ends.max(axis=0))
        mixed = _mix(_mix(u.astype(np.uint64)) ^ v.astype(np.uint64))
        found: Ints = (mixed % np.uint64(self.parts)).astype(np.int64)
        return found

    def divided(self, graph: Graph) -> Iterator[Graph]:
        """Each part of the graphs, edited or not: all nodes, its own edges in the order of their ends, every loop.

        The same edges are the same tensors, so that a part without an edit has the same answers bit for bit.
        """
        arcs = graph.edge_index
        order = torch.argsort(arcs[0] * graph.num_nodes + arcs[1], stable=True)
        arcs = arcs[:, order]
        part, loops = torch.from_numpy(self.part_of(graph, arcs)), arcs[0] == arcs[1]
        for number in range(self.parts):
            yield graph.keeping(order[(part == number) | loops])

    def votes(self, handle: ModelHandle, graph: Graph, classes: int) -> Ints:
        """Votes of the parts for each class of each graph, int64 [B, C]; an answer that is no number is no vote."""
        found = np.zeros((graph.num_items, classes), dtype=np.int64)
        for part in self.divided(graph):
            add_votes(found, answers(handle, part))
        return found


def answers(handle: ModelHandle, graph: Graph) -> Ints:
    """The class of each item, int64; −1 for an answer that is no number."""
    with torch.no_grad():
        logits = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    found: Ints = graph.task.answers(logits).numpy()
    return found


def add_votes(votes: Ints, classes: Ints) -> None:
    """Adds one vote of each item for its class, to int64 [n, C]; none where the class is −1."""
    said = np.flatnonzero(classes >= 0)
    votes[said, classes[said]] += 1


def winners(votes: Ints) -> Ints:
    """The class with most votes, the smallest of equals, −1 without any vote, int64 [n]."""
    found: Ints = np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), -1)
    return found


def radius(votes: Ints) -> Ints:
    """How many votes may change, one an edit, so that the winner surely stays, int64 [n]."""
    rows = np.arange(len(votes))
    own = votes.argmax(axis=1)
    beaten = votes + (np.arange(votes.shape[1])[None, :] < own[:, None])
    beaten[rows, own] = -1
    safe: Ints = np.maximum((votes[rows, own] - beaten.max(axis=1)) // 2, 0)
    return safe


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits after which neighbours have nothing in common (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = values + _ODD[0]
        z = (z ^ (z >> _SHIFTS[0])) * _ODD[1]
        z = (z ^ (z >> _SHIFTS[1])) * _ODD[2]
    mixed: NDArray[np.uint64] = z ^ (z >> _SHIFTS[2])
    return mixed
