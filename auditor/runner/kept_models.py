"""Models that were trained on the way, on the disk: a resumed run or another worker takes them from there.

One file a model, `models/<digest>.safetensors` in the output folder: the digest of all that its training depends on,
so that another training is another file. Files are hostile: what is read is measured, holds tensors alone, has the
digest that it was written with, fits the model, and gives the answers that the trained model gave, bit for bit; else
the model is trained. Nothing is kept of a model that cannot be made again from its tensors.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor

from auditor import __version__
from auditor.data.graph import Graph
from auditor.data.tensors import read_safetensors
from auditor.errors import LoadError
from auditor.reading.archives import EASY_BYTES
from auditor.reading.files import bytes_of
from auditor.runner.describe import environment
from auditor.runner.execute import OURS_OR_THEIRS
from auditor.shared import content
from auditor.targets.model_state import state_of
from auditor.targets.tag import DefenseTag
from auditor.targets.target import Rebuilds, Target
from auditor.targets.user_imports import user_sources

FORM: Final = 1
"""Of the files: what another form has written is trained again."""
STATE, RELEASED, TAG, ANSWERS, DIGEST = "state.", "served.edge_index", "tag", "answers", "digest"
_TAG: TypeAdapter[DefenseTag | None] = TypeAdapter(DefenseTag | None)


@dataclass(frozen=True, slots=True)
class KeptModels:
    """The folder of one run.

    Args:
        folder: `models` in the output folder; where it is not, or is not the run's own, nothing is kept.
        notify: gets a line for a file that is not what was written, and for one that cannot be.
        is_own: whether the folder is the run's own; asked before the first model.
    """

    folder: Path
    notify: Callable[[str], object]
    is_own: Callable[[Path], bool]
    _names: list[str] = field(default_factory=list)
    _said: list[str] = field(default_factory=list)

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        """`target.retrained(graph, seed=seed)`, taken from the folder where it lies there, else kept there."""
        about = self._about(target, graph, seed)
        if about is None:
            return target.retrained(graph, seed=seed)
        path = self.folder / f"{about}.safetensors"
        found = self._read(path, target, graph, seed)
        if found is None:
            found = target.retrained(graph, seed=seed)
            if not self._written(path, found, target, graph, seed):
                return found
        self._names.append(path.name)
        return found

    def taken(self) -> tuple[str, ...]:
        """Names of the files that were used since the last call."""
        names = tuple(dict.fromkeys(self._names))
        self._names.clear()
        return names

    def _about(self, target: Target, graph: Graph, seed: int) -> str | None:
        """Digest of all that a training depends on; None where that cannot be told, or nothing can be kept."""
        recipe, split = target.recipe, target.split
        try:
            if not isinstance(recipe, Rebuilds) or not self.is_own(self.folder):
                return None
            return content(
                ("twin", FORM, target.digest, target.num_classes, target.transform, target.embedding_layer, seed),
                repr(target.provenance),
                (graph.digest(), graph.whole_x, graph.flat_x, sorted(graph.fields.ids.items())),
                *(split.train, split.val, split.test),
                recipe.depends_on(seed),
                user_sources(),
                libraries(),
                sorted(environment().items()),
            )
        except OURS_OR_THEIRS:
            return None

    def _read(self, path: Path, target: Target, graph: Graph, seed: int) -> Target | None:
        """The model of a file; None where there is none, or it is not what was written, which is said."""
        if not os.path.lexists(path):
            return None
        held = sum(value.nbytes for value in target.model.state_dict().values())
        cap = max(EASY_BYTES, 4 * held)
        try:
            raw = bytes_of(path, error=LoadError, cap=cap, expected="a model that was trained on the way.")
            tensors = read_safetensors(raw, path.name, error=LoadError)
            if _bytes(tensors.pop(DIGEST)).hex() != _digest(path, tensors):
                raise LoadError("its content is not what was written")
            found = _rebuilt(target, graph, seed, tensors)
            if content(found.clean_logits()) != _bytes(tensors[ANSWERS]).hex():
                raise LoadError("the model in it answers otherwise than the one that was trained")
        except OURS_OR_THEIRS:  # of a hostile file, or of user code that builds the model
            self._say(f"{self.folder.name}/{path.name[:12]}… is not what was written there: the model is trained again")
            return None
        return found

    def _written(self, path: Path, made: Target, target: Target, graph: Graph, seed: int) -> bool:
        """Keeps a model, if it can be made again from its tensors: the same in every attribute and in its answers."""
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            tensors = _tensors(made)
            again = _rebuilt(target, graph, seed, tensors)
            if _told(again) != _told(made) or content(again.clean_logits()) != content(made.clean_logits()):
                return False
            raw = save({**tensors, DIGEST: _of_bytes(bytes.fromhex(_digest(path, tensors)))})
        except OURS_OR_THEIRS:
            return False
        try:
            with part.open("xb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            self._say(f"models trained on the way are not kept: {self.folder.name} cannot be written: {error.strerror}")
            return False
        return True

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.append(text)
            self.notify(text)


@functools.cache
def libraries() -> str:
    """Digest of everything that is installed by name and version, and of what this processor computes with."""
    installed = sorted((found.name, found.version) for found in importlib.metadata.distributions())
    return content(__version__, installed, torch.backends.cpu.get_cpu_capability())


def _tensors(made: Target) -> dict[str, Tensor]:
    """What is kept of a model: its state, the graph that it released, its tag, and a digest of its answers."""
    tensors = {f"{STATE}{name}": value.detach().clone() for name, value in made.model.state_dict().items()}
    if made.private is not None:
        tensors[RELEASED] = made.graph.edge_index.clone()
    tensors[TAG] = _of_bytes(_TAG.dump_json(made.defense))
    tensors[ANSWERS] = _of_bytes(bytes.fromhex(content(made.clean_logits())))
    return {name: value.contiguous() for name, value in tensors.items()}


def _rebuilt(target: Target, graph: Graph, seed: int, tensors: Mapping[str, Tensor]) -> Target:
    """The model of those tensors, nothing trained."""
    assert isinstance(target.recipe, Rebuilds)
    held = {name.removeprefix(STATE): value for name, value in tensors.items() if name.startswith(STATE)}
    held |= {name: value for name, value in tensors.items() if name == RELEASED}
    fit = target.recipe.rebuilt(graph, target.split, seed, held)
    return replace(target.fitted(fit, graph, target.split, seed), defense=_TAG.validate_json(_bytes(tensors[TAG])))


def _told(target: Target) -> tuple[object, ...]:
    """What two equal targets have equal."""
    tag = target.defense
    return state_of(target.model), target.graph.digest(), target.graph.name, repr(tag), target.private is None


def _digest(path: Path, tensors: Mapping[str, Tensor]) -> str:
    named = [part for name in sorted(tensors) for part in (name, tensors[name])]
    return content(path.name, *named)


def _of_bytes(raw: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(raw, np.uint8).copy())


def _bytes(value: Tensor) -> bytes:
    return value.to(torch.uint8).numpy().tobytes()
