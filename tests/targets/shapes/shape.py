"""What a shape is: data, a model's source, how it is called, trained and saved, and what must come of it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import tomli_w
import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Works:
    """It is loaded and gives the accuracy of the training script.

    Attributes:
        fails: integrity rows that fail, these and no others.
        warns: rows that warn, among others.
        explained: integrity rows that may fail beside `fails`, having the same cause.
        says: words of the rows, the call line or the notes.
        fixed_nodes: the model has a row per node.
        counts: whether the accuracy of the script is defined.
    """

    fails: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    fixed_nodes: bool = False
    counts: bool = True


@dataclass(frozen=True)
class Unknown:
    """It is loaded, no accuracy is named, and an audit that needs the split ends with 3."""

    says: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """It is not audited; `says` must be in the message."""

    says: tuple[str, ...]
    codes: tuple[int, ...] = (2,)


Must = Works | Unknown | Refused


def save_state(model: nn.Module, folder: Path) -> None:
    torch.save(model.state_dict(), folder / "model.pt")


def save_pt(stored: Any, folder: Path) -> str:
    torch.save(stored, folder / "graph.pt")
    return "graph.pt"


@dataclass(frozen=True)
class Shape:
    """One row of the table.

    Attributes:
        id: number, and a word where a number has several rows.
        name: what it is.
        source: model.py, with `build()`.
        data: what the training script holds: Data or Batch with y, train_mask and test_mask.
        call: class scores of every item, as the training script calls the model.
        must: what has to come of it.
        stored: what the script saves of its data.
        save_graph: writes that, and names the file.
        save_weights: writes model.pt.
        tables: further tables and keys of target.toml.
        claim: whether target.toml holds the accuracy of the script.
        loss: of scores and labels.
        predict: class indices from scores.
        steps: of Adam; 0 where nothing is measured.
        double: whether the script trains in float64.
        flags: of the command line.
        decoys: other ways to call the model, which must be further from the truth than a claim may be.
        needs: a package without which the row cannot be made.
    """

    id: str
    name: str
    source: str
    data: Callable[[], Any]
    call: Callable[[nn.Module, Any], Tensor]
    must: Must = Works()
    stored: Callable[[Any], Any] = lambda data: data
    save_graph: Callable[[Any, Path], str] = save_pt
    save_weights: Callable[[nn.Module, Path], None] = save_state
    tables: Tables = field(default_factory=dict)
    claim: bool = False
    loss: Loss = functional.cross_entropy
    predict: Callable[[Tensor], Tensor] = lambda scores: scores.argmax(dim=-1)
    steps: int = 60
    double: bool = False
    flags: tuple[str, ...] = ()
    decoys: Mapping[str, Callable[[nn.Module, Any], Tensor]] = field(default_factory=dict)
    needs: str | None = None

    @property
    def number(self) -> int:
        """Its row in the table."""
        return int(self.id.partition("-")[0])


@dataclass(frozen=True)
class Built:
    """A project folder, and what its training script knows.

    Attributes:
        folder: where target.toml is.
        right: test items that the script gets right.
        tested: test items.
        decoys: accuracy of the other ways to call it.
    """

    folder: Path
    right: int
    tested: int
    decoys: Mapping[str, float]

    @property
    def accuracy(self) -> float:
        """Test accuracy, as the script prints it."""
        return self.right / self.tested


def build(shape: Shape, folder: Path) -> Built:
    """Plays the training script: writes model.py, trains, saves model and data, writes target.toml."""
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(textwrap.dedent(shape.source).lstrip())
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls compressed sparse tensors beta
        torch.manual_seed(1)
        data = shape.data()
        file = shape.save_graph(shape.stored(data), folder)
        right, tested, decoys = 0, 1, {}
        with _Script(folder) as script:
            torch.manual_seed(shape.number)
            model = script.build()
            if shape.double:
                model = model.double()
            if shape.steps:
                _train(shape, model, data)
                right, tested = _score(shape, model, data, shape.call)
            for name, decoy in shape.decoys.items():
                wrong, of = _score(shape, model, data, decoy)
                decoys[name] = wrong / of
            shape.save_weights(model, folder)
    target: dict[str, Any] = {"name": f"shape-{shape.id}", "factory": "model.py:build", "weights": "model.pt"}
    if shape.claim:
        target["claimed_accuracy"] = right / tested
    tables: dict[str, dict[str, Any]] = {"target": target, "data": {"path": file}}
    for table, keys in shape.tables.items():
        tables[table] = {**tables.get(table, {}), **keys}
    (folder / "target.toml").write_text(tomli_w.dumps(tables))
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    return Built(folder, right, tested, decoys)


class _Script:
    """model.py, imported as `model` the way a script beside it does, and forgotten afterwards."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "model.py"
        self._before = sys.modules.get("model")

    def __enter__(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("model", self._file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module
        spec.loader.exec_module(module)
        return module

    def __exit__(self, *_: object) -> None:
        del sys.modules["model"]
        if self._before is not None:
            sys.modules["model"] = self._before


def _train(shape: Shape, model: nn.Module, data: Any) -> None:
    model.train()
    shape.call(model, data)  # fills lazy layers
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
    for _ in range(shape.steps):
        optimizer.zero_grad()
        scores = shape.call(model, data)
        loss = shape.loss(scores[data.train_mask], data.y[data.train_mask])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


@torch.no_grad()
def _score(shape: Shape, model: nn.Module, data: Any, call: Callable[[nn.Module, Any], Tensor]) -> tuple[int, int]:
    model.eval()
    right = shape.predict(call(model, data)) == data.y
    return int(right[data.test_mask].sum()), int(data.test_mask.sum())
