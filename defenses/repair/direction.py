"""The direction of one step: the gradient of the nodes to repair, bent away from what would hurt training nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

Floats = NDArray[np.float64]
INACTIVE, DAMPING, NOTHING_LEFT = 1e-8, 1e-8, 1e-6


def rewired(g: Floats, anchors: Floats) -> tuple[Floats, int]:
    """U = g + G^T v with <G_p, u> >= 0 for every row, so that no part's loss rises to first order along -u.

    v solves min_{v >= 0} 1/2 v'Mv + (G g)'v with M = G G^T + 1e-8 tr(M) / P I, by non-negative least squares on the
    Cholesky factor of M.

    Args:
        g: gradient of the nodes to repair, [P].
        anchors: one gradient a part of the training nodes, [parts, P]; rows shorter than 1e-8 |g| are left out.

    Returns:
        u [P], and how many rows were left out.

    Source: Zhang et al., "Gradient Rewiring for Editable Graph Neural Network Training", NeurIPS 2024 (GRE+). Its
    damping 1 / (1 + gamma) only rescales the step and is dropped.
    """
    lengths = np.linalg.norm(anchors, axis=1)
    active = lengths >= INACTIVE * np.linalg.norm(g)
    rows = anchors[active & (lengths > 0)]
    left_out = len(anchors) - len(rows)
    if not len(rows):
        return g.copy(), left_out
    gram = rows @ rows.T
    gram += DAMPING * np.trace(gram) / len(rows) * np.eye(len(rows))
    factor = np.linalg.cholesky(gram)
    v, _ = nnls(factor.T, -solve_triangular(factor, rows @ g, lower=True))
    return np.asarray(g + rows.T @ v), left_out


def is_spent(u: Floats, g: Floats) -> bool:
    """Whether nothing of the gradient is left: no direction corrects the nodes without hurting training nodes."""
    return bool(np.linalg.norm(u) < NOTHING_LEFT * np.linalg.norm(g))
