"""Bounded lists and rooted subgraphs: against a plain reference, and the promise that the noise of dp-node rests on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.data.graph import Graph
from auditor.errors import GraphError
from defenses.dp.rooted import KeptArcs, kept_arcs, keyed_hash, occurrence_bound, occurrences, rooted_batch
from tests.toys import sbm_graph, small_graphs


def random_graph(kind: str, seed: int, n: int = 24) -> Graph:
    """Sparse or dense, directed or not, a star, or one with loops and repeated arcs."""
    rng = np.random.default_rng(seed)
    if kind == "star":
        arcs = np.array([(0, i) for i in range(1, n)])
        arcs = np.concatenate([arcs, arcs[:, ::-1]])
    elif kind == "edgeless":
        arcs = np.zeros((0, 2), dtype=np.int64)
    else:
        arcs = np.argwhere(rng.random((n, n)) < {"sparse": 0.1, "dense": 0.6, "directed": 0.15, "messy": 0.1}[kind])
        if kind in ("sparse", "dense"):
            arcs = np.concatenate([arcs, arcs[:, ::-1]])
        if kind == "messy":
            arcs = np.concatenate([arcs, arcs, [(i, i) for i in range(n)]])
    return Graph(torch.zeros(n, 1), torch.from_numpy(arcs.T.astype(np.int64).copy()), torch.zeros(n, dtype=torch.int64))


KINDS = ("sparse", "dense", "directed", "messy", "star", "edgeless")


def reference_children(graph: Graph, kept: int, most: int, blank: int | None = None) -> dict[int, list[int]]:
    """children(x), written as the definition says; `blank` has its list emptied, the lists of the others stay."""
    n = graph.num_nodes
    arcs = {(u, v) for u, v in graph.edge_index.T.tolist() if u != v}

    def rank(w: int, x: int) -> int:
        return int(keyed_hash(np.array([w * n + x]))[0])

    lists = {w: sorted((x for u, x in arcs if u == w), key=lambda x, w=w: rank(w, x))[:kept] for w in range(n)}
    if blank is not None:
        lists[blank] = []
    return {x: sorted((w for w in range(n) if x in lists[w]), key=lambda w, x=x: rank(w, x))[:most] for x in range(n)}


def reference_subgraph(children: dict[int, list[int]], root: int, hops: int) -> tuple[set[int], set[tuple[int, int]]]:
    nodes, arcs, frontier = {root}, set(), {root}
    for _ in range(hops):
        found = {(w, x) for x in frontier for w in children[x]}
        arcs |= found
        frontier = {w for w, _ in found} - nodes
        nodes |= frontier
    return nodes, arcs


def subgraphs(arcs: KeptArcs, roots: torch.Tensor, hops: int) -> list[tuple[set[int], set[tuple[int, int]]]]:
    batch = rooted_batch(arcs, roots, hops)
    found = []
    for j in range(len(roots)):
        inside = batch.record[batch.edge_index] == j
        assert bool((inside[0] == inside[1]).all())  # no arc between records
        own = batch.nodes[batch.record == j].tolist()
        assert len(set(own)) == len(own)
        pairs = batch.nodes[batch.edge_index[:, inside[0]]].T.tolist()
        assert len({tuple(p) for p in pairs}) == len(pairs)
        found.append((set(own), {tuple(p) for p in pairs}))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kept", "most", "hops"), [(2, 64, 1), (3, 2, 2), (4, 3, 3), (1, 1, 2), (4, 64, 0)])
def test_batches_equal_the_definition(kind, kept, most, hops):
    graph = random_graph(kind, seed=kept)
    arcs = kept_arcs(graph, kept, most)
    children = reference_children(graph, kept, most)
    roots = torch.from_numpy(np.random.default_rng(0).permutation(graph.num_nodes)[:10])
    assert subgraphs(arcs, roots, hops) == [reference_subgraph(children, int(x), hops) for x in roots]


def test_a_batch_is_sorted_by_record_and_each_record_opens_with_its_root():
    arcs = kept_arcs(random_graph("dense", 1), 3)
    roots = torch.tensor([5, 2, 23, 0])
    batch = rooted_batch(arcs, roots, 2)
    assert bool((batch.record[1:] >= batch.record[:-1]).all())
    assert torch.equal(batch.nodes[batch.root_rows], roots)
    assert torch.equal(batch.record[batch.root_rows], torch.arange(4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [64, 2])
def test_no_node_occurs_in_more_than_m_subgraphs_and_the_root_cap_does_not_raise_it(kind, most):
    for seed in range(4):
        graph = random_graph(kind, seed)
        everyone = torch.arange(graph.num_nodes)
        for kept, hops in ((1, 1), (2, 1), (2, 2), (3, 2)):
            arcs = kept_arcs(graph, kept, most)
            assert int(torch.bincount(arcs.sources, minlength=1).max()) <= kept
            others = [0] * graph.num_nodes
            for root, (nodes, _) in zip(everyone.tolist(), subgraphs(arcs, everyone, hops), strict=True):
                for node in nodes - {root}:
                    others[node] += 1
            bound = occurrence_bound(kept, hops)
            assert max(others) <= bound - 1
            assert occurrences(arcs, everyone, hops, block=7) == max(others) + 1 <= bound


def test_the_bound_is_reached():
    """On a dense graph a node fills its K slots: a smaller M would be wrong."""
    graph = random_graph("dense", 0)
    assert occurrences(kept_arcs(graph, 4), torch.arange(graph.num_nodes), 1) == occurrence_bound(4, 1) == 5
    assert [occurrence_bound(4, r) for r in range(4)] == [1, 5, 21, 85]


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize(("kept", "most", "hops"), [(3, 64, 1), (3, 2, 1), (3, 2, 2), (4, 3, 3)])
def test_blanking_a_node_changes_only_the_subgraphs_that_it_occurs_in(kind, kept, most, hops):
    """The relation `zero-out`: what M counts is all that a node can move."""
    graph = random_graph(kind, seed=7)
    everyone = torch.arange(graph.num_nodes)
    before = subgraphs(kept_arcs(graph, kept, most), everyone, hops)
    for v in range(graph.num_nodes):
        blanked = graph.with_edges(graph.edge_index[:, graph.edge_index[0] != v])
        after = subgraphs(kept_arcs(blanked, kept, most), everyone, hops)
        changed = {x for x, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
        assert changed <= {x for x, (nodes, _) in enumerate(before) if v in nodes}


def test_removing_a_node_with_its_edges_reaches_further():
    """The caveat `sampler-coupling`: its neighbours fill the freed slot with somebody else."""
    graph, beyond = random_graph("dense", 3), 0
    everyone = torch.arange(graph.num_nodes)
    before = subgraphs(kept_arcs(graph, 2), everyone, 1)
    for v in range(graph.num_nodes):
        without = graph.with_edges(graph.edge_index[:, (graph.edge_index != v).all(dim=0)])
        after = subgraphs(kept_arcs(without, 2), everyone, 1)
        beyond += sum(a != b and v not in a[0] for a, b in zip(before, after, strict=True))
    assert beyond > 0


def test_lists_follow_from_the_arcs_alone():
    graph = sbm_graph()
    order = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(0))
    shuffled = graph.with_edges(graph.edge_index[:, order])
    a, b = kept_arcs(graph, 3), kept_arcs(shuffled, 3)
    assert torch.equal(a.sources, b.sources)
    assert torch.equal(a.starts, b.starts)


def test_hash_order_has_no_favourites():
    """Each of 40 neighbours is kept about equally often: smallest ids would be a biased sample."""
    n, kept = 41, 4
    counts = np.zeros(n)
    for base in range(400):
        keys = (base * n) + np.arange(n)
        counts[np.argsort(keyed_hash(keys))[:kept]] += 1
    expected = 400 * kept / n
    assert ((counts - expected) ** 2 / expected).sum() < 90  # χ², 40 degrees of freedom: p = 1e-5


def test_many_graphs_are_no_single_graph():
    with pytest.raises(GraphError, match="rooted subgraphs are cut out of one graph"):
        kept_arcs(small_graphs(4), 4)
