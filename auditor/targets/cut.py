"""Cuts a class out of a training script or notebook: itself, what it names in its file, the imports. Runs nothing."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import symtable
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from auditor.errors import LoadError
from auditor.targets.user_imports import places_of_packages

_CONSTANT = (
    ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.operator,
    ast.unaryop,
)  # fmt: skip
_DEFINED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


def cut_out(*wanted: type | FunctionType) -> tuple[str, Path | None]:
    """(source of a module that defines `wanted`, folder below which its project imports lie).

    Args:
        wanted: classes and functions of one file, written at its top level.

    Raises:
        LoadError: the source is not there, or they name something that only running the file computes.
    """
    module = sys.modules[wanted[0].__module__]
    text = _text_of(module, wanted[0])
    file = _File(module, text)
    for each in wanted:
        if each.__qualname__ != each.__name__ or each.__name__ not in file.bound:
            raise LoadError(
                f"{each.__qualname__} is not written at the top level of its file; expected a class or function "
                'there. Move it, or give build = "file.py:function".'
            )
        file.need(each.__name__, each.__name__)
    root = project_root(name for statement in file.kept.values() for name in _imported(statement))
    return file.source(), root


def project_root(packages: Iterator[str]) -> Path | None:
    """The folder that holds the packages that are not installed; None where all are.

    Raises:
        LoadError: they lie in two folders.
    """
    roots = set()
    for package in packages:
        if package == "auditor" or package in sys.builtin_module_names or package in sys.stdlib_module_names:
            continue
        found = PathFinder.find_spec(package)
        places = [] if found is None else [found.origin] if found.origin else found.submodule_search_locations or []
        for place in map(Path, places):
            folder = place.resolve().parent.parent if place.name == "__init__.py" else place.resolve().parent
            if not any(folder.is_relative_to(known) for known in places_of_packages()):
                roots.add(folder)
    if len(roots) > 1:
        raise LoadError(
            f"the project's imports lie in {len(roots)} folders ({', '.join(sorted(r.name for r in roots))}); expected "
            "one, which becomes [target] root. Install one of them as a package."
        )
    return next(iter(roots), None)


def _text_of(module: ModuleType, wanted: type | FunctionType) -> str:
    """The text of the file, or of a notebook's cells in the order they were run."""
    cells = vars(module).get("In")
    if isinstance(cells, list):
        return "\n\n".join(cell for cell in cells if isinstance(cell, str) and _parses(cell))
    file = getattr(module, "__file__", None) or _compiled_in(wanted)
    text = "".join(linecache.getlines(file)) if file else ""
    if not text:
        raise LoadError(
            f"the source of {wanted.__qualname__} is not to be found; expected a script, a module or a notebook. Move "
            'it into a file, or give build = "file.py:function".'
        )
    return text


def _parses(cell: str) -> bool:
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _compiled_in(wanted: type | FunctionType) -> str | None:
    functions = [wanted] if inspect.isfunction(wanted) else filter(inspect.isfunction, vars(wanted).values())
    return next((function.__code__.co_filename for function in functions), None)


