"""Weighted dependence between embedding dimensions, measured on random Fourier features."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Form = Literal["covariance", "paper"]
SMALLEST_SD = 1e-5


def random_features(z: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """K random Fourier features of every dimension: sqrt2 cos(omega z + phi), own draw per dimension and feature.

    Args:
        z: standardised embeddings [N, d].
        count: K >= 1.
        rng: the only source of randomness.

    Returns:
        U [N, d, K], in the dtype of z.

    Source: Rahimi and Recht, "Random features for large-scale kernel machines", 2007; as used by StableNet, 2021.
    """
    shape = (z.shape[1], count)
    omega = torch.randn(shape, generator=rng, dtype=z.dtype)
    phi = torch.rand(shape, generator=rng, dtype=z.dtype) * (2 * math.pi)
    return math.sqrt(2) * torch.cos(z[:, :, None] * omega + phi)


def dependence(u: Tensor, w: Tensor | None, pairs: Tensor, *, form: Form = "covariance") -> Tensor:
    """D(w), the mean squared weighted cross-covariance over the allowed pairs of dimensions; a scalar >= 0.

    D(w) = 1/(|P| K^2) sum over (i, j) in P of ||Cov_ij||_F^2, with p = w / sum w and
    Cov_ij = sum_n p_n U_ni U_nj^T - (sum_n p_n U_ni)(sum_n p_n U_nj)^T. One GEMM of [dK, N] x [N, dK].

    Args:
        u: random features [N, d, K].
        w: weights [N], any positive scale; None for equal weights.
        pairs: symmetric bool [d, d] without diagonal, at least one pair.
        form: `covariance` is the weighted covariance; `paper` weights both factors before centring, as printed in
            the preprint, so that w enters squared.
    """
    n, d, k = u.shape
    flat = u.reshape(n, d * k)
    if w is None:
        centred = flat - flat.mean(dim=0)
        cov = centred.T @ centred / n
    elif form == "paper":
        both = flat * (w / w.mean())[:, None]
        centred = both - both.mean(dim=0)
        cov = centred.T @ centred / n
    else:
        p = w / w.sum()
        centred = flat - p @ flat
        cov = (centred * p[:, None]).T @ centred
    blocks = cov.view(d, k, d, k).square().sum(dim=(1, 3))  # [d, d]
    allowed = pairs.to(blocks.dtype)
    return (blocks * allowed).sum() / (allowed.sum() * k * k)


def all_pairs(d: int) -> Tensor:
    """Every pair of different dimensions, bool [d, d]."""
    return ~torch.eye(d, dtype=torch.bool)


def pairs_between(clusters: Tensor) -> Tensor:
    """Pairs of dimensions in different clusters, bool [d, d]."""
    return clusters[:, None] != clusters[None, :]


def standardised(z: Tensor) -> tuple[Tensor, Tensor]:
    """Live dimensions with mean 0 and standard deviation 1 over the items, and which were live: [N, d'], bool [d].

    A dimension with a standard deviation below 1e-5 is dropped.
    """
    sd, mean = torch.std_mean(z, dim=0, correction=0)
    live = sd >= SMALLEST_SD
    return (z[:, live] - mean[live]) / sd[live], live
