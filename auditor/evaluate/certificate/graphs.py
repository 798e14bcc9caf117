"""Graph-level targets: a vote over parts of the edges, proven, and held against really edited graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auditor.data.batches import in_one_batch
from auditor.data.edits import EdgeSpace, select_graphs, settled, single_graphs
from auditor.data.graph import Graph
from auditor.document import check
from auditor.errors import SkippedError
from auditor.evaluate.certificate.division import Bools, Division, Ints, radius, winners
from auditor.evaluate.certificate.proof import Proof, Proven
from auditor.evaluate.certificate.settings import Settings
from auditor.probe import Cell
from auditor.targets.target import ModelHandle

SMALL = 60
"""Nodes up to which every single edit of a graph is tried."""
BATCH_NODES = 20_000


def prove(cell: Cell, settings: Settings, items: Tensor) -> Proof:
    """The proof for these graphs, int64 [n].

    Raises:
        SkippedError: none of them has a pair of nodes to edit.
    """
    target = cell.target
    graph, _nodes = select_graphs(settled(target.graph), items)  # each is edited as all of them are
    space = EdgeSpace.of(graph)
    if space.num_pairs == 0:
        raise SkippedError(f"no attacked graph of {graph.name} has two nodes")
    division, handle = Division(settings.parts, space.directed), target.handle()
    y, classes = graph.y.numpy(), target.num_classes
    votes = division.votes(handle, space.graph, classes)
    right, safe = winners(votes) == y, radius(votes)
    worst, whole = _worst_flip(cell, division, handle, space.graph)
    tried: Bools = right & worst
    levels = []
    for place, edits in enumerate(sorted(set(settings.flips))):
        cell.tick(0.5 + 0.5 * place / len(settings.flips), f"{edits} random edits in each graph")
        draws = []
        for draw in range(settings.draws):
            keys = _random_flips(graph, edits, cell.rng("random edits", str(edits), f"draw {draw}"))
            draws.append(winners(division.votes(handle, space.toggled(keys), classes)) == y)
        tried = np.logical_and.reduce([tried, *draws])
        certified: Bools = right & (safe >= edits)
        share = np.mean(draws, axis=0).astype(np.float64)
        levels.append(Proven("flips", edits, certified, share, tried, exact=edits == 1 and whole))
    broken = sum(int((level.certified & ~level.found).sum()) for level in levels if level.found is not None)
    single = "every single edit" if whole else f"every single edit of undirected graphs up to {SMALL} nodes"
    evidence = (
        f"{single} and {settings.draws} random sets of each size were made and voted on: "
        f"{broken} certified answers changed"
    )
    return Proof(
        model="parts",
        voters=settings.parts,
        items=items,
        right=right,
        target=target.task.correct(target.clean_logits(), target.graph.y)[items].numpy(),
        levels=tuple(levels),
        abstained=0,
        rows=(check("certificate-holds", "integrity", broken == 0, evidence),),
        params={"parts": settings.parts, "most_edits_certified": int(safe[right].max(initial=0))},
    )


def _random_flips(graph: Graph, edits: int, rng: np.random.Generator) -> Tensor:
    """So many uniform pairs of each graph, or all that it has, as keys of all graphs side by side."""
    if graph.batch is None:
        raise ValueError("random edits of each graph need many graphs")
    found = []
    for own, nodes in single_graphs(graph, torch.arange(graph.num_items)):
        space = EdgeSpace.of(own)
        u, v = space.ends(space.draw(min(edits, space.num_pairs), rng))
        found.append(nodes[u] * graph.num_nodes + nodes[v])
    return torch.cat(found)


def _worst_flip(cell: Cell, division: Division, handle: ModelHandle, graph: Graph) -> tuple[Bools, bool]:
    """Which graphs the vote gets right after any single edit, bool [B], and whether every edit of every one was tried.

    A graph that is too large counts as right, and so does every graph whose edges have directions.
    """
    survives = np.ones(graph.num_items, dtype=np.bool_)
    sizes = [] if graph.batch is None or division.directed else torch.bincount(graph.batch).tolist()
    small = torch.tensor([item for item, size in enumerate(sizes) if 1 < size <= SMALL], dtype=torch.int64)
    for item, (own, _nodes) in zip(small.tolist(), single_graphs(graph, small), strict=True):
        cell.tick(0.5 * item / len(sizes), "every single edit of each graph")
        votes = votes_after_each_flip(division, handle, own, cell.target.num_classes)
        survives[item] = bool((winners(votes) == int(own.y)).all())
    return survives, bool(sizes) and max(sizes) <= SMALL


def votes_after_each_flip(division: Division, handle: ModelHandle, graph: Graph, classes: int) -> Ints:
    """The votes on one graph after each of its single edits, in the order of its pairs, int64 [pairs, C].

    Args:
        division: of undirected edges.
        handle: the model.
        graph: one of many graphs, alone.
        classes: C.
    """
    space, n = EdgeSpace.of(graph), graph.num_nodes
    u, v = torch.triu_indices(n, n, offset=1)
    edited = [space.toggled(key[None]) for key in u * n + v]
    size = max(1, BATCH_NODES // n)
    batches = (in_one_batch(edited[at : at + size])[0] for at in range(0, len(edited), size))
    return np.concatenate([division.votes(handle, batch, classes) for batch in batches])
