"""`save_target`: what is written, how it is built again, what is refused; training scripts are never run twice."""

from __future__ import annotations

import json
import logging
import os
import pickletools
import subprocess
import sys
import tomllib
import types
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GCN, GCNConv, NNConv, global_add_pool

from auditor.data.demo import read_demo
from auditor.errors import AuditorError, DataError, LoadError, SplitError, TaskError, UsageError
from auditor.targets import save
from auditor.targets.load import load_target
from auditor.targets.recorded import record, recorded_arguments
from auditor.targets.save import save_target
from tests.toys import random_split, sbm_graph, small_graphs

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child does, in this process; with the fixture `child` in a process of its own, which takes seconds."""
    if "child" not in request.fixturenames:
        monkeypatch.setattr(
            save, "_fails", lambda place, call: json.loads(save.rebuilt(str(place), json.dumps(asdict(call)))) or None
        )


@pytest.fixture
def child() -> None:
    """Asks for a process of its own."""


class Kept(nn.Module):
    """Keeps what it was built with, under the names of its arguments."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.5, hidden: int = 8) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.dropout = nn.Dropout(dropout)
        self.a, self.b = GCNConv(in_channels, hidden), GCNConv(hidden, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.b(self.dropout(self.a(x, edge_index).relu()), edge_index)


@record
class Recorded(nn.Module):
    """Keeps nothing by itself, and a flag that no weight shows."""

    def __init__(self, width: int, *, classes: int, negate: bool = False, name: str | None = None) -> None:
        super().__init__()
        self.a, self._sign = GCNConv(width, classes), -1 if negate else 1

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self._sign * self.a(x, edge_index)


class Forgetful(nn.Module):
    def __init__(self, in_channels: int, heads: int) -> None:
        super().__init__()
        self.a = GCNConv(in_channels, heads)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.a(x, edge_index)


class Hidden(Forgetful):
    """Attributes lie: they are named like the arguments and hold something else."""

    def __init__(self, in_channels: int, heads: int, scale: float = 1.0) -> None:
        super().__init__(in_channels, heads)
        self.in_channels, self.heads, self.scale, self._by = in_channels, heads, 1.0, scale

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self._by * self.a(x, edge_index)


class Weighted(nn.Module):
    """Takes weights that the graph holds as edge_attr."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.a = GCNConv(in_channels, 3)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.a(x, edge_index, edge_weight)


class Everything(nn.Module):
    """Reads a field of nodes, one of edges, and whole numbers."""

    def __init__(self, types: int = 5) -> None:
        super().__init__()
        self.types = types
        self.kind = nn.Embedding(types, 4)
        self.a = NNConv(4, 3, nn.Linear(2, 12))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, pos: Tensor) -> Tensor:
        return self.a(self.kind(x[:, 0]), edge_index, edge_attr) + pos.sum(dim=1, keepdim=True)


class Pooled(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.a = GCNConv(width, 2)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return global_add_pool(self.a(x, edge_index), batch)


def toy(**fields: Tensor) -> Data:
    graph, split = sbm_graph(), random_split(120)
    masks = {"train_mask": split.train, "val_mask": split.val, "test_mask": split.test}
    return Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, **masks, **fields)


def logits(model: nn.Module, data: Data) -> Tensor:
    with torch.no_grad():
        return model.eval()(data.x, data.edge_index)


@pytest.mark.parametrize(
    ("make", "rung"),
    [
        (lambda: Kept(24, 3), "attributes"),
        (lambda: Recorded(24, classes=3, negate=True), "recorded"),
        (lambda: GCN(24, 8, 2, 3), "attributes"),
        (lambda: nn.DataParallel(Kept(24, 3)), "attributes"),
        (lambda: Kept(24, 3).double(), "attributes"),
    ],
)
def test_a_saved_model_answers_as_it_did(make: Callable[[], nn.Module], rung: str, tmp_path: Path) -> None:
    model, data = make().eval(), toy()
    saved = save_target(model, data, tmp_path / "release")
    assert (saved.rung, saved.verified) == (rung, True)
    target = load_target(tmp_path / "release")
    expected = logits(model.float(), data)
    torch.testing.assert_close(target.clean_logits(), expected, atol=1e-5, rtol=0)
    assert target.verified
    assert target.split.sizes == (36, 24, 60)


def test_notes_go_to_the_logger_and_nothing_is_printed(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("auditor"), "handlers", [])  # those of a command run in this process
    save_target(nn.DataParallel(Kept(24, 3)).double(), toy(), tmp_path / "release")
    assert {record.name for record in caplog.records} == {"auditor"}
    unwrapped, cast, rebuilt = (record.getMessage() for record in caplog.records)
    assert "unwrapped from DataParallel" in unwrapped
    assert "audited in float32" in cast
    assert rebuilt.startswith("release: rebuilt from its own attributes in a process of its own, with the same answers")
    assert capsys.readouterr() == ("", "")


class Looked(Kept):
    """Looks an adjacency up in the whole graph, which keeps none."""

    def forward(self, data: Data) -> Tensor:
        return self.b(self.a(data.x, data.adj_t).relu(), data.adj_t)


def test_an_adjacency_made_for_the_model_is_made_again_on_loading(tmp_path: Path) -> None:
    model, data = Looked(24, 3).eval(), toy()
    save_target(model, data, tmp_path / "release")
    with torch.no_grad():
        expected = Kept.forward(model, data.x, data.edge_index)
    target = load_target(tmp_path / "release")
    torch.testing.assert_close(target.clean_logits(), expected)
    assert target.provenance["call"]["forward"] == "forward(data=data with adj_t)"


def test_arguments_that_are_given_go_first(tmp_path: Path) -> None:
    model, data = Forgetful(24, 3), toy()
    saved = save_target(model, data, tmp_path / "r", init_args={"in_channels": 24, "heads": np.int64(3)}, name="mine")
    assert saved.rung == "init_args"
    tables = tomllib.loads((tmp_path / "r" / "target.toml").read_text())
    assert tables["target"]["factory"] == "tests.targets.test_save:Forgetful"
    assert tables["target"]["init"] == {"in_channels": 24, "heads": 3}
    assert (tmp_path / "r" / tables["target"]["root"]).resolve() == ROOT
    assert load_target(tmp_path / "r").name == "mine"


def test_a_function_builds_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch_geometric.nn import GCN\ndef make(h):\n    return GCN(24, h, 2, 3)\n")
    model = GCN(24, 8, 2, 3)
    spec = f"{tmp_path / 'own.py'}:make"
    assert save_target(model, toy(), tmp_path / "r", build=spec, init_args={"h": 8}).rung == "build"
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), logits(model, toy()))
    with pytest.raises(LoadError, match="GCN cannot be built again by the function given"):
        save_target(model, toy(), tmp_path / "s", build=spec, init_args={"h": 9})
    assert not (tmp_path / "s").exists()


def kept() -> nn.Module:
    return Kept(24, 3)


def test_a_function_that_can_be_imported_builds_it(child: None, tmp_path: Path) -> None:
    model = kept()
    assert save_target(model, toy(), tmp_path / "r", build=kept).rung == "build"
    assert tomllib.loads((tmp_path / "r" / "target.toml").read_text())["target"]["factory"] == f"{__name__}:kept"
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), logits(model, toy()))
    assert save_target(model, toy(), tmp_path / "s", build=Kept, init_args={"in_channels": 24, "out_channels": 3})


class Normed(nn.Module):
    """Its last layer holds a weight that each forward computes anew."""

    def __init__(self) -> None:
        super().__init__()
        self.a = GCNConv(24, 8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.out = nn.utils.weight_norm(nn.Linear(8, 3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.out(self.a(x, edge_index).relu())


class Wrapped(nn.Module):
    """A part of it is compiled, another one parallel."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.compile(GCN(24, 8, 2, 8), backend="eager")
        self.head = nn.DataParallel(nn.Linear(8, 3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.head(self.encoder(x, edge_index).relu())


@pytest.mark.parametrize("make", [Normed, Wrapped])
def test_weights_computed_in_forward_and_wrapped_parts_are_saved_and_trained_again(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = make()
    recipe = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "epochs": 1, "seed": 0}
    split = {"train": range(40), "test": range(40, 120)}
    save_target(model, toy(), tmp_path / "r", split=split, recipe=recipe)
    target = load_target(tmp_path / "r")
    torch.testing.assert_close(target.clean_logits(), logits(model, toy()))
    assert target.retrained(seed=1).clean_logits().shape == (120, 3)
    torch.save(model.state_dict(), tmp_path / "r" / "own.pt")  # by the names that the wrappers give
    text = (tmp_path / "r" / "target.toml").read_text().replace("model.safetensors", "own.pt")
    (tmp_path / "r" / "target.toml").write_text(text)
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), logits(model, toy()))
    assert any("_orig_mod" in key for key in model.state_dict()) == (make is Wrapped)


def test_nothing_in_the_folder_is_a_pickle_or_a_secret_mode(child: None, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save_target(Kept(24, 3), toy(), tmp_path / "r")
    finally:
        os.umask(old)
    files = {file.name for file in (tmp_path / "r").iterdir()}
    assert files == {".gitignore", "graph.safetensors", "model.safetensors", "reference.safetensors", "target.toml"}
    for file in (tmp_path / "r").iterdir():
        assert file.stat().st_mode & 0o777 == 0o640, file.name
        with pytest.raises((ValueError, IndexError)):
            list(pickletools.genops(file.read_bytes()))
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o750
    assert "graph.safetensors" in (tmp_path / "r" / ".gitignore").read_text().splitlines()


def test_every_field_is_written_and_read_back(tmp_path: Path) -> None:
    graph = sbm_graph()
    data = toy(
        pos=torch.randn(120, 3),
        edge_attr=torch.randn(graph.num_edges, 2),
        ring=torch.arange(graph.num_edges) % 7,
        about=torch.tensor([1.5, 2.5]),
    )
    data.x = torch.randint(0, 5, (120, 1))
    model = Everything()
    save_target(model, data, tmp_path / "r")
    stored = load_file(tmp_path / "r" / "graph.safetensors")
    for key in ("x", "edge_index", "y", "pos", "edge_attr", "ring", "about", "train_mask", "test_mask"):
        assert torch.equal(stored[key], data[key]), key
        assert stored[key].dtype == data[key].dtype, key
    target = load_target(tmp_path / "r")
    with torch.no_grad():
        expected = model(data.x, data.edge_index, data.edge_attr, data.pos)
    torch.testing.assert_close(target.clean_logits(), expected)


def test_no_real_row_is_in_the_reference(tmp_path: Path) -> None:
    data = toy()
    data.x = torch.randn(120, 24)
    save_target(Kept(24, 3), data, tmp_path / "r")
    made = load_file(tmp_path / "r" / "reference.safetensors")["x"]
    assert made.shape == (32, 24)
    assert not (made[:, None] == data.x[None]).all(dim=2).any()


def test_many_graphs_in_a_list(tmp_path: Path) -> None:
    graphs, split = small_graphs(40), random_split(40)
    many = []
    for i in range(40):
        nodes = torch.nonzero(graphs.batch == i).flatten()
        inside = graphs.batch[graphs.edge_index[0]] == i
        many.append(Data(x=graphs.x[nodes], edge_index=graphs.edge_index[:, inside] - nodes[0], y=graphs.y[i : i + 1]))
    model = Pooled(2)
    save_target(model, many, tmp_path / "r", split={"train": split.train, "test": torch.nonzero(split.test).flatten()})
    target = load_target(tmp_path / "r")
    assert torch.equal(target.split.test, split.test)
    assert target.split.sizes[1] == 0
    with torch.no_grad():
        torch.testing.assert_close(target.clean_logits(), model(graphs.x, graphs.edge_index, graphs.batch))


def test_a_choice_of_the_call_is_pinned(tmp_path: Path) -> None:
    data = toy()
    data.edge_attr = torch.rand(data.num_edges) * 5
    model = Weighted(24)
    with pytest.raises(UsageError, match="edge_attr"):
        save_target(model, data, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    for chosen, weight in (("edge_attr", data.edge_attr), ("none", None)):
        save_target(model, data, tmp_path / chosen, call={"edge_weight": chosen})
        with torch.no_grad():
            expected = model(data.x, data.edge_index, weight)
        torch.testing.assert_close(load_target(tmp_path / chosen).clean_logits(), expected)
        data.y = expected.argmax(dim=1)
        save_target(model, data, tmp_path / "claimed", claimed_accuracy=1.0, overwrite=True)
        tables = tomllib.loads((tmp_path / "claimed" / "target.toml").read_text())
        assert tables["call"] == {"edge_weight": chosen}
        assert tables["target"]["claimed_accuracy"] == 1.0
        assert "measured_at_save" not in tables["target"]
    data.y = torch.zeros(120, dtype=torch.long)
    with torch.no_grad():
        model.a.bias[0] = 1e3
    with pytest.raises(UsageError, match="and so does"):
        save_target(model, data, tmp_path / "both", claimed_accuracy=1.0)


def test_a_class_that_only_this_process_has_cannot_be_built_by_another(child: None, tmp_path: Path) -> None:
    made = types.ModuleType("made_up")
    exec("from tests.targets.test_save import Kept\nclass Made(Kept):\n    pass", made.__dict__)
    made.__file__ = str(tmp_path / "made_up.py")
    sys.modules["made_up"] = made
    try:
        with pytest.raises(LoadError, match="could not be imported: ModuleNotFoundError"):
            save_target(made.Made(24, 3), toy(), tmp_path / "r")
    finally:
        del sys.modules["made_up"]


def test_what_was_measured_catches_a_later_change(tmp_path: Path) -> None:
    model, data = Kept(24, 3), toy()
    data.y = logits(model, data).argmax(dim=1)
    save_target(model, data, tmp_path / "r")
    path = tmp_path / "r" / "target.toml"
    tables = tomllib.loads(path.read_text())
    target = load_target(tmp_path / "r")
    assert tables["target"]["measured_at_save"] == pytest.approx(target.accuracy(), abs=1e-6)
    assert target.claimed_accuracy is None
    stored = load_file(tmp_path / "r" / "graph.safetensors")
    stored["y"] = (stored["y"] + 1) % 3
    save_file(stored, tmp_path / "r" / "graph.safetensors")
    with pytest.raises(LoadError, match="was measured when it was saved"):
        load_target(tmp_path / "r")


def test_an_adapter_is_cut_out_beside_the_class(tmp_path: Path) -> None:
    model, data = Kept(24, 3), toy()
    save_target(model, data, tmp_path / "r", adapter=doubled)
    assert tomllib.loads((tmp_path / "r" / "target.toml").read_text())["target"]["factory"] == "model.py:build"
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), TWICE * logits(model, data))


TWICE = 2


def doubled(model: nn.Module, data: Data) -> Tensor:
    return TWICE * model(data.x, data.edge_index)


class Named(nn.Module):
    """Has a row per node."""

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes
        self.emb, self.a = nn.Embedding(num_nodes, 4), GCNConv(28, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.a(torch.cat([x, self.emb.weight], dim=1), edge_index)


def test_a_model_that_knows_its_nodes(tmp_path: Path) -> None:
    model, data = Named(120), toy()
    save_target(model, data, tmp_path / "r")
    assert load_file(tmp_path / "r" / "reference.safetensors")["x"].shape == (120, 24)
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), logits(model, data))


