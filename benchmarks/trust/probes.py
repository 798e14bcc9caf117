"""Influence queries and membership: models that give away what they look for, and models that cannot.

To be found:

- `neighbour-hash` (of `planted`): logits carry a hash of the set of neighbours; `influence` tells every edge.
- `memoriser`: a perceptron fitted to its members until it knows them by heart, features and labels random, so that all
  it has learned is who they are. Membership by one threshold and by reference models.

Not to be claimed:

- `mlp`: a trained perceptron that looks at no edge. Every influence on another node is exactly 0.
- `permuted-members`: the memoriser, trained on a secret set of nodes that has nothing to do with the members that the
  audit is told of. Reference models are trained on what the audit says.
- `untrained`: a network that nobody trained, served on the private graph, and members drawn at random.

Each run has a graph, a split and a training seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.trust import planted
from benchmarks.trust.graphs import Drawn, blocks, split
from benchmarks.trust.judging import Asked, Row, judged
from benchmarks.trust.models import Edgeless, gcn, trained
from benchmarks.trust.settings import (
    CLASSES,
    DEGREES,
    HIDDEN,
    MEMBER_FEATURES,
    MEMBER_SHARE,
    NODES,
    OVERFIT,
    OVERFIT_HIDDEN,
    RECIPE,
    SEEDS,
)

QUERIES, MEMBERS = ("influence",), ("membership-threshold", "membership-lira")
MIXING = 0.4
HASH: Final = "neighbour-hash"


def _graph(rng: np.random.Generator, number: int, *, random_labels: bool) -> Drawn:
    """Blocks; with random labels the features are noise, and no model can know anything but single nodes."""
    noise = torch.from_numpy(rng.standard_normal((NODES, MEMBER_FEATURES))).float() if random_labels else None
    return blocks(rng, n=NODES, classes=CLASSES, degree=DEGREES[number % len(DEGREES)], mixing=MIXING, x=noise)


def _hash(number: int) -> Asked:
    made = planted.made(HASH, number)
    return Asked(made.model, made.graph, made.split, made.build, made.recipe, QUERIES)


def _edgeless(number: int, rng: np.random.Generator) -> Asked:
    graph, parts = _graph(rng, number, random_labels=False), split(rng, NODES, MEMBER_SHARE)
    build = partial(Edgeless, graph.x.shape[1], HIDDEN, CLASSES)
    model = trained(build, graph, parts["train"], RECIPE, seed=int(rng.integers(2**31)))
    return Asked(model, graph, parts, build, RECIPE, QUERIES)


def _memoriser(number: int, rng: np.random.Generator, *, secret: bool) -> Asked:
    graph, parts = _graph(rng, number, random_labels=True), split(rng, NODES, MEMBER_SHARE)
    build = partial(Edgeless, MEMBER_FEATURES, OVERFIT_HIDDEN, CLASSES, dropout=0.0)
    members: Tensor = split(rng, NODES, MEMBER_SHARE)["train"] if secret else parts["train"]
    model = trained(build, graph, members, OVERFIT, seed=int(rng.integers(2**31)))
    return Asked(model, graph, parts, build, OVERFIT, MEMBERS)


def _untrained(number: int, rng: np.random.Generator) -> Asked:
    graph, parts = _graph(rng, number, random_labels=False), split(rng, NODES, MEMBER_SHARE)
    build: Callable[[], nn.Module] = partial(gcn, graph.x.shape[1], HIDDEN, CLASSES)
    torch.manual_seed(int(rng.integers(2**31)))
    return Asked(build().eval(), graph, parts, build, RECIPE, MEMBERS)


TO_FIND: Final[dict[str, Callable[[int, np.random.Generator], Asked]]] = {
    HASH: lambda number, _rng: _hash(number),
    "memoriser": partial(_memoriser, secret=False),
}
NULLS: Final[dict[str, Callable[[int, np.random.Generator], Asked]]] = {
    "mlp": _edgeless,
    "permuted-members": partial(_memoriser, secret=True),
    "untrained": _untrained,
}
KINDS: Final = {**TO_FIND, **NULLS}


def made(kind: str, number: int) -> Asked:
    """The model of one run with its graph; equal for equal arguments."""
    return KINDS[kind](number, np.random.default_rng((SEEDS["probes"], list(KINDS).index(kind), number)))


def run(kind: str, number: int, profile: str, *, retrain: bool = True) -> list[Row]:
    """The judged numbers of one run."""
    return judged([made(kind, number)], profile, retrain=retrain)
