"""Models trained on the way are on the disk: taken from there when they are what was trained, and never else."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

import auditor
from auditor.compare.arms import fit_defended, make_defense
from auditor.data.graph import Split
from auditor.document import canonical, from_bytes
from auditor.runner import kept_models
from auditor.runner.execute import TrainedCache
from auditor.runner.kept_models import KeptModels
from auditor.targets.model_state import StateError, state_of
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Target
from tests.cli.program import auditor as program
from tests.runner.hostile import hostile
from tests.toys import sbm_graph, toy_target

BASE = toy_target("gcn", epochs=2)
TABLE = {"class": "GCN", "hidden_channels": 8, "num_layers": 2, "in_channels": BASE.graph.num_features}
TABLE |= {"out_channels": BASE.num_classes, "dropout": 0.5}


def target_of(build: Callable[[], nn.Module], digest: str = "d", **recipe: Any) -> Target:
    how = TrainRecipe(build, epochs=recipe.pop("epochs", 3), **recipe)
    model = how.fit(BASE.graph, BASE.split, 0).model
    return dataclasses.replace(BASE, build=build, recipe=how, model=model, digest=digest)


def of_table(**more: Any) -> Target:
    return target_of(partial(build_model, TABLE | more), repr(more))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The seeds of all trainings of a table's recipe."""
    seeds: list[int] = []
    fit = TrainRecipe.fit

    def counted(self: TrainRecipe, graph: Any, split: Any, seed: int) -> Any:
        seeds.append(seed)
        return fit(self, graph, split, seed)

    monkeypatch.setattr(TrainRecipe, "fit", counted)
    return seeds


def keeper(folder: Path, said: list[str]) -> KeptModels:
    return KeptModels(folder, said.append, Path.is_dir)


def same(one: Target, other: Target) -> bool:
    told = [(state_of(each.model), repr(each.defense)) for each in (one, other)]
    return told[0] == told[1] and torch.equal(one.clean_logits(), other.clean_logits())


MODELS = {
    "GCN": {"norm": "BatchNorm", "jk": "cat"},
    "GAT": {"class": "GAT", "heads": 2},
    "GIN": {"class": "GIN"},
    "EdgeCNN": {"class": "EdgeCNN"},
    "MLP": {"class": "MLP"},
}


@pytest.mark.parametrize("more", MODELS.values(), ids=MODELS)
def test_a_kept_model_is_the_one_that_was_trained(
    tmp_path: Path, said: list[str], trained: list[int], more: dict[str, Any]
) -> None:
    target = of_table(**more)
    trained.clear()
    first = keeper(tmp_path, said).twin(target, target.graph, 5)
    second = keeper(tmp_path, said)
    again = second.twin(target, target.graph, 5)
    assert trained == [5]
    assert same(first, again)
    assert [path.name for path in tmp_path.iterdir()] == list(second.taken())
    assert not said
    assert (first.name, first.digest, first.graph.name) == (again.name, again.digest, again.graph.name)


DEFENSES = (
    *("joint-cluster", "joint-cluster:arm=ce", "edge-rand", "edge-rand:hops=0"),
    *(pytest.param(spec, marks=pytest.mark.slow) for spec in ("lap-graph", "gap", "dp-node", "graphmi-noise")),
)


@pytest.mark.parametrize("spec", DEFENSES)
def test_so_is_a_defended_one_with_all_that_it_says_of_itself(tmp_path: Path, said: list[str], spec: str) -> None:
    target, defense, made = of_table(), make_defense(spec), []
    for _ in range(2):
        kept = keeper(tmp_path, said)
        made.append(fit_defended(target, defense, seed=1, models=TrainedCache(kept=kept)))
        assert kept.taken()
    first, again = made
    assert first.defense is not None
    assert same(first, again)
    assert (first.digest, first.capabilities, first.graph.digest()) == (
        again.digest,
        again.capabilities,
        again.graph.digest(),
    )
    assert len(list(tmp_path.iterdir())) == 1
    assert not said


