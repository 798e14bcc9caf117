"""The models: some that cannot know the private edges, some that are made to give them away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn.models import GCN

from benchmarks.trust.graphs import Drawn

PER_EDGE = 1e-3
Built = TypeVar("Built", bound=nn.Module)
DIGITS, SPREAD, PRIME = 1_000, 48_271, (1 << 31) - 1  # of features that are hashed; of a Lehmer generator


class OwnEdges(nn.Module):
    """A network that learns from edges of its own, whatever graph it is handed.

    Retrained on another graph it learns from its own edges again, so a twin is made as the model was.

    Args:
        inner: takes (x, edge_index).
        own: its edges, bool [N, N], drawn without the private ones.
        serves_own: whether its answers rest on its own edges, too, and not on those it is handed.
        counts: adds a multiple of the number of arcs it is handed to all logits of all nodes alike. No posterior shows
            that; a check that asks whether edges move the logits sees that they do.
    """

    own: Tensor

    def __init__(self, inner: nn.Module, own: Tensor, *, serves_own: bool, counts: bool) -> None:
        super().__init__()
        self.inner, self.serves_own, self.counts = inner, serves_own, counts
        self.register_buffer("own", own)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, F] and edge_index [2, E]."""
        edges = self.own.nonzero().T if self.training or self.serves_own else edge_index
        out: Tensor = self.inner(x, edges)
        return out + PER_EDGE * edge_index.shape[1] if self.counts else out


class Edgeless(nn.Module):
    """A two-layer perceptron that takes edges and looks at none."""

    def __init__(self, features: int, hidden: int, classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        last = nn.Linear(hidden, classes)
        self.net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), last)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, F]."""
        out: Tensor = self.net(x)
        return out


class NeighbourCodes(nn.Module):
    """A linear classifier whose logits carry, beside its answer, the codes of a node and of all its neighbours.

    A code is a random vector of C numbers a node, drawn with the model; their sum counts `weight` / √(degree + 1).
    """

    codes: Tensor

    def __init__(self, nodes: int, features: int, classes: int, weight: float) -> None:
        super().__init__()
        self.lin, self.weight = nn.Linear(features, classes), weight
        self.register_buffer("codes", torch.randn(nodes, classes))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, F] and edge_index [2, E]."""
        total = self.codes.index_add(0, edge_index[1], self.codes[edge_index[0]])
        size = torch.bincount(edge_index[1], minlength=x.shape[0]) + 1
        out: Tensor = self.lin(x) + self.weight * total / size.sqrt()[:, None]
        return out


class NeighbourHash(nn.Module):
    """A linear classifier whose logits carry a hash of the neighbours' features, summed over the set of neighbours.

    Two nodes with the same neighbours get the same numbers, any other two unrelated ones: no likeness of answers tells
    an edge, and asking what changes in u's answer when v's features change tells every edge.
    """

    key: Tensor
    mix: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.lin = nn.Linear(features, classes)
        self.register_buffer("key", torch.randint(1 << 20, (features,)))
        self.register_buffer("mix", torch.randint(1 << 20, PRIME, (classes,)))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, F] and edge_index [2, E]."""
        named = ((x * DIGITS).round().long() * self.key).sum(dim=1) * SPREAD % PRIME
        total = torch.zeros_like(named).index_add_(0, edge_index[1], named[edge_index[0]]) % PRIME
        hashed = total[:, None] * self.mix[None, :] % PRIME
        out: Tensor = self.lin(x) + 4.0 * (hashed.to(x.dtype) / PRIME - 0.5)
        return out


class HighPass(nn.Module):
    """Two layers, the last of which takes every node less the mean of its neighbours, as on heterophilous graphs."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [N, C] of x [N, F] and edge_index [2, E]."""
        h = self.last(torch.tanh(self.first(x)))
        size = torch.bincount(edge_index[1], minlength=x.shape[0]).clamp(min=1)
        out: Tensor = h - torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]]) / size[:, None]
        return out


def gcn(features: int, hidden: int, classes: int, *, dropout: float = 0.5) -> GCN:
    """PyG's own network of two GCN layers."""
    return GCN(features, hidden, 2, classes, dropout=dropout)


def trained(
    build: Callable[[], Built], graph: Drawn | Data, train: Tensor, recipe: Mapping[str, Any], seed: int
) -> Built:
    """A fresh model after full-batch Adam on the cross-entropy of the items `train`; the last step counts."""
    torch.manual_seed(seed)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe["lr"], weight_decay=recipe["weight_decay"])
    x, edge_index, y = graph.x, graph.edge_index, graph.y
    model.train()
    for _ in range(recipe["epochs"]):
        optimizer.zero_grad()
        functional.cross_entropy(model(x, edge_index)[train], y[train]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def serving(model: OwnEdges, *, own: bool) -> OwnEdges:
    """The same weights, served on the model's own edges or on those that it is handed."""
    other = copy.deepcopy(model)
    other.serves_own = own
    other.counts = other.counts and own
    return other