def test_features_are_stored_raw_and_transformed_on_loading(tmp_path: Path) -> None:
    model, data = Kept(24, 3), toy()
    save_target(model, data, tmp_path / "r", transform="row-normalize")
    assert torch.equal(load_file(tmp_path / "r" / "graph.safetensors")["x"], data.x)
    data.x = data.x / data.x.sum(dim=1, keepdim=True).clamp(min=1.0)
    torch.testing.assert_close(load_target(tmp_path / "r").clean_logits(), logits(model, data))


def test_a_recipe_trains_twins(tmp_path: Path) -> None:
    save_target(Kept(24, 3), toy(), tmp_path / "r", recipe={"epochs": 2, "lr": 0.1})
    target = load_target(tmp_path / "r")
    assert target.retrained(seed=0).clean_logits().shape == (120, 3)
    tables = tomllib.loads((tmp_path / "r" / "target.toml").read_text())
    assert tables["target"]["init"] == {"in_channels": 24, "out_channels": 3, "dropout": 0.5}


def test_a_graph_by_name_and_by_file_and_left_out(tmp_path: Path) -> None:
    demo = read_demo()
    model = GCN(demo.x.shape[1], 4, 2, 4)
    save_target(model, "demo", tmp_path / "a", split="unknown")
    assert tomllib.loads((tmp_path / "a" / "target.toml").read_text())["data"]["name"] == "demo"
    arrays = {"x": demo.x.numpy(), "edge_index": demo.edge_index.numpy(), "y": demo.y.numpy()}
    np.savez(tmp_path / "own.npz", **arrays)
    for name, include in (("b", True), ("c", False)):
        save_target(model, tmp_path / "own.npz", tmp_path / name, include_graph=include)
        assert (tmp_path / name / "graph.npz").exists() == include
    assert torch.equal(load_target(tmp_path / "b").clean_logits(), load_target(tmp_path / "c").clean_logits())
    assert not load_target(tmp_path / "b").split.is_known
    save_target(Kept(24, 3), toy(), tmp_path / "d", include_graph=False)
    assert not {"graph.safetensors", ".gitignore"} & {file.name for file in (tmp_path / "d").iterdir()}
    with pytest.raises(UsageError, match="names no graph"):
        load_target(tmp_path / "d")


