"""Runs the user's own code so that neither side sees the other's packages.

A user's project may have packages called `attacks`, `defenses` or `reports`, as we do. While their code runs (import,
build, every forward) their project is first on the path and their packages are the ones in `sys.modules`; afterwards
ours are. Without such a collision nothing is swapped. Cells run in processes, not threads, so that the swap is safe.
A lazy import inside a custom backward is the one known gap: autograd runs it outside of any forward.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, MethodType, ModuleType
from typing import Any
from weakref import WeakSet

from torch import nn

from auditor.errors import LoadError

OURS = ("attacks", "defenses", "reports")
_ALL: WeakSet[UserImports] = WeakSet()


class UserImports:
    """The user's side of the interpreter: their folders first on the path, their packages under the shared names."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(dict.fromkeys(str(root.resolve()) for root in roots))
        self.collisions: tuple[str, ...] = ()
        self._theirs: dict[str, ModuleType] = {}
        self._depth = 0
        _ALL.add(self)
        for name in OURS:
            spec = self._find(name)
            if spec is not None:
                self.collisions += (name,)
                if spec.origin is None:  # a folder without __init__: an installed package of that name would win
                    module = ModuleType(name)
                    module.__path__ = [str(place) for place in spec.submodule_search_locations or ()]
                    self._theirs[name] = module

    @classmethod
    def of(cls, *roots: Path) -> UserImports:
        """The packages of these project folders."""
        return cls(roots)

    def owns(self, package: str) -> bool:
        """Whether the project has a package of this name that is not ours."""
        return self._find(package) is not None

    def __deepcopy__(self, memo: dict[int, Any]) -> UserImports:
        """Itself: copies of a model run among the same packages, and modules cannot be copied."""
        return self

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, the user's code runs on its own; what it prints goes to stderr. May be nested."""
        if self._depth:
            yield
            return
        self._depth += 1
        path = list(sys.path)
        sys.path[:0] = self._roots
        ours = self._take_out()
        sys.modules.update(self._theirs)
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            self._theirs = self._take_out()
            sys.modules.update(ours)
            sys.path[:] = path
            self._depth -= 1

    def _take_out(self) -> dict[str, ModuleType]:
        """Removes and returns the modules under the colliding names."""
        if not self.collisions:
            return {}
        prefixes = tuple(f"{name}." for name in self.collisions)
        names = [name for name in sys.modules if name in self.collisions or name.startswith(prefixes)]
        return {name: sys.modules.pop(name) for name in names}

    def _find(self, name: str) -> ModuleSpec | None:
        """The project's own package of this name; None when there is none, or it is the one we run from."""
        importlib.invalidate_caches()
        spec = PathFinder.find_spec(name, list(self._roots))
        if spec is None:
            return None
        if spec.origin is None and not any(
            next(Path(place).rglob("*.py"), None) for place in spec.submodule_search_locations or ()
        ):
            return None  # a folder of results, say: nothing to import
        own = importlib.util.find_spec(name)
        return None if own is not None and own.origin == spec.origin and own.origin is not None else spec


def user_sources() -> str:
    """Sha256 (hex) over the source of everything imported so far that belongs to no installed package, nor to us.

    What PyG generates for its own layers is of its package, wherever the file lies. What a forward imports is there
    once it has run, as it has when a target is loaded.
    """
    packages = {name.partition(".")[0] for name in sys.modules}
    installed = {name for name in packages if name in (*OURS, "auditor") or _is_installed(sys.modules.get(name))}
    own = [module for name, module in sys.modules.items() if name.partition(".")[0] not in installed]
    own += [module for user_imports in _ALL for module in user_imports._theirs.values()]
    digests = set()
    for module in own:
        if getattr(module, "__file__", None) is not None and not _is_installed(module):
            with suppress(OSError):
                digests.add(hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _is_installed(module: ModuleType | None) -> bool:
    """Whether a module came with Python or was installed, so that a version says what it is."""
    file = getattr(module, "__file__", None)
    if file is None:  # built in, or a folder without __init__
        return module is None or isinstance(getattr(module, "__loader__", None), type)
    return _lies_where_packages_are(file)


@functools.cache  # asked of every imported module before every training
def _lies_where_packages_are(file: str) -> bool:
    found = Path(file).resolve()
    return any(found.is_relative_to(place) for place in places_of_packages())


@functools.cache
def places_of_packages() -> tuple[Path, ...]:
    """The folders of the standard library and of what is installed beside it."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(Path(place).resolve() for place in map(sysconfig.get_path, names))


def is_ours(frame: FrameType) -> bool:
    """Whether this program's own code runs there: a project of the user's may have packages of the same names."""
    root, file = Path(__file__).resolve().parents[2], Path(frame.f_code.co_filename).resolve()
    return any(file.is_relative_to(root / name) for name in ("auditor", *OURS))


def is_users(frame: FrameType) -> bool:
    """Whether the user's own code runs there: neither ours nor installed, nor what PyG generates for its layers."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return not (is_ours(frame) or package == "torch_geometric" or _lies_where_packages_are(frame.f_code.co_filename))


def contain(model: nn.Module, user_imports: UserImports) -> nn.Module:
    """The same module, whose every forward (of a copy, too) runs inside `user_imports`."""

    def make(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def contained(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            with user_imports.entered():
                return forward(self, *args, **kwargs)

        return contained

    return with_forward(model, make)


def with_forward(model: nn.Module, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> nn.Module:
    """The same module with `make(its forward)` as its forward: parameter names and copies stay as they were.

    Raises:
        LoadError: the module's class cannot be extended (TorchScript).
    """
    kind, own = type(model), vars(model).get("forward")
    generated = isinstance(own, MethodType) and own.__self__ is model  # PyG's Sequential: one for each instance
    forward = getattr(own, "__func__") if generated else kind.forward  # noqa: B009 - not every method's type says so
    extended = type(kind.__name__, (kind,), {"forward": make(forward), "__module__": kind.__module__})
    try:
        model.__class__ = extended
        if generated:
            del model.forward
    except TypeError:
        raise LoadError(
            f"{kind.__name__} cannot be wrapped; expected a plain nn.Module. TorchScript is not audited: build the "
            "module in Python and load its state dict."
        ) from None
    return model
