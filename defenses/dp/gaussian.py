"""Gaussian privacy noise, from NumPy's generator: torch's keeps 32 bits of a seed, few enough to try them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def gaussian(shape: Sequence[int], dtype: torch.dtype, rng: np.random.Generator) -> Tensor:
    """Independent N(0, 1) of this shape."""
    return torch.from_numpy(rng.standard_normal(tuple(shape))).to(dtype)
