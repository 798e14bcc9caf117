"""JUnit XML: one suite per family, one case per judged result, so that a forge shows an audit among its tests.

Valid by the schema of Jenkins' xUnit plugin, which skips a file that is not: no `skipped` on the root, and properties
of suites alone.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from auditor.document import Audit, Result
from auditor.document.codes import Accepted
from reports import views
from reports.neutral import neutral
from reports.sentences import names
from reports.sentences.codes import all_of
from reports.sentences.compose import said, word
from reports.views import Missing

_COUNTED = {
    "tests": "testcase",
    "failures": "testcase/failure",
    "errors": "testcase/error",
    "skipped": "testcase/skipped",
}


class JunitReport:
    """Over the limit → failure; broke off → error; not settled, does not apply → skipped; accepted → a passing case.

    On a control of a comparison over the limit → skipped: it decides nothing.
    """

    id = "junit"
    filename = "audit.junit.xml"
    opening = r'<\?xml[^\n]*\n<testsuites name="auditor '

    def render(self, audit: Audit) -> str:
        """The XML document; characters that XML forbids were removed with the other control characters."""
        safe = neutral(audit)
        root = ET.Element("testsuites", name=f"auditor {safe.target.name}")
        totals = dict.fromkeys(("tests", "failures", "errors"), 0)
        seconds = {cell.key: cell.seconds for cell in safe.cells}
        for family in views.families(safe):
            results = views.of_family(views.judged(safe), family)
            missing = [each for each in views.missing(safe) if each.family == family]
            if not results and not missing:
                continue
            suite = ET.SubElement(root, "testsuite", name=names.TITLES.get(family, family))
            _accepted(suite, results)
            for result in results:
                counts = not views.is_control(safe, result)
                suite.append(_case(result, views.item(safe), _spent(result, seconds), counts=counts))
            for each in missing:
                suite.append(_missing(each))
            for name, path in _COUNTED.items():
                found = len(suite.findall(path))
                suite.set(name, str(found))
                if name in totals:
                    totals[name] += found
        for name, total in totals.items():
            root.set(name, str(total))
        ET.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _accepted(suite: ET.Element, results: list[Result]) -> None:
    """What was accepted, by whom and until when, as properties of the suite."""
    found = [(result, why) for result in results for why in all_of((Accepted,), result, "")]
    properties = ET.SubElement(suite, "properties") if found else None
    if properties is not None:
        for result, why in found:
            ET.SubElement(properties, "property", name=_name(result), value=why)


def _case(result: Result, item: str, seconds: float, *, counts: bool) -> ET.Element:
    case = ET.Element("testcase", classname=views.source(result), name=_name(result), time=f"{seconds:.3f}")
    judgement = result.judgement
    assert judgement is not None  # judged results only
    text = said(result, item)
    if judgement.status == "fail" and not counts:
        ET.SubElement(case, "skipped", message=f"{word(result)}, on a control: {text}")
    elif judgement.status == "fail":
        kind = names.band(judgement.severity, judgement.severity_upper)
        ET.SubElement(case, "failure", type=kind, message=f"{word(result)}: {result.finding}").text = text
    elif judgement.status == "inconclusive":
        ET.SubElement(case, "skipped", message=f"{word(result)}: {text}")
    else:
        ET.SubElement(case, "system-out").text = text
    return case


def _name(result: Result) -> str:
    return f"{result.finding} {names.measured(result)}"


def _missing(each: Missing) -> ET.Element:
    case = ET.Element("testcase", classname=each.source, name=f"{each.source} gave a result", time="0.000")
    if each.status == "skipped":
        ET.SubElement(case, "skipped", message=f"{names.CELLS[each.status]}: {each.reason}")
    else:
        ET.SubElement(case, "error", type=each.status, message=f"{names.CELLS[each.status]}: {each.reason}")
    return case


def _spent(result: Result, seconds: dict[str, float]) -> float:
    """Seconds of the cells behind a result; each cell counts for the first result that rests on it."""
    return sum(seconds.pop(key, 0.0) for key in result.cells)