class _File:
    """The top level of one file, and what of it is kept."""

    def __init__(self, module: ModuleType, text: str) -> None:
        self._module, self._lines = module, text.splitlines()
        self._body = ast.parse(text).body
        self.bound: dict[str, ast.stmt] = {}
        for statement in self._body:
            self.bound |= dict.fromkeys(_binds(statement), statement)
        self.kept: dict[int, ast.stmt] = {}

    def need(self, name: str, user: str) -> None:
        """Keeps what `name` stands for, and what that needs; `user` is where it is named."""
        statement = self.bound.get(name)
        if isinstance(statement, _IMPORTS):
            self._keep_imports(name)
            return
        if statement is None:
            if not hasattr(builtins, name) and hasattr(self._module, name) and not self._keep_imports("*"):
                raise self._computed(name, user)
            return
        place = self._body.index(statement)
        if place in self.kept:
            return
        if not self._is_plain(statement, name):
            raise self._computed(name, user)
        self.kept[place] = statement
        for used in sorted(_globals_of(ast.unparse(statement))):
            if used != name:
                self.need(used, name if isinstance(statement, _DEFINED) else user)

    def _keep_imports(self, name: str) -> bool:
        """Keeps every import of `name`, and of no other; whether there is one."""
        found = [(i, s) for i, s in enumerate(self._body) if isinstance(s, _IMPORTS) and name in _binds(s)]
        for place, statement in found:
            before = self.kept.get(place)
            kept = before.names if isinstance(before, _IMPORTS) else []
            names = [a for a in statement.names if a in kept or name == (a.asname or a.name.partition(".")[0])]
            self.kept[place] = self._absolute(statement, names)
        return bool(found)

    def source(self) -> str:
        """The statements that are kept, in their order, as they are written."""
        future = [s for s in self._body if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
        parts = [ast.unparse(statement) for statement in future[:1]]
        parts += [self._written(self.kept[place]) for place in sorted(self.kept)]
        imports = [p for p in parts if p.startswith(("import ", "from "))]
        return "\n".join(imports) + "\n\n\n" + "\n\n\n".join(p for p in parts if p not in imports) + "\n"

    def _written(self, statement: ast.stmt) -> str:
        """The very lines where the statement has them for itself: a class then reads as it did."""
        if not isinstance(statement, _DEFINED):
            return ast.unparse(statement)
        start, end = _span(statement)
        alone = all(other is statement or _span(other)[1] < start or end < _span(other)[0] for other in self._body)
        return "\n".join(self._lines[start - 1 : end]) if alone else ast.unparse(statement)

    def _is_plain(self, statement: ast.stmt, name: str) -> bool:
        """A definition, a conditional import, or a constant that still has the value that is written there."""
        if isinstance(statement, _DEFINED):
            return True
        if isinstance(statement, (ast.Try, ast.If)):
            inner = [part for part in ast.walk(statement) if isinstance(part, ast.stmt) and part is not statement]
            return all(isinstance(s, (*_IMPORTS, ast.Assign, ast.Pass)) for s in inner) and not any(
                isinstance(part, ast.Call) for part in ast.walk(statement)
            )
        value = getattr(statement, "value", None)
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or value is None:
            return False
        if not all(isinstance(part, _CONSTANT) for part in ast.walk(value)):
            return False
        try:
            written = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError):
            return True  # of other constants, which are looked at
        current = getattr(self._module, name, written)
        return type(current) is type(written) and bool(current == written)

    def _computed(self, name: str, user: str) -> LoadError:
        return LoadError(
            f"{user} uses {name}, which the file computes when it is run; the training script is never run again. "
            f"Expected definitions and written-out constants: pass {name} as an argument, or give "
            'build = "file.py:function".'
        )

    def _absolute(self, statement: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
        """These names of an import; `from .layers import X` as it reads from outside of the package."""
        if isinstance(statement, ast.Import):
            return ast.Import(names)
        package = (getattr(self._module, "__package__", "") or "").split(".") if statement.level else []
        parts = package[: len(package) - statement.level + 1]
        return ast.ImportFrom(".".join(filter(None, [*parts, statement.module])), names, 0)


def _span(statement: ast.stmt) -> tuple[int, int]:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(d.lineno for d in decorators)]), statement.end_lineno or statement.lineno


def _binds(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement gives a meaning."""
    if isinstance(statement, _DEFINED):
        yield statement.name
        return
    for part in ast.walk(statement):
        if isinstance(part, _IMPORTS):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _globals_of(source: str) -> set[str]:
    """Names that a piece of source looks up outside of itself."""
    found: set[str] = set()
    tables = [symtable.symtable(source, "", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        outside: Callable[[Any], bool] = (
            (lambda symbol: symbol.is_referenced()) if table.get_type() == "module" else (lambda s: s.is_global())
        )
        found |= {symbol.get_name() for symbol in table.get_symbols() if outside(symbol)}
    return found


def _imported(statement: ast.stmt) -> Iterator[str]:
    """Top-level packages of the imports in a statement."""
    for part in ast.walk(statement):
        if isinstance(part, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module:
            yield part.module.partition(".")[0]
