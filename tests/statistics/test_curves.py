"""How weights of steps are added up: by an inner operator of torch, and to the same numbers without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.statistics import curves
from auditor.statistics.curves import BLOCK, Side, counts


def sums(times: torch.Tensor) -> tuple[torch.dtype, np.ndarray]:
    """Of 40 steps of one to five items each, under seven weightings."""
    rng = np.random.default_rng(3)
    ends = np.cumsum(rng.integers(1, 6, 40))
    rows = counts(times)
    side = Side(rng.permutation(len(times))[: ends[-1]], ends)
    steps = side.sums(rows, [(0, 1), (1, 2)])
    return rows.dtype, steps.reshape(2 * BLOCK, -1)[:, : times.shape[1]]


def test_torch_adds_up_rows_of_bytes() -> None:
    """Where this fails, intervals of link probes take 1.4 times as long: see `BYTES_ADD_UP`."""
    assert curves.BYTES_ADD_UP, "torch.ops.quantized.embedding_bag_byte_rowwise_offsets is gone; find another way"


def test_without_that_operator_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    times = torch.poisson(torch.full((300, 7), 1.3), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    with_it = sums(times)
    monkeypatch.setattr(curves, "BYTES_ADD_UP", False)
    without = sums(times)
    assert (with_it[0], without[0]) == (torch.uint8, torch.float32)
    assert np.array_equal(with_it[1], without[1])
    assert with_it[1].sum() > 0
