"""Checkpoints beside the factory that builds their model: every container, prefix, lazy layer and precision."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.parameter import is_lazy

from auditor.errors import LoadError, RefusedError
from auditor.targets.load import load_target
from auditor.targets.weights import read_weights, write_tensors
from tests.targets.projects import Project

State = dict[str, torch.Tensor]


class Payload:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.sentinel}",)


def put(project: Project, content: object, **target: Any) -> Path:
    torch.save(content, project.folder / "weights.pt")
    return project.write(weights="weights.pt", **target)


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def other() -> State:
    return {"lin.weight": torch.ones(2, 2)}


def lightning(state: State) -> dict[str, Any]:
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": under("model.", state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "monitor": None}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.01}]}],
        "hyper_parameters": argparse.Namespace(hidden=8),
        "hparams_name": "args",
    }


WRAPPED: dict[str, tuple[Callable[[State], object], dict[str, Any]]] = {
    **{
        key: (lambda state, key=key: {key: state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, {})
        for key in ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params", "my_gnn")
    },
    "ema": (lambda state: {"ema_state_dict": state, "args": argparse.Namespace(lr=0.1)}, {}),
    "two levels": (lambda state: {"model": {"state_dict": state, "config": {"hidden": 8}}, "epoch": 1}, {}),
    "a config called model": (lambda state: {"model": {"hidden": 8}, "state_dict": state}, {}),
    "metrics beside it": (lambda state: {"state_dict": state, "metrics": {"loss": torch.tensor(1.0)}}, {}),
    "lightning": (lightning, {"stripped_prefix": "model."}),
    "module.": (lambda state: under("module.", state), {"stripped_prefix": "module."}),
    "compiled": (lambda state: under("_orig_mod.", state), {"stripped_prefix": "_orig_mod."}),
    "two prefixes": (lambda state: under("module._orig_mod.", state), {"stripped_prefix": "module._orig_mod."}),
    "gnn. beside a head": (
        lambda state: under("gnn.", state) | under("decoder.", other()),
        {"stripped_prefix": "gnn.", "left_over": ["decoder.lin.weight"]},
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_state_dict_inside_is_found_and_said(name: str, tmp_path: Path) -> None:
    wrap, notes = WRAPPED[name]
    project = Project(tmp_path)
    target = load_target(put(project, wrap(project.model.state_dict())))
    g = project.graph
    assert torch.equal(target.clean_logits(), project.model.eval()(g.x, g.edge_index))
    assert target.kind == "state_dict"
    for key, value in notes.items():
        assert target.provenance[key] == value


def test_where_it_lies_is_said(tmp_path: Path) -> None:
    project = Project(tmp_path)
    wrapped = {"model": {"state_dict": project.model.state_dict()}}
    assert load_target(put(project, wrapped)).provenance["weights_key"] == "model.state_dict"


def test_a_payload_beside_the_weights_is_never_run(tmp_path: Path) -> None:
    project, sentinel = Project(tmp_path), tmp_path / "executed"
    folder = put(project, {"state_dict": project.model.state_dict(), "hyper_parameters": Payload(sentinel)})
    load_target(folder)
    assert not sentinel.exists()
    torch.load(folder / "weights.pt", weights_only=False)
    assert sentinel.exists(), "the positive control"


def test_several_state_dicts_are_asked_about(tmp_path: Path) -> None:
    project = Project(tmp_path)
    content = {"memory": other(), "gnn": project.model.state_dict(), "link_pred": other()}
    with pytest.raises(
        LoadError, match=r"holds 3 state dicts: memory, gnn, link_pred; set weights_key\. .*weights_key ="
    ):
        load_target(put(project, content))
    assert load_target(project.write(weights_key="gnn")).provenance["weights_key"] == "gnn"
    with pytest.raises(LoadError, match=r'nothing under weights_key = "gn"\. Did you mean "gnn"\?'):
        load_target(project.write(weights_key="gn"))
    folder = put(project, {"nets": content}, weights_key="nets.gnn")
    assert load_target(folder).provenance["weights_key"] == "nets.gnn"


def test_several_prefixes_are_asked_about(tmp_path: Path) -> None:
    project = Project(tmp_path)
    state = project.model.state_dict()
    target = put(project, under("online.", state) | under("average.", state))
    with pytest.raises(LoadError, match=r"2 sets of weights that fit, under average\., online\..*strip_prefix ="):
        load_target(target)
    for prefix in ("average.", "average"):
        loaded = load_target(project.write(strip_prefix=prefix))
        assert loaded.provenance["stripped_prefix"] == "average."
        assert len(loaded.provenance["left_over"]) == len(state)
    with pytest.raises(LoadError, match=r'no name under strip_prefix = "averag\."\. Did you mean "average\."\?'):
        load_target(project.write(strip_prefix="averag"))


def test_a_prefix_is_stripped_only_where_the_rest_fits_exactly(tmp_path: Path) -> None:
    project = Project(tmp_path)
    state = under("gnn.", project.model.state_dict())
    for changed in (state | {"gnn.more": torch.ones(2)}, state | {"gnn.convs.0.bias": torch.ones(3)}):
        with pytest.raises(LoadError, match="does not fit"):
            load_target(put(project, changed))


def test_a_key_for_a_file_of_plain_tensors_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with pytest.raises(LoadError, match=r'weights_key = "gnn" names no part of it\. Drop it'):
        load_target(project.write(weights_key="gnn"))


def test_what_holds_no_state_dict_names_what_it_holds(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with pytest.raises(LoadError, match=r"more than tensors: model \(torch_geometric\.GCN\), epoch \(int\); expected"):
        load_target(put(project, {"model": project.model, "epoch": 3}))


def factory(tmp_path: Path, body: str, **model: Any) -> Project:
    project = Project(tmp_path, **({"class": None, "stack": "GCNConv"} | model))
    del project.tables["model"]
    (tmp_path / "own.py").write_text(textwrap.dedent(body))
    project.write(factory="own.py:build")
    return project


NET = """
    import torch
    from torch import nn
    from torch_geometric.nn import ARMAConv, GCNConv, Linear

    class Net(nn.Module):
        def __init__(self, first={first}):
            super().__init__()
            self.conv1, self.conv2 = first, {second}

        def forward(self, x, edge_index):
            return self.conv2(self.conv1(x, edge_index).relu(), edge_index)

    def build():
        return Net()
