"""Our small readers against PyG's own classes on the same raw files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_geometric.datasets as pyg
from torch_geometric.data import Batch

from auditor.data.catalogue import find
from auditor.data.sources import load_data


def _reference(name: str, data_root: Path, tmp_path: Path) -> Any:
    """What PyG makes of a copy of the raw files."""
    entry = find(name)
    raw = tmp_path / entry.pyg_folder / "raw"
    shutil.copytree(data_root / entry.place / "raw", raw, copy_function=shutil.copyfile)
    dataset = getattr(pyg, entry.pyg_class)(str(tmp_path), **entry.pyg_kwargs)
    return dataset[0] if entry.task == "node" else Batch.from_data_list(list(dataset))


def _compare(name: str, data_root: Path, tmp_path: Path) -> None:
    ours, theirs = load_data(name, root=data_root), _reference(name, data_root, tmp_path)
    graph = ours.graph
    assert torch.equal(graph.x, theirs.x)
    assert torch.equal(graph.y, theirs.y)
    assert torch.equal(graph.arc_keys(), torch.unique(theirs.edge_index[0] * graph.num_nodes + theirs.edge_index[1]))
    assert graph.num_edges == theirs.edge_index.shape[1]
    if graph.batch is not None:
        assert torch.equal(graph.batch, theirs.batch)
    for part, mask in ours.masks.items():
        assert torch.equal(mask, theirs[f"{part}_mask"])


@pytest.mark.parametrize("name", ["tu_mutag", "webkb_cornell", "cora"])
def test_the_reader_agrees_with_pyg(name: str, data_root: Path, tmp_path: Path) -> None:
    _compare(name, data_root, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["tu_enzymes", "tu_proteins", "tu_aids", "actor", "webkb_wisconsin", "citeseer_full", "twitch_pt", "citeseer"],
)
def test_the_reader_agrees_with_pyg_on_larger_sets(name: str, data_root: Path, tmp_path: Path) -> None:
    _compare(name, data_root, tmp_path)


def test_airports_agree_with_pyg_up_to_direction(data_root: Path, tmp_path: Path) -> None:
    ours, theirs = (
        load_data("airports_brazil", root=data_root).graph,
        _reference("airports_brazil", data_root, tmp_path),
    )
    assert torch.equal(ours.x, theirs.x)
    assert torch.equal(ours.y, theirs.y)
    u, v = theirs.edge_index.min(dim=0).values, theirs.edge_index.max(dim=0).values
    assert torch.equal(ours.pair_keys(), torch.unique((u * ours.num_nodes + v)[u != v]))
