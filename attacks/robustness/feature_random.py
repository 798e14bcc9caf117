"""Random edits of features: what edits on purpose are measured against."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.feature_space import FeatureSpace, Within
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class FeatureRandom:
    """As many uniform bits toggled, or every value moved by as much as it may be, up or down at random.

    Attributes:
        draws: edits per budget; of bits, a smaller budget's edit begins a larger one's.
        within: as of the attack.
    """

    draws: Annotated[int, Field(ge=1)] = 5
    within: Within = "linf"

    def run(self, view: View, attempt: Attempt) -> FeatureOutcome:
        """`draws` edits per budget.

        Raises:
            SkippedError: features that cannot be edited.
        """
        space = FeatureSpace.of(view.x)
        points: list[FeatureEdit] = []
        variants: list[str] = []
        for draw in range(self.draws):
            if space.kind == "bits":
                bits = _drawn(space.raw, max(attempt.budgets, default=0), attempt.node_caps, attempt.rng)
                points += [FeatureEdit(budget, bits[:budget]) for budget in attempt.budgets]
            else:
                signs = torch.from_numpy(attempt.rng.integers(0, 2, tuple(space.raw.shape))).to(space.raw.dtype) * 2 - 1
                none = torch.empty(0, dtype=torch.int64)
                points += [
                    FeatureEdit(radius, none, space.moved(radius * signs, radius, self.within))
                    for radius in attempt.radii
                ]
            variants += [f"draw {draw}"] * (len(points) - len(variants))
        return FeatureOutcome(tuple(points), tuple(variants))


def _drawn(raw: Tensor, count: int, caps: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Distinct uniform keys in random order, no more in a row than its cap, int64 [<= count]."""
    total, width = raw.numel(), raw.shape[1]
    wanted = min(count if caps is None else 4 * count, total)
    keys = torch.from_numpy(rng.choice(total, wanted, replace=False))
    if caps is None:
        return keys
    room: list[int] = caps.tolist()
    kept: list[int] = []
    for key in keys.tolist():
        if len(kept) == count:
            break
        if room[key // width] > 0:
            room[key // width] -= 1
            kept.append(key)
    return torch.tensor(kept, dtype=torch.int64)
