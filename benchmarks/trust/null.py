"""Five kinds of model that cannot give the private edges away: none of them was trained or is served on those edges.

- `empty`: a GCN on no edges. Blocks with uneven degrees.
- `mlp`: a perceptron. Latent positions.
- `latent`: a GCN on another graph drawn from the same positions: it knows where nodes are better than their features
  say, and nothing of which edges came out.
- `rewired`: a GCN on a graph with the same degrees and the same edges between classes. Blocks.
- `heterophilous`: a GCN on no edges. Latent positions where opposites are joined.

Each run has a graph, a split and a training seed of its own. Each is two audits whose numbers are judged together: of
the model as it is served, on its own edges; and, for the attack on weights alone, of the same weights in a model that
does run on the graph it is handed (the perceptron has no such form). Every second run counts the arcs it is handed, so
that half the models fail the check of edges that matter, and half do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from auditor.evaluate.links.rewiring import rewire
from benchmarks.trust.graphs import Drawn, adjacency, blocks, latent, split
from benchmarks.trust.judging import Asked, Row, judged
from benchmarks.trust.models import Edgeless, OwnEdges, gcn, serving, trained
from benchmarks.trust.settings import CLASSES, DEGREES, HIDDEN, NODES, RECIPE, SEEDS, TRAIN_SHARE

MIXING = 0.2
Pairs = NDArray[np.int64]
SERVED, WEIGHTS = ("posterior-similarity",), ("graphmi",)


def _blocks(rng: np.random.Generator, degree: float) -> Drawn:
    return blocks(rng, n=NODES, classes=CLASSES, degree=degree, mixing=MIXING)


def _latent(rng: np.random.Generator, degree: float) -> Drawn:
    return latent(rng, n=NODES, classes=CLASSES, degree=degree)


def _opposites(rng: np.random.Generator, degree: float) -> Drawn:
    return latent(rng, n=NODES, classes=CLASSES, degree=degree, opposites=True)


def _none(_graph: Drawn, _rng: np.random.Generator) -> Pairs:
    return np.empty((2, 0), dtype=np.int64)


def _redrawn(graph: Drawn, rng: np.random.Generator) -> Pairs:
    return graph.redrawn(rng)


def _rewired(graph: Drawn, rng: np.random.Generator) -> Pairs:
    return rewire(graph.pairs, NODES, rng=rng, classes=graph.y.numpy()).pairs


Law = Callable[[np.random.Generator, float], Drawn]
Own = Callable[[Drawn, np.random.Generator], Pairs]
KINDS: Final[dict[str, tuple[Law, Own, bool]]] = {
    "empty": (_blocks, _none, True),
    "mlp": (_latent, _none, False),
    "latent": (_latent, _redrawn, True),
    "rewired": (_blocks, _rewired, True),
    "heterophilous": (_opposites, _none, True),
}
"""Law of the private graph, the model's own edges, and whether it is a GCN."""


def run(kind: str, number: int, profile: str, *, retrain: bool = True) -> list[Row]:
    """The judged numbers of one run; equal for equal arguments."""
    law, own_edges, is_gcn = KINDS[kind]
    words = (SEEDS["null"], list(KINDS).index(kind), number)
    rng = np.random.default_rng(words)
    graph = law(rng, DEGREES[number % len(DEGREES)])
    own, parts = adjacency(own_edges(graph, rng), NODES), split(rng, NODES, TRAIN_SHARE)
    features, counts = graph.x.shape[1], number % 2 == 1

    def build() -> OwnEdges:
        inner = gcn(features, HIDDEN, CLASSES) if is_gcn else Edgeless(features, HIDDEN, CLASSES)
        return OwnEdges(inner, own, serves_own=True, counts=counts)

    def handed() -> OwnEdges:
        return serving(build(), own=False)

    model = trained(build, graph, parts["train"], RECIPE, seed=int(rng.integers(2**31)))
    asked = [Asked(model, graph, parts, build, RECIPE, SERVED)]
    if is_gcn:
        asked.append(Asked(serving(model, own=False), graph, parts, handed, RECIPE, WEIGHTS))
    return judged(asked, profile, retrain=retrain)
