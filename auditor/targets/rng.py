"""Runs code that draws from the global generators, and leaves them as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch_geometric.nn import sequential


@contextmanager
def forked_rng(seed: int | None = None) -> Iterator[None]:
    """Inside: the global generators of torch, NumPy and `random`, seeded when `seed` is given. Outside: untouched.

    Layers initialise and dropout draws from torch's global generator, a user's factory from any of the three. This is
    the one place that seeds them, so that neither the order of cells nor the caller's own draws can depend on it.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that is protected
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=gpus), _named_by_content():
        try:
            if seed is not None:
                torch.manual_seed(seed)
                random.seed(seed)
                np.random.seed(seed % 2**32)  # noqa: NPY002 - user code may draw from it
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def _named_by_content() -> Iterator[None]:
    """Inside: PyG's Sequential names the forward that it generates by what the forward does. Outside: untouched.

    PyG draws the name from `random` and takes any module of that name for its own: once the generator is as it was, the
    next Sequential would draw a name that is taken, and run the forward of another. It also puts what it generated last
    into the class, where a Sequential without a forward of its own would find it.
    """
    generate, shared = sequential.module_from_template, sequential.Sequential.forward

    def named(module_name: str, **parts: Any) -> Any:
        content = hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()
        return generate(module_name=f"{module_name.rpartition('_')[0]}_{content}", **parts)

    sequential.module_from_template = named
    try:
        yield
    finally:
        sequential.module_from_template, sequential.Sequential.forward = generate, shared
