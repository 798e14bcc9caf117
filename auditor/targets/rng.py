"""Runs code that draws from the global generators, and leaves them as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def forked_rng(seed: int | None = None) -> Iterator[None]:
    """Inside: the global generators of torch, NumPy and `random`, seeded when `seed` is given. Outside: untouched.

    Layers initialise and dropout draws from torch's global generator, a user's factory from any of the three. This is
    the one place that seeds them, so that neither the order of cells nor the caller's own draws can depend on it.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that is protected
    with torch.random.fork_rng(devices=[]):
        try:
            if seed is not None:
                torch.manual_seed(seed)
                random.seed(seed)
                np.random.seed(seed % 2**32)  # noqa: NPY002 - user code may draw from it
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
