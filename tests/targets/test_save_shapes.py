"""Every shape that works as a file works from memory: saved, loaded again, it gets the same items right."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch_geometric.data import Data

from auditor.targets import save
from auditor.targets.load import load_target
from auditor.targets.save import save_target
from tests.targets.shapes import SHAPES, Works, build

WORKING = [id_ for id_, shape in SHAPES.items() if isinstance(shape.must, Works) and not shape.must.fails]


@pytest.mark.parametrize("id_", WORKING)
def test_a_shape_is_saved_and_loads_as_it_was(id_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPES[id_]
    if shape.needs is not None and importlib.util.find_spec(shape.needs) is None:
        pytest.skip(f"no {shape.needs} here")
    monkeypatch.setattr(  # in this process: a fresh one for each shape takes minutes
        save, "_fails", lambda place, call: json.loads(save.rebuilt(str(place), json.dumps(asdict(call)))) or None
    )
    kept: dict[str, Any] = {}

    def keep(name: str, value: Any) -> Any:
        kept[name] = value
        return value

    def keep_model(model: nn.Module, folder: Path) -> None:
        keep("model", model)
        shape.save_weights(model, folder)

    script = replace(shape, stored=lambda data: shape.stored(keep("data", data)), save_weights=keep_model)
    built = build(script, tmp_path / "project")
    stored = shape.stored(kept["data"])
    data = stored if isinstance(stored, (Data, list)) else kept["data"]
    form, colon, place = str(shape.tables.get("data", {}).get("split", "")).partition(":")
    split = f"file:{built.folder / place}" if form == "file" else form + colon + place
    save_target(
        kept["model"],
        data,
        tmp_path / "release",
        build=f"{built.folder / 'model.py'}:build",
        claimed_accuracy=built.accuracy if shape.claim else None,
        call=shape.tables.get("call"),
        split=split or None,
    )
    target = load_target(tmp_path / "release")
    if shape.must.counts and target.split.is_known:  # type: ignore[union-attr]
        correct = target.task.correct(target.clean_logits(), target.graph.y)
        assert int(correct[target.split.test].sum()) == built.right
