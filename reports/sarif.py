"""SARIF 2.1.0 for code scanning: a rule per finding id, a result per judged number that does not pass.

Source: OASIS SARIF 2.1.0. `security-severity` and the level are what GitHub code scanning sorts by; the id of the run
is what it takes for its category, so that two audited models of one repository stay two analyses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from auditor.document import Audit, Judgement, Result
from auditor.document.codes import Accepted
from auditor.document.facts import SEVERITIES, Severity
from auditor.registry import taxon
from reports import views
from reports.neutral import neutral
from reports.sentences import names
from reports.sentences.codes import all_of
from reports.sentences.compose import said
from reports.sentences.numbers import closed
from reports.sentences.templates import template

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SECURITY_SEVERITY = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "none": "0.0"}


class SarifReport:
    """One run; `error` for a fail of high or critical severity, `warning` for another, `note` for what decides nothing.

    That is an open result, or one on a control of a comparison.
    """

    id = "sarif"
    filename = "audit.sarif"
    opening = r'\{.*"automationDetails": \{\s*"id": "gnn-auditor/'

    def render(self, audit: Audit) -> str:
        """The log as JSON with sorted keys."""
        safe = neutral(audit)
        loud = [
            (r, r.judgement) for r in views.judged(safe) if r.judgement is not None and r.judgement.status != "pass"
        ]
        rules = _rules(loud)
        index = {rule["id"]: i for i, rule in enumerate(rules)}
        location, item = _location(safe), views.item(safe)
        run = {
            "tool": {
                "driver": {
                    "name": safe.tool.get("name", "auditor"),
                    "semanticVersion": _version(safe.tool.get("version", "")),
                    "rules": rules,
                }
            },
            "automationDetails": {"id": f"gnn-auditor/{safe.target.name}/"},
            "invocations": [
                {
                    "executionSuccessful": safe.verdict.exit_code in (0, 1),
                    "exitCode": safe.verdict.exit_code,
                    "toolExecutionNotifications": [
                        {
                            "level": "note" if each.status == "skipped" else "error",
                            "message": {"text": f"{each.source} {names.CELLS[each.status]}: {each.reason}"},
                        }
                        for each in views.missing(safe)
                    ],
                }
            ],
            "results": [
                _result(result, judgement, index, location, item, counts=not views.is_control(safe, result))
                for result, judgement in loud
            ],
            "columnKind": "unicodeCodePoints",
            "properties": {
                "target": safe.target.name,
                "targetDigest": safe.target.digest,
                "verdict": safe.verdict.status,
            },
        }
        log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
        return json.dumps(log, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _rules(results: Sequence[tuple[Result, Judgement]]) -> list[dict[str, Any]]:
    worst: dict[str, Severity] = {}
    for result, judgement in results:
        before: Severity = worst.get(result.finding, "none")
        worst[result.finding] = max(before, judgement.severity, key=SEVERITIES.index)
    rules = []
    for finding in sorted(worst):
        known = taxon(finding)
        ids = [*known.ids(), *([f"NIST AI 100-2: {known.nist}"] if known.nist else [])]
        rules.append(
            {
                "id": finding,
                "name": "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", finding)) or "Finding",
                "shortDescription": {"text": finding.replace("-", " ")},
                "help": {"text": f"{names.filled(template(finding).first, ())} More: auditor explain {finding}"},
                "properties": {"tags": ["security", *ids], "security-severity": _SECURITY_SEVERITY[worst[finding]]},
            }
        )
    return rules


def _result(
    result: Result, judgement: Judgement, index: dict[str, int], location: dict[str, Any], item: str, *, counts: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": result.finding,
        "ruleIndex": index[result.finding],
        "level": _level(judgement) if counts else "note",
        "message": {"text": said(result, item)},
        "locations": [location],
        "partialFingerprints": {"auditor/v1": result.fingerprint},
        "properties": {
            "probe": result.probe,
            "arm": result.arm,
            "metric": result.metric,
            "subset": result.subset,
            "access": list(result.access),
            "severity": judgement.severity,
            "severityUpper": judgement.severity_upper,
            "confidence": judgement.confidence,
            "status": judgement.status,
        },
    }
    if judgement.status == "accepted":
        why = " ".join(map(closed, all_of((Accepted,), result, ""))) or "accepted"
        found["suppressions"] = [{"kind": "external", "justification": why}]
    return found


def _level(judgement: Judgement) -> str:
    if judgement.status == "inconclusive":
        return "note"
    return "error" if judgement.severity in ("high", "critical") else "warning"


def _location(audit: Audit) -> dict[str, Any]:
    """The config file that was read, where it lies in the working directory; else the target's name alone."""
    named = {"logicalLocations": [{"name": audit.target.name, "kind": "module"}]}
    path = PurePosixPath(audit.config_file)
    if not audit.config_file or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:|.*\\", str(path)):
        return named
    uri = quote(str(path), safe="/")
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}, **named}


def _version(text: str) -> str:
    """Semantic version, as the schema's field asks for; a foreign word becomes 0.0.0."""
    return text if re.fullmatch(r"\d+\.\d+\.\d+([-+.][0-9A-Za-z.+-]+)?", text) else "0.0.0"