"""
PLAIN = (
    NET.replace("{first}", "GCNConv(24, 8)")
    .replace("{second}", "GCNConv(8, 3)")
    .replace("first=GCNConv(24, 8)", "first=None")
    .replace("= first,", "= GCNConv(24, 8),")
)
LAZY = PLAIN.replace("GCNConv(24,", "GCNConv(-1,").replace("GCNConv(8,", "GCNConv(-1,")


def test_lazy_layers_take_their_sizes_from_the_weights(tmp_path: Path) -> None:
    project = factory(tmp_path, LAZY)
    target = load_target(project.write(train={"epochs": 2}))
    g = project.graph
    assert torch.equal(target.clean_logits(), project.model.eval()(g.x, g.edge_index))
    first, again = (target.retrained(seed=1).clean_logits() for _ in range(2))
    assert torch.equal(first, again)


def test_known_shapes_of_lazy_layers_are_compared(tmp_path: Path) -> None:
    project = factory(tmp_path, LAZY.replace("GCNConv(-1, 8)", "GCNConv(-1, 9)"))
    with pytest.raises(LoadError, match=r"conv1\.bias is \[8\], the table builds \[9\]"):
        load_target(project.folder)


def test_a_lazy_weight_of_another_height_is_never_dropped(tmp_path: Path) -> None:
    project = factory(tmp_path, LAZY.replace("GCNConv(-1, 8)", "GCNConv(-1, 8, bias=False)"))
    state = {key: value for key, value in project.model.state_dict().items() if key != "conv1.bias"}
    save_file(state | {"conv1.lin.weight": torch.ones(9, 24)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"does not fit factory own\.py:build: .*conv1\.lin\.weight"):
        load_target(project.folder)
    save_file(state, tmp_path / "model.safetensors")
    load_target(project.folder)


def test_layers_that_no_state_dict_fills_get_one_dry_forward(tmp_path: Path) -> None:
    lazy = LAZY.replace("GCNConv(-1, 8)", "ARMAConv(-1, 8)").replace("GCNConv(-1, 3)", "ARMAConv(-1, 3)")
    project = factory(tmp_path, lazy)
    space: dict[str, Any] = {}
    exec(textwrap.dedent(lazy), space)
    model, g = space["build"](), project.graph
    model.eval()(g.x, g.edge_index)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    target = load_target(project.write(weights="weights.pt"))
    torch.testing.assert_close(target.clean_logits(), model(g.x, g.edge_index))
    torch.save({key: value for key, value in model.state_dict().items() if "conv1" in key}, tmp_path / "weights.pt")
    with pytest.raises(LoadError, match="is missing"):
        load_target(project.folder)


def test_lazy_layers_of_torch_are_filled_too(tmp_path: Path) -> None:
    lazy = PLAIN.replace("GCNConv(8, 3)", "nn.LazyLinear(3)").replace(", edge_index)\n\n    def", ")\n\n    def")
    project = factory(tmp_path, lazy)
    state = {"conv1.bias": torch.ones(8), "conv1.lin.weight": torch.ones(8, 24)}
    state |= {"conv2.weight": torch.ones(3, 8), "conv2.bias": torch.arange(3.0)}
    save_file(state, tmp_path / "model.safetensors")
    assert load_target(project.folder).clean_logits().shape == (project.graph.num_nodes, 3)


def test_a_dry_forward_that_fails_says_so(tmp_path: Path) -> None:
    lazy = LAZY.replace("GCNConv(-1, 8)", "ARMAConv(-1, 8)").replace("return self", "raise OSError('no column'); self")
    project = factory(tmp_path, lazy)
    space: dict[str, Any] = {}
    exec(textwrap.dedent(lazy), space)
    names = space["build"]().state_dict(keep_vars=True)
    state = {name: torch.ones(()) if is_lazy(value) else value.detach() for name, value in names.items()}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(LoadError, match=r"first forward, which failed \(.*OSError: no column"):
        load_target(project.write(weights="weights.pt"))


WHOLE = {
    "importable": PLAIN,
    "buffers": PLAIN.replace(
        "super().__init__()",
        "super().__init__(); self.register_buffer('kept', torch.ones(2)); "
        "self.register_buffer('gone', torch.ones(2), persistent=False)",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("main", [False, True], ids=["module", "script"])
def test_a_factory_takes_a_trusted_pickle_s_state(
    name: str, main: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a class that lived in the training script, which no other process can import."""
    project = factory(tmp_path, WHOLE[name])
    space: dict[str, Any] = {"__name__": "__main__" if main else "own"}
    exec(textwrap.dedent(WHOLE[name]), space)
    model, g = space["build"](), project.graph
    with monkeypatch.context() as patch:
        if main:
            patch.setattr(sys.modules["__main__"], "Net", space["Net"], raising=False)
        else:
            patch.setitem(sys.modules, "own", type(sys)("own"))
            sys.modules["own"].Net = space["Net"]  # type: ignore[attr-defined]
        torch.save(model, tmp_path / "whole.pt")
    folder = project.write(weights="whole.pt")
    with pytest.raises(RefusedError, match=r"Refused: unpickling it runs .* --trust-pickle was not given"):
        load_target(folder)
    target = load_target(folder, trust_pickle=True)
    assert torch.equal(target.clean_logits(), model.eval()(g.x, g.edge_index))
    assert (target.kind, target.provenance["trusted_pickle"]) == ("factory", True)


