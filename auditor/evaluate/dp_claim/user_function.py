"""A training function of the user's own, named on the command line and never told which records are canaries."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from auditor.data.graph import Graph, Split
from auditor.errors import AuditorError, ConfigError, EvaluationError, nearest
from auditor.targets.in_place import kept_fresh
from auditor.targets.rng import forked_rng
from auditor.targets.target import Target
from auditor.targets.user_imports import UserImports, contain


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What the function trains on.

    Attributes:
        graph: x [N, F], edge_index [2, E], y, and batch [N] for many graphs; canaries are among them.
        split: `train`, `val`, `test`, bool masks over the items.
        num_classes: C.
    """

    graph: Graph
    split: Split
    num_classes: int


@dataclass(frozen=True, slots=True, eq=False)
class UserFunction:
    """`fn(data, seed, noise=True)`, which returns a Target or a module with the target's own forward.

    Attributes:
        spec: as it was named.
        call: the function.
        user_imports: the packages that it runs among.
        takes_noise: whether it can be asked for a run without noise.
    """

    spec: str
    call: Callable[..., Any]
    user_imports: UserImports
    takes_noise: bool

    def fit(self, target: Target, seed: int, noise_scale: float) -> Target:
        """The trained target; the function's own randomness follows from `seed` where it draws from global generators.

        Raises:
            EvaluationError: the function raised, or returned something else.
        """
        data = TrainingData(target.private_graph, target.split, target.num_classes)
        extra = {"noise": noise_scale == 1} if self.takes_noise else {}
        try:
            with forked_rng(seed), self.user_imports.entered():
                made = self.call(data, seed, **extra)
        except AuditorError:
            raise
        except (Exception, SystemExit) as error:
            raise EvaluationError(
                f"--train {self.spec} raised {type(error).__name__}: {error}. Expected it to train on (data, seed"
                f"{', noise' if self.takes_noise else ''}) and to return the model. Correct the function."
            ) from error
        if isinstance(made, Target):
            return made
        if isinstance(made, nn.Module):
            return replace(target, model=contain(kept_fresh(made), self.user_imports))
        raise EvaluationError(
            f"--train {self.spec} returned a {type(made).__name__}; expected a Target, or a module called like the "
            "target's own model. Return the trained model."
        )


def load_function(spec: str, folder: Path) -> UserFunction:
    """The function `package.module:name` or `path/file.py:name`, imported from `folder`.

    Raises:
        ConfigError: malformed, not found, or the import fails.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise ConfigError(f'--train is "{spec}"; expected package.module:function or path/file.py:function.')
    root, module_name = folder, place
    if place.endswith(".py"):
        file = (folder / place).resolve()
        if not file.is_file():
            raise ConfigError(f"--train {spec}: there is no file {place}. Correct the path.")
        root, module_name = file.parent, file.stem
    user_imports = UserImports.of(root)
    try:
        with forked_rng(), user_imports.entered():
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"--train {spec} could not be imported from {root.name or root}: {type(error).__name__}: {error}. Start "
            "auditor in the project's folder, or name the file."
        ) from None
    call = getattr(module, name, None)
    if not callable(call):
        known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise ConfigError(f"--train {spec}: {place} has no function {name}. {nearest(name, known)}")
    return UserFunction(spec, call, user_imports, _takes_noise(call))


def _takes_noise(call: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "noise" or p.kind is p.VAR_KEYWORD for p in parameters)
