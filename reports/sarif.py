"""SARIF 2.1.0 for code scanning: a rule per finding id, a result per finding that does not pass.

Source: OASIS SARIF 2.1.0. `security-severity` and the level are what GitHub code scanning sorts by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from auditor.audit import Audit, Finding
from auditor.taxonomy import taxon
from reports import rows as read
from reports.rows import SEVERITIES, Reading, Row

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SECURITY_SEVERITY = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "none": "0.0"}


class SarifReport:
    """One run; `error` for a fail of high or critical severity, `warning` for another, `note` for inconclusive."""

    id = "sarif"
    filename = "audit.sarif"

    def render(self, audit: Audit) -> str:
        """The log as JSON with sorted keys."""
        reading = Reading.of(audit)
        safe = reading.audit
        rows = [row for row in reading.judged if row.status != "pass"]
        rules = _rules(rows)
        index = {rule["id"]: i for i, rule in enumerate(rules)}
        location = _location(safe)
        run = {
            "tool": {
                "driver": {
                    "name": safe.tool.get("name", "auditor"),
                    "semanticVersion": _version(safe.tool.get("version", "")),
                    "rules": rules,
                }
            },
            "invocations": [
                {
                    "executionSuccessful": safe.verdict.exit_code in (0, 1),
                    "exitCode": safe.verdict.exit_code,
                    "toolExecutionNotifications": [
                        {
                            "level": "note" if gap.status == "skipped" else "error",
                            "message": {"text": f"{gap.probe}: {gap.status}: {gap.reason}"},
                        }
                        for gap in read.gaps(safe)
                    ],
                }
            ],
            "results": [_result(row, index, location) for row in rows],
            "columnKind": "unicodeCodePoints",
            "properties": {
                "target": safe.target.name,
                "targetDigest": safe.target.digest,
                "verdict": safe.verdict.status,
            },
        }
        log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
        return json.dumps(log, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _rules(rows: Sequence[Row]) -> list[dict[str, Any]]:
    worst: dict[str, str] = {}
    for row in rows:
        if row.finding is not None:
            before = worst.get(row.finding_id, "none")
            worst[row.finding_id] = max(before, row.finding.severity, key=SEVERITIES.index)
    rules = []
    for finding_id in sorted(worst):
        known = taxon(finding_id)
        ids = [*known.ids, *([f"NIST AI 100-2: {known.nist}"] if known.nist else [])]
        help_text = " ".join(filter(None, (known.advice, f"More: auditor explain {finding_id}")))
        rules.append(
            {
                "id": finding_id,
                "name": "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", finding_id)) or "Finding",
                "shortDescription": {"text": finding_id.replace("-", " ")},
                "help": {"text": help_text},
                "properties": {"tags": ["security", *ids], "security-severity": _SECURITY_SEVERITY[worst[finding_id]]},
            }
        )
    return rules


def _result(row: Row, index: dict[str, int], location: dict[str, Any]) -> dict[str, Any]:
    finding = row.finding
    assert finding is not None  # judged rows only
    result: dict[str, Any] = {
        "ruleId": row.finding_id,
        "ruleIndex": index[row.finding_id],
        "level": _level(finding),
        "message": {"text": read.sentence(row)},
        "locations": [location],
        "partialFingerprints": {"auditor/v1": finding.fingerprint},
        "properties": {
            "probe": row.probe,
            "defense": row.defense,
            "measurement": row.measurement,
            "subset": row.subset,
            "access": list(row.access),
            "severity": finding.severity,
            "severityUpper": finding.severity_upper,
            "confidence": finding.confidence,
            "status": finding.status,
        },
    }
    if finding.status == "accepted":
        result["suppressions"] = [{"kind": "external", "justification": finding.accepted_by or "accepted"}]
    return result


def _level(finding: Finding) -> str:
    if finding.status == "inconclusive":
        return "note"
    return "error" if finding.severity in ("high", "critical") else "warning"


def _location(audit: Audit) -> dict[str, Any]:
    """The description of the target, as named on the command line; its base name when the path leaves the folder."""
    named = audit.argv[1] if len(audit.argv) > 1 and audit.argv[0] in ("run", "check") else ""
    path = PurePosixPath(named.replace("\\", "/"))
    if not named or named.startswith("-"):
        path = PurePosixPath("target.toml")
    elif not path.suffix:
        path = path / "target.toml"
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", named):
        path = PurePosixPath(path.name)
    return {
        "physicalLocation": {"artifactLocation": {"uri": quote(str(path), safe="/")}, "region": {"startLine": 1}},
        "logicalLocations": [{"name": audit.target.name, "kind": "module"}],
    }


def _version(text: str) -> str:
    """Semantic version, as the schema's field asks for; a foreign word becomes 0.0.0."""
    return text if re.fullmatch(r"\d+\.\d+\.\d+([-+.][0-9A-Za-z.+-]+)?", text) else "0.0.0"
