"""Blind edits of the edges: some removed, some added, features untouched.

On an undirected graph an edge is an unordered pair and both of its arcs go or come together; on a directed one it is an
arc. Among many graphs the rate holds inside each graph. Loops are left alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.shift.edit import Edit
from auditor.data.graph import Graph
from auditor.evaluate.links.rewiring import with_pairs

Ints = NDArray[np.int64]


def drop_edges(graph: Graph, rate: float, rng: np.random.Generator) -> Edit:
    """Removes round(rate · M) of the M edges of each graph without replacement; their weights go with them."""
    keys = _edge_keys(graph)
    gone = choose_in_groups(_group_of(graph, keys), _quota(graph, keys, rate), rng)
    arcs = _arc_to_edge(graph)
    loop = (graph.edge_index[0] == graph.edge_index[1]).numpy()
    keep = torch.from_numpy(loop | ~np.isin(arcs, keys[gone]))
    return Edit(graph.keeping(keep), claimed_rate=_share(int(gone.sum()), len(keys)))


def add_edges(graph: Graph, rate: float, rng: np.random.Generator) -> Edit:
    """Adds round(rate · M) uniform non-edges to each graph: no loop, no duplicate.

    A weight is copied from a random existing edge. A graph with fewer non-edges than that gets all of them; the claimed
    rate says what was really added, `missing` how many could not be.
    """
    keys = _edge_keys(graph)
    quota = _quota(graph, keys, rate)
    new = _draw_non_edges(graph, keys, quota, rng)
    n = graph.num_nodes
    arcs = torch.from_numpy(np.stack([new // n, new % n]))
    if graph.is_undirected:
        arcs = torch.cat([arcs, arcs.flip(0)], dim=1)
    weight = graph.edge_weight
    if weight is not None:
        copied = weight[torch.from_numpy(rng.integers(0, len(weight), len(new)))]
        weight = torch.cat([weight, copied, copied] if graph.is_undirected else [weight, copied])
    edited = graph.with_edges(torch.cat([graph.edge_index, arcs], dim=1), weight)
    missing = int(quota.sum()) - len(new)
    return Edit(edited, claimed_rate=_share(len(new), len(keys)), notes={"missing": missing} if missing else {})


def redraw_edges(graph: Graph, rng: np.random.Generator) -> Graph:
    """As many edges in each graph, uniform over its pairs; loops stay, weights are dealt anew."""
    none = np.empty(0, dtype=np.int64)
    new = _draw_non_edges(graph, none, _quota(graph, _edge_keys(graph), 1.0), rng)
    pairs = np.stack([new // graph.num_nodes, new % graph.num_nodes])
    return with_pairs(graph, pairs, directed=not graph.is_undirected, rng=rng)


def block_edges(graph: Graph, blocks: int, rng: np.random.Generator, *, matched: bool) -> Graph:
    """Edges of a stochastic block model with blocks of equal size that no class has anything to do with.

    With d the density, pairs inside a block are edges with probability 1.5 d and others with .5 d; `matched` divides
    both by .5 + 1 / blocks, so that as many edges are expected as there were.

    Source: Wu et al., "Energy-based out-of-distribution detection for graph neural networks" (GNNSafe), ICLR 2023.
    """
    n, directed = graph.num_nodes, not graph.is_undirected
    pairs = n * (n - 1) // (1 if directed else 2)
    density = count_edges(graph) / max(pairs, 1) / ((0.5 + 1 / blocks) if matched else 1.0)
    block = rng.permutation(n) % blocks
    sizes = np.bincount(block, minlength=blocks)
    inside = int((sizes * (sizes - 1)).sum()) // (1 if directed else 2)
    wanted = rng.binomial(inside, min(1.5 * density, 1.0)), rng.binomial(pairs - inside, min(0.5 * density, 1.0))
    members = np.argsort(block, kind="stable")
    starts = np.cumsum(sizes) - sizes
    found = np.empty(0, dtype=np.int64)
    for count, same in zip(wanted, (True, False), strict=True):
        part = np.empty(0, dtype=np.int64)
        while len(part) < count:
            u = rng.integers(0, n, 2 * (count - len(part)) + 16)
            if same:
                v = members[starts[block[u]] + rng.integers(0, sizes[block[u]])]
                u, v = u[u != v], v[u != v]
            else:
                v = rng.integers(0, n, len(u))
                u, v = u[block[u] != block[v]], v[block[u] != block[v]]
            keys = u * n + v if directed else np.minimum(u, v) * n + np.maximum(u, v)
            fresh = np.setdiff1d(keys, part)
            part = np.concatenate([part, rng.permutation(fresh)[: count - len(part)]])
        found = np.concatenate([found, part])
    found = np.sort(found)
    return with_pairs(graph, np.stack([found // n, found % n]), directed=directed, rng=rng)


def count_edges(graph: Graph) -> int:
    """M, loops left out."""
    return len(_edge_keys(graph))


def non_edges(graph: Graph) -> int:
    """How many edges could be added inside the graphs."""
    return int(_pairs_in_groups(graph).sum()) - count_edges(graph)


def choose_in_groups(groups: Ints, counts: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`counts[g]` members of each group g, uniformly without replacement, bool [len(groups)]."""
    order = np.lexsort((rng.random(len(groups)), groups))
    sizes = np.bincount(groups, minlength=len(counts))
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(groups), dtype=bool)
    chosen[order] = rank < counts[groups[order]]
    return chosen


