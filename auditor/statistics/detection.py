"""How well a score tells in-distribution items (positive, higher score) from shifted ones.

Infinite scores are allowed: metrics read ranks only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from auditor.statistics.ranking import mid_ranks

Floats = NDArray[np.float64]


def auroc(id_scores: Floats, shifted_scores: Floats) -> float:
    """Probability that an ID item scores above a shifted one, ties counted half: from the sum of its mid-ranks."""
    truth, ranks = _pool(id_scores, shifted_scores)
    n, m = len(id_scores), len(shifted_scores)
    return (float(ranks[truth == 1].sum()) - n * (n + 1) / 2) / (n * m)


def aupr(id_scores: Floats, shifted_scores: Floats) -> float:
    """Average precision with ID as the positive class; its chance level is n_ID / (n_ID + n_shifted)."""
    from sklearn.metrics import average_precision_score  # here, so that a worker starts without it

    truth, ranks = _pool(id_scores, shifted_scores)
    return float(average_precision_score(truth, ranks))


def fpr95(id_scores: Floats, shifted_scores: Floats) -> float:
    """Share of shifted items at or above the 5 % quantile (lower value) of the ID scores."""
    threshold = np.sort(id_scores)[int(np.floor(0.05 * (len(id_scores) - 1)))]
    return float((shifted_scores >= threshold).mean())


def auroc_replicates(
    id_scores: Floats, shifted_scores: Floats, id_weights: Iterator[Floats], shifted_weights: Iterator[Floats]
) -> Floats:
    """AUROC under item weights, one value per replicate.

    Args:
        id_scores: [n].
        shifted_scores: [m].
        id_weights: blocks of replicates, [b, n] each.
        shifted_weights: the same replicates for the shifted items, [b, m] each; equal blocks when items are paired.

    Returns:
        [B], NaN where one side has no weight.
    """
    order, own = np.argsort(shifted_scores, kind="stable"), np.argsort(id_scores, kind="stable")
    ordered, thresholds = shifted_scores[order], id_scores[own]
    below = np.searchsorted(ordered, thresholds, side="left")
    upto = np.searchsorted(ordered, thresholds, side="right")
    parts: list[float] = []
    mass = np.zeros(len(ordered) + 1)  # of one replicate at a time, read in rising order: it stays in the cache
    for block, shifted in zip(id_weights, shifted_weights, strict=True):
        for w, v in zip(block, shifted, strict=True):
            np.cumsum(v[order], out=mass[1:])
            mine = w[own]
            wins, total = (mine @ mass[below] + mine @ mass[upto]) / 2, mine.sum() * mass[-1]
            parts.append(wins / total if total > 0 else np.nan)
    return np.array(parts)


def _pool(id_scores: Floats, shifted_scores: Floats) -> tuple[NDArray[np.int64], Floats]:
    truth = np.concatenate([np.ones(len(id_scores)), np.zeros(len(shifted_scores))]).astype(np.int64)
    return truth, mid_ranks(np.concatenate([id_scores, shifted_scores]))
