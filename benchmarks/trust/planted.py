"""Models that are made to give their edges away, so that a judgement that misses them is wrong.

- `neighbour-codes`: logits carry a random code of the node and of every neighbour.
- `overfit-one-hot`: a GCN fitted to the last training item on few nodes, whose features only name a group of two.
- `overfit-identity`: the same on more nodes, whose features name the node.
- `heterophilous`: a network that takes nodes less their neighbours, fitted to the last training item on a graph that
  joins classes: answers of joined nodes are *unlike*.

Those four are to be found. One more is not, by probes that ask no queries:

- `neighbour-hash`: logits carry a hash of the set of neighbours. No likeness of answers tells an edge; asking what
  changes when one node's features change tells them all: `influence` must find it (`probes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.trust.graphs import Drawn, blocks, one_hot, split
from benchmarks.trust.judging import Asked, Row, judged
from benchmarks.trust.models import HighPass, NeighbourCodes, NeighbourHash, gcn, trained
from benchmarks.trust.settings import (
    CODE_CLASSES,
    CODE_DEGREE,
    CODE_WEIGHT,
    FEW_NODES,
    MANY_CLASSES,
    NODES,
    OVERFIT,
    OVERFIT_HIDDEN,
    OVERFIT_SHARE,
    PLANTED_DEGREE,
    RECIPE,
    SEEDS,
    TRAIN_SHARE,
)

MIXING, OPPOSED = 0.4, 0.95  # share of edges between classes; by chance it would be 7/8
Made = tuple[Drawn, Callable[[], nn.Module], Mapping[str, Any], float]


def _graph(rng: np.random.Generator, n: int, mixing: float, features: int | None = None) -> Drawn:
    x = None if features is None else torch.eye(n) if features == n else one_hot(rng, n, features)
    return blocks(rng, n=n, classes=MANY_CLASSES, degree=PLANTED_DEGREE, mixing=mixing, x=x)


def _codes(rng: np.random.Generator) -> Made:
    graph = blocks(rng, n=NODES, classes=CODE_CLASSES, degree=CODE_DEGREE, mixing=MIXING)
    return graph, lambda: NeighbourCodes(NODES, graph.x.shape[1], CODE_CLASSES, CODE_WEIGHT), RECIPE, TRAIN_SHARE


def _one_hot(rng: np.random.Generator) -> Made:
    graph = _graph(rng, FEW_NODES, MIXING, FEW_NODES // 2)
    return graph, lambda: gcn(FEW_NODES // 2, OVERFIT_HIDDEN, MANY_CLASSES, dropout=0.0), OVERFIT, OVERFIT_SHARE


def _identity(rng: np.random.Generator) -> Made:
    graph = _graph(rng, NODES, MIXING, NODES)
    return graph, lambda: gcn(NODES, OVERFIT_HIDDEN, MANY_CLASSES, dropout=0.0), OVERFIT, OVERFIT_SHARE


def _opposed(rng: np.random.Generator) -> Made:
    graph = _graph(rng, NODES, OPPOSED, NODES)
    return graph, lambda: HighPass(NODES, OVERFIT_HIDDEN, MANY_CLASSES), OVERFIT, OVERFIT_SHARE


def _hash(rng: np.random.Generator) -> Made:
    graph = _graph(rng, NODES, MIXING)
    return graph, lambda: NeighbourHash(graph.x.shape[1], MANY_CLASSES), RECIPE, TRAIN_SHARE


TO_FIND: Final[dict[str, Callable[[np.random.Generator], Made]]] = {
    "neighbour-codes": _codes,
    "overfit-one-hot": _one_hot,
    "overfit-identity": _identity,
    "heterophilous": _opposed,
}
FOR_INFLUENCE: Final[dict[str, Callable[[np.random.Generator], Made]]] = {"neighbour-hash": _hash}
KINDS: Final = {**TO_FIND, **FOR_INFLUENCE}


def made(kind: str, number: int) -> Asked:
    """The model of one run with its graph; equal for equal arguments."""
    rng = np.random.default_rng((SEEDS["planted"], list(KINDS).index(kind), number))
    graph, build, recipe, share = KINDS[kind](rng)
    parts = split(rng, graph.y.shape[0], share)
    model = trained(build, graph, parts["train"], recipe, seed=int(rng.integers(2**31)))
    return Asked(model, graph, parts, build, recipe)


def run(kind: str, number: int, profile: str, *, retrain: bool = True) -> list[Row]:
    """The judged numbers of one run."""
    return judged([made(kind, number)], profile, retrain=retrain)
