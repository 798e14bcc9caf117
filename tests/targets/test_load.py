from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.errors import AuditorError, CallError, ConfigError, DataError, GraphError, LoadError, UsageError
from auditor.targets.load import load_target
from auditor.targets.target import Capability
from tests.targets.projects import Project, fresh, model_table, write_graph
from tests.toys import sbm_graph, small_graphs


def test_a_folder_loads_and_answers_like_the_saved_model(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add_reference()
    target = load_target(tmp_path)
    g = project.graph
    assert torch.equal(target.clean_logits(), project.model.eval()(g.x, g.edge_index))
    assert (target.name, target.kind, target.num_classes, target.task.level) == ("toy", "safetensors", 3, "node")
    assert target.provenance["reference"]["difference"] == 0.0
    assert target.split.spec == "in the file"
    assert Capability.RETRAIN not in target.capabilities


def test_train_table_gives_retrain(tmp_path: Path) -> None:
    project = Project(tmp_path)
    target = load_target(project.write(train={"epochs": 3}))
    assert Capability.RETRAIN in target.capabilities
    twin = target.retrained(seed=1)
    assert not torch.equal(twin.clean_logits(), target.clean_logits())


def test_config_file_and_weights_file_name_the_same_target(tmp_path: Path) -> None:
    Project(tmp_path)
    by_folder = load_target(tmp_path)
    for path in (tmp_path / "target.toml", tmp_path / "model.safetensors"):
        assert load_target(path).digest == by_folder.digest
    (tmp_path / "target.toml").rename(tmp_path / "audit.toml")
    assert load_target(tmp_path / "audit.toml").digest == load_target(tmp_path).digest == by_folder.digest


def test_other_data_replaces_the_table_and_drops_the_claim(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(claimed_accuracy=0.9)
    write_graph(tmp_path / "other.npz", sbm_graph(seed=5))
    target = load_target(tmp_path, data=str(tmp_path / "other.npz"))
    assert target.claimed_accuracy is None
    assert torch.equal(target.graph.edge_index, sbm_graph(seed=5).edge_index)
    assert not load_target(tmp_path, split="random:0.5/0.2/0.3").split.is_known  # nobody says it was trained on that


def test_a_graph_classifier_loads(tmp_path: Path) -> None:
    project = Project(tmp_path, small_graphs(), **{"class": "GIN", "readout": "mean"})
    project.add_reference()
    target = load_target(tmp_path)
    assert target.task.level == "graph"
    assert target.clean_logits().shape == (120, 2)


def test_digest_follows_weights_and_table_and_nothing_else(tmp_path: Path) -> None:
    first = load_target(Project(tmp_path / "a").folder)
    project = Project(tmp_path / "b")
    assert load_target(project.write(name="another", claimed_accuracy=0.5)).digest == first.digest
    project.tables["model"]["act"] = "elu"
    flagged = load_target(project.write())
    assert flagged.digest != first.digest
    project.tables["model"].pop("act")
    state = load_file(project.folder / "model.safetensors")
    state["convs.0.bias"] = state["convs.0.bias"] + 1
    save_file(state, project.folder / "model.safetensors")
    assert load_target(project.write()).digest not in (first.digest, flagged.digest)


def test_provenance_is_plain_and_names_no_place(tmp_path: Path) -> None:
    target = load_target(Project(tmp_path / "secret-place").folder)
    assert "secret-place" not in repr(dict(target.provenance))
    assert str(tmp_path) not in repr(dict(target.provenance))
    raw = (tmp_path / "secret-place" / "model.safetensors").read_bytes()
    assert target.provenance["sha256"] == hashlib.sha256(raw).hexdigest()


def rewrite(project: Project, **arrays: object) -> None:
    write_graph(project.folder / "graph.npz", replace(project.graph, **arrays))


def spoil_width(p: Project) -> None:
    rewrite(p, x=p.graph.x[:, :20])


def spoil_classes(p: Project) -> None:
    rewrite(p, y=p.graph.y + 1)


def spoil_hidden(p: Project) -> None:
    p.tables["model"]["hidden_channels"] = 16
    p.write()


def spoil_layers(p: Project) -> None:
    p.tables["model"]["num_layers"] = 3
    p.write()


def spoil_names(p: Project) -> None:
    state = load_file(p.folder / "model.safetensors")
    state["convs.0.lin.wieght"] = state.pop("convs.0.lin.weight")
    save_file(state, p.folder / "model.safetensors")


def spoil_reference(p: Project) -> None:
    p.add_reference()
    p.tables["model"]["act"] = "elu"
    p.write()


def spoil_reference_width(p: Project) -> None:
    other = Project(p.folder / "other", in_channels=5)
    other.graph = replace(other.graph, x=other.graph.x[:, :5])
    other.add_reference()
    (p.folder / "other" / "model.ref.safetensors").rename(p.folder / "r.safetensors")
    p.write(reference="r.safetensors")


def drop_model(p: Project) -> None:
    del p.tables["model"]
    p.write()


def drop_data(p: Project) -> None:
    p.tables["data"] = {}
    p.write()


BAD = {
    "feature width": (spoil_width, CallError, 2, "x [120, 20]"),
    "class count": (spoil_classes, GraphError, 2, "has labels up to 3, the model gives 3 outputs"),
    "hidden": (spoil_hidden, LoadError, 4, "convs.0.lin.weight is [8, 24], the table builds [16, 24]"),
    "hidden hint": (spoil_hidden, LoadError, 4, "Set hidden_channels = 8."),
    "layers": (spoil_layers, LoadError, 4, "convs.2.lin.weight is missing"),
    "renamed": (spoil_names, LoadError, 4, 'Did you mean "convs.0.lin.weight"?'),
    "reference": (spoil_reference, LoadError, 4, "The rebuilt model is not the saved one"),
    "reference width": (spoil_reference_width, LoadError, 4, "24 features"),
    "no reference": (lambda p: p.write(reference="r.safetensors"), LoadError, 4, "r.safetensors: it does not exist"),
    "no weights": (lambda p: p.write(weights="w.safetensors"), LoadError, 4, "w.safetensors: it does not exist"),
    "weights a folder": (lambda p: p.write(weights="."), LoadError, 4, "is a folder"),
    "weights not named": (lambda p: p.write(weights=None), LoadError, 4, "names no weights"),
    "sha256": (lambda p: p.write(sha256="0" * 64), LoadError, 4, "The file was changed or swapped"),
    "kind": (lambda p: p.write(kind="state_dict"), LoadError, 4, 'the files make it "safetensors"'),
    "no model table": (drop_model, ConfigError, 2, "there is no [model] table"),
    "no data": (drop_data, UsageError, 2, "names no graph"),
    "unknown key": (lambda p: p.write(wieghts="x"), ConfigError, 2, 'Did you mean "weights"?'),
    "no such graph": (lambda p: (p.folder / "graph.npz").unlink(), DataError, 2, "graph.npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_told_with_its_exit_code(name: str, tmp_path: Path) -> None:
    spoil, kind, code, words = BAD[name]
    project = Project(tmp_path / "p")
    load_target(project.folder)  # the benign twin
    spoil(project)
    with pytest.raises(AuditorError) as caught:
        load_target(project.folder)
    assert isinstance(caught.value, kind)
    assert caught.value.exit_code == code
    assert words in str(caught.value)


def test_a_mismatch_lists_ten_problems_at_most(tmp_path: Path) -> None:
    project = Project(tmp_path, num_layers=8)
    project.tables["model"]["hidden_channels"] = 9
    with pytest.raises(LoadError, match="and 5 more") as caught:
        load_target(project.write())
    assert str(caught.value).count("the table builds") == 10


@pytest.mark.parametrize(
    ("changed", "hint"), [("in_channels", "Set in_channels = 24."), ("out_channels", "Set out_channels = 3.")]
)
def test_the_hint_names_the_size_to_set(changed: str, hint: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.tables["model"][changed] += 1
    with pytest.raises(LoadError) as caught:
        load_target(project.write())
    assert hint in str(caught.value)


def test_paths_that_name_no_target_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "no", "does not exist"), (tmp_path / "empty", "has no target.toml")):
        with pytest.raises(UsageError, match=words) as caught:
            load_target(path)
        assert caught.value.exit_code == 2


def test_lone_weights_need_a_table(tmp_path: Path) -> None:
    save_file(fresh(model_table(sbm_graph())).state_dict(), tmp_path / "lone.safetensors")
    with pytest.raises(LoadError, match="holds weights alone"):
        load_target(tmp_path / "lone.safetensors", data="demo")


def test_targets_are_immutable_and_forwards_leave_everything_as_it_was(tmp_path: Path) -> None:
    target = load_target(Project(tmp_path, dropout=0.5).folder)
    with pytest.raises(FrozenInstanceError):
        target.name = "other"  # type: ignore[misc]
    graph, state = target.graph.digest(), {k: v.clone() for k, v in target.model.state_dict().items()}
    generator = torch.get_rng_state()
    for _ in range(50):
        target.logits(target.graph.x, target.graph.edge_index)
    assert target.graph.digest() == graph
    assert all(torch.equal(value, target.model.state_dict()[key]) for key, value in state.items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not target.model.training
    assert not any(p.requires_grad for p in target.model.parameters())
