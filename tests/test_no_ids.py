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
    ("taxonomy.py", "extraction"): "a likelihood of EDPB Opinion 28/2024: direct extraction from the model",
    ("taxonomy.py", "poisoning"): "an attack class of NIST AI 100-2",
    ("data/splits.py", "random"): "a way to draw a split",
    ("document/audit.py", "strata"): "a kind of chart",
    ("evaluate/shift/strata.py", "strata"): "the same kind of chart",
    ("evaluate/robustness/trust.py", "gap"): "a note of a search: how far its relaxation is from real edits",
}
"""Ids that mean something else in that file: (file, word) -> what it means there."""


def method_ids() -> frozenset[str]:
    """Ids of every registered probe, attack and defence."""
    return frozenset({*registry.probes(), *registry.entries("attacks"), *registry.entries("defenses")})


def words_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string constant that is no docstring: wherever it stands, something can go by it."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def hits() -> list[tuple[str, int, str]]:
    """(file, line, id) of every method's name in the core."""
    ids, found = method_ids(), []
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).as_posix()
        for line, text in words_of(ast.parse(path.read_text(encoding="utf-8"))):
            own = text in VERBS and name in ("cli/main.py", f"cli/{text}.py")
            if text in ids and not own:
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
        "x in frozenset({'dice', 'a'})",
        "T = {'dice': 1}",
        "t['dice', 0]",
        "match x:\n    case 'dice' | 'a': pass",
        "match x:\n    case {'dice': _}: pass",
        "f('dice')",
        "f(x=['dice'])",
        "X = 'dice'",
    ],
)
def test_the_search_sees_every_form(code: str) -> None:
    assert "dice" in [text for _, text in words_of(ast.parse(code))]


@pytest.mark.parametrize("code", ["'''dice'''", "x == 'dices'", "t[dice]"])
def test_prose_and_names_are_no_hit(code: str) -> None:
    assert "dice" not in [text for _, text in words_of(ast.parse(code))]
