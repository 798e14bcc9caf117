"""CycloneDX 1.6: a bill of materials with the model, its weights' hash, and a model card of what the audit measured.

The library builds the document; its model has no model card yet, so that this part is plain data, and the whole is
checked against the official schema in the tests. Only numbers that count are metrics: judged, settled, resting on no
failed check, and with both ends of an interval. What is open or untested is among the limitations, as such.

Source: OWASP CycloneDX 1.6 (ECMA-424), `modelCard`.
"""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from auditor.document import Audit, Estimate, Result
from auditor.document.facts import Group
from auditor.errors import ConfigError
from auditor.registry import taxon
from reports import views
from reports.neutral import neutral
from reports.sentences import names, verdict
from reports.sentences.compose import ACCEPTED, OVER, SEEN, said, word
from reports.sentences.dossier import unasked
from reports.sentences.numbers import closed
from reports.sentences.templates import first

_PROPERTY = "gnn-auditor"
"""Namespace of the properties that are ours."""
_FOUND = (OVER, SEEN, ACCEPTED)


class CyclonedxReport:
    """One `machine-learning-model` component with a model card; the same audit gives the same bytes.

    Raises:
        ConfigError: cyclonedx-python-lib is not installed.
    """

    id = "cyclonedx"
    filename = "audit.cdx.json"
    opening = r'\{\s*"\$schema": "http://cyclonedx.org/.*"bom-ref": "model-'

    def __init__(self) -> None:
        if importlib.util.find_spec("cyclonedx") is None:
            raise ConfigError(
                "the format cyclonedx needs cyclonedx-python-lib, which is not installed. "
                "Run: pip install cyclonedx-python-lib, or leave the format out."
            )

    def render(self, audit: Audit) -> str:
        """The document as JSON with sorted keys."""
        safe = neutral(audit)
        document = _bill(safe)
        document["components"][0]["modelCard"] = _card(safe)
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _bill(audit: Audit) -> dict[str, Any]:
    """Everything but the model card, as the library writes it."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    row, weights = audit.target, audit.target.provenance.get("sha256")
    model = Component(
        name=row.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model-{row.digest}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=weights)] if _is_sha256(weights) else (),
        properties=[Property(name=f"{_PROPERTY}:{name}", value=value) for name, value in _properties(audit).items()],
    )
    tool = Component(
        name=audit.tool.get("name", _PROPERTY), version=audit.tool.get("version"), type=ComponentType.APPLICATION
    )
    # Neither the clock nor chance: a bill of the same document is the same bill.
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, audit.digest), components=[model])
    bom.metadata.tools.components.add(tool)
    started = _moment(audit.started)
    if started is not None:
        bom.metadata.timestamp = started
    document: dict[str, Any] = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    if started is None:
        del document["metadata"]["timestamp"]
    return document


def _properties(audit: Audit) -> dict[str, str]:
    row, made = audit.target, audit.target.provenance
    found = {
        "target-digest": row.digest,
        "weights-file": made.get("file", ""),
        "document-digest": audit.digest,
        "verdict": audit.verdict.status,
        "policy": verdict.policy(audit),
        "profile": audit.profile,
        "seeds": ", ".join(map(str, audit.seeds)),
        "split": row.split.get("spec", ""),
        "defense": row.defense,
    }
    return {name: str(value) for name, value in found.items() if value}


def _card(audit: Audit) -> dict[str, Any]:
    parameters: dict[str, Any] = {"task": f"{audit.target.task.level} classification"}
    data = audit.target.provenance.get("data")
    if isinstance(data, Mapping) and data.get("name"):
        dataset: dict[str, Any] = {"type": "dataset", "name": str(data["name"])}
        if data.get("digest"):
            digest = {"name": f"{_PROPERTY}:digest", "value": str(data["digest"])}
            dataset["contents"] = {"properties": [digest]}
        parameters["datasets"] = [dataset]
    card: dict[str, Any] = {"modelParameters": parameters}
    if metrics := list(_metrics(audit)):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    considerations = {
        "technicalLimitations": list(dict.fromkeys(_limitations(audit))),
        "ethicalConsiderations": [
            {"name": said(result, views.item(audit)), "mitigationStrategy": first(result)}
            for result in _found(audit)
            if taxon(result.finding).tells_of_data
        ],
    }
    if told := {name: entries for name, entries in considerations.items() if entries}:
        card["considerations"] = told
    return card


def _metrics(audit: Audit) -> Iterator[dict[str, Any]]:
    """Each number, its control, and the difference that was judged."""
    clean = audit.target.clean
    if clean is not None and _is_closed(clean):
        yield _metric("accuracy on test items", "", clean)
    for result in views.undefended(audit):
        if not views.is_settled(result) or not _is_closed(result.own):
            continue
        what, part = f"{names.metric(result.metric)}, {views.source(result)}", _slice(result)
        yield _metric(what, part, result.own)
        control = result.control
        if control is not None and _is_closed(control.estimate):
            yield _metric(f"{what}, control: {names.control(control.name)}", part, control.estimate)
        if result.excess is not None and _is_closed(result.excess):
            yield _metric(f"{what}, beyond the control (above 0 is worse)", part, result.excess)


def _metric(what: str, part: str, estimate: Estimate) -> dict[str, Any]:
    value, lo, hi = (f"{end:.6g}" for end in (estimate.value, estimate.lo, estimate.hi))  # more than any is worth
    found = {"type": what, "value": value, "confidenceInterval": {"lowerBound": lo, "upperBound": hi}}
    return {**found, "slice": part} if part else found


def _slice(result: Result) -> str:
    facts = result.facts
    return names.group(facts.cut_by, facts.group) if isinstance(facts, Group) else result.subset


def _limitations(audit: Audit) -> Iterator[str]:
    """What was found that is not about the training data, what is open, what was not tested, what did not pass."""
    item = views.item(audit)
    yield from (said(result, item) for result in _found(audit) if not taxon(result.finding).tells_of_data)
    for result in views.undefended(audit):
        if not views.is_settled(result):
            yield f"{word(result).capitalize()}, no metric here: {said(result, item)}"
    for each in views.listed_missing(audit):
        yield closed(f"not tested: {each.source} {names.CELLS[each.status]}: {each.reason}")
    for answer in views.answers(audit):
        if not answer.asked:
            yield closed(f"not tested: {answer.title}: {answer.text}")
    yield from unasked(audit)
    for row in views.checks(audit):
        if row.status in ("fail", "warn"):
            yield closed(f"check {names.CHECKS[row.status]}: {row.id}: {row.evidence}")
    yield from verdict.further(audit)


def _found(audit: Audit) -> list[Result]:
    """Results that something was found in and that count."""
    return [result for result in views.undefended(audit) if views.is_settled(result) and word(result) in _FOUND]


def _is_closed(estimate: Estimate) -> bool:
    return None not in (estimate.value, estimate.lo, estimate.hi)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(sign in "0123456789abcdef" for sign in value)


def _moment(iso: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(iso or "")
    except ValueError:
        return None
