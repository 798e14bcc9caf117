"""A target folder on disk: graph, weights, reference and target.toml, each of which a test may spoil."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.data.graph import Graph
from auditor.targets.models import build_model
from auditor.targets.reference import write_reference
from auditor.targets.target import ModelHandle
from tests.toys import random_split, sbm_graph


def write_graph(path: Path, graph: Graph) -> None:
    split = random_split(graph.num_items)
    arrays = {"x": graph.x, "edge_index": graph.edge_index, "y": graph.y}
    arrays |= {"train_mask": split.train, "val_mask": split.val, "test_mask": split.test}
    if graph.batch is not None:
        arrays["batch"] = graph.batch
    np.savez(path, **{key: value.numpy() for key, value in arrays.items()})


def model_table(graph: Graph, **changes: Any) -> dict[str, Any]:
    table = {
        "class": "GCN",
        "in_channels": graph.num_features,
        "hidden_channels": 8,
        "num_layers": 2,
        "out_channels": int(graph.y.max()) + 1,
    }
    return {key: value for key, value in (table | changes).items() if value is not None}


def fresh(table: dict[str, Any], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(table)


class Project:
    """A folder that loads as it is; `tables` are what target.toml will hold."""

    def __init__(self, folder: Path, graph: Graph | None = None, **model: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.graph = folder, graph or sbm_graph()
        self.table = model_table(self.graph, **model)
        self.model = fresh(self.table)
        write_graph(folder / "graph.npz", self.graph)
        save_file(self.model.state_dict(), folder / "model.safetensors")
        self.tables: dict[str, dict[str, Any]] = {
            "target": {"name": "toy", "weights": "model.safetensors"},
            "model": dict(self.table),
            "data": {"path": "graph.npz"},
        }
        self.write()

    def write(self, **target: Any) -> Path:
        """Writes target.toml with these changes to [target]; None drops a key."""
        changed = self.tables["target"] | target
        self.tables["target"] = {key: value for key, value in changed.items() if value is not None}
        (self.folder / "target.toml").write_text(tomli_w.dumps(self.tables))
        return self.folder

    def add_reference(self) -> None:
        handle = ModelHandle(self.model)
        write_reference(self.folder / "model.ref.safetensors", handle, self.graph)
        self.write(reference="model.ref.safetensors")
