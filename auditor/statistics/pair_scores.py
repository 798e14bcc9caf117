"""Scores of node pairs that attacks and controls share: cosine of rows, and similarity of posteriors.

Each maker returns a function `score(pairs int64 [2, M]) -> float64 [M]` that looks at its pairs in blocks, so that no
score depends on which other pairs are asked for, and nothing of size N × N is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtri
from torch import Tensor

PairScore = Callable[[Tensor], Tensor]
BLOCK_NUMBERS = 2**18  # values gathered per side and block: 2 MB of float64, as many as the cache holds
BLOCK_PAIRS = 65_536
BLOCK_ROWS = 4_096
RANK = 1e-6  # singular values below this share of the largest are rounding of float32
WIDTH = 128  # columns below which rows are cheap
SPARSE = 0.1  # share of non-zero values below which rows are multiplied as sparse ones


def normal_scores(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as normal quantiles of their mid-ranks among reference scores: what scores of two kinds are added up as.

    Args:
        values: [P].
        reference: [R], ascending, of pairs drawn without the truth.

    Returns:
        [P]; a score beyond the reference is as far out as half a place beyond it.
    """
    size = reference.shape[0]
    rank = (np.searchsorted(reference, values, "left") + np.searchsorted(reference, values, "right")) / (2 * size)
    found: NDArray[np.float64] = ndtri(np.clip(rank, 0.5 / size, 1 - 0.5 / size))
    return found


def rank_mean(scores: Sequence[PairScore], reference: Tensor) -> PairScore:
    """Mean of the `normal_scores` of several scores: each pair by its mid-ranks among the reference pairs.

    Args:
        scores: of kinds that need not have one scale.
        reference: pairs drawn without the truth, int64 [2, R].
    """
    known = [(score, np.sort(score(reference).double().numpy())) for score in scores]

    def mean(pairs: Tensor) -> Tensor:
        return torch.from_numpy(
            np.mean([normal_scores(score(pairs).double().numpy(), ranks) for score, ranks in known], axis=0)
        )

    return mean


def in_blocks(score: PairScore, width: int) -> PairScore:
    """The same score, asked for at most `BLOCK_NUMBERS / width` pairs at a time."""
    size = max(1, BLOCK_NUMBERS // max(1, width))

    def blockwise(pairs: Tensor) -> Tensor:
        if pairs.shape[1] <= size:
            return score(pairs)
        return torch.cat([score(part) for part in torch.split(pairs, size, dim=1)])

    return blockwise


def unit_rows(rows: Tensor) -> Tensor:
    """Rows scaled to length 1 in float64, [N, d]; zero rows stay zero."""
    h = rows.double()
    norm = h.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, h / norm.clamp_min(1e-300), 0.0)


def row_cosine(rows: Tensor) -> PairScore:
    """Cosine of rows [N, d]; a zero row scores 0 with everything."""
    unit = unit_rows(rows)
    if is_sparse(rows):
        entries = csr_array(unit.numpy())
        return of_ids(lambda u, v: row_products(entries, u, v))
    # index_select and a product in place: half the time of `unit[u] * unit[v]`, and the same sums.
    return in_blocks(
        lambda pairs: unit.index_select(0, pairs[0]).mul_(unit.index_select(0, pairs[1])).sum(dim=1), unit.shape[1]
    )


def whitened(rows: Tensor) -> Tensor:
    """Rows [N, d] as the rows of U in their singular value decomposition U S V^T, columns centred, float64 [N, r].

    All directions that they differ in count alike. Kept are singular values above `RANK` times the largest: below are
    dead columns and rounding.
    """
    h = rows.double()
    h = h - h.mean(dim=0)
    squared, directions = torch.linalg.eigh(h.T @ h)
    kept = squared > RANK**2 * squared.max()
    found: Tensor = h @ (directions[:, kept] / squared[kept].sqrt())
    return found


def compact(rows: Tensor, rng: torch.Generator) -> Tensor:
    """Rows [N, d] in a basis of what they span, float64 [N, r], where that is much narrower; else as they are.

    Inner products of rows stay what they were. Gradients of a network are as wide as the features and span no more
    than its first layers do, so that a pair costs r products in place of d. The basis is that of `WIDTH` random sums
    of rows, and is taken only where it holds every row.

    Source: Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 2011 (range finder).
    """
    if min(rows.shape) <= WIDTH:
        return rows.double()
    drawn = torch.randn(rows.shape[0], WIDTH, generator=rng, dtype=torch.float64)
    sums = torch.zeros(rows.shape[1], WIDTH, dtype=torch.float64)
    parts = torch.split(rows, BLOCK_ROWS)  # made longer numbers of one after another
    for part, weight in zip(parts, torch.split(drawn, BLOCK_ROWS), strict=True):
        sums += part.double().T @ weight
    left, size, _ = torch.linalg.svd(sums, full_matrices=False)
    basis = left[:, size > RANK * size[0]]
    inside = torch.cat([part.double() @ basis for part in parts])
    length = torch.cat([part.double().square().sum(dim=1) for part in parts])
    return inside if bool((length - inside.square().sum(dim=1) <= RANK * length).all()) else rows.double()


