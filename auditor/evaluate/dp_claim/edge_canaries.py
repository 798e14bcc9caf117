"""Edge level: pairs that are no edges, half of which become edges of the private graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.subject import Bits, tensors_digest, with_data
from auditor.targets.target import ModelHandle, Target
from auditor.tasks import log_probabilities

DISJOINT_SHARE = 0.1
"""Canaries per edge at most where they must not touch each other: more would change the graph they are hidden in."""
INFLUENCE = 1e-2  # relative change of a node's features; below 1e-3 float32 posteriors no longer move smoothly


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCanaries:
    """m random non-edges.

    Attributes:
        target: whose private graph they are added to.
        pairs: int64 [2, m], u < v for relation `flip-pair`, an arc u -> v for `flip-arc`.
        arcs: whether only the arc is added.
    """

    target: Target
    pairs: Tensor
    arcs: bool

    @classmethod
    def make(cls, target: Target, m: int, *, arcs: bool, disjoint: bool, rng: np.random.Generator) -> EdgeCanaries:
        """Draws the canaries; with `disjoint` no two share an end point.

        Raises:
            ConfigError: the target is no node classifier, or there are not that many.
        """
        graph = target.private_graph
        if graph.task.level != "node":
            raise ConfigError(
                f"--level edge needs a target that classifies the nodes of one graph; {target.name} classifies graphs. "
                "Audit it at --level graph."
            )
        n, edges = graph.num_nodes, graph.pair_keys()
        free = n * (n - 1) // 2 - edges.numel()
        most = min(free, int(DISJOINT_SHARE * edges.numel()), n // 2) if disjoint else free // 2
        if m > most:
            why = (
                f"with end points of their own, at most {DISJOINT_SHARE:g} of its {edges.numel()} edges"
                if disjoint
                else f"half of its {free} non-edges"
            )
            raise ConfigError(f"--canaries is {m}; {graph.name} has room for {most} ({why}). Use --canaries {most}.")
        pairs = _disjoint(edges, n, m, rng) if disjoint else _any(edges, n, m, rng)
        if arcs:
            turned = torch.from_numpy(rng.random(m) < 0.5)
            pairs = torch.where(turned, pairs.flip(0), pairs)
        return cls(target, pairs, arcs)

    @property
    def m(self) -> int:
        """Canaries."""
        return int(self.pairs.shape[1])

    @property
    def score(self) -> str:
        """What is scored."""
        return "LinkTeller influence of one end's features on the other's posteriors"

    @property
    def digest(self) -> str:
        """Of the pairs."""
        return tensors_digest(self.pairs)

    def planted(self, included: Bits) -> Target:
        """The target whose private graph has the included pairs as edges."""
        graph = self.target.private_graph
        added = self.pairs[:, torch.from_numpy(included)]
        if not self.arcs:
            added = torch.cat([added, added.flip(0)], dim=1)
        weight = None
        if graph.edge_weight is not None:
            weight = torch.cat([graph.edge_weight, torch.ones(added.shape[1], dtype=graph.edge_weight.dtype)])
        grown = graph.with_edges(torch.cat([graph.edge_index, added], dim=1), weight)
        return with_data(self.target, grown, self.target.split)

    def scores(self, trained: Target) -> Tensor:
        """How far the posteriors of one end move when the other's features are scaled, both ways, float64 [m].

        Source: Wu et al., "LinkTeller", IEEE S&P 2022, algorithm 1.
        """
        graph, handle = trained.graph, trained.handle()
        with torch.no_grad():
            base = log_probabilities(
                handle.logits(graph.x, graph.edge_index, graph.edge_weight, None, graph.fields)
            ).exp()
            found = []
            for u, v in self.pairs.T.tolist():
                moved = 0.0
                for source, sink in ((u, v), (v, u)):
                    x = graph.x.clone()
                    x[source] *= 1 + INFLUENCE
                    after = log_probabilities(
                        handle.logits(x, graph.edge_index, graph.edge_weight, None, graph.fields)
                    ).exp()
                    moved += float((after[sink] - base[sink]).norm()) / INFLUENCE
                found.append(moved)
        return torch.tensor(found, dtype=torch.float64)


def _any(edges: Tensor, n: int, m: int, rng: np.random.Generator) -> Tensor:
    """Distinct uniform non-edges, int64 [2, m], by rejection: at least half of them are free."""
    known, found = edges.numpy(), np.empty(0, dtype=np.int64)
    while len(found) < m:
        u, v = rng.integers(0, n, 2 * m), rng.integers(0, n, 2 * m)
        keys = np.minimum(u, v) * n + np.maximum(u, v)
        fresh = keys[(u != v) & ~np.isin(keys, known)]
        both = np.concatenate([found, fresh])
        found = both[np.sort(np.unique(both, return_index=True)[1])]
    return torch.from_numpy(np.stack([found[:m] // n, found[:m] % n]))


def _disjoint(edges: Tensor, n: int, m: int, rng: np.random.Generator) -> Tensor:
    """Non-edges, int64 [2, m], that share no end point: a random matching of the nodes, its edges left out.

    Raises:
        ConfigError: the graph is so dense that none was found in a hundred tries.
    """
    known = edges.numpy()
    for _ in range(100):
        order = rng.permutation(n)[: 2 * (n // 2)].reshape(2, -1)
        low, high = order.min(axis=0), order.max(axis=0)
        free = np.flatnonzero(~np.isin(low * n + high, known))
        if len(free) >= m:
            return torch.from_numpy(np.stack([low[free[:m]], high[free[:m]]]))
    raise ConfigError(f"--canaries is {m}; no {m} non-edges with end points of their own were found. Use fewer.")


def _posteriors(handle: ModelHandle, graph: Graph, x: Tensor) -> Tensor:
    return log_probabilities(handle.logits(x, graph.edge_index, graph.edge_weight, None, graph.fields)).exp()