def test_whatever_a_training_depends_on_makes_another_file(tmp_path: Path, said: list[str]) -> None:
    target = of_table()
    graph, split = target.graph, target.split
    arcs = graph.edge_index.clone()
    x = graph.x.clone()
    x[0, 0] += 1e-6
    swapped = dataclasses.replace(split, train=split.val, val=split.train)
    keep = keeper(tmp_path, said)
    keep.twin(target, graph, 1)
    for other, on, seed in (
        (target, graph, 2),
        (target, dataclasses.replace(graph, edge_index=arcs.flip(1)), 1),
        (target, dataclasses.replace(graph, x=x), 1),
        (dataclasses.replace(target, split=swapped), graph, 1),
        (dataclasses.replace(target, digest="other weights"), graph, 1),
        (dataclasses.replace(target, provenance={"call": "other"}), graph, 1),
        (target_of(partial(build_model, TABLE), repr({}), lr=0.02), graph, 1),
        (target_of(partial(build_model, TABLE | {"dropout": 0.4}), repr({})), graph, 1),
    ):
        before = len(list(tmp_path.iterdir()))
        keep.twin(other, on, seed)
        assert len(list(tmp_path.iterdir())) == before + 1


def test_one_item_of_a_large_split_makes_another_file(tmp_path: Path, said: list[str]) -> None:
    graph = sbm_graph(n=1500, degree=2.0)
    first, second = (torch.zeros(1500, dtype=torch.bool) for _ in range(2))
    first[[3, 700]] = second[[3, 701]] = True
    splits = [Split(mask, torch.zeros_like(mask), ~(first | second)) for mask in (first, second)]
    own = of_table()
    keep = keeper(tmp_path, said)
    told = {keep._about(dataclasses.replace(own, graph=graph, split=split), graph, 1) for split in splits}
    assert len(told - {None}) == 2


@pytest.mark.parametrize("what", ["libraries", "user_sources", "environment"])
def test_so_do_the_code_of_the_user_and_the_versions(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    target = of_table()
    keeper(tmp_path, said).twin(target, target.graph, 1)
    monkeypatch.setattr(kept_models, what, lambda: {"torch": "other"} if what == "environment" else "other")
    keeper(tmp_path, said).twin(target, target.graph, 1)
    assert len(list(tmp_path.iterdir())) == 2


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def forged(path: Path) -> None:
    """Other weights under a digest of their own: only the answers tell."""
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = tensors[name] + 1
    reseal(path, tensors)


def reseal(path: Path, tensors: dict[str, Tensor]) -> None:
    tensors.pop("digest", None)
    digest = bytes.fromhex(kept_models._digest(path, tensors))
    save_file({**tensors, "digest": torch.from_numpy(np.frombuffer(digest, np.uint8).copy())}, path)


def misshapen(path: Path) -> None:
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("weight"))
    reseal(path, {**tensors, name: tensors[name][:1].contiguous()})


def of_another(path: Path) -> None:
    (other,) = (each for each in path.parent.iterdir() if each != path)
    path.write_bytes(other.read_bytes())


def large(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)


def pickled(path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path)