def is_sparse(rows: Tensor) -> bool:
    """Whether few enough values are not zero for sparse products to be the cheaper ones."""
    return float((rows != 0).double().mean()) <= SPARSE


def row_products(rows: csr_array, u: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inner products of rows u with rows v, [M]."""
    return np.asarray(rows[u].multiply(rows[v]).sum(axis=1)).reshape(-1)


def of_ids(score: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]) -> PairScore:
    """A score of node ids as one of pair tensors, `BLOCK_PAIRS` pairs at a time."""

    def of_pairs(pairs: Tensor) -> Tensor:
        u, v = pairs.numpy()
        parts = [score(u[i : i + BLOCK_PAIRS], v[i : i + BLOCK_PAIRS]) for i in range(0, u.shape[0], BLOCK_PAIRS)]
        return torch.from_numpy(np.concatenate(parts) if parts else np.empty(0))

    return of_pairs


def row_correlation(rows: Tensor) -> PairScore:
    """Correlation of rows [N, d]: cosine after each row's mean is taken off."""
    h = rows.double()
    return row_cosine(h - h.mean(dim=1, keepdim=True))


def tied(score: PairScore) -> PairScore:
    """The same score at 12 decimals: what differs only by the order of a sum is equal, and ties are worth one half.

    Of coarse answers most pairs have one of a few scores. Without this their last bits rank classes, at random.
    """
    return lambda pairs: score(pairs).round(decimals=12)


def log_posteriors(posteriors: Tensor, *, digits: int | None = None) -> Tensor:
    """Log p, float64 [N, C], clipped at 1e-12, or at half the resolution of a service that rounds to `digits`."""
    least = 1e-12 if digits is None else 0.5 * 10.0**-digits
    return posteriors.double().clamp_min(least).log()


def log_posterior_similarity(log_p: Tensor, *, neighbourhood: Tensor) -> PairScore:
    """Correlation of log-posteriors; with two classes, the distance of log-odds in units of the local spacing.

    With C = 2 a row's correlation is ±1 and would compare predicted classes only. There the score is
    −|m_u − m_v| / sqrt(s_u s_v) with m the log-odds and s_u the 10th smallest |m_u − m_r| over the `neighbourhood`.

    Args:
        log_p: log-posteriors, float64 [N, C], C >= 2.
        neighbourhood: ids of random nodes r, int64 [K]; used with two classes only.

    Source: link stealing attack 0 (He et al., USENIX Security 2021), with one fixed metric in place of its eight.
    """
    if log_p.shape[1] > 2:
        return row_correlation(log_p)
    m = log_p[:, 1] - log_p[:, 0]
    spacing = torch.cat([_tenth_smallest(part, m[neighbourhood]) for part in torch.split(m, 4096)]) + 1e-6

    def score(pairs: Tensor) -> Tensor:
        u, v = pairs[0], pairs[1]
        return -(m[u] - m[v]).abs() / (spacing[u] * spacing[v]).sqrt()

    return in_blocks(score, 4)


def few_log_odds_similarity(log_p: Tensor, *, neighbourhood: Tensor) -> PairScore:
    """The same for two classes and answers of which most nodes share theirs with many: there the spacing is 0.

    Nodes with one answer count as spread evenly over its cell, which ends half-way to the next answers: the spacing is
    width / count, and the mean distance of two of them a third of the cell. Where most answers have spacing,
    `log_posterior_similarity` itself.
    """
    m = (log_p[:, 1] - log_p[:, 0]).round(decimals=5)
    if float(_tenth_smallest(m, m[neighbourhood]).median()) > 0:
        return log_posterior_similarity(log_p, neighbourhood=neighbourhood)
    values, cell, count = torch.unique(m, return_inverse=True, return_counts=True)
    gaps = values.diff() if values.numel() > 1 else values.new_ones(1)
    width = (torch.cat([gaps[:1], gaps]) + torch.cat([gaps, gaps[-1:]]))[: values.numel()] / 2
    per_node = (count / width)[cell]

    def score(pairs: Tensor) -> Tensor:
        u, v = pairs[0], pairs[1]
        inside = count[cell[u]].double() / 3
        return -torch.where(cell[u] == cell[v], inside, (m[u] - m[v]).abs() * (per_node[u] * per_node[v]).sqrt())

    return in_blocks(score, 4)


def _tenth_smallest(m: Tensor, others: Tensor) -> Tensor:
    """10th smallest |m_i − others_r|, [n]; the largest of fewer than ten."""
    return (m[:, None] - others[None, :]).abs().kthvalue(min(10, others.shape[0]), dim=1).values