def test_model_data_and_generators_stay_as_they_are(tmp_path: Path) -> None:
    model, data = Kept(24, 3).train(), toy()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    keys, state = set(data.keys()), torch.random.get_rng_state()
    save_target(model, data, tmp_path / "r")
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert set(data.keys()) == keys
    assert torch.equal(torch.random.get_rng_state(), state)


class Diverged(Kept):
    def __init__(self) -> None:
        super().__init__(24, 3)
        self.a.bias.data[0] = float("nan")


def hetero() -> HeteroData:
    data = HeteroData()
    data["a"].x = torch.zeros(2, 2)
    return data


REFUSED: dict[str, tuple[dict[str, Callable[[], Any]], type[AuditorError], str]] = {
    "no module": ({"model": lambda: 3}, UsageError, "expected an nn.Module"),
    "lazy": ({"model": lambda: nn.Sequential(nn.LazyLinear(3))}, LoadError, "lazy layers"),
    "nan": ({"model": Diverged}, LoadError, "finite"),
    "hetero": ({"data": hetero}, TaskError, "to_homogeneous"),
    "no graph": ({"data": lambda: 3}, DataError, "expected PyG's Data"),
    "empty list": ({"data": list}, DataError, "0 graphs"),
    "no labels": (
        {"data": lambda: Data(x=torch.zeros(3, 2), edge_index=torch.zeros(2, 0).long())},
        TaskError,
        "no labels",
    ),
    "drawn split": ({"split": lambda: "per-class:20"}, SplitError, "would be drawn here"),
    "no split file": ({"split": lambda: "file:none.npz"}, SplitError, "no such file"),
    "half a split": ({"split": lambda: {"train": [1]}}, SplitError, "expected train, test"),
    "ids out of range": ({"split": lambda: {"train": [1], "test": [500]}}, SplitError, "from 0 to 119"),
    "claim without split": (
        {"split": lambda: "unknown", "claimed_accuracy": lambda: 0.9},
        SplitError,
        "nobody names",
    ),
    "claim not met": ({"claimed_accuracy": lambda: 0.999}, UsageError, "0.9990 is claimed"),
    "claim beyond 1": ({"claimed_accuracy": lambda: 81.5}, UsageError, "less than or equal to 1"),
    "recipe": ({"recipe": lambda: {"epoch": 3}}, UsageError, "epoch"),
    "transform": ({"transform": lambda: "none "}, UsageError, "transform"),
    "call": ({"call": lambda: {"edge_wait": "none"}}, UsageError, "edge_wait"),
    "forgotten": (
        {"model": lambda: Forgetful(24, 3)},
        LoadError,
        r"in_channels=\?, heads=\?; give init_args or build, or",
    ),
    "hidden flag": ({"model": lambda: Hidden(24, 3, 2.0)}, LoadError, "put @auditor.record above class Hidden"),
    "wrong sizes": ({"init_args": lambda: {"in_channels": 24, "out_channels": 4}}, LoadError, "does not fit"),
    "a tensor": ({"init_args": lambda: {"in_channels": torch.ones(2), "out_channels": 3}}, LoadError, "cannot hold"),
    "no build": ({"build": lambda: "nowhere.py:build"}, LoadError, "nowhere.py"),
    "a local build": ({"build": lambda: lambda: Kept(24, 3)}, UsageError, "another process cannot find"),
    "a partial build": (
        {"build": lambda: partial(Kept, 24, 3)},
        UsageError,
        "build is a partial, which .* top level of its file",
    ),
    "a build without a place": ({"build": lambda: "kept"}, LoadError, "package.module:function"),
    "both": ({"build": lambda: "a.py:b", "adapter": lambda: doubled}, UsageError, "from build instead"),
    "foreign folder": ({"path": lambda: "foreign", "overwrite": lambda: True}, UsageError, "thesis.tex"),
    "a file": ({"path": lambda: "file", "overwrite": lambda: True}, UsageError, "is a file"),
}


