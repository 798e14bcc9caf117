"""Formats that machines read: SARIF and JUnit against their schemas, CSV and Markdown by their own parsers."""

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
import xmlschema
import yaml

from auditor.document import Audit, CellRow
from auditor.document.codes import StaleAcceptance
from reports.csv import CsvReport
from reports.junit import JunitReport
from reports.markdown import BYTES, MarkdownReport, escape
from reports.sarif import SarifReport
from tests.reports import samples
from tests.reports.compared import AUDITS
from tests.reports.reading import rendered

SCHEMAS = Path(__file__).parent / "schemas"
"""SARIF's by OASIS; JUnit's of Jenkins' xUnit plugin (MIT): jenkinsci/xunit-plugin,
src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd."""
WORKFLOW = Path(__file__).parents[2] / "docs" / "examples" / "github-workflow.yml"


@pytest.fixture(scope="module")
def sarif_schema() -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text()))


@pytest.fixture(scope="module")
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))


def run_of(audit: Audit) -> dict[str, Any]:
    return dict(json.loads(SarifReport().render(audit))["runs"][0])


@pytest.mark.parametrize("audit", AUDITS)
def test_sarif_fits_the_official_schema(audit: str, sarif_schema: jsonschema.Draft4Validator) -> None:
    sarif_schema.validate(json.loads(rendered("sarif", audit)))


def test_the_schema_refuses_what_is_not_sarif(sarif_schema: jsonschema.Draft4Validator) -> None:
    log = json.loads(rendered("sarif", "realistic"))
    log["runs"][0]["results"][0]["level"] = "catastrophe"
    with pytest.raises(jsonschema.ValidationError):
        sarif_schema.validate(log)


def test_sarif_levels_follow_status_and_severity() -> None:
    run = run_of(samples.realistic())
    levels = {result["properties"]["status"]: result["level"] for result in run["results"]}
    assert levels == {"fail": "error", "inconclusive": "note", "accepted": "error"}
    accepted = [result for result in run["results"] if "suppressions" in result]
    assert [r["properties"]["status"] for r in accepted] == ["accepted"]
    justification = "Accepted by the privacy team until 30 June 2027: ticket 12, fixed in the next release."
    assert accepted[0]["suppressions"] == [{"kind": "external", "justification": justification}]
    assert run["invocations"][0]["exitCode"] == 1
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 3


def test_sarif_has_one_rule_per_finding_with_the_worst_severity_and_the_taxonomy() -> None:
    run = run_of(samples.realistic())
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert len(rules) == len(run["tool"]["driver"]["rules"])
    assert rules["privacy-link-stealing"]["properties"]["security-severity"] == "9.5"
    assert {"AML.T0024.001", "ML03", "CWE-359"} <= set(rules["privacy-link-stealing"]["properties"]["tags"])
    assert rules["shift-worst-group"]["properties"]["security-severity"] == "2.0"
    assert rules["shift-worst-group"]["properties"]["tags"] == ["security"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("out/cora-gcn/target.toml", "out/cora-gcn/target.toml"),
        ("out/my model/audit.toml", "out/my%20model/audit.toml"),
        ("gcn-1.0/target.toml", "gcn-1.0/target.toml"),
    ],
)
@pytest.mark.parametrize("argv", [("run", "elsewhere"), ("run", "--profile=quick", "--", "x"), ()])
def test_sarif_location_is_the_config_file_that_was_read(file: str, uri: str, argv: tuple[str, ...]) -> None:
    audit = samples.realistic().model_copy(update={"config_file": file, "argv": argv})
    for result in run_of(audit)["results"]:
        assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri}


@pytest.mark.parametrize("file", ["", "/home/ada/audit.toml", "../other/audit.toml", "C:/audit.toml", "a\\b.toml"])
def test_sarif_makes_up_no_file_and_leaves_no_folder(file: str) -> None:
    audit = samples.realistic().model_copy(update={"config_file": file})
    for result in run_of(audit)["results"]:
        assert result["locations"] == [{"logicalLocations": [{"name": "cora-gcn", "kind": "module"}]}]


def test_two_targets_of_a_repository_stay_two_analyses() -> None:
    other = samples.realistic()
    other = other.model_copy(update={"target": other.target.model_copy(update={"name": "pubmed-gat"})})
    ids = [run_of(audit)["automationDetails"]["id"] for audit in (samples.realistic(), other)]
    assert ids == ["gnn-auditor/cora-gcn/", "gnn-auditor/pubmed-gat/"]


def test_the_example_workflow_sets_a_category() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    upload = next(step for step in jobs["audit"]["steps"] if "upload-sarif" in step.get("uses", ""))
    assert upload["with"]["category"].startswith("gnn-auditor/")


