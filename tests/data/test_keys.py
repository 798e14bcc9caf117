"""Sets of keys, against what torch makes of them."""

from __future__ import annotations

import pytest
import torch

from auditor.data.keys import distinct, order_of, without


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_sets_of_keys_are_those_of_torch(count):
    rng = torch.Generator().manual_seed(count)
    keys, others = (torch.randint(3000, (count,), generator=rng) for _ in range(2))
    before = keys.clone(), others.clone()
    assert torch.equal(distinct(keys), torch.unique(keys))
    assert torch.equal(without(keys, others), keys[~torch.isin(keys, others)])
    assert torch.equal(without(keys, others[:0]), keys)
    once = torch.unique(keys)[torch.randperm(torch.unique(keys).numel(), generator=rng)]
    assert torch.equal(order_of(once), torch.argsort(once))
    assert torch.equal(keys, before[0])
    assert torch.equal(others, before[1])