@pytest.mark.parametrize("id_", REFUSED)
def test_bad_input_is_refused_in_words_and_nothing_is_written(id_: str, tmp_path: Path) -> None:
    changed, kind, words = REFUSED[id_]
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    given = {"model": Kept(24, 3), "data": toy(), "path": "deep/er/r"}
    given |= {key: make() for key, make in changed.items()}
    with pytest.raises(kind, match=words):
        save_target(given.pop("model"), given.pop("data"), tmp_path / given.pop("path"), **given)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_target_is_replaced_only_when_asked(tmp_path: Path) -> None:
    save_target(Kept(24, 3), toy(), tmp_path / "r", name="first")
    with pytest.raises(UsageError, match="overwrite=True"):
        save_target(Kept(24, 3), toy(), tmp_path / "r", name="second")
    with pytest.raises(LoadError, match="in_channels"):
        save_target(Forgetful(24, 3), toy(), tmp_path / "r", overwrite=True)
    assert load_target(tmp_path / "r").name == "first"
    save_target(Kept(24, 3), toy(), tmp_path / "r", name="second", overwrite=True)
    assert load_target(tmp_path / "r").name == "second"
    assert [item.name for item in tmp_path.iterdir()] == ["r"]


def test_recorded_arguments_are_those_of_the_class_itself() -> None:
    class Narrow(Recorded):
        def __init__(self) -> None:
            super().__init__(4, classes=2)

    assert recorded_arguments(Recorded(4, classes=2)) == {"width": 4, "classes": 2}
    assert recorded_arguments(Narrow()) is None
    model = Forgetful(4, 2)
    model.hparams = {"in_channels": 4, "heads": 2, "lr": 0.1}
    assert recorded_arguments(model) == {"in_channels": 4, "heads": 2}


def test_importing_the_package_and_the_decorator_loads_no_torch() -> None:
    program = (
        "import sys, auditor; auditor.record; import auditor.records; auditor.record; print('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "False", done.stderr
