"""Loader `factory`: the user's own `build()`, trusted because the user chose to run it, and a file of weights."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data

from auditor.errors import LoadError, nearest
from auditor.targets.copying import unwrap_parts, unwrapped
from auditor.targets.in_place import kept_fresh
from auditor.targets.loaded import LoadedModel, Request, describe_weights, digest_of
from auditor.targets.rng import forked_rng
from auditor.targets.user_imports import UserImports, contain


def load(request: Request) -> LoadedModel:
    """The module that `build()` returns, with the weights of `[target]`.

    Raises:
        LoadError: the factory is not found, raises, or returns no module; the weights are missing or do not fit.
        RefusedError: the weights would have to be unpickled to be read.
    """
    spec = request.file.target.factory or ""
    weights = request.weights()
    root = (request.folder / (request.file.target.root or ".")).resolve()
    init = request.file.target.init or {}
    build_theirs, user_imports, source = _find_factory(spec, request.folder, root)

    def build_raw() -> tuple[nn.Module, Any, dict[str, Any]]:
        module, adapter = _call(build_theirs, init, user_imports, spec, source)
        bare, wrappers = unwrapped(module)
        found = {"unwrapped": wrappers, "unwrapped_parts": unwrap_parts(bare)}
        return bare, adapter, {key: names for key, names in found.items() if names}

    def build() -> nn.Module:
        model, adapter, _ = build_raw()
        return _to_contract(model.float(), adapter, user_imports)

    raw, adapter, wrapped = build_raw()
    model = _to_contract(raw, adapter, user_imports)
    notes = request.fit(raw, weights, table=f"factory {spec}", run=model)
    code = hashlib.sha256(source.read_bytes()).hexdigest()
    provenance = describe_weights(request.weights_path(), weights) | notes | wrapped
    provenance |= {"factory": spec, "factory_sha256": code}
    if user_imports.collisions:
        provenance["own_packages"] = list(user_imports.collisions)
    return LoadedModel(
        model=model,
        build=build,
        kind="factory",
        digest=digest_of(weights.sha256, {"factory": spec, "code": code} | ({"init": init} if init else {})),
        provenance=provenance,
    )


def _find_factory(spec: str, folder: Path, root: Path) -> tuple[Callable[..., Any], UserImports, Path]:
    """The function or class, the packages it runs among, and the file it is written in."""
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise LoadError(
            f'[target] factory is "{spec}"; expected "package.module:function" or "path/file.py:function". '
            "Name the function that builds the model."
        )
    if place.endswith(".py"):
        file = (folder / place).resolve()
        if not file.is_file():
            raise LoadError(f"factory {spec}: {place} does not exist beside the config file. Correct the path.")
        user_imports = UserImports.of(root, file.parent)
        module = _import(lambda: _import_file(file), user_imports, spec, file)
    else:
        user_imports = UserImports.of(root)
        if place.partition(".")[0] == "auditor" and user_imports.owns("auditor"):
            raise LoadError(
                f"factory {spec} is in a package called auditor, which is this tool's own name, so that one of the two "
                f'would shadow the other. Give the file instead: factory = "{place.replace(".", "/")}.py:{name}".'
            )
        file = root / f"{place.replace('.', '/')}.py"
        module = _import(lambda: importlib.import_module(place), user_imports, spec, file)
    build = getattr(module, name, None)
    if not callable(build):
        known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise LoadError(f"factory {spec}: {place} has no function {name}. {nearest(name, known)}")
    return build, user_imports, Path(str(module.__file__))


@contextmanager
def _as_script(file: Path) -> Iterator[None]:
    """Inside, the command line is that of the file alone: a module that parses its arguments does not see ours."""
    before, sys.argv = sys.argv, [str(file)]
    try:
        yield
    finally:
        sys.argv = before


def _import(load_module: Callable[[], ModuleType], user_imports: UserImports, spec: str, file: Path) -> ModuleType:
    importlib.invalidate_caches()
    try:
        with forked_rng(), user_imports.entered(), _as_script(file):
            return load_module()
    except (Exception, SystemExit) as error:
        raise LoadError(
            f"factory {spec} could not be imported: {_what(error)}. Expected a module that imports from "
            "[target] root (default: the folder of the config file). Correct root, or the module."
        ) from None


def _import_file(file: Path) -> ModuleType:
    """A module from a file, under a name of its own: two targets may both have a model.py."""
    name = f"_factory_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _call(
    build: Callable[..., Any], init: Mapping[str, Any], user_imports: UserImports, spec: str, file: Path
) -> tuple[nn.Module, Any]:
    """(module, adapter or None) that the factory returns for `[target.init]`."""
    try:
        with forked_rng(), user_imports.entered(), _as_script(file):
            built = build(**copy.deepcopy(dict(init)))
    except (Exception, SystemExit) as error:
        given = f"from [target.init] ({', '.join(init)})" if init else "without arguments"
        raise LoadError(
            f"factory {spec} raised {_what(error)}. Expected it to build the model {given}. Correct the function, or "
            "give what it needs in [target.init]."
        ) from None
    module, adapter = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(module, nn.Module) or not (adapter is None or callable(adapter)):
        raise LoadError(
            f"factory {spec} returned {_name(built)}; expected an nn.Module, or (module, adapter) where "
            "adapter(module, data) gives the logits. Return the model."
        )
    return module, adapter


def _name(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(part).__name__ for part in value)})"
    return f"a {type(value).__name__}"


def _what(error: BaseException) -> str:
    """The error and the line of the user's code it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _to_contract(model: nn.Module, adapter: Any, user_imports: UserImports) -> nn.Module:
    """The module, or its adapter, running among the packages of its own project."""
    return contain(kept_fresh(model if adapter is None else adapted(model, adapter)), user_imports)


def adapted(model: nn.Module, adapter: Callable[..., Tensor]) -> nn.Module:
    """A module called through an adapter: `adapter(model, data)`, or the older form of five arguments.

    Raises:
        LoadError: the adapter takes neither.
    """
    try:
        taken = len(inspect.signature(adapter).parameters)
    except (TypeError, ValueError):  # a callable without a signature
        taken = 2
    if taken not in (2, 5):
        raise LoadError(
            f"the adapter takes {taken} arguments; expected adapter(model, data), where data holds every field of the "
            "graph, or adapter(model, x, edge_index, edge_weight, batch)."
        )
    return Adapted(model, adapter) if taken == 2 else AdaptedTensors(model, adapter)


class Adapted(nn.Module):
    """A module called through `adapter(model, data)`."""

    def __init__(self, model: nn.Module, adapter: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.adapter = adapter

    def forward(self, data: Data) -> Tensor:
        """Logits, [N, C] or [B, C], of a graph with every field."""
        return self.adapter(self.model, data)


class AdaptedTensors(Adapted):
    """A module called through `adapter(model, x, edge_index, edge_weight, batch)`."""

    def forward(  # type: ignore[override]
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """Logits, [N, C] or [B, C]."""
        return self.adapter(self.model, x, edge_index, edge_weight, batch)
