"""Takes the sting out of text that came from outside, once, before any format sees it.

Names, paths and reasons may hold terminal escapes, control characters, bidi overrides or ten thousand letters. What is
left after `neutral` is one line of visible text; escaping `<`, `|` or `[` stays the business of each format.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, TypeVar

from auditor.records import Model

M = TypeVar("M", bound=Model)

NAME_LIMIT = 100
TEXT_LIMIT = 600

# CSI and OSC sequences, with ESC or as single C1 bytes; an OSC without its end eats what follows, as a terminal would.
_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d).*?(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]?", re.S)
_LONG_FIELDS = {"reason", "evidence", "notes", "words", "remarks", "parameters", "left_out", "guarantee"}


def neutral_text(text: str, *, limit: int = TEXT_LIMIT) -> str:
    """One line of visible characters, at most `limit` of them; longer text ends in an ellipsis."""
    text = _ANSI.sub("", text[: 4 * limit + 4096])
    # Categories C*: controls, formats (bidi marks, zero-width), surrogates, private use; Z*: any space or separator.
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def neutral(record: M) -> M:
    """The same record with every string neutralised; numbers, statuses and structure stay."""
    return type(record).model_validate(_walk(record.model_dump(mode="python"), NAME_LIMIT))


def _walk(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return neutral_text(value, limit=limit)
    if isinstance(value, dict):
        # Sorted, as in audit.json: a report of the document in hand and of the one read back are the same bytes.
        return {
            _walk(key, NAME_LIMIT): _walk(item, TEXT_LIMIT if key in _LONG_FIELDS else limit)
            for key, item in sorted(value.items())
        }
    if isinstance(value, list | tuple):
        return [_walk(item, limit) for item in value]
    return value
