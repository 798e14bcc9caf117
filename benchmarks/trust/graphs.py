"""Two laws that private graphs are drawn from: blocks with uneven degrees, and latent positions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

Floats = NDArray[np.float64]
UNEVEN = 0.5  # standard deviation of a node's log degree factor
BLOCK = 8  # features of each class in the block law
ON, OFF = 0.3, 0.1  # rate of a feature of the node's own class, and of another one
LATENT_FEATURES = 32
REACH = 0.6  # distance at which the rate of an edge has fallen by 1 - exp(-1/2)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One private graph and the law that it came from.

    Attributes:
        x: features, float32 [N, F].
        y: classes, int64 [N].
        pairs: undirected edges u < v, int64 [2, |E|].
        rate: probability of each pair u < v, float64 [N (N - 1) / 2], in the order of `numpy.triu_indices`.
    """

    x: Tensor
    y: Tensor
    pairs: NDArray[np.int64]
    rate: Floats

    @property
    def edge_index(self) -> Tensor:
        """Both arcs of every edge, int64 [2, E]."""
        return torch.from_numpy(np.concatenate([self.pairs, self.pairs[::-1]], axis=1))

    @property
    def data(self) -> Data:
        """What an audit takes."""
        return Data(x=self.x, edge_index=self.edge_index, y=self.y)

    def redrawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Edges of another graph from the same rates, which knows nothing of these ones."""
        return _drawn(self.rate, self.y.shape[0], rng)

    def with_features(self, x: Tensor) -> Drawn:
        """The same graph with other features."""
        return replace(self, x=x)


def blocks(
    rng: np.random.Generator, *, n: int, classes: int, degree: float, mixing: float, x: Tensor | None = None
) -> Drawn:
    """Degree-corrected blocks; binary features that carry part of the class.

    Args:
        rng: the only source of randomness.
        n: nodes.
        classes: of even size, in random order.
        degree: mean degree.
        mixing: share of the edges that join two classes.
        x: features that replace the binary ones.
    """
    y = rng.permutation(np.arange(n) % classes)
    u, v = np.triu_indices(n, 1)
    uneven = np.exp(UNEVEN * rng.standard_normal(n))
    same = y[u] == y[v]
    weight = uneven[u] * uneven[v]
    weight[same] *= (1 - mixing) / weight[same].sum()
    weight[~same] *= mixing / weight[~same].sum()
    rate = np.minimum(weight * degree * n / 2, 1.0)
    pairs = _drawn(rate, n, rng)
    own = np.arange(BLOCK * classes)[None, :] // BLOCK == y[:, None]
    binary = rng.random(own.shape) < np.where(own, ON, OFF)
    return Drawn(torch.from_numpy(binary).float() if x is None else x, torch.from_numpy(y), pairs, rate)


def latent(rng: np.random.Generator, *, n: int, classes: int, degree: float, opposites: bool = False) -> Drawn:
    """Positions in the plane that make classes (sectors), features (noisy, binary) and edges.

    Args:
        rng: the only source of randomness.
        n: nodes.
        classes: sectors of the plane; an even number if opposites attract.
        degree: mean degree.
        opposites: edges join positions z and about -z, of opposite classes, instead of close ones.
    """
    z = rng.standard_normal((n, 2))
    y = np.floor((np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi) % 1) * classes).astype(np.int64).clip(max=classes - 1)
    u, v = np.triu_indices(n, 1)
    apart = z[u] + z[v] if opposites else z[u] - z[v]
    uneven = np.exp(UNEVEN * rng.standard_normal(n))
    weight = uneven[u] * uneven[v] * np.exp(-(apart**2).sum(axis=1) / (2 * REACH**2))
    rate = np.minimum(weight * degree * n / 2 / weight.sum(), 1.0)
    pairs = _drawn(rate, n, rng)
    way = rng.standard_normal((2, LATENT_FEATURES))
    x = rng.random((n, LATENT_FEATURES)) < 1 / (1 + np.exp(1 - z @ way))
    return Drawn(torch.from_numpy(x).float(), torch.from_numpy(y), pairs, rate)


def one_hot(rng: np.random.Generator, n: int, values: int) -> Tensor:
    """Features that name one of `values` groups of about even size, drawn at random, float32 [n, values]."""
    return torch.eye(values)[torch.from_numpy(rng.permutation(np.arange(n) % values))]


def adjacency(pairs: NDArray[np.int64], n: int) -> Tensor:
    """Undirected pairs as a symmetric matrix, bool [n, n]."""
    matrix = torch.zeros(n, n, dtype=torch.bool)
    matrix[pairs[0], pairs[1]] = matrix[pairs[1], pairs[0]] = True
    return matrix


def split(rng: np.random.Generator, n: int, train: float) -> dict[str, Tensor]:
    """Training and test items; no validation items, so that the last step of training counts."""
    order = torch.from_numpy(rng.permutation(n))
    return {"train": order[: round(train * n)], "test": order[round(train * n) :]}


def _drawn(rate: Floats, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    u, v = np.triu_indices(n, 1)
    keep = rng.random(rate.shape[0]) < rate
    return np.stack([u[keep], v[keep]])
