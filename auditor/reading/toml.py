"""TOML from somebody else: measured, then parsed by the standard library.

The parser's time grows with the square of a key's depth, and it has no limits of its own. One pass over the text, which
knows strings, comments and brackets and nothing else, sees how deep and how long keys are.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from auditor.errors import AuditorError
from auditor.reading.files import bytes_of, first_line

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_KEY = 256
_WORD = re.compile(
    r'(?P<text>"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"{3,5}|\'\'\'(?:[^\']++|\'(?!\'\'))*+\'{3,5}'
    r'|"(?:[^"\\\n]++|\\.)*+"|\'[^\'\n]*+\')'
    r"|(?P<bare>[^\s\"'#.=\[\]{},]++)|(?P<sign>[.=\[\]{},\n])|(?P<rest>#[^\n]*+|[^\S\n]++)"
)


def read_toml(path: Path, *, missing: type[AuditorError], error: type[AuditorError]) -> dict[str, Any]:
    """The document in a TOML file of at most 1 MB.

    Raises:
        AuditorError: of the kind `missing`: no such file, or it cannot be opened; `error`: it is not TOML, is nested
            deeper than 16, or holds a key of more than 256 characters or a number of more than 64 bits.
    """
    raw = bytes_of(
        path, error=missing, cap=MAX_BYTES, expected=f"a TOML file of at most {MAX_BYTES} bytes. Check the path."
    )
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
        _check_keys(text)
        document = tomllib.loads(text)
        _check_values(document)
    except (ValueError, RecursionError, MemoryError) as found:
        raise error(f"{path} is not valid TOML: {first_line(found)}. Correct the file.") from None
    return document


def _check_keys(text: str) -> None:
    """Raises ValueError for keys that are deeper or longer than anybody writes."""
    place, keys = 0, _Keys()
    while place < len(text):
        word = _WORD.match(text, place)
        if word is None:
            raise ValueError(f"the string that begins in line {text.count(chr(10), 0, place) + 1} has no end")
        if word.lastgroup == "sign":
            keys.sign(word.group())
        elif word.lastgroup != "rest":
            keys.word(word.end() - place, is_text=word.lastgroup == "text")
        place = word.end()


class _Keys:
    """Where in the document a reader is: in a header, a key or a value, and how deep."""

    def __init__(self) -> None:
        self.header = self.parts = self.around = 0
        self.in_header = self.in_value = False
        self.open: list[tuple[str, int]] = []  # brackets of values, with the parts of the key before each

    def word(self, length: int, *, is_text: bool) -> None:
        """A part of a key, or a value or a piece of it."""
        if length > MAX_KEY and not (self.in_value and is_text):
            raise ValueError(f"a key or number has {length} characters; expected at most {MAX_KEY}")
        if not self.in_value:
            self.parts += 1
            self._check_depth()

    def sign(self, sign: str) -> None:
        """A sign outside of strings and comments."""
        if sign in "[{":
            self._opened(sign)
        elif sign in "]}":
            self._closed()
        elif sign == "=":
            self.in_value = True
        elif (sign == "," and self.open and self.open[-1][0] == "{") or (sign == "\n" and not self.open):
            self.in_value = self.in_header = False
            self.parts = 0

    def _opened(self, sign: str) -> None:
        if self.in_value:
            self.open.append((sign, self.parts))
            self.around += self.parts + 1
            self.parts, self.in_value = 0, sign == "["
            self._check_depth()
        elif not self.in_header:
            self.in_header, self.header, self.parts = True, 0, 0

    def _closed(self) -> None:
        if self.open:
            _, self.parts = self.open.pop()
            self.around -= self.parts + 1
            self.in_value = True
        elif self.in_header:
            self.in_header, self.header, self.parts = False, self.parts, 0

    def _check_depth(self) -> None:
        depth = self.header + self.around + self.parts
        if depth > MAX_DEPTH:
            raise ValueError(f"its tables are nested deeper than {MAX_DEPTH}")


def _check_values(document: dict[str, Any]) -> None:
    """Raises ValueError for whole numbers of more than 64 bits, and for text with a zero byte: no path has one."""
    left: list[Any] = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("a whole number has more than 64 bits")
        elif isinstance(value, str) and "\0" in value:
            raise ValueError("a text holds a zero byte")
