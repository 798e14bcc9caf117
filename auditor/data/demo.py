"""The bundled demo graph: a degree-corrected stochastic block model, fixed by seed and kept as a hashed file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.data.files import read_file
from auditor.data.raw import Raw
from auditor.errors import ConfigError, DataError

DEMO_FILE = Path(__file__).with_name("demo.npz")
DEMO_DIGEST = Path(__file__).with_name("demo.sha256")
DEMO_SEED = 0
MAX_NODES = 5000  # every pair of nodes is drawn, so that memory grows with N * N
Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockModel:
    """A degree-corrected stochastic block model with binary word features and a split.

    Attributes:
        nodes: N, at most 5,000; classes are of equal size, give or take one.
        classes: C.
        degree: expected mean degree, before probabilities are cut at 1.
        mixing: expected share of edges whose ends are of different classes.
        pareto: shape of the Pareto law of degree weights (minimum 1).
        features: F words; the first `classes * own_words` are the classes' own.
        own_words: own words of each class.
        own, other: probability that a node holds an own word, and any other word.
        train_per_class: training nodes a class; a quarter of the rest validates, the others test.
    """

    nodes: int = 300
    classes: int = 4
    degree: float = 6.0
    mixing: float = 0.2
    pareto: float = 2.5
    features: int = 64
    own_words: int = 8
    own: float = 0.25
    other: float = 0.08
    train_per_class: int = 20

    def __post_init__(self) -> None:
        fits = (
            0 < self.nodes <= MAX_NODES
            and 2 <= self.classes <= self.nodes // (self.train_per_class + 2)
            and self.classes * self.own_words <= self.features
            and self.degree > 0
            and self.pareto > 0
            and all(0 <= p <= 1 for p in (self.mixing, self.own, self.other))
        )
        if not fits:
            raise ConfigError(
                f"{self} cannot be generated; expected at most {MAX_NODES} nodes, at least train_per_class + 2 a "
                "class, room for every class's own words, and probabilities in [0, 1]. Change what does not fit."
            )

    def sample(self, rng: np.random.Generator) -> dict[str, Array]:
        """Arrays `x` [N, F], `edge_index` [2, E] (both directions), `y` [N] and the three masks [N].

        The probability of an edge is p(u, v) = m t_u t_v s(u, v) with m = N * degree / 2 edges, Pareto weights t, and s
        the share of edges for its kind of pair (1 − mixing within, mixing across) over the sum of t_u t_v of that kind.

        Source: Karrer and Newman, "Stochastic blockmodels and community structure in networks", Phys. Rev. E 2011;
        Bernoulli instead of Poisson draws, so that no edge is double.
        """
        y = rng.permutation(np.arange(self.nodes) % self.classes)
        weight = 1.0 + rng.pareto(self.pareto, self.nodes)
        u, v = np.triu_indices(self.nodes, 1)  # N * (N - 1) / 2 pairs
        product, same = weight[u] * weight[v], y[u] == y[v]
        share = np.where(same, (1 - self.mixing) / product[same].sum(), self.mixing / product[~same].sum())
        edges = rng.random(u.shape[0]) < self.nodes * self.degree / 2 * product * share
        u, v = u[edges], v[edges]
        word_class = np.arange(self.features) // self.own_words  # words past the last class's own belong to nobody
        x = rng.random((self.nodes, self.features)) < np.where(word_class == y[:, None], self.own, self.other)
        masks = {key: np.zeros(self.nodes, dtype=np.bool_) for key in ("train_mask", "val_mask", "test_mask")}
        for c in range(self.classes):
            members = rng.permutation(np.flatnonzero(y == c))
            rest = members[self.train_per_class :]
            masks["train_mask"][members[: self.train_per_class]] = True
            masks["val_mask"][rest[: len(rest) // 4]] = True
            masks["test_mask"][rest[len(rest) // 4 :]] = True
        edge_index = np.stack([np.concatenate([u, v]), np.concatenate([v, u])]).astype(np.int64)
        order = np.lexsort((edge_index[1], edge_index[0]))
        return {"x": x.astype(np.uint8), "edge_index": edge_index[:, order], "y": y.astype(np.int64), **masks}


def demo_bytes() -> bytes:
    """The demo graph generated afresh, as the bytes of its .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **BlockModel().sample(np.random.default_rng(DEMO_SEED)))
    return buffer.getvalue()


def read_demo() -> Raw:
    """The bundled demo graph with its split.

    Raises:
        DataError: the bundled file is damaged.
    """
    expected = DEMO_DIGEST.read_text(encoding="ascii").split()[0]
    found = hashlib.sha256(DEMO_FILE.read_bytes()).hexdigest()
    if found != expected:
        raise DataError(f"{DEMO_FILE.name} has sha256 {found}; expected {expected}. Install gnn-auditor again.")
    return replace(read_file(DEMO_FILE), whole_x=False)  # words that occur or not, stored small
