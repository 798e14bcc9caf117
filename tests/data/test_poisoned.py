"""Graphs poisoned by published attacks: edge counts, what was added and removed, splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from auditor.data.graph import Graph
from auditor.data.sources import load_data
from auditor.data.splits import make_split

EDGES = {
    "cora": (5069, 5322, 5567, 5809, 6040, 6246),
    "citeseer": (3668, 3851, 4032, 4196, 4375, 4549),
    "polblogs": (16714, 17349, 17813, 18131, 17794, 17636),
    "pubmed": (44324, 46540),
}
RATES = ("", ":metattack=0.05", ":metattack=0.1", ":metattack=0.15", ":metattack=0.2", ":metattack=0.25")


def graph(name: str, root: Path) -> Graph:
    return load_data(f"deeprobust/{name}", root=root).graph


@pytest.mark.parametrize(
    ("name", "variant", "edges"),
    [
        (name, rate, edges)
        for name in ("cora", "citeseer", "polblogs")
        for rate, edges in zip(RATES, EDGES[name], strict=True)
    ]
    + [
        pytest.param("pubmed", rate, edges, marks=pytest.mark.slow)
        for rate, edges in zip(RATES[:2], EDGES["pubmed"], strict=True)
    ],
)
def test_undirected_edges(name: str, variant: str, edges: int, data_root: Path) -> None:
    poisoned = graph(name + variant, data_root)
    assert poisoned.pair_keys().numel() == edges
    assert poisoned.is_undirected
    assert poisoned.num_edges == 2 * edges


@pytest.mark.parametrize(("name", "added", "removed"), [("cora", 1222, 45), ("citeseer", 899, 18)])
def test_a_quarter_of_the_edges_was_edited(name: str, added: int, removed: int, data_root: Path) -> None:
    clean, poisoned = graph(name, data_root).pair_keys(), graph(f"{name}:metattack=0.25", data_root).pair_keys()
    assert int((~torch.isin(poisoned, clean)).sum()) == added
    assert int((~torch.isin(clean, poisoned)).sum()) == removed


@pytest.mark.parametrize(("name", "sizes"), [("cora", (247, 249, 1988)), ("citeseer", (210, 211, 1688))])
def test_splits(name: str, sizes: tuple[int, int, int], data_root: Path) -> None:
    data = load_data(f"deeprobust/{name}:metattack=0.25", root=data_root)
    assert make_split("prognn", data, 0).sizes == sizes


def test_polblogs_has_the_identity_for_features(data_root: Path) -> None:
    assert torch.equal(graph("polblogs", data_root).x, torch.eye(1222))