def test_a_pickle_that_is_no_module_gives_no_state(tmp_path: Path) -> None:
    project = factory(tmp_path, PLAIN)
    torch.save(argparse.Namespace(a=torch.ones(2)), tmp_path / "whole.pt")
    with pytest.raises(LoadError, match=r"whole\.pt holds a argparse\.Namespace; expected a torch module"):
        load_target(project.write(weights="whole.pt"), trust_pickle=True)


def test_a_model_in_double_precision_is_cast_and_noted(tmp_path: Path) -> None:
    body = PLAIN.replace("return Net()", "return Net().double()").replace(
        "super().__init__()",
        "super().__init__(); self.register_buffer('shift', torch.ones(3).half(), persistent=False)",
    )
    project = factory(tmp_path, body)
    state = {key: value.double() for key, value in project.model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    target = load_target(project.write(train={"epochs": 1}))
    assert target.clean_logits().dtype == torch.float32
    assert target.retrained(seed=0).clean_logits().dtype == torch.float32
    assert set(target.provenance["cast_to_float32"]) == set(state)
    assert target.provenance["model_cast_to_float32"]["shift"] == "float64"


def test_a_factory_sees_its_own_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = PLAIN + (
        "\n    import argparse, sys\n    assert len(sys.argv) == 1 and sys.argv[0].endswith('own.py'), sys.argv\n"
        "    ARGS = argparse.ArgumentParser().parse_args()\n"
    )
    body = body.replace("return Net()", "assert len(__import__('sys').argv) == 1; return Net()")
    monkeypatch.setattr(sys, "argv", ["auditor", "run", ".", "--seeds", "3"])
    project = factory(tmp_path, body)
    for spec in ("own.py:build", "own:build"):
        monkeypatch.delitem(sys.modules, "own", raising=False)
        load_target(project.write(factory=spec))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    assert sys.argv == ["auditor", "run", ".", "--seeds", "3"]


def test_an_unreadable_file_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)

    open_file = os.open

    def denied(path: Path, *options: int) -> int:
        if Path(path).name == "model.safetensors":
            raise PermissionError(13, "Permission denied")
        return open_file(path, *options)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(LoadError, match=r"cannot read .*model\.safetensors: Permission denied; expected") as caught:
        load_target(project.folder)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_written_tensors_have_the_mode_that_the_umask_says(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "w.safetensors", {"a": torch.ones(2, 3).T, "b": torch.ones(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask
    assert torch.equal(load_file(tmp_path / "w.safetensors")["a"], torch.ones(3, 2))
    assert set(read_weights((tmp_path / "w.safetensors").read_bytes(), "w").tensors) == {"a", "b"}
