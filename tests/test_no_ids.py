"""The core knows no attack, probe or defence by name: what it must know of one stands on its registry line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import auditor
from auditor import registry
from auditor.cli.main import app

CORE = Path(auditor.__file__).parent
VERBS = frozenset(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
"""A verb may know its own name, although a method is called so too (`repair`)."""

WORDS = {
    ("registry.py", "random"): "what kind of control a defence is (`reference`)",
    ("compare/decisions.py", "random"): "the same word, read from the registry line",
    ("data/splits.py", "random"): "a way to draw a split",
    ("document/audit.py", "strata"): "a kind of chart",
    ("document/results.py", "gap"): "a scale: a difference of accuracies",
    ("policy/bands.py", "gap"): "the same scale",
    ("taxonomy.py", "prototype-edit"): "a finding, which its probe is named after",
    ("taxonomy.py", "prototype-membership"): "a finding, which its probe is named after",
}
"""Ids that mean something else in that file: (file, word) -> what it means there."""


def method_ids() -> frozenset[str]:
    """Ids of every registered probe, attack and defence, less those that are verbs."""
    found = {*registry.probes(), *registry.entries("attacks"), *registry.entries("defenses")}
    return frozenset(found - VERBS)


def decided_by(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string constant that something is compared with, matched, looked up or kept by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts: list[ast.expr | None] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, ast.MatchMapping):
            parts = list(node.keys)
        else:
            continue
        for part in parts:
            yield from _constants(part)


def _constants(node: ast.expr | None) -> Iterator[tuple[int, str]]:
    """String constants of an operand, those inside a literal collection or a `frozenset(…)` of one included."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for item in node.elts:
            yield from _constants(item)
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            yield from _constants(key)
    elif isinstance(node, ast.Call | ast.Starred):
        for item in node.args if isinstance(node, ast.Call) else [node.value]:
            yield from _constants(item)


def hits() -> list[tuple[str, int, str]]:
    """(file, line, id) of everything in the core that is decided by a method's name."""
    ids, found = method_ids(), []
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).as_posix()
        for line, text in decided_by(ast.parse(path.read_text(encoding="utf-8"))):
            if text in ids:
                found.append((name, line, text))
    return found


def test_nothing_in_the_core_is_decided_by_the_name_of_a_method() -> None:
    named = [f"auditor/{file}:{line} {text}" for file, line, text in hits() if (file, text) not in WORDS]
    assert not named, "ask the registry line instead:\n" + "\n".join(sorted(set(named)))


def test_words_that_are_exempt_still_occur() -> None:
    occurring = {(file, text) for file, _, text in hits()}
    assert set(WORDS) <= occurring, "no longer needed; remove it from WORDS"


@pytest.mark.parametrize(
    "code",
    [
        "x == 'dice'",
        "'dice' != x",
        "x in ('a', 'dice')",
        "x not in {'dice'}",
        "x in frozenset({'dice', 'a'})",
        "x in {'dice': 1}",
        "x in [*y, 'dice']",
        "(a, b) == ('dice', 3)",
        "T = {'dice': 1}",
        "t['dice']",
        "t['dice', 0]",
        "match x:\n    case 'dice' | 'a': pass",
        "match x:\n    case {'dice': _}: pass",
    ],
)
def test_the_search_sees_every_form(code: str) -> None:
    assert "dice" in [text for _, text in decided_by(ast.parse(code))]


@pytest.mark.parametrize("code", ["f('dice')", "x = 'dice'", "'''dice'''", "x == 'dices'", "t[dice]"])
def test_a_name_that_decides_nothing_is_no_hit(code: str) -> None:
    assert "dice" not in [text for _, text in decided_by(ast.parse(code))]
