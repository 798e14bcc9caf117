"""Test modules stand alone: what two of them share lies in a `conftest` or in a module of helpers."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def imported(tree: ast.AST) -> set[str]:
    """Names of the modules that a module imports, and of what it takes from them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module or ''}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_no_module_imports_a_test_module() -> None:
    modules = {".".join(path.relative_to(TESTS.parent).with_suffix("").parts) for path in TESTS.rglob("test_*.py")}
    assert len(modules) > 20
    assert "tests.a.test_b" in imported(ast.parse("from tests.a import test_b"))
    taken = {path.name: imported(ast.parse(path.read_text(encoding="utf-8"))) & modules for path in TESTS.rglob("*.py")}
    assert {name: found for name, found in taken.items() if found} == {}
