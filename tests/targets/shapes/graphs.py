"""Generated data of the shapes: one graph of communities, or many small graphs; and the ways to save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, InMemoryDataset
from torch_geometric.utils import coalesce

NODES, FEATURES, CLASSES = 180, 12, 4


def communities(
    nodes: int = NODES, features: int = FEATURES, classes: int = CLASSES, noise: float = 1.6, seed: int = 0
) -> Data:
    """Nodes of a class are joined more often than others, and their features lie around one point."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (nodes,), generator=rng)
    same = y[:, None] == y[None]
    chance = torch.where(same, 0.09, 0.012)
    pairs = torch.triu(torch.rand(nodes, nodes, generator=rng) < chance, 1).nonzero().t()
    ring = torch.stack([torch.arange(nodes), torch.arange(1, nodes + 1) % nodes])  # no node without an edge
    edge_index = coalesce(torch.cat([pairs, pairs.flip(0), ring, ring.flip(0)], dim=1), num_nodes=nodes)
    centres = torch.randn(classes, features, generator=rng)
    x = centres[y] + noise * torch.randn(nodes, features, generator=rng)
    return with_masks(Data(x=x, edge_index=edge_index, y=y), rng)


def with_masks(data: Data, rng: torch.Generator) -> Data:
    """Two fifths of the nodes to train on, two to test, the others to validate."""
    order = torch.randperm(data.y.shape[0], generator=rng)
    n = len(order)
    parts = {"train": order[: 2 * n // 5], "val": order[2 * n // 5 : 3 * n // 5], "test": order[3 * n // 5 :]}
    for part, ids in parts.items():
        mask = torch.zeros(n, dtype=torch.bool)
        mask[ids] = True
        data[f"{part}_mask"] = mask
    return data


def without(data: Any, *keys: str) -> Data:
    """A copy that lacks these fields."""
    return Data(**{key: value for key, value in data.to_dict().items() if key not in keys})


def changed(data: Any, **fields: Any) -> Data:
    """A copy with these fields instead."""
    return Data(**{**data.to_dict(), **fields})


def molecules(count: int = 60, kinds: int = 5, seed: int = 0) -> list[Data]:
    """Rings and trees of atoms: class 1 are those with many bonds of the second kind."""
    rng = np.random.default_rng(seed)
    made = []
    parts = rng.permutation(np.arange(count) % 5)
    for i in range(count):
        n, label = int(rng.integers(6, 13)), i % 2
        pairs = [(v, int(rng.integers(0, v))) for v in range(1, n)] + [(0, n - 1)]
        u, v = np.array(sorted(set(pairs))).T
        bonds = (rng.random(len(u)) < (0.7 if label else 0.3)).astype(np.int64)
        atoms = rng.integers(0, kinds, n)
        atoms[: n // 5] = kinds - 1 - label
        edge_index = torch.from_numpy(np.stack([np.r_[u, v], np.r_[v, u]]))
        mask = {f"{part}_mask": torch.tensor([bool(parts[i] in ids)]) for part, ids in PARTS.items()}
        made.append(
            Data(
                x=torch.from_numpy(atoms)[:, None],
                edge_index=edge_index,
                edge_attr=torch.from_numpy(np.r_[bonds, bonds]),
                y=torch.tensor([label]),
                **mask,
            )
        )
    return made


PARTS = {"train": (0, 1), "val": (2,), "test": (3, 4)}


def batch_of(graphs: list[Data]) -> Batch:
    return Batch.from_data_list(graphs)


def save_npz(data: Any, folder: Path) -> str:
    """Every field as an array."""
    np.savez(folder / "graph.npz", **{key: value.numpy() for key, value in data.to_dict().items()})
    return "graph.npz"


def save_processed(graphs: list[Data], folder: Path) -> str:
    """What a data set of PyG keeps in its processed folder, and the split of the script beside it."""
    save_split(graphs, folder)
    data, slices = InMemoryDataset.collate([without(g, "train_mask", "val_mask", "test_mask") for g in graphs])
    torch.save((data.to_dict(), slices, data.__class__), folder / "data.pt")
    return "data.pt"


def save_list(graphs: list[Data], folder: Path) -> str:
    """A list of graphs, and the split of the script beside it."""
    save_split(graphs, folder)
    torch.save([without(g, "train_mask", "val_mask", "test_mask") for g in graphs], folder / "graphs.pt")
    return "graphs.pt"


def save_split(graphs: list[Data], folder: Path) -> None:
    masks: dict[str, Any] = {f"{part}_mask": torch.cat([g[f"{part}_mask"] for g in graphs]).numpy() for part in PARTS}
    np.savez(folder / "split.npz", **masks)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).float()