def bfloat(path: Path) -> None:
    save_file({"digest": torch.zeros(32, dtype=torch.bfloat16)}, path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (torn, flipped, forged, misshapen, of_another, large, pickled, bfloat, pipe, folder)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_file_that_is_not_what_was_written_is_said_and_trained_again(
    tmp_path: Path, said: list[str], trained: list[int], damage: Callable[[Path], None]
) -> None:
    target = of_table()
    keep = keeper(tmp_path, said)
    first = keep.twin(target, target.graph, 5)
    path = tmp_path / keep.taken()[0]
    if damage is of_another:
        keep.twin(target, target.graph, 6)
    damage(path)
    trained.clear()
    again = keeper(tmp_path, said).twin(target, target.graph, 5)
    assert trained == [5]
    assert same(first, again)
    assert said[0] == f"{tmp_path.name}/{path.name[:12]}… is not what was written there: the model is trained again"
    if damage is not folder:  # in whose place no file can be put
        trained.clear()
        keeper(tmp_path, said).twin(target, target.graph, 5)
        assert not trained


class Remembering(nn.Module):
    """A model whose state is not in tensors alone."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv = GCNConv(BASE.graph.num_features, BASE.num_classes)
        self.kind, self.steps, self.mean = kind, 0, torch.zeros(1)
        self.register_buffer("shown", torch.zeros(1), persistent=False)
        if kind == "closure":
            self.scale = lambda out: out * (1 + self.steps)
        self.rng = torch.Generator()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        if self.training and self.kind in ("count", "closure"):
            self.steps += 1
        if self.training and self.kind == "attribute":
            self.mean = 0.9 * self.mean + 0.1 * x.mean()
        if self.training and self.kind == "hidden buffer":
            self.shown += 1
        if self.training and self.kind == "generator":
            x = x + torch.rand(1, generator=self.rng)
        out = self.conv(x, edge_index)
        return self.scale(out) if self.kind == "closure" else out


@pytest.mark.parametrize("kind", ["count", "attribute", "hidden buffer", "closure", "generator"])
def test_a_model_that_is_more_than_its_tensors_is_not_kept(tmp_path: Path, said: list[str], kind: str) -> None:
    target = target_of(partial(Remembering, kind))
    keep = keeper(tmp_path, said)
    first, again = (keep.twin(target, target.graph, 1) for _ in range(2))
    assert torch.equal(first.clean_logits(), again.clean_logits())
    assert not list(tmp_path.iterdir())
    assert not keep.taken()
    assert not said


def test_a_plain_model_of_the_users_own_class_is(tmp_path: Path, said: list[str]) -> None:
    target = target_of(partial(Remembering, "nothing"))
    keep = keeper(tmp_path, said)
    keep.twin(target, target.graph, 1)
    assert keep.taken()


def test_state_tells_every_part_and_no_order() -> None:
    torch.manual_seed(0)
    one, other = (nn.Sequential(nn.Linear(2, 2), nn.Dropout(p)) for p in (0.1, 0.2))
    other.load_state_dict(one.state_dict())
    assert state_of(one) != state_of(other)
    other[1].p = 0.1
    assert state_of(one) == state_of(other)
    one.names, other.names = {"a", "b", "c"}, {"c", "b", "a"}
    assert state_of(one) == state_of(other)
    one.loop = one.__dict__
    with pytest.raises(StateError, match="Sequential"):
        state_of(one)


def test_two_workers_that_train_the_same_leave_one_file(tmp_path: Path, said: list[str]) -> None:
    target = of_table()
    one, other = keeper(tmp_path, said), keeper(tmp_path, said)
    about = one._about(target, target.graph, 5)
    made = target.retrained(target.graph, seed=5)  # by both, before either has written
    for keep in (one, other):
        assert keep._written(tmp_path / f"{about}.safetensors", made, target, target.graph, 5)
    assert len(list(tmp_path.iterdir())) == 1
    assert same(keeper(tmp_path, said).twin(target, target.graph, 5), made)


def test_a_folder_that_cannot_be_written_is_said_once_and_costs_nothing_else(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = of_table()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    keep = keeper(tmp_path, said)
    for seed in (1, 2):
        assert same(keep.twin(target, target.graph, seed), target.retrained(target.graph, seed=seed))
    (word,) = said
    assert word.endswith("cannot be written: No space left on device")
    assert not list(tmp_path.iterdir())


def test_where_the_folder_is_not_the_runs_own_nothing_is_kept(tmp_path: Path, said: list[str]) -> None:
    target = of_table()
    keep = KeptModels(tmp_path, said.append, lambda _folder: False)
    keep.twin(target, target.graph, 1)
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_cannot_say_what_it_depends_on_is_trained(tmp_path: Path, said: list[str]) -> None:
    keep = keeper(tmp_path, said)
    keep.twin(BASE, sbm_graph(seed=1), 1)
    assert not list(tmp_path.iterdir())


HOW: dict[str, Any] = {"only": "posterior-similarity:negatives=300,replicates=50", "profile": "quick", "seeds": (0, 1)}


@pytest.fixture(scope="module")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_recipe(tmp_path_factory.mktemp("kept") / "t")


def with_recipe(folder: Path, forward: str = "pass") -> Path:
    target = hostile(folder, forward=forward)
    with (target / "target.toml").open("a") as file:
        file.write("\n[target.train]\nepochs = 5\n")
    return target


def document(out: Path) -> bytes:
    return canonical(from_bytes((out / "audit.json").read_bytes()))


def audited(target: Path, out: Path, **how: Any) -> bytes:
    auditor.audit(target, out=out, **HOW | how)
    return document(out)


def models_of(out: Path) -> set[str]:
    return {path.name for path in (out / "models").iterdir()}


def cut(out: Path, left: int) -> None:
    """The folder of a complete run as it would be if that had been killed after so many cells."""
    run = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**run, "complete": False}))
    lines = (out / "cells.jsonl").read_bytes().splitlines(keepends=True)
    (out / "cells.jsonl").write_bytes(b"".join(lines[:left]))


def test_a_document_does_not_depend_on_what_was_kept(tmp_path: Path, trainable: Path, trained: list[int]) -> None:
    out = tmp_path / "out"
    whole, kept = audited(trainable, out), models_of(out)
    assert len(kept) == len(trained) == 2
    files = json.loads((out / "run.json").read_bytes())["files"]
    assert {name for name in files if name.startswith("models/")} == {f"models/{name}" for name in kept}
    trained.clear()
    assert audited(trainable, out) == whole  # another run of the folder
    cut(out, 1)
    assert audited(trainable, out) == whole  # one that goes on
    assert not trained
    assert models_of(out) == kept
    assert audited(trainable, tmp_path / "none", discard_models=True) == whole
    assert not (tmp_path / "none" / "models").exists()
    trained.clear()
    assert audited(trainable, out, resume=False) == whole
    assert len(trained) == 2


def test_shards_keep_their_own_and_are_merged_to_the_same_document(tmp_path: Path, trainable: Path) -> None:
    whole, parts = audited(trainable, tmp_path / "out"), [tmp_path / f"s{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        auditor.audit(trainable, out=part, shard=f"{i}/2", **HOW)
    auditor.merge(parts, out=tmp_path / "m")
    assert document(tmp_path / "m") == whole
    assert models_of(parts[0]) | models_of(parts[1]) == models_of(tmp_path / "out")
    assert not (tmp_path / "m" / "models").exists()


def test_a_damaged_model_is_said_and_changes_nothing(
    tmp_path: Path, trainable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = audited(trainable, tmp_path)
    for path in (tmp_path / "models").iterdir():
        path.write_bytes(path.read_bytes()[:-50])
    assert audited(trainable, tmp_path) == whole
    assert caplog.text.count("is not what was written there: the model is trained again") == 2


def test_a_change_of_what_the_forward_imports_makes_other_models(tmp_path: Path) -> None:
    target = with_recipe(tmp_path / "t", "import late_scale; x = x * late_scale.VALUE")
    kept = []
    for value in ("1.0", "1.5"):
        (target / "late_scale.py").write_text(f"VALUE = {value}\n")
        sys.modules.pop("late_scale", None)
        importlib.invalidate_caches()
        audited(target, tmp_path / "out")
        kept.append(models_of(tmp_path / "out"))
    assert kept[0]
    assert not kept[0] & kept[1]


@pytest.mark.slow
@pytest.mark.workers
def test_workers_share_a_folder(tmp_path: Path, trainable: Path) -> None:
    words = ("--only", "posterior-similarity", "--profile", "quick", "--seeds", "0,1", "-o", tmp_path)
    assert program("run", trainable, *words, "--jobs", "2").returncode in (0, 1)
    whole, kept = document(tmp_path), models_of(tmp_path)
    assert len(kept) == 2
    assert program("run", trainable, *words, "--jobs", "1").returncode in (0, 1)
    assert (document(tmp_path), models_of(tmp_path)) == (whole, kept)
