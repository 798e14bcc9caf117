"""Code that draws from the global generators: they are left as they were, and what PyG generates by them is right."""

from __future__ import annotations

import importlib
import io
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import Sequential

from auditor.api.auditing import load_target
from auditor.errors import LoadError
from auditor.targets.copying import copied
from auditor.targets.recipe import TrainRecipe
from auditor.targets.rng import forked_rng
from tests.toys import random_split, sbm_graph

MODELS = """
from torch.nn import Linear
from torch_geometric.nn import GCNConv, Sequential

def narrow():
    return Sequential("x, edge_index", [(GCNConv(24, 3), "x, edge_index -> x")])

def wide():
    return Sequential("x, edge_index", [(GCNConv(24, 5), "x, edge_index -> h"), (Linear(5, 3), "h -> x")])

def named():
    return Sequential("edge_index, feat", [(GCNConv(24, 3), "feat, edge_index -> x")])
"""
GRAPH = sbm_graph(seed=2)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A user's file: PyG imports it by its bare name to generate a forward, whose name it draws from `random`.

    The generator begins anew here, since what another test has left it in gives names that are taken.
    """
    random.seed()
    (tmp_path / "models_of_a_user.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("models_of_a_user")
    del sys.modules["models_of_a_user"]


def answers(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(GRAPH.x, GRAPH.edge_index)


def test_copies_of_two_sequentials_run_their_own_forward(models: ModuleType) -> None:
    for model in (models.narrow(), models.wide()):
        assert torch.equal(answers(copied(model)), answers(model))
        held = io.BytesIO()
        torch.save(model, held)
        held.seek(0)
        with forked_rng():
            assert torch.equal(answers(torch.load(held, weights_only=False)), answers(model))


def test_a_sequential_built_after_a_copy_runs_its_own_forward_and_nothing_global_moved(models: ModuleType) -> None:
    first, state, shared = models.narrow(), random.getstate(), Sequential.forward
    copied(first)
    assert random.getstate() == state
    assert Sequential.forward is shared
    assert models.wide().forward.__func__.__code__.co_names == ("module_0", "module_1")


def test_twins_run_their_own_forward_whatever_was_built_under_their_seed(models: ModuleType) -> None:
    split = random_split(GRAPH.num_items, seed=1)
    for build in (models.narrow, models.wide):
        twin = TrainRecipe(build, epochs=1).fit(GRAPH, split, seed=3).model
        assert len(twin.forward.__func__.__code__.co_names) == len(twin)


def test_a_sequential_that_pyg_confused_with_another_is_refused(models: ModuleType) -> None:
    random.seed(1)
    first = models.narrow()
    random.seed(1)
    confused = nn.Sequential(models.wide())
    copied(first)
    with pytest.raises(LoadError, match=r"0 is a Sequential that runs the forward of another one"):
        copied(confused)


def test_a_sequential_is_called_by_the_names_of_its_own_arguments(models: ModuleType) -> None:
    model, data = models.named(), Data(x=GRAPH.x, edge_index=GRAPH.edge_index, y=GRAPH.y)
    with torch.no_grad():
        expected = model.eval()(GRAPH.edge_index, GRAPH.x)
    assert torch.equal(load_target(model, data).clean_logits(), expected)
