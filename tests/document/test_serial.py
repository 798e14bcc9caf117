"""Bytes of a document: canonical form, digest, hostile input, versions, and everything that is checked on reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from auditor.document import (
    Audit,
    Control,
    Estimate,
    Measured,
    Metric,
    Result,
    canonical,
    digest_of,
    disagreements,
    from_bytes,
    json_schema,
    measured,
    sealed,
    serial,
    to_bytes,
)
from auditor.errors import DocumentError, UsageError
from tests.policy.samples import AUC, audit_of, cell, measurement, row, seeds

FAILED = {"probe": "graphmi", "status": "error", "reason": "ValueError: boom"}


def small(**changes: Any) -> Audit:
    """One cell, one result; fields changed and the digest made again."""
    return sealed(audit_of([cell(measurement(0.05, 0.0, 0.1))]).model_copy(update=changes))


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(to_bytes(small())), **changes}


def read(document: dict[str, Any]) -> Audit:
    return from_bytes(json.dumps(document).encode())


# ---- round trip, canonical bytes, digest ----------------------------------------------------------------------------


def rich() -> Audit:
    """Several seeds, arms, controls that differ by seed, tries, own sides, cells that failed."""
    over = Metric("over_confidence", "share", "higher", "over-confidence")

    def beside(features: float, labels: float) -> Measured:
        pairs = (("features", features), ("labels", labels))
        controls = [Control(name=n, estimate=Estimate(value=v), contrast=Estimate(value=0.8 - v)) for n, v in pairs]
        return measured(AUC, Estimate(value=0.8), finding="privacy-link-stealing", subset="beside", controls=controls)

    def too_sure(value: float) -> Measured:
        calibrated = Control(name="calibrated", estimate=Estimate(value=0.0), contrast=Estimate(value=value))
        return measured(over, Estimate(value=value), finding="shift-miscalibrated", controls=[calibrated])

    def elsewhere(own: float) -> Measured:
        contrast = Estimate(value=own - 0.5, lo=own - 0.6, hi=own)
        twin = Control(name="twin", estimate=Estimate(value=0.5), contrast=contrast, own=Estimate(value=own), twin=True)
        return measured(AUC, Estimate(value=0.9), finding="privacy-link-stealing", subset="twin", controls=[twin])

    cells = [
        cell(beside(0.7, 0.5), elsewhere(0.7), access=("posteriors", "labels")),
        cell(beside(0.5, 0.7), elsewhere(0.8), seed=1),
        *seeds([(0.2, 0.1, 0.3), (0.4, 0.3, 0.5)], probe="structure-evasion", family="robustness", tries=True),
        *seeds([(0.2, 0.1, 0.3), (0.4, 0.3, None)], probe="structure-evasion", arm="l2r", tries=True),
        cell(too_sure(0.1), probe="strata", family="shift", validity=(row("warn", "warning"),)),
        cell(too_sure(-0.2), probe="strata", family="shift", seed=1),
        cell(**FAILED),
    ]
    return audit_of(cells, validity=[row("fail", "strength", "gradient", "graphmi")], config={"note": "déjà vu"})


def test_what_we_write_agrees_with_itself() -> None:
    assert list(disagreements(rich())) == []


def test_round_trip_gives_the_same_document_and_bytes() -> None:
    for audit in (small(), rich(), small(config={"hostile": "\ud800 \x00 \u2028"})):
        assert from_bytes(to_bytes(audit)) == audit
        assert to_bytes(from_bytes(to_bytes(audit))) == to_bytes(audit)


def test_bytes_are_sorted_and_end_in_one_newline() -> None:
    text = to_bytes(rich()).decode()
    assert text.endswith("}\n")
    assert "déjà vu" in text
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_canonical_bytes_leave_out_what_an_equal_run_does_not_repeat() -> None:
    slow = rich()
    quick = slow.model_copy(
        update={
            "started": "2026-01-01",
            "seconds": 1.0,
            "argv": ("run",),
            "digest": "another",
            "environment": {"host": "here"},
            "cells": tuple(c.model_copy(update={"seconds": 9.0, "peak_rss_mb": 7.0}) for c in slow.cells),
        }
    )
    assert canonical(quick) == canonical(slow)
    assert digest_of(quick) == digest_of(slow) == slow.digest
    assert to_bytes(quick) != to_bytes(slow)


@pytest.mark.parametrize(
    "changes", [{"profile": "full"}, {"seeds": (1,)}, {"environment": {"torch": "9"}}, {"config": {"only": "strata"}}]
)
def test_digest_covers_everything_else(changes: dict[str, Any]) -> None:
    assert small(**changes).digest != small().digest
    (found,) = disagreements(small().model_copy(update=changes))
    assert "digest" in found


def test_a_target_keeps_its_own_digest_in_the_canonical_bytes() -> None:
    assert json.loads(canonical(small()))["target"]["digest"] == "d"


def test_nan_becomes_null() -> None:
    audit = small()
    number = measurement(0.3, float("nan"), float("inf"), p_adjusted=float("nan"))
    assert json.loads(to_bytes(audit_of([cell(number)])))["results"][0]["p_adjusted"] is None
    assert b"NaN" not in to_bytes(audit_of([cell(number, params={"loss": float("nan")})]))
    assert from_bytes(to_bytes(audit)) == audit


# ---- hostile input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a readable"),
        (b"{", "not a readable"),
        (b"[]", "schema_version is missing"),
        (b"3", "schema_version is missing"),
        (b'{"schema_version": "2.0", "schema_version": "2.0"}', "same key twice"),
        (b'{"schema_version": "2.0", "a": [{"b": 1, "b": 1}]}', "same key twice"),
        (b'{"schema_version": NaN}', "NaN is not JSON"),
        (b'{"schema_version": "2.0", "a": -Infinity}', "-Infinity is not JSON"),
        (b'{"schema_version": "2.0", "a":' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper than 100"),
        (b"[" * 200_000, "not a readable"),
        (b"\xff\xfe", "not a readable"),
        (b'{"schema_version": "2.0"}', "tool: Field required"),
    ],
)
def test_what_is_no_document_is_refused_in_words(raw: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_bytes(raw)


def test_a_document_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = to_bytes(small())
    monkeypatch.setattr(serial, "MAX_BYTES", len(raw))
    assert from_bytes(raw) == small()
    monkeypatch.setattr(serial, "MAX_BYTES", len(raw) - 1)
    with pytest.raises(UsageError, match=f"has {len(raw)} bytes"):
        from_bytes(raw)


def _surprise(content: dict[str, Any]) -> None:
    content["surprise"] = 1


def _reversed(content: dict[str, Any]) -> None:
    content["results"][0]["contrast"] |= {"value": None, "lo": 0.2, "hi": 0.1}


def _outside(content: dict[str, Any]) -> None:
    content["results"][0]["by_seed"][0]["estimate"] |= {"value": 0.5, "lo": 0.6, "hi": 0.7}


def _no_seed(content: dict[str, Any]) -> None:
    content["results"][0]["by_seed"] = []


def _no_such_verdict(content: dict[str, Any]) -> None:
    content["verdict"]["status"] = "FINE"


def _no_such_code(content: dict[str, Any]) -> None:
    content["results"][0]["judgement"]["codes"] = [{"code": "because"}]


def _no_such_facts(content: dict[str, Any]) -> None:
    content["results"][0]["facts"] = {"kind": "rumour"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_surprise, "surprise: Extra inputs are not permitted"),
        (_no_seed, r"results\.0\.by_seed"),
        (_no_such_verdict, r"verdict\.status"),
        (_no_such_code, r"results\.0\.judgement\.codes\.0"),
        (_no_such_facts, r"results\.0\.facts"),
    ],
)
def test_a_document_of_another_shape_is_refused_with_its_place(
    spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = document()
    spoil(content)
    with pytest.raises(UsageError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_reversed, r"results\.0\.contrast.*reversed"),
        (_outside, r"results\.0\.by_seed\.0\.estimate.*outside its interval"),
    ],
)
def test_an_interval_that_cannot_be_is_a_document_against_itself(
    spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = document()
    spoil(content)
    with pytest.raises(DocumentError, match=message):
        read(content)


# ---- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.7"])
def test_a_document_of_the_first_schema_was_made_by_0_1(version: str) -> None:
    with pytest.raises(UsageError, match=r"made by auditor 0\.1\. Run the audit again"):
        read({"schema_version": version, "findings": []})


@pytest.mark.parametrize("version", ["3.0", "10.2", "next", "", None])
def test_another_major_version_is_refused(version: str | None) -> None:
    with pytest.raises(UsageError, match=r"this auditor reads 2\.x"):
        read(document(schema_version=version))


def test_a_later_minor_version_is_read_without_its_unknown_fields() -> None:
    later = document(schema_version="2.9", news=1)
    later["verdict"]["mood"] = "good"
    later["results"][0]["colour"] = later["results"][0]["estimate"]["hue"] = "blue"
    later["results"][0]["judgement"]["codes"][0]["why"] = "who knows"
    later["cells"][0]["validity"] = [{"id": "x", "kind": "warning", "status": "pass", "evidence": "", "new": 1}]
    audit = read(later)
    assert (audit.verdict, audit.results) == (small().verdict, small().results)
    assert audit.schema_version == "2.9"


def test_a_later_minor_version_is_checked_as_far_as_it_is_known() -> None:
    later = document(schema_version="2.9")
    later["coverage"]["ok"] = 4
    with pytest.raises(DocumentError, match="coverage"):
        read(later)


# ---- what does not agree with itself --------------------------------------------------------------------------------


def result(audit: Audit, **changes: Any) -> tuple[Result, ...]:
    return (audit.results[0].model_copy(update=changes),)


def two_cells_with_one_key(audit: Audit) -> dict[str, Any]:
    counted = audit.coverage.model_copy(update={"planned": 2, "ok": 2})
    return {"cells": audit.cells * 2, "coverage": counted}


def result_of_a_missing_cell(audit: Audit) -> dict[str, Any]:
    (own,) = audit.results[0].by_seed
    return {"results": result(audit, by_seed=(own, own.model_copy(update={"cell": "gone", "seed": 1})))}


def result_of_a_failed_cell(audit: Audit) -> dict[str, Any]:
    (own,), failed = audit.results[0].by_seed, cell(**FAILED).row
    return {
        "cells": (*audit.cells, failed),
        "coverage": audit.coverage.model_copy(update={"planned": 2, "error": 1}),
        "results": result(audit, by_seed=(own, own.model_copy(update={"cell": failed.key, "seed": 1}))),
    }


def difference_at_a_seed(audit: Audit) -> dict[str, Any]:
    (own,) = audit.results[0].by_seed
    assert own.contrast is not None
    other = own.contrast.model_copy(update={"value": 0.06})
    return {"results": result(audit, by_seed=(own.model_copy(update={"contrast": other}),))}


def joined_difference(audit: Audit) -> dict[str, Any]:
    contrast = audit.results[0].contrast
    assert contrast is not None
    return {"results": result(audit, contrast=contrast.model_copy(update={"value": -0.05, "lo": -0.1, "hi": 0.0}))}


def difference_to_nobody(audit: Audit) -> dict[str, Any]:
    contrast = audit.results[0].contrast
    assert contrast is not None
    return {"results": result(audit, contrast=contrast.model_copy(update={"to": "somebody else"}))}


def finished_cell_without_a_result(audit: Audit) -> dict[str, Any]:
    other = cell(probe="strata", family="shift", seed=3).row
    return {"cells": (*audit.cells, other), "coverage": audit.coverage.model_copy(update={"planned": 2, "ok": 2})}


def counted_wrong(audit: Audit) -> dict[str, Any]:
    return {"coverage": audit.coverage.model_copy(update={"skipped": 1})}


def more_cells_than_planned(audit: Audit) -> dict[str, Any]:
    return {"coverage": audit.coverage.model_copy(update={"planned": 0})}


def passed_without_every_cell(audit: Audit) -> dict[str, Any]:
    return {"coverage": audit.coverage.model_copy(update={"planned": 2})}


DISAGREEMENTS: dict[Callable[[Audit], dict[str, Any]], str] = {
    two_cells_with_one_key: "two cells have the same key",
    result_of_a_missing_cell: "rests on a cell that is not in the document or did not finish",
    result_of_a_failed_cell: "rests on a cell that is not in the document or did not finish",
    difference_at_a_seed: "at seed 0 is not its number less its control's",
    joined_difference: "the difference of posterior-similarity auc is not its number less its control's",
    difference_to_nobody: "the difference of posterior-similarity auc is to a control that is not there",
    finished_cell_without_a_result: "strata seed 3 is marked ok and has no result",
    counted_wrong: "counts 1 cells as skipped and it holds 0",
    more_cells_than_planned: "holds 1 cells and says that 0 were planned",
    passed_without_every_cell: "passed with 1 of 2 planned cells",
}


@pytest.mark.parametrize(("spoil", "message"), DISAGREEMENTS.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_every_disagreement_is_found_once_and_refused(spoil: Callable[[Audit], dict[str, Any]], message: str) -> None:
    spoiled = small(**spoil(small()))  # with a digest of its own: whoever changed it may have made that too
    found = list(disagreements(spoiled))
    assert len(found) == 1, found
    assert message in found[0]
    with pytest.raises(DocumentError, match="does not agree with itself") as caught:
        from_bytes(to_bytes(spoiled))
    assert caught.value.exit_code == 3
    assert message in str(caught.value)


def test_a_changed_number_does_not_have_the_digest() -> None:
    changed = document()
    changed["results"][0]["judgement"]["status"] = "fail"
    with pytest.raises(DocumentError, match="does not have its digest"):
        read(changed)
    with pytest.raises(DocumentError, match="does not have its digest"):
        read(document(digest=""))


def test_an_interrupted_audit_agrees_with_itself() -> None:
    cut = small(
        coverage=small().coverage.model_copy(update={"planned": 5}),
        verdict=small().verdict.model_copy(update={"status": "INCOMPLETE", "exit_code": 130}),
    )
    assert from_bytes(to_bytes(cut)) == cut


def test_a_number_that_is_not_defined_disagrees_with_nothing() -> None:
    nothing = Control(name="labels", estimate=Estimate(value=None), contrast=Estimate(value=0.1))
    number = measured(AUC, Estimate(value=None), finding="privacy-link-stealing", controls=[nothing])
    assert list(disagreements(audit_of([cell(number)]))) == []


# ---- schema ---------------------------------------------------------------------------------------------------------


def test_schema_is_published_and_names_the_required_fields() -> None:
    schema = json_schema()
    assert {"tool", "target", "cells", "results", "verdict"} <= set(schema["required"])
    assert "digest" in schema["properties"]


def test_a_document_holds_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    for audit in (small(), rich()):
        assert list(validator.iter_errors(json.loads(to_bytes(audit)))) == []
    assert list(validator.iter_errors(document(surprise=1)))
