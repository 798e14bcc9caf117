"""How sure an answer is of the true class: the score that membership inference starts from.

phi = z_y − log sum_{c≠y} exp(z_c), the logit of the probability of the true class. From probabilities p it is
log p_y − log sum_{c≠y} p_c: the sum of the others does not vanish where p_y rounds to 1.

Source: Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022, section IV-C.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-300
"""Least probability of exact answers."""


def true_class_margin(answers: Tensor, y: Tensor, *, outputs: str, digits: int | None = None) -> Tensor:
    """Phi of each answer, float64 [n], finite.

    Args:
        answers: [n, C], probabilities or logits.
        y: true classes, int64 [n].
        outputs: `probs` or `logits`.
        digits: decimals that probabilities are rounded to: what is less than half of the last one counts as that much.
    """
    rows = answers.double()
    log_p = rows.clamp_min(LEAST if digits is None else 0.5 * 10.0**-digits).log() if outputs == "probs" else rows
    own = log_p.gather(1, y[:, None])[:, 0]
    others = log_p.scatter(1, y[:, None], float("-inf")).logsumexp(dim=1)
    limit = torch.finfo(torch.float64).max
    return (own - others).nan_to_num(nan=0.0, posinf=limit, neginf=-limit)
