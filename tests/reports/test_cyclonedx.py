"""The bill of materials: valid by the official schema, the same bytes each time, and only numbers that count."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from auditor import __main__
from auditor.document import Audit, Estimate
from reports import views
from reports.cyclonedx import CyclonedxReport
from tests.reports import samples
from tests.reports.compared import AUDITS
from tests.reports.reading import rendered

if TYPE_CHECKING:
    from cyclonedx.validation.json import JsonStrictValidator


@cache
def validator() -> JsonStrictValidator:
    # Imported where it is used: it takes seconds, and every process of a test run reads this file.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def model_of(text: str) -> dict[str, Any]:
    return dict(json.loads(text)["components"][0])


def metrics_of(audit: Audit) -> list[dict[str, Any]]:
    card = model_of(CyclonedxReport().render(audit))["modelCard"]
    return list(card.get("quantitativeAnalysis", {}).get("performanceMetrics", []))


def from_file(audit: Audit) -> Audit:
    made = {"file": "model.safetensors", "sha256": "ab" * 32, "data": {"name": "cora", "digest": "cd" * 32}}
    return audit.model_copy(update={"target": audit.target.model_copy(update={"provenance": made})})


@pytest.mark.parametrize("audit", AUDITS)
def test_every_audit_fits_the_official_schema(audit: str) -> None:
    assert validator().validate_str(rendered("cyclonedx", audit)) is None


def test_the_schema_refuses_what_is_no_model_card() -> None:
    document = json.loads(rendered("cyclonedx", "realistic"))
    document["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 0.5
    assert validator().validate_str(json.dumps(document)) is not None


def test_the_model_has_its_files_hash_and_the_digests() -> None:
    audit = from_file(samples.realistic())
    text = CyclonedxReport().render(audit)
    assert validator().validate_str(text) is None
    model = model_of(text)
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    properties = {each["name"]: each["value"] for each in model["properties"]}
    assert properties["gnn-auditor:target-digest"] == audit.target.digest
    assert properties["gnn-auditor:document-digest"] == audit.digest
    assert properties["gnn-auditor:weights-file"] == "model.safetensors"
    (data,) = model["modelCard"]["modelParameters"]["datasets"]
    assert data["contents"]["properties"] == [{"name": "gnn-auditor:digest", "value": "cd" * 32}]


@pytest.mark.parametrize("value", [None, "", "no digest", "ab" * 31, "XY" * 32, 7])
def test_a_digest_that_is_none_makes_no_hash(value: object) -> None:
    audit = from_file(samples.realistic())
    made = {**audit.target.provenance, "sha256": value}
    text = CyclonedxReport().render(
        audit.model_copy(update={"target": audit.target.model_copy(update={"provenance": made})})
    )
    assert validator().validate_str(text) is None
    assert "hashes" not in model_of(text)


def test_neither_the_clock_nor_chance_is_in_it() -> None:
    audit = samples.realistic()
    first = json.loads(CyclonedxReport().render(audit))
    assert first["metadata"]["timestamp"] == audit.started
    assert first["metadata"]["tools"]["components"][0]["version"] == audit.tool["version"]
    other = json.loads(CyclonedxReport().render(audit.model_copy(update={"digest": "0" * 64, "started": None})))
    assert first["serialNumber"] != other["serialNumber"]
    assert "timestamp" not in other["metadata"]


@pytest.mark.parametrize("audit", ["realistic", "several seeds", "untrusted", "comparison", "claim"])
def test_metrics_are_settled_numbers_with_both_ends_each_beside_its_control(audit: str) -> None:
    document = AUDITS[audit]()
    metrics = metrics_of(document)
    for metric in metrics:
        ends = metric["confidenceInterval"]
        assert float(ends["lowerBound"]) <= float(metric["value"]) <= float(ends["upperBound"])
    settled = [r for r in views.undefended(document) if views.is_settled(r) and r.own.hi is not None]
    shown = {(metric["value"], metric["confidenceInterval"]["upperBound"]) for metric in metrics}
    for result in settled:
        assert (f"{result.own.value:.6g}", f"{result.own.hi:.6g}") in shown
        control, excess = result.control, result.excess
        if control is not None and control.estimate.hi is not None:
            assert (f"{control.estimate.value:.6g}", f"{control.estimate.hi:.6g}") in shown
        if excess is not None and excess.hi is not None:
            assert (f"{excess.value:.6g}", f"{excess.hi:.6g}") in shown


def test_what_is_open_or_does_not_count_is_a_limitation_and_no_metric() -> None:
    for audit in (samples.realistic(), samples.untrusted()):
        open_ = [result for result in views.undefended(audit) if not views.is_settled(result)]
        assert open_
        closed = [r for r in views.undefended(audit) if views.is_settled(r) and None not in (r.own.lo, r.own.hi)]
        numbers = [m for m in metrics_of(audit) if "control" not in m["type"]]
        assert len(numbers) == 1 + len(closed), "the accuracy, and every settled result once"
        card = model_of(CyclonedxReport().render(audit))["modelCard"]
        limitations = card["considerations"]["technicalLimitations"]
        assert sum("no metric here" in text for text in limitations) == len(open_)


def test_an_open_end_makes_no_metric() -> None:
    audit = samples.realistic()
    half = audit.target.model_copy(update={"clean": Estimate(value=0.815, lo=0.79)})
    assert metrics_of(audit)[0]["type"] == "accuracy on test items"
    assert "accuracy on test items" not in {
        metric["type"] for metric in metrics_of(audit.model_copy(update={"target": half}))
    }


def test_untested_questions_and_broken_tests_are_limitations() -> None:
    card = model_of(rendered("cyclonedx", "realistic"))["modelCard"]
    told = " ".join(card["considerations"]["technicalLimitations"])
    assert "Not tested: features-evasion broke off: RuntimeError" in told
    assert "Not tested: membership does not apply" in told
    assert card["considerations"]["ethicalConsiderations"][0]["mitigationStrategy"]


def test_without_the_library_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cyclonedx" else find(name))
    path = tmp_path / "audit.json"
    path.write_text(rendered("json", "realistic"))
    assert __main__.run(["report", str(path), "--format", "cyclonedx"]) == 2
    assert "pip install cyclonedx-python-lib" in capsys.readouterr().err
