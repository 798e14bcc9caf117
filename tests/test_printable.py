"""What is left of hostile text, and texts of exceptions that resist being read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from auditor.printable import error_text, neutral, neutral_lines


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("naïve – ≤ 漢字 é", "naïve – ≤ 漢字 é"),
        ("torch::jit and tests/a.py::b", "torch::jit and tests/a.py::b"),
        ("C## [x]", "C## [x]"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b[8mhidden", "hidden"),
        ("a\x1b]8;;http://evil.example\x1b\\b", "ab"),
        ("a\x9d0;title\x9cb", "ab"),
        ("a\x1bPq#0;2;0;0;0\x1b\\b", "ab"),
        ("a\x1b]0;no end. Our words.", "a0;no end. Our words."),
        ("two\nlines\tand\u2028more\rover", "two lines and more over"),
        ("back\x08\x08\x7fspace", "backspace"),
        ("a\u202eb\u2066c\u200bd\ufeffe\u200ef\u061cg", "abcdefg"),
        ("a\u3164b\u034fc\ufe0fd\u2800e\U000e0041\U000e0100", "abcde"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 3),
        ("\ud800a\udfff", "a"),
        ("::stop-commands::x", ": :stop-commands::x"),
        (" \u200b\x1b[0m::error::x", ": :error::x"),
        (
            "x ##[add-mask]1 ##vso[task.setvariable variable=a]b",
            "x ## [add-mask]1 ## vso[task.setvariable variable=a]b",
        ),
    ],
)
def test_nothing_hostile_is_left(raw: str, shown: str) -> None:
    assert neutral(raw) == shown
    assert neutral(shown) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert neutral("A" * 10_000, 50) == "A" * 49 + "…"


def test_lines_keep_their_ends_and_indentation_and_each_is_neutral() -> None:
    raw = "head\r\n  ::warning::x\n\tb\x1b[2Jc\rover\u2028\ud800 end\n"
    assert neutral_lines(raw) == "head\n  : :warning::x\n    bc\nover\n end\n"
    assert neutral_lines("no end") == "no end"


class _Quiet(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class _Words(str):
    def __getitem__(self, key: Any) -> str:
        raise SystemExit(0)

    def isascii(self) -> bool:
        raise SystemExit(0)


def _raising(words: Any, representation: Any = None) -> BaseException:
    def say(self: object, answer: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    shown = representation if representation is not None else words
    methods = {"__str__": lambda self: say(self, words), "__repr__": lambda self: say(self, shown)}
    kind: Any = _Quiet("Broken", (Exception,), methods)
    return kind()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("two\nlines \x1b[31m\ud800 ::"), "two lines ::"),
        (_raising(RuntimeError("no"), "Broken()"), "Broken()"),
        (_raising(SystemExit(0)), "its text cannot be shown"),
        (_raising(KeyboardInterrupt()), "its text cannot be shown"),
        (_raising(7), "its text cannot be shown"),
        (_raising(_Words("kept\x07")), "kept"),
        (RecursionError(), ""),
    ],
)
def test_the_text_of_an_exception_cannot_fail(error: BaseException, shown: str) -> None:
    assert error_text(error) == shown
    name = neutral(type.__dict__["__name__"].__get__(type(error)))
    assert error_text(error, named=True) == (f"{name}: {shown}" if shown else name)


def test_megabytes_of_text_are_cut() -> None:
    assert len(error_text(ValueError("\x1b[31m" * 10**6 + "A" * 10**6), 300, named=True)) <= 300
    assert error_text(ValueError("A" * 10**6)) == "A" * 1999 + "…"


def test_a_hostile_name_of_a_class_is_neutral_too() -> None:
    kind = type("\x1b[31mRed", (Exception,), {})
    assert error_text(kind("x"), named=True) == "Red: x"


def test_it_imports_nothing_but_the_standard_library() -> None:
    script = "import sys, auditor.printable as p; print(*(n for n in sys.modules if n.startswith('auditor')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["auditor", "auditor.printable"]
