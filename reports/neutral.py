"""A whole record without what could hurt a terminal or a page: every string of it goes through `printable.neutral`."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from auditor import printable
from auditor.records import Model

M = TypeVar("M", bound=Model)

NAME_LIMIT = 100

_NUMBERS = (float, int, bool, float | None, int | None)
_LONG_FIELDS = {"reason", "evidence", "notes", "words", "remarks", "parameters", "left_out", "guarantee"}


def neutral(record: M) -> M:
    """The same record with every string neutralised; numbers, statuses and structure stay."""
    return _record(record, NAME_LIMIT)


def _record(record: M, limit: int) -> M:
    """The record itself where nothing in it had to change: a document has a million of them."""
    values = record.__dict__
    changed = {
        name: new
        for name in _worded(type(record))
        if (new := _walk(old := values[name], printable.TEXT_LIMIT if name in _LONG_FIELDS else limit)) is not old
    }
    return record.model_copy(update=changed) if changed else record


@cache
def _worded(kind: type[Model]) -> tuple[str, ...]:
    """Fields that may hold text."""
    return tuple(name for name, field in kind.model_fields.items() if field.annotation not in _NUMBERS)


def _walk(value: Any, limit: int) -> Any:
    kind = type(value)
    if kind is str:
        return printable.neutral(value, limit)
    if value is None or kind is float or kind is int or kind is bool:
        return value
    if isinstance(value, Model):
        return _record(value, limit)
    if kind is dict:
        # Sorted, as in audit.json: a report of the document in hand and of the one read back are the same bytes.
        return {
            _walk(key, NAME_LIMIT): _walk(item, printable.TEXT_LIMIT if key in _LONG_FIELDS else limit)
            for key, item in sorted(value.items())
        }
    if kind is list or kind is tuple:
        new = [_walk(item, limit) for item in value]
        return value if all(one is other for one, other in zip(new, value, strict=True)) else kind(new)
    return value
