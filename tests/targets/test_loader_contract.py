"""What every registered loader owes, whoever wrote it: one list, walked over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch_geometric.nn import GCN

from auditor import registry
from auditor.errors import LoadError, RefusedError
from auditor.targets.load import load_target
from auditor.targets.target import Target
from tests.targets.projects import Project

BUILD = """
from torch_geometric.nn import GCN

def build():
    return GCN({in_channels}, {hidden_channels}, {num_layers}, {out_channels})
"""


def a_factory(folder: Path) -> Project:
    project = Project(folder)
    (folder / "own_model.py").write_text(BUILD.format(**project.table))
    torch.save(project.model.state_dict(), folder / "weights.pt")
    del project.tables["model"]
    project.write(factory="own_model.py:build", weights="weights.pt")
    return project


def a_safetensors(folder: Path) -> Project:
    return Project(folder)


def a_state_dict(folder: Path) -> Project:
    project = Project(folder)
    torch.save(project.model.state_dict(), folder / "weights.pt")
    project.write(weights="weights.pt")
    return project


def a_pickled_module(folder: Path) -> Project:
    project = Project(folder)
    table = project.table
    with torch.random.fork_rng():
        torch.manual_seed(0)
        project.model = GCN(*(table[key] for key in ("in_channels", "hidden_channels", "num_layers", "out_channels")))
    torch.save(project.model, folder / "model.pt")
    del project.tables["model"]
    project.write(weights="model.pt")
    return project


PROJECTS: dict[str, Callable[[Path], Project]] = {
    "factory": a_factory,
    "safetensors": a_safetensors,
    "state_dict": a_state_dict,
    "pickled_module": a_pickled_module,
}


def loaded(folder: Path) -> Target:
    return load_target(folder, trust_pickle=True)


def test_every_loader_has_a_project_here() -> None:
    assert set(PROJECTS) == set(registry.entries("loaders"))


@pytest.mark.parametrize("id_", PROJECTS)
def test_the_model_answers_as_the_one_that_was_saved(id_: str, tmp_path: Path) -> None:
    project = PROJECTS[id_](tmp_path)
    target, graph = loaded(tmp_path), project.graph
    assert target.kind == id_
    assert torch.equal(target.clean_logits(), project.model.eval()(graph.x, graph.edge_index))
    assert not target.model.training
    assert not any(parameter.requires_grad for parameter in target.model.parameters())


@pytest.mark.parametrize("id_", PROJECTS)
def test_equal_files_give_equal_digests_and_other_weights_another_one(id_: str, tmp_path: Path) -> None:
    first, second = (loaded(PROJECTS[id_](tmp_path / name).folder) for name in ("a", "b"))
    assert first.digest == second.digest
    project = PROJECTS[id_](tmp_path / "c")
    with torch.no_grad():
        next(project.model.parameters()).add_(1)
    for path in (tmp_path / "c").glob("*.pt"):
        torch.save(project.model if id_ == "pickled_module" else project.model.state_dict(), path)
    if id_ == "safetensors":
        from safetensors.torch import save_file

        save_file(project.model.state_dict(), tmp_path / "c" / "model.safetensors")
    assert loaded(tmp_path / "c").digest != first.digest


@pytest.mark.parametrize("id_", PROJECTS)
def test_no_path_of_this_machine_enters_the_provenance(id_: str, tmp_path: Path) -> None:
    assert str(tmp_path) not in str(dict(loaded(PROJECTS[id_](tmp_path).folder).provenance))


@pytest.mark.parametrize("id_", PROJECTS)
def test_loading_touches_no_global_generator(id_: str, tmp_path: Path) -> None:
    folder = PROJECTS[id_](tmp_path).folder
    before = torch.get_rng_state()
    loaded(folder)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("id_", PROJECTS)
def test_a_spoiled_file_is_a_load_error(id_: str, tmp_path: Path) -> None:
    folder = PROJECTS[id_](tmp_path).folder
    for path in (*folder.glob("*.pt"), *folder.glob("*.safetensors")):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises((LoadError, RefusedError)):
        loaded(folder)


def test_only_the_module_needs_trust(tmp_path: Path) -> None:
    for id_, make in PROJECTS.items():
        folder = make(tmp_path / id_).folder
        if id_ == "pickled_module":
            with pytest.raises(RefusedError):
                load_target(folder)
        else:
            assert load_target(folder).kind == id_
