"""Our small readers against PyG's own classes on the same raw files."""

from __future__ import annotations

import shutil
import zipfile
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


@pytest.mark.parametrize("name", ["tu_mutag", "webkb_cornell", "cora", "actor", "citeseer_full"])
def test_the_reader_agrees_with_pyg(name: str, data_root: Path, tmp_path: Path) -> None:
    _compare(name, data_root, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["tu_enzymes", "tu_proteins", "tu_aids", "webkb_wisconsin", "amazon_computers", "twitch_pt", "citeseer"],
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


def _write_tu(folder: Path) -> None:
    """Two graphs: a triangle with a loop and a doubled arc, and one edge; labels -1 and 1."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "A": "1, 2\n2, 1\n2, 3\n3, 2\n1, 3\n3, 1\n1, 2\n2, 2\n4, 5\n5, 4\n",
        "graph_indicator": "1\n1\n1\n2\n2\n",
        "graph_labels": "1\n-1\n",
        "node_labels": "3\n5\n3\n4\n4\n",
    }
    for part, content in parts.items():
        (folder / f"DD_{part}.txt").write_text(content)


def test_tu_text_and_zip_give_the_same_graphs_without_loops_and_doubles(tmp_path: Path) -> None:
    _write_tu(tmp_path / "text" / "DD" / "raw")
    text = load_data("tu_dd", root=tmp_path / "text")
    zipped = tmp_path / "zip" / "tudataset_zip"
    zipped.mkdir(parents=True)
    with zipfile.ZipFile(zipped / "DD.zip", "w") as archive:
        for path in (tmp_path / "text" / "DD" / "raw").iterdir():
            archive.write(path, f"DD/{path.name}")
    archived = load_data("tu_dd", root=tmp_path / "zip")
    assert text.graph.digest() == archived.graph.digest()
    graph = text.graph
    assert graph.edge_index.t().tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1], [3, 4], [4, 3]]
    assert graph.y.tolist() == [1, 0]
    assert graph.x.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
