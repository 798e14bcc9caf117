"""What the tests ask of a text: its visible part, the numbers in it, and whether a document holds them."""

from __future__ import annotations

import datetime
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from auditor import registry
from auditor.document import Audit
from tests.reports.compared import AUDITS

FORBIDDEN = re.compile(
    r"\b(secure|safe|private|protected|anonymous|verified|leak[- ]free|no risk|advantage|pt|pp)\b", re.IGNORECASE
)
SIGN = re.compile(r"(?<![\w.,)\]’'\-−+])[+−-]\d")
ONE_OF_SEVERAL = re.compile(r"(?<![\d.,:\w])1 (\w+s)\b")
SINGULAR = {"is", "was", "has", "does", "class", "less", "as", "this", "always", "loss", "warns"}
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])")
IDS = {
    *registry.findings(),
    *(id_ for id_ in registry.probes() if "-" in id_),
    *(id_ for id_ in registry.entries("attacks") if "-" in id_),
    "graphmi", "robust_accuracy", "worst_group_accuracy", "msp_auroc", "max_gap_pt", "max_overconfidence_pt",
    "over_confidence", "under_confidence", "tpr@",
}  # fmt: skip
"""Ids of findings, probes, attacks, metrics and options: none may stand in a sentence about a result."""


@cache
def rendered(name: str, audit: str) -> str:
    """A hand-made audit in a format, once a session: charts take seconds."""
    return fresh(name, AUDITS[audit]())


def fresh(name: str, audit: Audit) -> str:
    """An audit in a format."""
    content = registry.find("reports", name).load()().render(audit)
    return content.decode() if isinstance(content, bytes) else str(content)


def visible(name: str, content: str) -> str:
    """What people read of a rendered report: no style, no chart axes, no config, no markup."""
    if name in ("html", "dossier-html"):
        content = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<pre>.*?</pre>|<meta[^>]*>", " ", content, flags=re.S)
        return re.sub(r"<[^>]+>", " ", content)
    if name == "sarif":
        run = json.loads(content)["runs"][0]
        texts = [result["message"]["text"] for result in run["results"]]
        texts += [rule["help"]["text"] for rule in run["tool"]["driver"]["rules"]]
        return "\n".join(texts)
    if name == "cyclonedx":
        told = json.loads(content)["components"][0]["modelCard"].get("considerations", {})
        risks = [text for risk in told.get("ethicalConsiderations", ()) for text in risk.values()]
        return "\n".join([*told.get("technicalLimitations", ()), *risks])
    if name == "junit":
        elements = list(ET.fromstring(content).iter())
        told = [value for each in elements for key, value in each.attrib.items() if key in ("message", "value")]
        return "\n".join([*told, *(each.text or "" for each in elements)])
    return re.sub(r"\\(.)", r"\1", content) if name in ("markdown", "dossier") else content


def plurals(text: str) -> list[str]:
    """Counts of one that are followed by a plural."""
    return [found[0] for found in ONE_OF_SEVERAL.finditer(text) if found[1] not in SINGULAR]


def numbers(text: str) -> list[str]:
    """Every number of a text, as it is written."""
    return NUMBER.findall(text)


def unknown(text: str, document: BaseModel) -> list[str]:
    """Numbers of a sentence that the document lacks, whatever their unit: as they are, in 100, as a count."""
    known = set(_leaves(document.model_dump()))
    counts = {value for value in known if float(value).is_integer() and 1 < value <= 100_000} | {10, 100, 1000, 10_000}
    shown = known | {value * by for value in known for by in counts if abs(value) <= 10 and by <= 10_000}
    shown |= {a / b for a in counts for b in counts} | counts
    return [number for number in numbers(text) if not _is_among(number, shown)]


def _is_among(number: str, shown: set[float]) -> bool:
    _, _, places = number.partition(".")
    value, room = float(number.replace(",", "")), 0.5 * 10.0 ** -len(places) + 1e-9
    return any(abs(abs(each) - value) <= room for each in shown)


def _leaves(value: Any) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, datetime.date):
        yield from (float(value.day), float(value.year))
    elif isinstance(value, str):
        yield from (float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        yield float(len(value))
        for item in value:
            yield from _leaves(item)


def caveats(audit: Audit) -> list[str]:
    """Texts of guarantees: they are about data, not about a result."""
    given = [audit.target.guarantee, *(arm.guarantee for arm in (audit.comparison.arms if audit.comparison else ()))]
    return [caveat for guarantee in given if guarantee is not None for caveat in guarantee.caveats]
