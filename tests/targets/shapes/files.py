"""36-39: sparse features, and how a file names its split."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj

from tests.targets.shapes.graphs import NODES, changed, communities, without
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Shape, Unknown

MASKS = ("train_mask", "val_mask", "test_mask")
WIDE = GCN.replace("GCN(12, 16, 4)", f"GCN({NODES}, 16, 4)")


def rows_of_neighbours() -> Data:
    """Features are rows of the adjacency: as many columns as nodes, so that an identity would fit in their place."""
    data = communities(seed=15)
    return changed(data, x=to_dense_adj(data.edge_index)[0] + torch.eye(data.num_nodes))


def few_entries() -> Data:
    data = communities(seed=16)
    return changed(data, x=data.x * (data.x.abs() > 1.0))


def coo(data: Any) -> Data:
    return changed(data, x=data.x.to_sparse())


def csr(data: Any) -> Data:
    return changed(data, x=data.x.to_sparse_csr())


def no_masks(data: Any) -> Data:
    return without(data, *MASKS)


def ten_columns(data: Any) -> Data:
    """Ten splits side by side; the script used the fourth."""
    rng = torch.Generator().manual_seed(17)
    columns = []
    for _ in range(10):
        order = torch.randperm(data.num_nodes, generator=rng)
        columns.append({mask: data[mask][order] for mask in MASKS})
    columns[3] = {mask: data[mask] for mask in MASKS}
    return changed(data, **{mask: torch.stack([column[mask] for column in columns], dim=1) for mask in MASKS})


def lists_of_ids(data: Any) -> Data:
    ids = {f"{part}_idx": data[f"{part}_mask"].nonzero().flatten() for part in ("train", "test")}
    return changed(without(data, *MASKS), **ids)


def hard() -> Data:
    """Classes that features tell badly: training nodes are answered better than test nodes."""
    return communities(noise=3.0, seed=18)


def other_classes(model: Any, data: Any) -> Any:
    return model(torch.eye(data.num_nodes), data.edge_index)


SHAPES = (
    Shape(
        "36",
        "sparse x, as wide as the graph",
        WIDE,
        rows_of_neighbours,
        called,
        stored=coo,
        decoys={"identity": other_classes},
    ),
    Shape("36-csr", "sparse x in compressed rows", GCN, few_entries, called, stored=csr),
    Shape("37", "no masks", GCN, hard, called, Unknown(("split",)), stored=no_masks),
    Shape("38", "masks [N, 10], none named", GCN, hard, called, Unknown(("split",)), stored=ten_columns),
    Shape(
        "38-named",
        "masks [N, 10], the fourth",
        GCN,
        hard,
        called,
        stored=ten_columns,
        tables={"data": {"split": "masks:3"}},
    ),
    Shape("39", "train_idx and test_idx", GCN, hard, called, stored=lists_of_ids),
)
