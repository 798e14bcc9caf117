"""What a caller of the API gives: PyG's data of a graph and its split."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from auditor.data.graph import Graph, Split


def masks(split: Split) -> dict[str, torch.Tensor]:
    """The three masks, by part."""
    return {"train": split.train, "val": split.val, "test": split.test}


def data_of(graph: Graph, split: Split | None = None) -> Data:
    """A graph as PyG holds it, with its masks where there is a split."""
    kept = {} if split is None else {f"{part}_mask": mask for part, mask in masks(split).items()}
    return Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, **kept)
