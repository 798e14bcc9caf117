"""Formats that machines read: SARIF against its schema, JUnit by structure, CSV and Markdown by their own parsers."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.audit import Audit
from reports.csv import CsvReport
from reports.junit import JunitReport
from reports.markdown import BYTES, MarkdownReport, escape
from reports.sarif import SarifReport
from tests.reports import samples

SCHEMA = Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json"
AUDITS = [samples.realistic, samples.clean, samples.empty, samples.several_seeds, samples.hostile]


@pytest.fixture(scope="module")
def sarif_schema() -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads(SCHEMA.read_text()))


def run_of(audit: Audit) -> dict[str, Any]:
    return dict(json.loads(SarifReport().render(audit))["runs"][0])


@pytest.mark.parametrize("make", AUDITS)
def test_sarif_fits_the_official_schema(make: Any, sarif_schema: jsonschema.Draft4Validator) -> None:
    sarif_schema.validate(json.loads(SarifReport().render(make())))


def test_the_schema_refuses_what_is_not_sarif(sarif_schema: jsonschema.Draft4Validator) -> None:
    log = json.loads(SarifReport().render(samples.realistic()))
    log["runs"][0]["results"][0]["level"] = "catastrophe"
    with pytest.raises(jsonschema.ValidationError):
        sarif_schema.validate(log)


def test_sarif_levels_follow_status_and_severity() -> None:
    run = run_of(samples.realistic())
    levels = {result["properties"]["status"]: result["level"] for result in run["results"]}
    assert levels == {"fail": "error", "inconclusive": "note", "accepted": "warning"}
    accepted = [result for result in run["results"] if "suppressions" in result]
    assert [r["properties"]["status"] for r in accepted] == ["accepted"]
    assert "ticket 12" in accepted[0]["suppressions"][0]["justification"]
    assert run["invocations"][0]["exitCode"] == 1
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 3


def test_sarif_rules_carry_the_worst_severity_and_the_taxonomy() -> None:
    run = run_of(samples.realistic())
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert rules["privacy-link-stealing"]["properties"]["security-severity"] == "9.5"
    assert {"AML.T0024.001", "ML03", "CWE-359"} <= set(rules["privacy-link-stealing"]["properties"]["tags"])
    assert rules["shift-worst-group"]["properties"]["security-severity"] == "2.0"
    assert rules["shift-worst-group"]["properties"]["tags"] == ["security"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize(
    ("argv", "uri"),
    [
        (("run", "out/cora-gcn"), "out/cora-gcn/target.toml"),
        (("run", "out/my model/target.toml"), "out/my%20model/target.toml"),
        (("run", "/home/ada/secret/audit.toml"), "audit.toml"),
        (("run", "../other/audit.toml"), "audit.toml"),
        (("run", "--profile"), "target.toml"),
        (("demo",), "target.toml"),
        ((), "target.toml"),
    ],
)
def test_sarif_location_never_leaves_the_folder(argv: tuple[str, ...], uri: str) -> None:
    run = run_of(samples.realistic().model_copy(update={"argv": argv}))
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize("make", AUDITS)
def test_junit_counts_match_its_cases(make: Any) -> None:
    root = ET.fromstring(JunitReport().render(make()))
    assert root.tag == "testsuites"
    for element in (root, *root.findall("testsuite")):
        assert int(element.get("tests", "")) == len(element.findall(".//testcase"))
        assert int(element.get("failures", "")) == len(element.findall(".//failure"))
        assert int(element.get("errors", "")) == len(element.findall(".//error"))
        assert int(element.get("skipped", "")) == len(element.findall(".//skipped"))
    for case in root.iter("testcase"):
        assert set(case.attrib) == {"classname", "name", "time"}
        assert float(case.get("time", "")) >= 0
        assert [child.tag for child in case] in (
            ["failure"], ["error"], ["skipped"], ["system-out"], ["properties", "system-out"]
        )  # fmt: skip


def test_junit_maps_every_status() -> None:
    root = ET.fromstring(JunitReport().render(samples.realistic()))
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "14",
        "failures": "1",
        "errors": "2",
        "skipped": "2",
    }
    accepted = root.findall(".//property[@name='accepted_by']")
    assert len(accepted) == 1
    assert "ticket 12" in accepted[0].get("value", "")
    total = sum(float(case.get("time", "")) for case in root.iter("testcase"))
    assert total == pytest.approx(sum(cell.seconds for cell in samples.realistic().cells))


def test_csv_has_a_row_per_measurement_with_exact_numbers() -> None:
    audit = samples.realistic()
    rows = list(csv.DictReader(io.StringIO(CsvReport().render(audit))))
    measured = [(cell, row) for cell in audit.cells for row in cell.measurements]
    assert len(rows) == len(measured)
    for line, (cell, row) in zip(rows, measured, strict=True):
        assert float(line["value"]) == row.value
        assert line["probe"] == cell.probe
        assert (line["advantage"] == "") == (row.advantage is None)
        assert row.advantage is None or float(line["advantage"]) == row.advantage.value
    assert [line["status"] for line in rows].count("fail") == 1


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-0.5x"])
def test_csv_disarms_formulas(name: str) -> None:
    audit = samples.realistic()
    target = audit.target.model_copy(update={"name": name})
    rows = list(csv.reader(io.StringIO(CsvReport().render(audit.model_copy(update={"target": target})))))
    assert rows[1][0] == f"'{name}"
    assert any(cell.startswith("-0.07") for cell in rows[1]), "negative numbers stay numbers"


def test_markdown_tables_keep_their_columns() -> None:
    for make in (samples.realistic, samples.hostile):
        table = [line for line in MarkdownReport().render(make()).splitlines() if line.startswith("|")]
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
        assert widths == {4, 9}


def test_markdown_escapes_what_could_be_markup() -> None:
    text = MarkdownReport().render(samples.hostile())
    assert "<script" not in text
    assert "<" not in text
    assert not re.search(r"(?<!\\)[`$~]", text)
    assert not re.search(r"https?://|www\.", text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("0.352", "0.352"),
        ("http://x.org", r"http:\//x.org"),
        ("a_b*c[d](e)", r"a\_b\*c\[d\](e)"),
    ],
)
def test_markdown_escape(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_markdown_stays_below_its_limit() -> None:
    audit = samples.realistic()
    crash = next(cell for cell in audit.cells if cell.status == "error")
    crowd = [crash.model_copy(update={"key": f"{i}", "reason": f"{i} " + "x" * 500}) for i in range(500)]
    lines = ("FAILED", *("y" * 590 for _ in range(200)))
    verdict = audit.verdict.model_copy(update={"lines": lines})
    target = audit.target.model_copy(update={"name": "漢" * 90})
    text = MarkdownReport().render(
        audit.model_copy(update={"cells": (*audit.cells, *crowd), "verdict": verdict, "target": target})
    )
    assert len(text.encode()) <= BYTES