def _draw_non_edges(graph: Graph, keys: Ints, quota: Ints, rng: np.random.Generator) -> Ints:
    """`quota[g]` distinct non-edges of each graph g (fewer where there are fewer), sorted keys.

    Sparse graphs: draw and reject, at least half of the draws hold. Graphs that would end up more than half full have
    O(M) pairs, so that these are listed.
    """
    total = _pairs_in_groups(graph)
    have = np.bincount(_group_of(graph, keys), minlength=len(quota))
    quota = np.minimum(quota, total - have)
    listed = (have + quota) * 2 > total
    parts = [_listed_non_edges(graph, keys, int(g), int(quota[g]), rng) for g in np.flatnonzero(listed & (quota > 0))]
    starts, sizes = _layout(graph)
    wanted = np.where(listed, 0, quota)
    found = np.empty(0, dtype=np.int64)
    while wanted.sum():
        group = np.repeat(np.arange(len(wanted)), 2 * wanted)
        u = starts[group] + rng.integers(0, sizes[group])
        v = starts[group] + rng.integers(0, sizes[group])
        if graph.is_undirected:
            u, v = np.minimum(u, v), np.maximum(u, v)
        drawn = (u * graph.num_nodes + v)[u != v]
        fresh = np.setdiff1d(drawn, np.concatenate([keys, found]))
        fresh = fresh[choose_in_groups(_group_of(graph, fresh), wanted, rng)]
        wanted = wanted - np.bincount(_group_of(graph, fresh), minlength=len(wanted))
        found = np.concatenate([found, fresh])
    return np.sort(np.concatenate([found, *parts]))


def _listed_non_edges(graph: Graph, keys: Ints, group: int, count: int, rng: np.random.Generator) -> Ints:
    starts, sizes = _layout(graph)
    u, v = np.divmod(np.arange(sizes[group] ** 2), sizes[group])
    inside = u < v if graph.is_undirected else u != v
    pairs = (starts[group] + u[inside]) * graph.num_nodes + starts[group] + v[inside]
    return rng.choice(np.setdiff1d(pairs, keys), size=count, replace=False)


def _edge_keys(graph: Graph) -> Ints:
    keys = graph.pair_keys() if graph.is_undirected else graph.arc_keys(include_loops=False)
    return keys.numpy()


def _arc_to_edge(graph: Graph) -> Ints:
    """Key of the edge each stored arc belongs to, int64 [E]."""
    ends: Tensor = graph.edge_index
    if graph.is_undirected:
        ends = torch.stack([ends.min(dim=0).values, ends.max(dim=0).values])
    return (ends[0] * graph.num_nodes + ends[1]).numpy()


def _group_of(graph: Graph, keys: Ints) -> Ints:
    """Graph of each edge key; 0 for one graph."""
    if graph.batch is None:
        return np.zeros(len(keys), dtype=np.int64)
    return graph.batch.numpy()[keys // graph.num_nodes]


def _layout(graph: Graph) -> tuple[Ints, Ints]:
    """First node and number of nodes of each graph."""
    batch = np.zeros(graph.num_nodes, dtype=np.int64) if graph.batch is None else graph.batch.numpy()
    sizes: Ints = np.bincount(batch).astype(np.int64)
    return np.cumsum(sizes) - sizes, sizes


def _pairs_in_groups(graph: Graph) -> Ints:
    sizes = _layout(graph)[1]
    pairs: Ints = sizes * (sizes - 1) // (2 if graph.is_undirected else 1)
    return pairs


def _quota(graph: Graph, keys: Ints, rate: float) -> Ints:
    """round(rate · M) for each graph, halves up."""
    edges = np.bincount(_group_of(graph, keys), minlength=len(_layout(graph)[1]))
    quota: Ints = np.floor(rate * edges + 0.5).astype(np.int64)
    return quota


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
