"""A whole record without what could hurt a terminal or a page: every string of it goes through `printable.neutral`."""

from __future__ import annotations

from typing import Any, TypeVar

from auditor import printable
from auditor.records import Model

M = TypeVar("M", bound=Model)

NAME_LIMIT = 100

_LONG_FIELDS = {"reason", "evidence", "notes", "words", "remarks", "parameters", "left_out", "guarantee"}


def neutral(record: M) -> M:
    """The same record with every string neutralised; numbers, statuses and structure stay."""
    return type(record).model_validate(_walk(record.model_dump(mode="python"), NAME_LIMIT))


def _walk(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return printable.neutral(value, limit)
    if isinstance(value, dict):
        # Sorted, as in audit.json: a report of the document in hand and of the one read back are the same bytes.
        return {
            _walk(key, NAME_LIMIT): _walk(item, printable.TEXT_LIMIT if key in _LONG_FIELDS else limit)
            for key, item in sorted(value.items())
        }
    if isinstance(value, list | tuple):
        return [_walk(item, limit) for item in value]
    return value
