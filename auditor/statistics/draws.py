"""Every random stream of the program: a seed, the fixed name of a method, the name of the draw, and nothing else.

No path, digest, version or profile takes part, so that neither renaming a file nor editing a default moves a number,
and two arms of a comparison that ask for the same draw get the same one. See docs/methods/random-streams.md.
"""

from __future__ import annotations

import hashlib
from json import dumps  # bound before any code of a model is: a patched module would move every draw

import numpy as np
import torch


def sequence(seed: int, method: str, *draw: str) -> np.random.SeedSequence:
    """The entropy of one draw.

    Args:
        seed: of the cell, the fit or the repeat; >= 0.
        method: a name that is fixed for ever (`rng_name` of a registry line, or a harness's own).
        draw: what is drawn, in words.
    """
    words = hashlib.sha256(dumps([method, *draw]).encode()).digest()
    return np.random.SeedSequence([seed, int.from_bytes(words, "big")])


def generator(seed: int, method: str, *draw: str) -> np.random.Generator:
    """NumPy's generator of that draw."""
    return np.random.default_rng(sequence(seed, method, *draw))


def torch_generator(seed: int, method: str, *draw: str) -> torch.Generator:
    """Torch's generator of that draw, on the CPU wherever the model lives."""
    state = sequence(seed, method, *draw).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def integer(seed: int, method: str, *draw: str) -> int:
    """A whole number from 0 to 2**31 − 1, for code that takes a seed instead of a generator."""
    return int(sequence(seed, method, *draw).generate_state(1, np.uint32)[0]) >> 1
