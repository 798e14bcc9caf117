"""Records as JSON: sorted keys, an indentation of one, shortest floats, no NaN; what `json.dumps` writes, in a third.

`json` has no fast way to indent, and a document may have ten million lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from json.encoder import encode_basestring
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_escape: Callable[[str], str] = encode_basestring


def json_parts(
    record: BaseModel, *, without: Collection[str] = (), but: Collection[str] = (), given: bool = False
) -> Iterator[str]:
    """A record as indented JSON with a final newline, in parts: each item of its lists is one, so that none is large.

    No field in `but` is written, and no key in `without` at any depth; with `given` none that was filled in with its
    default.
    """
    deep, before = frozenset(without), "{\n "
    for name, head in _fields(record, given=given):
        if name in deep or name in but:
            continue
        value = record.__dict__[name]
        if type(value) is tuple and value:
            yield before + head + "["
            for index, item in enumerate(value):
                yield ("," if index else "") + "\n  " + _text(item, "\n  ", deep, given=given)
            yield "\n ]"
        else:
            yield before + head + _text(value, "\n ", deep, given=given)
        before = ",\n "
    yield "{}\n" if before == "{\n " else "\n}\n"


def _text(value: Any, line: str, without: frozenset[str], *, given: bool) -> str:
    kind = type(value)
    if kind is str:
        return _escape(value)
    if kind is float:
        return float.__repr__(value) if math.isfinite(value) else "null"
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return int.__repr__(value)
    inner = line + " "
    if isinstance(value, BaseModel):
        fields = value.__dict__
        pairs = [
            head + _text(fields[name], inner, without, given=given)
            for name, head in _fields(value, given=given)
            if name not in without
        ]
        return _joined("{", pairs, "}", line)
    if kind is tuple or kind is list:
        return _joined("[", [_text(item, inner, without, given=given) for item in value], "]", line)
    if kind is dict and all(type(key) is str for key in value):
        items = sorted(value.items())
        pairs = [
            f"{_escape(key)}: {_text(item, inner, without, given=given)}" for key, item in items if key not in without
        ]
        return _joined("{", pairs, "}", line)
    return _text(to_jsonable_python(value, inf_nan_mode="constants"), line, without, given=given)


def _joined(start: str, parts: list[str], end: str, line: str) -> str:
    return f"{start}{line} {f',{line} '.join(parts)}{line}{end}" if parts else start + end


def _fields(record: BaseModel, *, given: bool) -> Iterable[tuple[str, str]]:
    heads = _heads(type(record))
    return [each for each in heads if each[0] in record.model_fields_set] if given else heads


@cache
def _heads(kind: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Fields of a class in the order of their names, each with what stands before its value."""
    return tuple((name, f"{_escape(name)}: ") for name in sorted(kind.model_fields))
