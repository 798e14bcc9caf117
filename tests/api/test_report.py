"""Report: reads the document and nothing else."""

from __future__ import annotations

import dataclasses
import sys
import types
from functools import partial
from pathlib import Path

import pytest

from auditor import registry
from auditor.api.report import MAX_HTML_BYTES, Report
from auditor.document import Metric, to_bytes
from auditor.errors import AuditorError, ConfigError, ProbeNotRun, UsageError, VerdictError
from tests.policy.samples import TODAY, audit_of, cell
from tests.policy.samples import measurement as any_measurement

HEADROOM = Metric("headroom", "errors", "higher", "ranking")
measurement = partial(any_measurement, metric=HEADROOM)
LEAK = [cell(measurement(0.3, 0.26, 0.34))]
CALM = [cell(measurement(0.0, -0.01, 0.01))]
OPEN = [*CALM, cell(probe="strata", status="error", reason="broke")]


@pytest.fixture
def failed() -> Report:
    return Report(audit_of(LEAK))


def test_the_headline_of_a_probe_is_what_the_document_holds(failed: Report) -> None:
    (result,) = failed.findings
    number = failed[result.probe]
    assert number.result is result
    assert (number.value, *number.ci) == (result.estimate.value, result.estimate.lo, result.estimate.hi)
    assert number.excess == result.excess
    assert number.control == result.controls[0].estimate


def test_a_probe_without_a_number_says_why() -> None:
    report = Report(audit_of(OPEN))
    with pytest.raises(ProbeNotRun, match="error: broke") as caught:
        report["strata"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, AuditorError)
    assert not str(caught.value).startswith(("'", '"'))
    with pytest.raises(KeyError, match=r"corruption was not asked for. Probes of this audit: .*strata"):
        report["corruption"]


def test_a_report_is_frozen_and_no_truth_value(failed: Report) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        failed.document = None  # type: ignore[misc, assignment]
    with pytest.raises(TypeError, match=r"ask report.verdict.passed"):
        bool(failed)


def test_only_raise_for_verdict_raises(failed: Report) -> None:
    Report(audit_of(CALM)).raise_for_verdict()
    for report, code in ((failed, 1), (Report(audit_of(OPEN)), 3)):
        assert not report.verdict.passed
        with pytest.raises(VerdictError, match=report.verdict.status) as caught:
            report.raise_for_verdict()
        assert caught.value.exit_code == code


def test_gate_judges_again_and_changes_nothing(failed: Report) -> None:
    before = to_bytes(failed.document)
    assert failed.gate("lenient", as_of=TODAY).passed
    assert failed.judged("lenient", as_of=TODAY).document.results[0].estimate == failed.findings[0].estimate
    assert to_bytes(failed.document) == before
    with pytest.raises(ConfigError, match='Did you mean "strict"'):
        failed.gate("strikt")


def test_saved_and_loaded_it_is_the_same(failed: Report, tmp_path: Path) -> None:
    written = failed.save(tmp_path / "out", formats=("json", "html", "csv"))
    assert [path.name for path in written] == ["audit.json", "audit.html", "audit.csv"]
    for place in (tmp_path / "out", written[0], str(written[0])):
        assert Report.load(place).document == failed.document
    assert failed.diff(Report.load(written[0])).counts["same"] == 1
    with pytest.raises(ConfigError, match="no report is called"):
        failed.save(tmp_path / "other", formats=("pdf",))
    assert not (tmp_path / "other").exists()
    with pytest.raises(UsageError, match="cannot read"):
        Report.load(tmp_path / "nothing.json")


def test_the_summary_is_the_plain_report(failed: Report) -> None:
    assert failed.summary() == registry.find("reports", "terminal").load()().render(failed.document, plain=True)
    assert failed.to_dict()["verdict"]["status"] == "FAILED"


def test_a_notebook_gets_escaped_text_of_bounded_size() -> None:
    shown = Report(audit_of(LEAK, target="<script>alert(1)</script>"))._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    many = [cell(probe=f"strata:k={i}", status="error", reason="<&é" * 60, key=f"{i}") for i in range(400)]
    page = Report(audit_of(many))._repr_html_()
    assert len(page.encode()) <= MAX_HTML_BYTES
    assert page.endswith("</pre>")


def test_a_data_frame_needs_pandas_and_says_so(failed: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        failed.to_dataframe()
    fake = types.SimpleNamespace(read_csv=lambda stream: stream.read())
    monkeypatch.setitem(sys.modules, "pandas", fake)
    assert len(failed.to_dataframe().splitlines()) == 2  # type: ignore[attr-defined]
