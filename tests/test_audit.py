"""The document: canonical bytes, hostile input, schema."""

from __future__ import annotations

import json

import pytest

from auditor.audit import Audit, Coverage, Interval, TargetRow, Verdict, canonical, from_bytes, json_schema, to_bytes
from auditor.errors import UsageError


def small_audit(**changes: object) -> Audit:
    fields: dict[str, object] = {
        "tool": {"name": "gnn-auditor", "version": "0"},
        "environment": {},
        "seeds": (0,),
        "profile": "quick",
        "config": {},
        "target": TargetRow(
            name="t",
            task="node",
            kind="factory",
            digest="d",
            capabilities=(),
            nodes=1,
            edges=0,
            graphs=1,
            features=1,
            classes=2,
        ),
        "validity": (),
        "cells": (),
        "findings": (),
        "coverage": Coverage(planned=0, ok=0, skipped=0, error=0, timeout=0),
        "verdict": Verdict(status="PASSED", exit_code=0, fail_on="high"),
    }
    return Audit(**{**fields, **changes})  # type: ignore[arg-type]


def test_round_trip_gives_the_same_bytes() -> None:
    audit = small_audit(config={"note": "déjà vu"})
    assert to_bytes(from_bytes(to_bytes(audit))) == to_bytes(audit)


def test_canonical_bytes_leave_out_times_and_argv() -> None:
    a = small_audit(started="2026-01-01", seconds=1.0, argv=("run",))
    b = small_audit(started="2026-02-02", seconds=2.0, argv=("run", "-o", "x"))
    assert canonical(a) == canonical(b)
    assert to_bytes(a) != to_bytes(b)


def test_nan_becomes_null_and_a_reversed_interval_is_refused() -> None:
    assert Interval(lo=float("nan"), hi=1.0).lo is None
    with pytest.raises(ValueError, match="reversed"):
        Interval(lo=1.0, hi=0.0)


def _document(**changes: object) -> bytes:
    return json.dumps({**json.loads(to_bytes(small_audit())), **changes}).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a readable"),
        (b"{", "not a readable"),
        (b"[]", "schema_version is missing"),
        (b'{"schema_version": "1.0", "schema_version": "1.0"}', "same key twice"),
        (b'{"schema_version": NaN}', "NaN is not JSON"),
        (b'{"schema_version": "2.0"}', "this auditor reads 1.x"),
        (b'{"schema_version": "1.0", "a":' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper"),
        (b"[" * 200_000, "not a readable"),
        (_document(verdict={"status": "FINE", "exit_code": 0, "fail_on": "high"}), "verdict.status"),
        (_document(surprise=1), "surprise"),
        (b"\xff\xfe", "not a readable"),
    ],
)
def test_hostile_document_is_refused_in_words(raw: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_bytes(raw)


def test_later_minor_version_is_read_without_its_unknown_fields() -> None:
    later = json.loads(to_bytes(small_audit()))
    later["schema_version"], later["new_field"], later["verdict"]["mood"] = "1.7", 1, "good"
    audit = from_bytes(json.dumps(later).encode())
    assert audit.verdict.status == "PASSED"


def test_finding_without_its_cell_is_refused() -> None:
    finding = {
        "id": "shift-gap", "fingerprint": "f", "status": "pass", "severity": "low", "severity_upper": "low",
        "confidence": "low", "reason": "", "probe": "corruption", "measurement": "accuracy", "cells": ["missing"],
        "value": 0.5, "ci": None, "control": None, "advantage": None,
    }  # fmt: skip
    with pytest.raises(UsageError, match="not in the document"):
        from_bytes(_document(findings=[finding]))


def test_schema_is_published_and_names_the_required_fields() -> None:
    schema = json_schema()
    assert {"tool", "target", "cells", "findings", "verdict"} <= set(schema["required"])
