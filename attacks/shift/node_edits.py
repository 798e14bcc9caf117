"""Blind removal of nodes: the graph that is left is an induced subgraph of the graph before."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.shift.edge_edits import choose_in_groups
from attacks.shift.edit import Edit
from auditor.data.graph import Graph


def drop_nodes(graph: Graph, rate: float, rng: np.random.Generator, *, protected: Tensor) -> Edit:
    """Removes round(rate · N) nodes outside `protected` (bool [N]); among many graphs in each, at least one stays."""
    free = np.flatnonzero(~protected.numpy())
    if graph.batch is None:
        counts = np.array([math.floor(rate * graph.num_nodes + 0.5)])
        groups = np.zeros(len(free), dtype=np.int64)
    else:
        sizes = np.bincount(graph.batch.numpy())
        counts = np.minimum(np.floor(rate * sizes + 0.5).astype(np.int64), sizes - 1)
        groups = graph.batch.numpy()[free]
    gone = free[choose_in_groups(groups, counts, rng)]
    return _keep(graph, np.setdiff1d(np.arange(graph.num_nodes), gone))


def crop_graphs(graph: Graph, share: float, rng: np.random.Generator) -> Edit:
    """Keeps ceil(share · n) nodes of each graph: a breadth-first ball around a random node.

    Where a component is used up the ball goes on from another random node.
    """
    assert graph.batch is not None
    n = graph.num_nodes
    order = torch.argsort(graph.edge_index[0], stable=True)
    sinks = graph.edge_index[1, order].numpy()
    ends = np.cumsum(np.bincount(graph.edge_index[0].numpy(), minlength=n))
    starts = np.concatenate([[0], ends[:-1]])
    sizes = np.bincount(graph.batch.numpy())
    first = np.cumsum(sizes) - sizes
    kept: list[int] = []
    for offset, size in zip(first.tolist(), sizes.tolist(), strict=True):
        roots = (offset + rng.permutation(size)).tolist()
        kept += _ball(roots, math.ceil(share * size), sinks, starts, ends)
    return _keep(graph, np.sort(np.array(kept, dtype=np.int64)))


def _ball(
    roots: list[int], want: int, sinks: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> list[int]:
    """`want` nodes breadth-first from roots[0], going on from the next unseen root when a component ends."""
    seen: set[int] = set()
    taken: list[int] = []
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        queue = deque([root])
        while queue and len(taken) < want:
            node = queue.popleft()
            taken.append(node)
            for other in sinks[starts[node] : ends[node]].tolist():
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        if len(taken) == want:
            break
    return taken


def _keep(graph: Graph, nodes: NDArray[np.int64]) -> Edit:
    node_ids = torch.from_numpy(nodes)
    return Edit(graph.induced(node_ids), node_ids=node_ids, claimed_rate=1 - len(nodes) / graph.num_nodes)
