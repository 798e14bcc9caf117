"""A whole record without what could hurt a terminal or a page: every string of it goes through `printable.neutral`."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

from auditor import printable
from auditor.records import Model

M = TypeVar("M", bound=Model)

NAME_LIMIT = 100

_LONG_FIELDS = {"reason", "evidence", "fix", "notes", "words", "remarks", "parameters", "left_out", "guarantee"}


def neutral(record: M) -> M:
    """The same record with every string neutralised; numbers, statuses and structure stay."""
    return _Walk().record(record, NAME_LIMIT)


class _Walk:
    """One walk through a record: a text is looked at once, however often it stands there."""

    def __init__(self) -> None:
        self._plain: set[str] = set()  # short texts that stay as they are

    def record(self, record: M, limit: int) -> M:
        """The record itself where nothing in it had to change: a document has a million of them."""
        values, changed = record.__dict__, {}
        for name, most in _worded(type(record)):
            old = values[name]
            if not old or (type(old) is str and old in self._plain):
                continue
            if (new := self._value(old, most or limit)) is not old:
                changed[name] = new
        return record.model_copy(update=changed) if changed else record

    def _value(self, value: Any, limit: int) -> Any:
        kind = type(value)
        if kind is str:
            if value in self._plain:
                return value
            if (new := printable.neutral(value, limit)) is value and len(value) <= NAME_LIMIT:
                self._plain.add(value)
            return new
        if value is None or kind is float or kind is int or kind is bool:
            return value
        if isinstance(value, Model):
            return self.record(value, limit)
        if kind is dict:
            # Sorted, as in audit.json: a report of the document in hand and of the one read back are the same bytes.
            return {
                self._value(key, NAME_LIMIT): self._value(item, printable.TEXT_LIMIT if key in _LONG_FIELDS else limit)
                for key, item in sorted(value.items())
            }
        if kind is list or kind is tuple:
            items = [self._value(item, limit) for item in value]
            return value if all(one is other for one, other in zip(items, value, strict=True)) else kind(items)
        return value


@cache
def _worded(kind: type[Model]) -> tuple[tuple[str, int], ...]:
    """Fields that may hold text, each with the most signs it may have; 0 for as many as its record may."""
    return tuple(
        (name, printable.TEXT_LIMIT if name in _LONG_FIELDS else 0)
        for name, field in kind.model_fields.items()
        if _may_hold_text(field.annotation)  # type: ignore[arg-type]  # every annotation of ours can be hashed
    )


@cache
def _may_hold_text(annotation: Any) -> bool:
    """Whether a value of this type may hold a text of somebody else: numbers and words of ours are none."""
    if get_origin(annotation) is Literal or annotation in (float, int, bool, type(None), Ellipsis):
        return False
    if inner := get_args(annotation):
        return any(map(_may_hold_text, inner))
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return bool(_worded(annotation))
    return True
