from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from auditor.data.sources import load_data
from auditor.errors import ConfigError, SplitError
from auditor.targets.config import read_target_file
from auditor.targets.load import load_target
from auditor.targets.reference import synthetic_inputs
from auditor.targets.target import Capability
from auditor.targets.train import model_table, train_reference
from auditor.targets.validity import validity_rows
from tests.targets.projects import write_graph
from tests.toys import small_graphs

DEMO = load_data("demo")


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin", "mlp"])
def test_what_is_trained_loads_again_as_the_same_target(arch: str, tmp_path: Path) -> None:
    trained = train_reference(DEMO, arch, out_dir=tmp_path, epochs=20)
    loaded = load_target(tmp_path)
    assert loaded.digest == trained.digest
    assert torch.equal(loaded.clean_logits(), trained.clean_logits())
    assert loaded.split.sizes == trained.split.sizes
    assert loaded.name == f"demo-{arch}"
    assert loaded.capabilities == frozenset(Capability) - ({Capability.GRAD_EDGE} if arch == "mlp" else set())
    assert loaded.claimed_accuracy == pytest.approx(loaded.accuracy(), abs=1e-6)
    assert {file.name for file in tmp_path.iterdir()} == {"target.toml", "model.safetensors", "model.ref.safetensors"}


def test_a_twin_with_the_target_s_own_seed_is_the_target(tmp_path: Path) -> None:
    trained = train_reference(DEMO, "gcn", out_dir=tmp_path, epochs=20, seed=4)
    assert torch.equal(trained.retrained(seed=4).clean_logits(), trained.clean_logits())


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_reference(DEMO, "gcn", out_dir=tmp_path / name, epochs=5, seed=1)
    for file in ("target.toml", "model.safetensors", "model.ref.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_drawn_split_is_kept_beside_the_target(tmp_path: Path) -> None:
    trained = train_reference(DEMO, "gcn", out_dir=tmp_path, epochs=2, seed=3, split_spec="random:0.5/0.2/0.3")
    loaded = load_target(tmp_path)
    assert loaded.split.spec == "random:0.5/0.2/0.3"
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(loaded.split, part), getattr(trained.split, part))
    other = train_reference(DEMO, "gcn", out_dir=tmp_path, epochs=2, seed=4, split_spec="random:0.5/0.2/0.3")
    assert not torch.equal(other.split.train, trained.split.train)


def test_graph_data_from_a_file_is_found_again_beside_the_target(tmp_path: Path) -> None:
    write_graph(tmp_path / "graphs.npz", small_graphs())
    data = load_data(str(tmp_path / "graphs.npz"))
    trained = train_reference(
        data, "gin", out_dir=tmp_path / "t", epochs=3, hidden=8, source=str(tmp_path / "graphs.npz")
    )
    assert read_target_file(tmp_path / "t" / "target.toml").data.path == "../graphs.npz"
    assert torch.equal(load_target(tmp_path / "t").clean_logits(), trained.clean_logits())
    assert trained.task.level == "graph"
    with pytest.raises(ConfigError, match='"graphs" is no data set'):
        train_reference(data, "gin", out_dir=tmp_path / "u", epochs=1)


def test_an_mlp_reads_no_edge_and_pools_means_of_nodes(tmp_path: Path) -> None:
    target = train_reference(DEMO, "mlp", out_dir=tmp_path / "node", epochs=20)
    g = target.graph
    assert torch.equal(target.logits(g.x, torch.full((2, 3), 10**9)), target.clean_logits())
    assert torch.equal(target.logits(g.x[:5], g.edge_index[:, :0]), target.clean_logits()[:5])
    rng = np.random.default_rng(0)
    rows = {row.id: row for row in validity_rows(target, rng)}
    assert rows["edge-dependence"].status == "pass"
    assert not [row.id for row in rows.values() if row.status == "fail"]
    write_graph(tmp_path / "graphs.npz", small_graphs())
    data = load_data(str(tmp_path / "graphs.npz"))
    source = str(tmp_path / "graphs.npz")
    made = train_reference(data, "mlp", out_dir=tmp_path / "t", epochs=3, hidden=8, source=source)
    h, batch = made.clean_embeddings(), made.graph.batch
    assert h.shape == (made.graph.num_nodes, 8)
    by_hand = torch.stack([made.model.gnn.lins[-1](h[batch == b]).mean(dim=0) for b in range(made.graph.num_items)])
    torch.testing.assert_close(made.model.head(by_hand), made.clean_logits())


def test_the_spec_s_defaults_are_the_defaults() -> None:
    assert model_table("gcn", "node", 10, 3) == {
        "class": "GCN",
        "in_channels": 10,
        "hidden_channels": 16,
        "num_layers": 2,
        "out_channels": 3,
        "dropout": 0.5,
    }
    gat = model_table("gat", "node", 10, 3)
    assert (gat["hidden_channels"], gat["heads"]) == (64, 8)
    mlp = model_table("mlp", "node", 10, 3)
    assert {**mlp, "class": "GCN"} == model_table("gcn", "node", 10, 3)
    assert model_table("mlp", "graph", 10, 3)["readout"] == "mean"
    gin = model_table("gin", "graph", 10, 3)
    assert (gin["hidden_channels"], gin["num_layers"], gin["readout"]) == (32, 3, "add")


def test_unknown_names_offer_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='Did you mean "gcn"'):
        train_reference(DEMO, "gcnn", out_dir=tmp_path)
    with pytest.raises(ConfigError, match="multiple of 8"):
        train_reference(DEMO, "gat", out_dir=tmp_path, hidden=12)
    with pytest.raises((ConfigError, SplitError)):
        train_reference(DEMO, "gcn", out_dir=tmp_path, split_spec="prognn")
    assert not list(tmp_path.iterdir()), "nothing is written before the training"


def test_the_reference_holds_a_synthetic_graph_only(tmp_path: Path) -> None:
    train_reference(DEMO, "gcn", out_dir=tmp_path, epochs=2)
    with safe_open(tmp_path / "model.ref.safetensors", "pt") as stored:
        assert set(stored.keys()) == {"x", "edge_index", "logits"}
        assert stored.get_tensor("x").shape == (32, DEMO.graph.num_features)
        edges = stored.get_tensor("edge_index")
    assert 31 not in edges  # one node is isolated
    assert 0.06 < edges.shape[1] / (31 * 30) < 0.2  # Erdős–Rényi, p = 0.12


def test_graph_references_keep_edges_inside_each_graph() -> None:
    inputs = synthetic_inputs(small_graphs(8))
    batch, edges = inputs.batch, inputs.edge_index
    assert torch.equal(batch[edges[0]], batch[edges[1]])
    assert batch.bincount().tolist() == [8, 8, 8, 8]