@pytest.mark.parametrize("audit", AUDITS)
def test_junit_fits_the_schema_of_its_strictest_reader(audit: str, junit_schema: xmlschema.XMLSchema) -> None:
    junit_schema.validate(rendered("junit", audit))


@pytest.mark.parametrize(
    "wrong",
    ['<testsuites skipped="0"/>', '<testsuites><testsuite name="a"/></testsuites>', "<testsuites><x/></testsuites>"],
)
def test_the_schema_refuses_what_is_not_junit(wrong: str, junit_schema: xmlschema.XMLSchema) -> None:
    assert not junit_schema.is_valid(wrong)


@pytest.mark.parametrize("audit", AUDITS)
def test_junit_counts_match_its_cases(audit: str) -> None:
    root = ET.fromstring(rendered("junit", audit))
    assert root.tag == "testsuites"
    assert "skipped" not in root.attrib
    for element in (root, *root.findall("testsuite")):
        assert int(element.get("tests", "")) == len(element.findall(".//testcase"))
        assert int(element.get("failures", "")) == len(element.findall(".//failure"))
        assert int(element.get("errors", "")) == len(element.findall(".//error"))
        assert element is root or int(element.get("skipped", "")) == len(element.findall(".//skipped"))
    for case in root.iter("testcase"):
        assert set(case.attrib) == {"classname", "name", "time"}
        assert float(case.get("time", "")) >= 0
        assert [child.tag for child in case] in (["failure"], ["error"], ["skipped"], ["system-out"])


def test_junit_maps_every_status() -> None:
    root = ET.fromstring(JunitReport().render(samples.realistic()))
    assert {k: root.get(k) for k in ("tests", "failures", "errors")} == {"tests": "15", "failures": "1", "errors": "2"}
    assert [suite.get("skipped") for suite in root] == ["1", "0", "1"]
    accepted = root.findall("testsuite/properties/property")
    assert [each.get("name") for each in accepted] == ["robustness-structure robust accuracy · eps=0.05"]
    assert "ticket 12" in accepted[0].get("value", "")
    total = sum(float(case.get("time", "")) for case in root.iter("testcase"))
    assert total == pytest.approx(sum(cell.seconds for cell in samples.realistic().cells))


def test_csv_has_a_row_per_result_and_seed_with_exact_numbers() -> None:
    audit = samples.several_seeds()
    rows = list(csv.DictReader(io.StringIO(CsvReport().render(audit))))
    measured = [(result, each) for result in audit.results for each in result.by_seed]
    assert len(rows) == len(measured)
    for line, (result, each) in zip(rows, measured, strict=True):
        assert float(line["value"]) == each.estimate.value
        assert (line["probe"], line["arm"], int(line["seed"])) == (result.probe, result.arm, each.seed)
        assert (line["excess"] == "") == (each.contrast is None)
        if each.contrast is not None and each.contrast.value is not None:
            sign = -1 if result.worse_when == "lower" else 1
            assert float(line["excess"]) == sign * each.contrast.value
    assert {line["fingerprint"] for line in rows if line["status"] == "fail"} == {
        result.fingerprint for result in audit.judged if result.judgement and result.judgement.status == "fail"
    }


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-0.5x"])
def test_csv_disarms_formulas(name: str) -> None:
    audit = samples.realistic()
    target = audit.target.model_copy(update={"name": name})
    rows = list(csv.reader(io.StringIO(CsvReport().render(audit.model_copy(update={"target": target})))))
    assert rows[1][0] == f"'{name}"
    assert any(cell.startswith("-0.07") for cell in rows[1]), "negative numbers stay numbers"


@pytest.mark.parametrize("audit", ["realistic", "hostile"])
def test_markdown_tables_keep_their_columns(audit: str) -> None:
    table = [line for line in rendered("markdown", audit).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4, 9}


def test_markdown_escapes_what_could_be_markup() -> None:
    text = rendered("markdown", "hostile")
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
    crowd: list[CellRow] = [crash.model_copy(update={"key": f"{i}", "reason": f"{i} " + "x" * 500}) for i in range(500)]
    stale = tuple(StaleAcceptance(source="suppress", finding=f"{i} {'y' * 90}", why="absent") for i in range(200))
    verdict = audit.verdict.model_copy(update={"codes": stale})
    target = audit.target.model_copy(update={"name": "漢" * 90})
    text = MarkdownReport().render(
        audit.model_copy(update={"cells": (*audit.cells, *crowd), "verdict": verdict, "target": target})
    )
    assert len(text.encode()) <= BYTES
