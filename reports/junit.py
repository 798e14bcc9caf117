"""JUnit XML: one suite per family, one case per judged finding, so that a forge shows an audit among its tests."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from auditor.audit import Audit
from reports import rows as read
from reports.rows import Gap, Reading, Row
from reports.words import TITLES, band, measured


class JunitReport:
    """fail → failure; error and timeout → error; inconclusive and skipped → skipped; accepted → a passing case."""

    id = "junit"
    filename = "audit.junit.xml"

    def render(self, audit: Audit) -> str:
        """The XML document; characters that XML forbids were removed with the other control characters."""
        reading = Reading.of(audit)
        safe = reading.audit
        root = ET.Element("testsuites", name=f"auditor {safe.target.name}")
        totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        every_gap = read.gaps(safe)
        seconds = {cell.key: cell.seconds for cell in safe.cells}
        for family in read.families(safe):
            rows = reading.judged_in(family)
            missing = [gap for gap in every_gap if gap.family == family]
            if not rows and not missing:
                continue
            suite = ET.SubElement(root, "testsuite", name=TITLES.get(family, family))
            for row in rows:
                suite.append(_case(row, _spent(row, seconds)))
            for gap in missing:
                suite.append(_gap(gap))
            counts = {
                "tests": len(suite),
                "failures": len(suite.findall("testcase/failure")),
                "errors": len(suite.findall("testcase/error")),
                "skipped": len(suite.findall("testcase/skipped")),
            }
            for name, count in counts.items():
                suite.set(name, str(count))
                totals[name] += count
        for name, total in totals.items():
            root.set(name, str(total))
        ET.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(row: Row, seconds: float) -> ET.Element:
    name = f"{row.finding_id} {measured(row.measurement, row.subset)}"
    case = ET.Element("testcase", classname=row.source, name=name, time=f"{seconds:.3f}")
    finding = row.finding
    if finding is None:
        return case
    kind = band(finding.severity, finding.severity_upper)
    if finding.status == "accepted":
        properties = ET.SubElement(case, "properties")
        ET.SubElement(properties, "property", name="accepted_by", value=finding.accepted_by or "")
    elif finding.status == "fail":
        ET.SubElement(case, "failure", type=kind, message=f"{kind}: {row.finding_id}").text = read.sentence(row)
    elif finding.status == "inconclusive":
        ET.SubElement(case, "skipped", message=f"inconclusive: {read.sentence(row)}")
    if finding.status in ("pass", "accepted"):
        ET.SubElement(case, "system-out").text = read.sentence(row)
    return case


def _gap(gap: Gap) -> ET.Element:
    case = ET.Element("testcase", classname=gap.probe, name=f"{gap.probe} gave a result", time="0.000")
    if gap.status == "skipped":
        ET.SubElement(case, "skipped", message=gap.reason)
    else:
        ET.SubElement(case, "error", type=gap.status, message=f"{gap.status}: {gap.reason}")
    return case


def _spent(row: Row, seconds: dict[str, float]) -> float:
    """Seconds of the cells behind a row; each cell counts for the first row that rests on it."""
    return sum(seconds.pop(key, 0.0) for key in (row.finding.cells if row.finding else ()))
