"""What a scorer of pairs must hold to before any number is taken from it."""

from __future__ import annotations

import numpy as np
import torch

from auditor.document import ValidityRow, check
from auditor.errors import EvaluationError
from auditor.statistics.pair_scores import PairScore

CHECKED_PAIRS = 256


def check_scorer(score: PairScore, num_nodes: int, rng: np.random.Generator, *, probe: str) -> ValidityRow:
    """A scorer must be symmetric, finite, and independent of the other pairs in the call.

    Raises:
        EvaluationError: it is not; the first offending pair and both values are in the message.
    """
    u = rng.integers(0, num_nodes, CHECKED_PAIRS)
    v = (u + rng.integers(1, num_nodes, CHECKED_PAIRS)) % num_nodes
    pairs = torch.from_numpy(np.stack([u, v]))
    together = score(pairs).double()
    if together.shape != (CHECKED_PAIRS,) or not bool(torch.isfinite(together).all()):
        raise EvaluationError(
            f"{probe}: the scorer answered {CHECKED_PAIRS} pairs with {list(together.shape)} values, "
            f"{int((~torch.isfinite(together)).sum())} not finite; expected one finite number a pair."
        )
    scale = float(together.abs().max().clamp_min(1.0))
    half = CHECKED_PAIRS // 2
    alone = torch.cat([score(pairs[:, :1]), score(pairs[:, 1:half]), score(pairs[:, half:])]).double()
    for what, other in (("asymmetric", score(pairs.flip(0)).double()), ("dependent on the other pairs asked", alone)):
        gap = (together - other).abs()
        if float(gap.max()) > 1e-6 * scale:
            at = int(gap.argmax())
            raise EvaluationError(
                f"{probe}: the scorer is {what}: pair {pairs[:, at].tolist()} got {float(together[at]):.6g} and "
                f"{float(other[at]):.6g}; expected equal scores. No number can be taken from it."
            )
    return check("scorer", "integrity", True, f"symmetric, split-invariant and finite on {CHECKED_PAIRS} random pairs")
