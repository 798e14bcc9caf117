"""Scores by distance from what the model was trained on, in the space of its embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.registry import lack_of
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.target import Capability, ModelHandle, Target

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW = 10
"""Training items of a class below which validation items are learned from as well."""
MOST = 5000
"""Training items that a search for neighbours goes through; of more, evenly spaced ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the training items look like.

    Attributes:
        means: of each class that is there, [K, d].
        precision: inverse of the pooled covariance, shrunk, [d, d].
        nearest: finds the k nearest among them, of length 1 each.
    """

    means: Floats
    precision: Floats
    nearest: Any

    def scores(self, z: Floats) -> dict[str, Floats]:
        """Minus the least Mahalanobis distance to a class mean, squared, and minus the distance to the k-th nearest.

        A row that is not finite scores −inf.

        Args:
            z: embeddings, [n, d].

        Source: Lee et al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018; Sun et
        al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022.
        """
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(z).all(axis=1))
        safe = np.where(finite[:, None], z, 0.0)
        spread, axes = np.linalg.eigh(self.precision)  # it may be singular: a pseudo-inverse where nothing varies
        half = axes * np.sqrt(spread.clip(min=0.0))  # lengths after this map are Mahalanobis lengths before it
        far = cdist(safe @ half, self.means @ half, "sqeuclidean")
        distance, _ = self.nearest.kneighbors(_unit(safe))
        found = {"mahalanobis": -far.min(axis=1), "knn": -distance[:, -1]}
        return {name: np.where(finite, score, -np.inf) for name, score in found.items()}


def embedded(target: Target) -> tuple[Known | None, str]:
    """What the training items look like to the model, or None and why that is not known."""
    if Capability.EMBEDDINGS not in target.capabilities:
        return None, f"needs {lack_of(Capability.EMBEDDINGS)}"
    split, y = target.split, target.graph.y
    try:
        z = embeddings(target.handle(), target.graph)
    except (*TRIAL_ERRORS, AuditorError) as error:
        return None, f"{type(error).__name__}: {error}"
    learned = split.train & target.graph.labelled
    counts = torch.bincount(y[learned])
    if int(counts[counts > 0].min()) < FEW:
        learned = learned | (split.val & target.graph.labelled)
    rows, labels = z[learned.numpy()], y[learned].numpy()
    kept = np.isfinite(rows).all(axis=1)
    rows, labels = rows[kept], labels[kept]
    if len(rows) < 2 or not rows.shape[1]:
        return None, f"{len(rows)} training items have embeddings; distances need more"
    return known_from(rows, labels), ""


def known_from(rows: Floats, labels: Ints) -> Known:
    """What training items look like.

    Args:
        rows: one an item, finite, [n, d] with n >= 2 and d >= 1.
        labels: of the same items, int64 [n].
    """
    classes = np.unique(labels)
    means = np.stack([rows[labels == c].mean(axis=0) for c in classes])
    centred = rows - means[np.searchsorted(classes, labels)]
    precision = LedoitWolf(assume_centered=True).fit(centred).precision_
    few = rows[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).astype(np.int64)]
    k = min(10, max(1, len(few) // 20))
    return Known(means, precision, NearestNeighbors(n_neighbors=k).fit(_unit(few)))


def embeddings(handle: ModelHandle, graph: Graph) -> Floats:
    """Of every item, float64 [items, d]: a node's own, of a graph the mean of its nodes'."""
    with torch.no_grad():
        z: Tensor = handle.embeddings(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields).double()
    if graph.batch is not None and len(z) == graph.num_nodes:
        sizes = torch.bincount(graph.batch, minlength=graph.num_items).double().clamp_min(1)
        z = torch.zeros(graph.num_items, z.shape[1]).double().index_add_(0, graph.batch, z) / sizes[:, None]
    found: Floats = z.numpy()
    return found


def _unit(z: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(z, axis=1, keepdims=True)
    out: Floats = np.zeros_like(z)
    np.divide(z, length, out=out, where=length > 0)
    return out
