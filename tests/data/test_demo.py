"""The bundled graph is what its generator makes, and has the statistics that it is documented with."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.data import demo
from auditor.data.demo import BlockModel
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.errors import ConfigError, DataError


def test_generating_again_gives_the_bundled_arrays() -> None:
    """Array by array: how an archive is packed differs between versions of Python."""
    made, bundled = np.load(io.BytesIO(demo.demo_bytes())), np.load(demo.DEMO_FILE)
    assert sorted(made.files) == sorted(bundled.files)
    for key in made.files:
        assert made[key].dtype == bundled[key].dtype
        assert np.array_equal(made[key], bundled[key])
    assert hashlib.sha256(demo.DEMO_FILE.read_bytes()).hexdigest() == demo.DEMO_DIGEST.read_text().split()[0]


def test_sizes_and_split() -> None:
    data = load_data("demo")
    graph = data.graph
    assert (graph.num_nodes, graph.num_features, int(graph.y.max()) + 1) == (300, 64, 4)
    assert graph.is_undirected
    assert graph.num_edges == 2 * graph.pair_keys().shape[0]
    assert torch.bincount(graph.y).tolist() == [75] * 4
    assert data.default_split == "file"  # its masks are in its file; nobody published it
    split = make_split("public", data, 0)
    assert torch.bincount(graph.y[split.train]).tolist() == [20] * 4
    assert split.sizes == (80, 52, 168)
    assert data.is_bag_of_words
    assert data.notes == ()


def test_degree_mixing_and_words_are_as_documented() -> None:
    """Means over 40 draws, against their expectation within four standard errors."""
    model = BlockModel()
    degree, mixing, own, other = [], [], [], []
    for seed in range(40):
        arrays = model.sample(np.random.default_rng(seed))
        u, v = arrays["edge_index"]
        y, x = arrays["y"], arrays["x"].astype(float)
        degree.append(len(u) / model.nodes)
        mixing.append((y[u] != y[v]).mean())
        is_own = np.arange(model.features)[None] // model.own_words == y[:, None]
        own.append(x[is_own].mean())
        other.append(x[~is_own].mean())
    for values, expected in ((mixing, 0.2), (own, 0.25), (other, 0.08)):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(40) + 0.002
    assert 5.7 < np.mean(degree) <= 6.1  # a little below 6, where a probability was cut at 1


def test_degrees_are_corrected() -> None:
    """Pareto weights make the degrees far more spread than those of a plain block model, which are nearly Poisson."""
    spread = []
    for pareto in (2.5, 1e6):
        arrays = replace(BlockModel(), pareto=pareto).sample(np.random.default_rng(0))
        spread.append(np.var(np.bincount(arrays["edge_index"][0], minlength=300)))
    assert spread[0] > 2 * spread[1]


def test_a_damaged_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from pathlib import Path

    damaged = Path(str(tmp_path)) / "demo.npz"
    damaged.write_bytes(demo.DEMO_FILE.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(demo, "DEMO_FILE", damaged)
    with pytest.raises(DataError, match="Install gnn-auditor again"):
        load_data("demo")


@pytest.mark.parametrize(
    "change", [{"nodes": 5001}, {"nodes": 40}, {"classes": 1}, {"features": 31}, {"mixing": 1.5}, {"degree": 0.0}]
)
def test_a_model_that_cannot_be_drawn_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="cannot be generated"):
        replace(BlockModel(), **change)
