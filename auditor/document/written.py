"""A document that lies there as we wrote it, read without making its canonical form again.

Sorted keys, one value a line: what no equal run reproduces stands on lines of its own. Without those lines the bytes
are the canonical ones, so that they are hashed as they lie, and results are read one by one, never all as plain values.
Whatever is laid out otherwise is read the long way, which says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from auditor.document.results import Control, Result
from auditor.records import Model
from auditor.statistics.estimate import Estimate

_START, _ITEM, _END = b'\n "results": [', b"\n  }", b"\n ]"
_NO_JSON = (b"NaN", b"Infinity")  # what the parser of results would take for a number
_TEXT = r'"(?:[^"\\\n]|\\.)*"'
_VALUE = rf"(?:[-+.\deE]+|null|{_TEXT}|\[\]|\[\n(?: +{_TEXT},?\n)* +\])"


class Written:
    """The bytes of a document in two parts: its results, and all the rest.

    Attributes:
        digest: the digest that it states.
        rest: the document as JSON with its digest in place of its results: whoever finds it there found the place
            where they stood, since no text holds its own digest.
    """

    def __init__(self, raw: bytes, start: int, end: int, digest: str) -> None:
        self._raw, self._start, self._end = raw, start, end
        self.digest = digest
        self.rest = raw[:start] + f'"{digest}"'.encode() + raw[end:]

    def results(self) -> tuple[Result, ...] | None:
        """The results; None where they are not ours to read this way."""
        try:
            found = list(self._each())
        except (ValidationError, _OtherLayoutError):
            return None
        # A key that stands twice is read once, and counted twice.
        counted = self._raw.count(b'":', self._start, self._end)
        return tuple(result for result, _ in found) if sum(keys for _, keys in found) == counted else None

    def _each(self) -> Iterator[tuple[Result, int]]:
        """Every result, and how many keys it has."""
        raw, at, stop, validated = self._raw, self._start, -1, Result.model_validate_json
        while stop != self._end:
            stop = raw.find(_ITEM, at, self._end) + len(_ITEM)
            if stop < at or (stop != self._end and raw[stop : stop + 1] != b","):
                raise _OtherLayoutError
            result = validated(raw[at:stop])
            keys = _settled(result)
            _share(result)
            yield result, keys
            at = stop + 1


class _OtherLayoutError(Exception):
    """Somebody else laid it out."""


def as_written(raw: bytes, *, volatile: Collection[str], depth: int) -> Written | None:
    """The two parts; None where the bytes are not laid out as ours or do not have the digest that they state.

    Args:
        raw: the file.
        volatile: keys that are left out of the canonical form, at any depth.
        depth: the most levels that a document may have.
    """
    start = raw.find(_START) + len(_START)
    end = raw.find(_END, start)
    if start < len(_START) or end < 0 or any(word in raw for word in _NO_JSON) or b"\n" + b" " * depth in raw:
        return None
    names = "|".join(sorted(volatile))
    if re.compile(rf'\n +"(?:{names})"'.encode()).search(raw, start, end):
        return None
    hashed, stated = hashlib.sha256(), []
    line = re.compile(rf'\n +"(?:{names})": {_VALUE}(,?)(?=\n)|\n "digest": "([0-9a-f]{{64}})",(?=\n)'.encode())
    for first, last in ((0, start), (end, len(raw))):
        part, at = raw[first:last], 0
        for found in line.finditer(part):
            kept = found.start()
            if not found[0].endswith(b",") and part[kept - 1 : kept] == b",":
                kept -= 1  # it was the last of an object: now the one before is
            hashed.update(part[at:kept])
            at = found.end()
            stated += [found[2].decode()] if found[2] else []
        hashed.update(part[at:])
        if first == 0:
            hashed.update(memoryview(raw)[start:end])
    return Written(raw, start, end, stated[0]) if stated == [hashed.hexdigest()] else None


def _settled(record: Any) -> int:
    """How many keys a record was read from; records whose every field was given share one set that says so."""
    if isinstance(record, tuple | list):
        return sum(map(_settled, record))
    if isinstance(record, dict):
        return len(record) + sum(map(_settled, record.values()))
    if not isinstance(record, Model):
        return 0
    names, inner = _shape(type(record))
    keys, fields = len(record.model_fields_set), record.__dict__
    if keys == len(names):
        object.__setattr__(record, "__pydantic_fields_set__", names)
    for name in inner:
        if (value := fields[name]) is not None and value != ():
            keys += _settled(value)
    return keys


@cache
def _shape(kind: type[Model]) -> tuple[set[str], tuple[str, ...]]:
    """All fields of a class, and those that may hold records."""
    fields = kind.model_fields
    return set(fields), tuple(name for name, field in fields.items() if not _is_plain(field.annotation))


def _is_plain(annotation: Any) -> bool:
    """Whether a field of this type holds texts and numbers alone."""
    if inner := get_args(annotation):
        return get_origin(annotation) is not dict and all(map(_is_plain, inner))
    return annotation in (str, int, float, bool, type(None)) or not isinstance(annotation, type)


def _share(result: Result) -> None:
    """Where one seed says all, its numbers are those of the result: equal records are kept once."""
    own, seeds = result.__dict__, result.by_seed
    if len(seeds) != 1:
        return
    seed = seeds[0]
    for name in ("estimate", "contrast"):
        if _alike(seed.__dict__[name], own[name]):
            seed.__dict__[name] = own[name]
    if len(seed.controls) == len(result.controls) and all(map(_alike_controls, seed.controls, result.controls)):
        seed.__dict__["controls"] = own["controls"]


def _alike_controls(one: Control, other: Control) -> bool:
    is_same = one.name == other.name and one.twin == other.twin and _alike(one.estimate, other.estimate)
    return is_same and _alike(one.contrast, other.contrast) and _alike(one.own, other.own)


def _alike(one: Estimate | None, other: Estimate | None) -> bool:
    """Whether both are written as the same text: 0 and −0 are not."""
    if one is None or other is None:
        return one is other
    fields = one.__dict__
    return fields == other.__dict__ and (0.0 not in fields.values() or repr(one) == repr(other))
