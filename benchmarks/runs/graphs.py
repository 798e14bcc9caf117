"""Graphs of one law in several sizes: the features, classes and mean degree of ogbn-arxiv, the edges uniform."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

NODES = (2_700, 10_000, 40_000)
"""Measured by default; 170,000 nodes take ten minutes for many a probe and are asked for by `--nodes`."""
DEGREE = 14
CLASSES = 40
FEATURES = 128
HOMOPHILY = 0.65
TRAIN, VALIDATION = 0.5, 0.2
HELD_OUT = 0.2


def graph(nodes: int, seed: int = 0) -> Data:
    """An undirected graph with about 14 arcs a node, 40 classes, 128 features and masks; equal for equal arguments.

    A fifth of the test nodes lie in region 0, all others in region 1: a domain that can be held out.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, nodes)
    x = rng.normal(size=(CLASSES, FEATURES))[y] + 3 * rng.normal(size=(nodes, FEATURES))
    order = rng.permutation(nodes)
    train, validation = int(TRAIN * nodes), int((TRAIN + VALIDATION) * nodes)
    masks = torch.zeros(3, nodes, dtype=torch.bool)
    for mask, part in zip(masks, np.split(order, [train, validation]), strict=True):
        mask[torch.from_numpy(part)] = True
    edge_index = torch.from_numpy(_arcs(y, rng))
    region = np.ones(nodes, dtype=np.int64)
    region[order[validation:]] = rng.random(nodes - validation) >= HELD_OUT
    return Data(
        x=torch.from_numpy(x).float(),
        y=torch.from_numpy(y),
        edge_index=edge_index,
        train_mask=masks[0],
        val_mask=masks[1],
        test_mask=masks[2],
        region=torch.from_numpy(region),
    )


def _arcs(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both arcs of N · 7 pairs (fewer where some are drawn twice), int64 [2, E]; HOMOPHILY of them inside a class."""
    n, count = len(y), len(y) * DEGREE // 2
    members, sizes = np.argsort(y, kind="stable"), np.bincount(y, minlength=CLASSES)
    starts = np.cumsum(sizes) - sizes
    u = rng.integers(0, n, count)
    alike = members[starts[y[u]] + (rng.random(count) * sizes[y[u]]).astype(np.int64)]
    v = np.where(rng.random(count) < HOMOPHILY, alike, rng.integers(0, n, count))
    keys = np.unique(np.minimum(u, v) * n + np.maximum(u, v))
    u, v = keys // n, keys % n
    pairs = np.stack([u, v])[:, u != v]
    return np.concatenate([pairs, pairs[::-1]], axis=1)
