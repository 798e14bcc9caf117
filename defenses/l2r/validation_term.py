"""Which items help on the validation items: the first-order bi-level term, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


def validation_scores(z: Tensor, residual: Tensor, z_val: Tensor, residual_val: Tensor) -> Tensor:
    """Scores g [N] = - zscore_n(r_n^T G Z_n + r_n . c): negative where more weight lowers the validation loss.

    The derivative of the validation loss after one gradient step on the linear head, first order, with
    G = mean_v r_v Z_v^T [C, d] and c = mean_v r_v. It rewards a spurious shortcut too, when the validation items carry
    it.

    Args:
        z: raw embeddings of the training items [N, d].
        residual: softmax(logits) - onehot(y) [N, C].
        z_val: raw embeddings of the validation items [V, d].
        residual_val: the same for them [V, C].
    """
    gradient = residual_val.T @ z_val / z_val.shape[0]  # [C, d]
    score = ((residual @ gradient) * z).sum(dim=1) + residual @ residual_val.mean(dim=0)
    return -(score - score.mean()) / score.std(correction=0).clamp_min(1e-12)


def residuals(logits: Tensor, y: Tensor) -> Tensor:
    """softmax(logits) - onehot(y), [N, C]; a single logit counts as (-s/2, s/2)."""
    if logits.shape[1] == 1:
        logits = torch.cat([-logits / 2, logits / 2], dim=1)
    return logits.softmax(dim=1) - torch.nn.functional.one_hot(y, logits.shape[1]).to(logits.dtype)
