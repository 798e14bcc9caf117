"""What an adversary predicts a column from, and how: two learners of different kinds, cross-fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from auditor.data.sensitive import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WIDE = 64
"""Columns beyond which trees see the leading directions of all of them."""
LEARNERS, BOTH = ("linear", "trees"), "both"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of each node; every part may have no column.

    Attributes:
        columns: features without the sensitive one, [n, F'], dense or sparse.
        rest: whatever else, float64 [n, k].
        wide: what trees see of the columns, float64 [n, at most 64].
    """

    columns: Any
    rest: Floats
    wide: Floats

    @classmethod
    def of(cls, columns: NDArray[np.float32] | None, rest: Floats, *, seed: int) -> Known:
        """Features, few of them filled as a sparse matrix, and the rest."""
        n = rest.shape[0]
        if columns is None or columns.shape[1] == 0:
            none = np.zeros((n, 0))
            return cls(none, rest, none)
        if columns.shape[1] <= WIDE:
            dense = columns.astype(np.float64)
            return cls(StandardScaler().fit_transform(dense), rest, dense)
        given = csr_array(columns.astype(np.float64)) if np.mean(columns != 0) < 0.1 else columns.astype(np.float64)
        scaler = MaxAbsScaler() if issparse(given) else StandardScaler()
        found = TruncatedSVD(WIDE, random_state=seed).fit_transform(given)
        return cls(scaler.fit_transform(given), rest, found)

    def with_more(self, more: Floats) -> Known:
        """The same beside `more`, [n, k]."""
        return replace(self, rest=np.concatenate([self.rest, more], axis=1))

    def only(self, nodes: NDArray[np.bool_]) -> Known:
        """Of these nodes alone."""
        return Known(self.columns[np.flatnonzero(nodes)], self.rest[nodes], self.wide[nodes])

    def linear(self) -> Any:
        """All columns on one scale."""
        rest = StandardScaler().fit_transform(self.rest) if self.rest.shape[1] else self.rest
        return hstack([self.columns, rest], format="csr") if issparse(self.columns) else np.c_[self.columns, rest]

    def trees(self) -> Floats:
        """Columns as they are, many of them by their leading directions."""
        return np.concatenate([self.wide, self.rest], axis=1)


def folds_of(values: Floats, count: int, rng: np.random.Generator) -> Ints:
    """A fold for each node, [n], each with its share of every value."""
    drawn = rng.permutation(values.shape[0])
    fold = np.empty(values.shape[0], dtype=np.int64)
    fold[drawn[np.argsort(values[drawn], kind="stable")]] = np.arange(values.shape[0]) % count
    return fold


def predicted(known: Known, values: Floats, kind: Kind, fold: Ints, *, seed: int) -> dict[str, Floats]:
    """What each learner says of nodes whose value it was not told, and both together with equal weights.

    Args:
        known: of every node.
        values: the column, [n].
        kind: of it.
        fold: which nodes are predicted together, from the values of all others, [n].
        seed: of the trees.

    Returns:
        by learner, and `both`: posteriors [n, K] of classes, or numbers [n, 1].
    """
    width = 1 if kind == "number" else int(values.max()) + 1
    found = {name: np.zeros((values.shape[0], width)) for name in LEARNERS}
    parts = {"linear": known.linear(), "trees": known.trees()}
    if parts["trees"].shape[1] == 0:  # nothing is known: the mean of what was told
        for told, asked in _halves(fold):
            whole = values[told].astype(np.int64) if kind != "number" else None
            mean = values[told].mean(keepdims=True) if whole is None else np.bincount(whole, minlength=width)
            for each in found.values():
                each[asked] = mean if whole is None else mean / told.size
        return {**found, BOTH: found["linear"]}
    for told, asked in _halves(fold):
        for name, rows in parts.items():
            learner = _learner(name, kind, seed).fit(rows[told], values[told])
            if kind == "number":
                found[name][asked, 0] = learner.predict(rows[asked])
            else:
                found[name][np.ix_(asked, learner.classes_.astype(np.int64))] = learner.predict_proba(rows[asked])
    return {**found, BOTH: np.mean([found[name] for name in LEARNERS], axis=0)}


def _halves(fold: Ints) -> Iterator[tuple[Ints, Ints]]:
    for k in np.unique(fold):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def _learner(name: str, kind: Kind, seed: int) -> Any:
    if name == "linear":
        return Ridge(alpha=1.0) if kind == "number" else LogisticRegression(C=1.0, max_iter=300)
    make = HistGradientBoostingRegressor if kind == "number" else HistGradientBoostingClassifier
    return make(max_iter=60, max_depth=4, learning_rate=0.1, random_state=seed, early_stopping=False)
