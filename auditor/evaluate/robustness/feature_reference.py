"""What is left without any edge: an MLP on the features, or the majority class where there are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from auditor.data.graph import Graph, Split

HIDDEN, EPOCHS, RATE, DECAY = 64, 200, 0.01, 5e-4


@dataclass(frozen=True, slots=True, eq=False)
class FeatureReference:
    """A model that sees no edges, on the attacked items.

    `name` is `mlp` or `majority`; `correct` is bool [n]; `majority` the rate of the most frequent class among them.
    """

    name: str
    correct: NDArray[np.bool_]
    majority: float

    @property
    def is_trained(self) -> bool:
        """Whether the features say anything, so that a model was trained on them."""
        return self.name != "majority"

    @property
    def accuracy(self) -> float:
        """Share of items that are right."""
        return float(self.correct.mean())


def feature_reference(graph: Graph, split: Split, items: Tensor, *, rng: torch.Generator) -> FeatureReference:
    """An MLP trained on the same training items, its epoch chosen on the validation items.

    Args:
        graph: clean; graph-level items are represented by the mean of their nodes' features.
        split: of the target.
        items: where it is tested, int64 [n].
        rng: of the initial weights.
    """
    y = graph.y[items]
    counts = torch.bincount(y)
    majority = float(counts.max()) / y.numel()
    x = graph.x if graph.batch is None else _pooled(graph.x, graph.batch)
    if _says_nothing(x):
        return FeatureReference("majority", (y == counts.argmax()).numpy(), majority)
    predicted = _fit(x, graph.y, split, rng)[items]
    return FeatureReference("mlp", (predicted == y).numpy(), majority)


def _fit(x: Tensor, y: Tensor, split: Split, rng: torch.Generator) -> Tensor:
    """Predicted class of each item, int64: one hidden layer, full batches."""
    f, c = x.shape[1], int(y.max()) + 1
    shapes = ((f, HIDDEN), (HIDDEN,), (HIDDEN, c), (c,))
    weights = []
    for shape in shapes:
        bound = (6 / (shape[0] + shape[1])) ** 0.5 if len(shape) == 2 else 0.0  # Glorot
        weights.append((torch.rand(shape, generator=rng) * 2 - 1).mul(bound).requires_grad_(True))

    def scores(rows: Tensor) -> Tensor:
        return functional.relu(rows @ weights[0] + weights[1]) @ weights[2] + weights[3]

    optimizer = torch.optim.Adam(weights, lr=RATE, weight_decay=DECAY)
    xs, ys, xv, yv = x[split.train], y[split.train], x[split.val], y[split.val]
    best, kept = -1.0, [w.detach().clone() for w in weights]
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        functional.cross_entropy(scores(xs), ys).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            accuracy = float((scores(xv).argmax(dim=1) == yv).double().mean()) if yv.numel() else 0.0
        if accuracy >= best:
            best, kept = accuracy, [w.detach().clone() for w in weights]
    weights = kept
    with torch.no_grad():
        return scores(x).argmax(dim=1)


def _pooled(x: Tensor, batch: Tensor) -> Tensor:
    """Mean of the rows of each graph, [B, F]."""
    total = torch.zeros(int(batch[-1]) + 1, x.shape[1]).index_add(0, batch, x)
    return total / torch.bincount(batch).unsqueeze(1)


def _says_nothing(x: Tensor) -> bool:
    """Whether the features are constant, or the identity (each item its own word)."""
    if bool((x == x[0]).all()):
        return True
    return x.shape[0] == x.shape[1] and int((x != 0).sum()) == x.shape[0] and bool((x.diagonal() != 0).all())
