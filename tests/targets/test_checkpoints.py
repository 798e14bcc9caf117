"""Weights as people save them: nested, prefixed, of another precision; what cannot be taken is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from auditor.errors import ConfigError, LoadError, RefusedError
from auditor.targets.fitting import fit_weights
from auditor.targets.load import load_target
from auditor.targets.target import Target
from auditor.targets.weights import read_bytes, read_weights
from tests.targets.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def saved(project: Project, content: Any, **target: Any) -> Target:
    """The target whose weights are `content`, as torch.save writes it."""
    torch.save(content, project.folder / "model.pt")
    return load_target(project.write(weights="model.pt", **target))


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


FORMS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": dict,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
    "two levels": lambda s: {"model": {"state_dict": s, "step": 7}, "epoch": 3},
    "the only one": lambda s: {"whatever": s, "loss": 0.1},
    "DataParallel": lambda s: prefixed(s, "module."),
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "nested and prefixed": lambda s: {"model": prefixed(s, "gnn.encoder.")},
    "double": lambda s: {key: value.double() for key, value in s.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_the_model_that_was_saved(form: str, project: Project) -> None:
    target = saved(project, FORMS[form](project.model.state_dict()))
    g = project.graph
    torch.testing.assert_close(target.clean_logits(), project.model.eval()(g.x, g.edge_index))


def test_what_was_unwrapped_stripped_or_cast_is_told(project: Project) -> None:
    state = {key: value.half() for key, value in project.model.state_dict().items()}
    target = saved(project, {"state_dict": prefixed(state, "module."), "epoch": 1})
    assert target.provenance["weights_key"] == "state_dict"
    assert target.provenance["cast_to_float32"]
    assert "module." in str(target.provenance)


def test_several_state_dicts_are_asked_for_by_name(project: Project) -> None:
    state = project.model.state_dict()
    both = {"student": state, "teacher": {key: value + 1 for key, value in state.items()}}
    with pytest.raises(LoadError, match="holds 2 state dicts: student, teacher; set weights_key"):
        saved(project, both)
    g = project.graph
    target = saved(project, both, weights_key="student")
    torch.testing.assert_close(target.clean_logits(), project.model.eval()(g.x, g.edge_index))
    with pytest.raises(LoadError, match="weights_key"):
        saved(project, both, weights_key="studnet")


ASKED: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "the best so far": (lambda s: {"state_dict": s, "epoch": 9, "best_state_dict": s}, "state_dict, best_state_dict"),
    "a prefixed average": (lambda s: {"model": s, "swa": prefixed(s, "module.")}, "model, swa"),
    "numbered folds": (lambda s: {0: s, 1: s}, "0, 1"),
    "inside and beside": (lambda s: {"net": {"gnn": s}, "last": s}, "net.gnn, last"),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_keys_that_are_asked_for_hold_state_dicts_each(name: str, project: Project) -> None:
    make, keys = ASKED[name]
    content = make(project.model.state_dict())
    with pytest.raises(LoadError, match=f"holds 2 state dicts: {keys}; set weights_key"):
        saved(project, content)
    for key in keys.split(", "):
        assert saved(project, content, weights_key=key).provenance["weights_key"] == key
    folder = project.write(weights="model.pt")
    config = folder / "target.toml" if folder.is_dir() else folder
    config.write_text('unanswered = ["weights_key"]\n' + config.read_text())
    with pytest.raises(ConfigError, match=rf"which state dict of the file \(it holds {keys}\)"):
        load_target(folder)


def test_other_tensors_beside_a_usual_key_are_no_question(project: Project) -> None:
    state = project.model.state_dict()
    content = {"metrics": {"accuracy": torch.tensor(0.5)}, "state_dict": state, "buffers": {"seen": torch.ones(3)}}
    assert saved(project, content).provenance["weights_key"] == "state_dict"
    with pytest.raises(LoadError, match=r'"metric".*metrics'):
        saved(project, content, weights_key="metric")


def test_a_prefix_with_something_else_beside_it_is_named(project: Project) -> None:
    mixed = prefixed(project.model.state_dict(), "gnn.") | {"loss.weight": torch.ones(3)}
    target = saved(project, mixed)
    assert "loss.weight" in str(target.provenance)
    with pytest.raises(LoadError, match="missing"):
        saved(project, {"gnn.unknown": torch.ones(3)})


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(-1, 3)


def test_lazy_layers_take_their_sizes_from_the_weights() -> None:
    weights = GCNConv(5, 3).state_dict()
    model = Lazy()
    fit_weights(model, prefixed(weights, "conv."), file="w", table="factory")
    assert torch.equal(model.conv.lin.weight, weights["lin.weight"])


def test_an_unreadable_file_is_refused_with_its_reason(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(LoadError, match=r"cannot read .*: Permission denied; expected"):
        read_bytes(project.folder / "model.safetensors")


def test_written_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    from auditor.data.sources import load_data
    from auditor.targets.train import train_reference

    before = os.umask(0o022)
    try:
        train_reference(load_data("demo"), "gcn", out_dir=tmp_path, hidden=4, epochs=2)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o644}, modes


def test_a_pickled_module_names_the_flag_and_its_tensors_are_taken_with_it(project: Project) -> None:
    torch.save(project.model, project.folder / "whole.pt")
    raw = (project.folder / "whole.pt").read_bytes()
    with pytest.raises(RefusedError, match="--trust-pickle"):
        read_weights(raw, "whole.pt")
    found = read_weights(raw, "whole.pt", trust_pickle=True)
    assert {key: value.tolist() for key, value in found.tensors.items()} == {
        key: value.tolist() for key, value in project.model.state_dict().items()
    }
