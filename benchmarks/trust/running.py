"""Many independent runs, in this process or in several; the answers in the order of the runs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Answer = TypeVar("Answer")


def each(work: Callable[..., Answer], runs: Sequence[tuple[object, ...]], jobs: int) -> list[Answer]:
    """`work(*run)` of every run. A run draws nothing that another one left behind, so `jobs` changes no number."""
    one = partial(_one, work)
    if jobs == 1:
        return [one(run) for run in runs]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(one, runs))


def _one(work: Callable[..., Answer], run: tuple[object, ...]) -> Answer:
    torch.set_num_threads(1)
    return work(*run)


def shares(total: int, kinds: Sequence[str]) -> list[tuple[str, int]]:
    """`total` runs dealt out to the kinds in turn: (kind, number of the run among its own)."""
    return [(kinds[i % len(kinds)], i // len(kinds)) for i in range(total)]
