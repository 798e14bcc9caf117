import numpy as np
import pytest
import torch

from attacks.privacy import neighbours
from attacks.privacy.neighbours import _top, largest_products, nearest


def by_hand(values, k):
    """Keys of the k largest values of each row, itself excluded."""
    n = values.shape[0]
    pairs = set()
    for u in range(n):
        others = sorted((v for v in range(n) if v != u), key=lambda v: -values[u, v])[:k]
        pairs |= {min(u, v) * n + max(u, v) for v in others}
    return sorted(pairs)


@pytest.mark.parametrize("density", [0.08, 1.0])
def test_nearest_rows_are_those_of_largest_cosine(density):
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.random((300, 400)) * (rng.random((300, 400)) < density)).float()
    unit = (rows / rows.norm(dim=1, keepdim=True)).double()
    assert nearest(rows, 3).tolist() == by_hand(unit @ unit.T, 3)


def test_products_are_of_a_row_with_all_others():
    left, right = torch.randn(2, 60, 5, generator=torch.Generator().manual_seed(0))
    assert largest_products(left, right, 4).tolist() == by_hand(left @ right.T, 4)


@pytest.mark.parametrize("columns", [100, 511, 512, 1000, 1039])
def test_the_largest_of_a_row_are_those_of_the_groups_with_the_largest_maxima(columns):
    values = torch.rand(30, columns, generator=torch.Generator().manual_seed(0))
    values[:, -2:] += 1 * (torch.arange(30) % 2)[:, None]  # those that no group holds
    values[torch.arange(30), torch.arange(30)] = -torch.inf
    found = values.gather(1, _top(values, 2))
    assert torch.equal(found, values.topk(2, dim=1).values)


@pytest.mark.parametrize("search", ["nearest", "products"])
def test_search_in_cells_finds_nearly_all_and_the_same_every_time(monkeypatch, search):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, 16))
    rows = torch.from_numpy(centres[rng.integers(0, 40, 3000)] + 0.5 * rng.normal(size=(3000, 16))).float()
    scale = torch.from_numpy(rng.lognormal(0, 0.5, (3000, 1))).float()

    def found():
        return nearest(rows, 10) if search == "nearest" else largest_products(rows * scale, rows.flip(1) * scale, 10)

    exact = found()
    monkeypatch.setattr(neighbours, "ALL_PAIRS", 1000)
    inside = found()
    assert torch.equal(inside, found())
    assert float(torch.isin(exact, inside).double().mean()) > 0.85
    assert inside.numel() <= 3000 * 11
    u, v = inside // 3000, inside % 3000
    assert bool((u < v).all())
