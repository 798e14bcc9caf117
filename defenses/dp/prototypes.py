"""Means of clipped rows with Gaussian noise: the function behind `joint-cluster:prototype-noise`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auditor.errors import ConfigError
from defenses.dp.gaussian import gaussian

NO_GUARANTEE = (
    "no guarantee: with message passing a node moves the embeddings of its neighbours too, and the table, the counts "
    "and the encoder are made from the private graph, so that the noise covers one row of one sum and nothing else"
)


def noisy_prototypes(
    z: Tensor, cluster: Tensor, clusters: int, clip: float, std: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Noisy means [K, d] and noisy counts [K], at least 1, released as sums of clipped rows and counts scaled by C.

    A row that is added or removed changes the release by C √2 at most: one Gaussian release of that sensitivity. That
    protects only who was in the sums for *fixed rows z*; node level holds for an edge-free encoder that is public or
    trained privately itself.

    Args:
        z: rows, float [n, d].
        cluster: of each row, int64 [n], 0..K-1.
        clusters: K.
        clip: C > 0, the longest a row may be.
        std: of the noise on every sum and on every scaled count, >= 0.
        rng: of the noise.

    Raises:
        ConfigError: a clip that is not above 0, or a negative std.
    """
    if not clip > 0 or not std >= 0:
        raise ConfigError(f"noisy prototypes: clip {clip}, std {std}; expected a clip above 0 and a std from 0.")
    short = z * (clip / z.norm(dim=1).clamp_min(1e-12)).clamp_max(1.0)[:, None]
    rows = torch.cat([short, short.new_full((z.shape[0], 1), clip)], dim=1)  # [n, d + 1]
    sums = rows.new_zeros(clusters, rows.shape[1]).index_add(0, cluster, rows)
    sums = sums + std * gaussian(sums.shape, sums.dtype, rng)
    counts = (sums[:, -1] / clip).clamp_min(1.0)
    return sums[:, :-1] / counts[:, None], counts
