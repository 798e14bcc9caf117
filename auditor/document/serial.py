"""Bytes of a document, and back again: canonical form, digest, and what is checked on a document of somebody else."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from auditor.document.agreement import contradictions, plan_of
from auditor.document.audit import SCHEMA_VERSION, Audit
from auditor.document.writing import json_parts
from auditor.document.written import as_written
from auditor.errors import AuditorError, DocumentError, UsageError, expected
from auditor.printable import json_escaped
from auditor.reading.files import first_line, reading

MAX_BYTES = 200 * 1024 * 1024
MAX_DEPTH = 100
VOLATILE = {"seconds", "peak_rss_mb", "started", "argv", "config_file", "host"}
_NAMED = 3
_NEXT = "Give the audit.json that auditor run wrote."


def sealed(audit: Audit) -> Audit:
    """The document with the digest of its own content, and of its plan where every planned cell is there."""
    keys = [cell.key for cell in audit.cells]
    if not audit.plan and audit.coverage.planned == len(keys):
        audit = audit.model_copy(update={"plan": plan_of(keys)})
    return audit.model_copy(update={"digest": digest_of(audit)})


def digest_of(audit: Audit) -> str:
    """Sha256 (hex) of the canonical bytes, the digest itself left out."""
    return _hashed(audit)


def _hashed(audit: Audit, *, given: bool = False) -> str:
    digest = hashlib.sha256()
    for part in _canonical_parts(audit, given=given):
        digest.update(part)
    return digest.hexdigest()


def to_bytes(audit: Audit) -> bytes:
    """The bytes of the file: sorted keys, one final newline; what a terminal would obey stands there escaped."""
    return json_escaped(b"".join(map(_encoded, json_parts(audit))).decode()).encode()


def canonical(audit: Audit) -> bytes:
    """The bytes that an equal run must reproduce: times, memory, argv, host and the digest itself left out."""
    return b"".join(_canonical_parts(audit))


def _canonical_parts(audit: Audit, *, given: bool = False) -> Iterator[bytes]:
    but = {"digest"} if audit.plan else {"digest", "plan"}  # documents were made before plans were recorded
    return map(_encoded, json_parts(audit, without=VOLATILE, but=but, given=given))


def _has_its_digest(audit: Audit) -> bool:
    """Whether it has the digest that it states, of all fields or of those alone that its file holds.

    A document that was made before a field was there has a digest without it, and reading fills in the default.
    """
    return any(audit.digest == _hashed(audit, given=given) for given in (False, True))


def from_bytes(raw: bytes) -> Audit:
    """Reads a document that somebody else may have written.

    Raises:
        UsageError: too large, not JSON, too deep, NaN, duplicate keys, another major version, or not our schema.
        DocumentError: it does not agree with itself.
    """
    if len(raw) > MAX_BYTES:
        raise UsageError(f"the audit document has {len(raw)} bytes; expected at most {MAX_BYTES}. Is it an audit.json?")
    with _no_collector(), reading("the audit document", error=UsageError, expected=f"what auditor wrote. {_NEXT}"):
        return _read(raw)


def _read(raw: bytes) -> Audit:
    audit = _read_as_written(raw)
    if audit is None:
        document = _parsed(raw)
        is_ours = str(document["schema_version"]) == SCHEMA_VERSION
        audit = _validated(document, strict=is_ours)
        document.clear()  # the caller's is the record: a large document is not kept twice
        found = list(disagreements(audit, with_digest=is_ours))
    else:
        found = list(contradictions(audit))
    if found:
        more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
        raise DocumentError(
            f"the audit document does not agree with itself: {'; '.join(found[:_NAMED])}{more}. Run the audit again."
        )
    return audit


def _read_as_written(raw: bytes) -> Audit | None:
    """A document that is laid out as ours and has its digest; None for any other, and for one with anything wrong."""
    parts = as_written(raw, volatile=VOLATILE, depth=MAX_DEPTH)
    if parts is None:
        return None
    try:
        document = _parsed(parts.rest)
        if document.pop("results", None) != [parts.digest] or str(document["schema_version"]) != SCHEMA_VERSION:
            return None
        rest = _validated({**document, "results": ()}, strict=True)
    except AuditorError:
        return None
    results = parts.results() if rest.plan and rest.digest == parts.digest else None
    return None if results is None else rest.model_copy(update={"results": results})


def _parsed(raw: bytes) -> dict[str, Any]:
    """The JSON of a document whose major version is ours."""
    try:
        document = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a readable audit document: {first_line(error)}. {_NEXT}") from None
    if not isinstance(document, dict) or "schema_version" not in document:
        raise UsageError(f"not an audit document: schema_version is missing. {_NEXT}")
    if _depth(document) > MAX_DEPTH:
        raise UsageError(f"the audit document is nested deeper than {MAX_DEPTH}; auditor writes no such file.")
    version = str(document["schema_version"])[:20]
    major, own = version.partition(".")[0], SCHEMA_VERSION.partition(".")[0]
    if major == "1":
        raise UsageError(f"the document has schema {version}: it was made by auditor 0.1. Run the audit again.")
    if major != own:
        raise UsageError(
            f"the document has schema {version}, this auditor reads {own}.x. Use the auditor that made it."
        )
    return document


def _validated(document: dict[str, Any], *, strict: bool) -> Audit:
    """The record; what a later minor version added is left out, our own version has no unknown field."""
    try:
        return Audit.model_validate(document, extra="forbid" if strict else "ignore")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "value_error":  # every field has its type; what they say together cannot be
            raise DocumentError(
                f"the audit document does not agree with itself: {place}: {expected(first)}{more}. Run the audit again."
            ) from None
        raise UsageError(f"not a valid audit document: {place}: {expected(first)}{more}. {_NEXT}") from None


def disagreements(audit: Audit, *, with_digest: bool = True) -> Iterator[str]:
    """What can be recomputed from a document and comes out otherwise, one sentence each; nothing for one we wrote."""
    found = list(contradictions(audit))
    if with_digest and not _has_its_digest(audit):
        found = ["; ".join(["its content does not have its digest, so that something in it was changed", *found[:1]])]
    yield from found


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of the document."""
    return Audit.model_json_schema()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate has no bytes


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _depth(value: object) -> int:
    """Nesting depth, level by level: the document may be hostile."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, dict | list)
        ]
    return depth


@contextmanager
def _no_collector() -> Iterator[None]:
    """Millions of new objects make the collector look at all of them again and again; no record is part of a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
