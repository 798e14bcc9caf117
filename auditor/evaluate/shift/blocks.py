"""Which items stand or fall together: communities of nodes, resampled as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document import ValidityRow, check

Ints = NDArray[np.int64]
MIN_BLOCKS = 30
LOUVAIN_EDGES = 50_000
"""Arcs up to which communities are looked for: Louvain in Python takes 17 s on 88,000 arcs and grows faster than they
do, while regions are grown in a few passes over the arcs."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks of the evaluated items.

    Attributes:
        ids: block of each item, int64 [n]; each item its own block where dependence is not modelled.
        found: number of blocks with an item in them.
        method: what a block is: a Louvain community, a grown region, or an item by itself.
        modelled: False when too few blocks were found, so that items are resampled as if independent.
    """

    ids: Ints
    found: int
    method: Literal["Louvain", "region", "items"]
    modelled: bool

    def row(self, deff: float) -> ValidityRow:
        """What the intervals of this cell rest on."""
        if self.method == "items":
            evidence = f"{len(self.ids)} graphs, resampled one by one."
        elif self.modelled:
            evidence = f"{self.found} {self.method} blocks hold the {len(self.ids)} items; design effect {deff:.1f}."
        else:
            evidence = (
                f"dependence between nodes not modelled: {self.found} {self.method} blocks hold the items, "
                f"{MIN_BLOCKS} are needed; nodes are resampled as if independent, intervals may be too narrow."
            )
        return check("shift-dependence", "warning", self.modelled, evidence)


def item_blocks(graph: Graph, items: Tensor, *, rng: np.random.Generator) -> Blocks:
    """Blocks of `items`: Louvain communities for nodes (grown regions above 50,000 arcs), each graph for graphs."""
    if graph.task.level == "graph":
        return Blocks(np.arange(len(items)), len(items), "items", True)
    return node_blocks(graph, items, communities(graph, rng=rng))


def communities(graph: Graph, *, rng: np.random.Generator) -> Ints:
    """Community of each node, int64 [N]: by Louvain, above 50,000 arcs a grown region."""
    return grown_regions(graph, rng=rng) if graph.num_edges > LOUVAIN_EDGES else louvain(graph, rng=rng)


def node_blocks(graph: Graph, items: Tensor, labels: Ints) -> Blocks:
    """Blocks of some nodes of a graph, from the community of each of its nodes, int64 [N]."""
    _, ids = np.unique(labels[items.numpy()], return_inverse=True)
    found = int(ids.max()) + 1
    modelled = found >= MIN_BLOCKS
    return Blocks(
        ids.astype(np.int64) if modelled else np.arange(len(items)),
        found,
        "region" if graph.num_edges > LOUVAIN_EDGES else "Louvain",
        modelled,
    )


def louvain(graph: Graph, *, rng: np.random.Generator) -> Ints:
    """Louvain community of each node, int64 [N]; an isolated node is one by itself.

    Source: Blondel et al., "Fast unfolding of communities in large networks", 2008 (networkx).
    """
    net: Any = nx.Graph()
    net.add_nodes_from(range(graph.num_nodes))
    keys = graph.pair_keys().numpy()
    net.add_edges_from(zip((keys // graph.num_nodes).tolist(), (keys % graph.num_nodes).tolist(), strict=True))
    labels = np.empty(graph.num_nodes, dtype=np.int64)
    for number, members in enumerate(nx.community.louvain_communities(net, seed=int(rng.integers(2**31)))):
        labels[list(members)] = number
    return labels


def grown_regions(graph: Graph, *, rng: np.random.Generator, regions: int = 256) -> Ints:
    """Region of each node, int64 [N]: breadth-first growth from random seeds; what no seed reaches by component."""
    keys = graph.pair_keys().numpy()
    n = graph.num_nodes
    ones = np.ones(len(keys), dtype=np.float64)
    adjacency = sparse.csr_matrix((ones, (keys // n, keys % n)), shape=(n, n))
    seeds = rng.choice(n, size=min(regions, n), replace=False)
    _, _, nearest = csgraph.dijkstra(
        adjacency, directed=False, indices=seeds, unweighted=True, min_only=True, return_predecessors=True
    )
    _, component = csgraph.connected_components(adjacency, directed=False)
    labels = np.where(nearest >= 0, nearest, n + component)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
