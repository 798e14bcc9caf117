"""The audit document: one JSON file with a published schema; every report is a rendering of it.

Frozen pydantic models, canonical bytes: UTF-8, sorted keys, shortest floats, no NaN. `canonical()` drops what a rerun
may change (times, memory, host, argv), so that equal runs have equal canonical bytes.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from auditor.errors import UsageError
from auditor.guarantee import Guarantee
from auditor.record import Model, Number

SCHEMA_VERSION = "1.0"
MAX_BYTES = 200 * 1024 * 1024
MAX_DEPTH = 100

Status = Literal["pass", "fail", "inconclusive", "accepted"]
Severity = Literal["none", "low", "medium", "high", "critical"]
Confidence = Literal["low", "medium", "high"]
Scale = Literal["auc", "tpr", "accuracy", "gap", "calibration", "claim", "artifact", "other"]


class Interval(Model):
    """A 95 % interval; `null` at an open end."""

    lo: Number = None
    hi: Number = None

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.lo is not None and self.hi is not None and self.lo > self.hi:
            raise ValueError(f"interval is reversed: [{self.lo}, {self.hi}]")
        return self


class Control(Model):
    """What the same adversary, shift or defence reaches without the thing under test."""

    name: str
    value: Number
    ci: Interval | None = None


class Advantage(Model):
    """Paired difference to the control, signed so that positive = worse for the model's owner."""

    value: Number
    ci: Interval


class Limit(Model):
    """A named limit (`max_gap_pt`) that replaces the severity band as the gate's threshold; a fraction."""

    name: str
    value: float


class Measurement(Model):
    """One number beside its control, with intervals.

    `controls` are all that ran; `control` is the strongest, which `advantage` is against. `text` is one sentence for
    people, in the order what, by whom, how much beyond the control.
    """

    name: str
    subset: str = ""
    finding: str
    value: Number
    ci: Interval | None
    control: Control | None
    controls: tuple[Control, ...] = ()
    advantage: Advantage | None
    n: int
    direction: Literal["higher_is_worse", "lower_is_worse"]
    scale: Scale
    limit: Limit | None = None
    p_adjusted: Number = None
    primary: bool = False
    text: str = ""
    notes: dict[str, Any] = Field(default_factory=dict)


class Curve(Model):
    """One line of a chart: points x, y, and a band lo, hi where there is one."""

    name: str
    role: Literal["value", "control", "reference", "worst"] = "value"
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    lo: tuple[Number, ...] = ()
    hi: tuple[Number, ...] = ()
    labels: tuple[str, ...] = ()


class Series(Model):
    """The data of one chart; reports draw it, nothing is computed there."""

    id: str
    kind: Literal["roc", "budget", "strata", "reliability", "severity"]
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


class Artifact(Model):
    """A file written beside the audit, path relative to it."""

    path: str
    sha256: str
    kind: str


class ValidityRow(Model):
    """Whether the audit could be trusted here. `touches`: families or `all`."""

    id: str
    kind: Literal["integrity", "strength", "warning"]
    status: Literal["pass", "warn", "fail", "not_checked"]
    evidence: str
    touches: tuple[str, ...] = ("all",)


class CellRow(Model):
    """One (target, defence, probe, seed), with everything that came out of it."""

    key: str
    probe: str
    family: str
    defense: str = "none"
    seed: int
    status: Literal["ok", "skipped", "error", "timeout"]
    reason: str = ""
    seconds: float = 0.0
    peak_rss_mb: float | None = None
    access: tuple[str, ...] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    series: tuple[Series, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    validity: tuple[ValidityRow, ...] = ()
    guarantee: Guarantee | None = None


class Finding(Model):
    """A measurement, joined over seeds, judged by the policy."""

    id: str
    fingerprint: str
    status: Status
    severity: Severity
    severity_upper: Severity
    confidence: Confidence
    reason: str
    probe: str
    defense: str = "none"
    measurement: str
    subset: str = ""
    scale: Scale = "other"
    cells: tuple[str, ...]
    value: Number
    ci: Interval | None
    control: Control | None
    advantage: Advantage | None
    threshold: Number = None
    ids: tuple[str, ...] = ()
    access: tuple[str, ...] = ()
    untrusted: bool = False
    accepted_by: str | None = None


class TargetRow(Model):
    """What was audited; `defense` is the spec of what defended it before it came here."""

    name: str
    task: Literal["node", "graph"]
    kind: str
    digest: str
    capabilities: tuple[str, ...]
    nodes: int
    edges: int
    graphs: int
    features: int
    classes: int
    defense: str = "none"
    split: dict[str, Any] = Field(default_factory=dict)
    clean: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)


class Coverage(Model):
    """How much of the plan was carried out; `missing` names probe and reason."""

    planned: int
    ok: int
    skipped: int
    error: int
    timeout: int
    missing: tuple[str, ...] = ()


class Verdict(Model):
    """The one line at the end."""

    status: Literal["PASSED", "FAILED", "INCOMPLETE"]
    exit_code: int
    fail_on: str
    policy: str = "standard"
    counts: dict[str, int] = Field(default_factory=dict)
    lines: tuple[str, ...] = ()


class Difference(Model):
    """A paired difference of a defence to another arm, over seeds: value - other, in the measurement's own units.

    `ci` is Student's t interval over seeds; null with one seed. Where both arms come from one trained model, seeds are
    no new trainings: there it is the paired interval over test items. `judged` is false where a difference holds more
    than the defence's own idea and is printed alone.
    """

    to: str
    value: Number
    ci: Interval | None = None
    judged: bool = True


class MatrixEntry(Model):
    """One headline number of one defence, joined over seeds."""

    family: str
    name: str
    subset: str = ""
    better: Literal["higher", "lower"]
    value: Number
    ci: Interval | None = None
    differences: tuple[Difference, ...] = ()
    per_seed: tuple[Number, ...] = ()


class MatrixRow(Model):
    """One defence, or a control that a defence brought along (`control_of`)."""

    defense: str
    control_of: str = ""
    entries: tuple[MatrixEntry, ...] = ()
    seconds: float | None = None
    pareto: bool = False
    guarantee: Guarantee | None = None
    notes: dict[str, Any] = Field(default_factory=dict)
    words: tuple[str, ...] = ()
    reason: str = ""


class Matrix(Model):
    """The comparison of a target undefended and under each defence; `left_out` is what this profile did not measure."""

    rows: tuple[MatrixRow, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...] = ()


class Audit(Model):
    """The whole document."""

    schema_version: str = SCHEMA_VERSION
    tool: dict[str, str]
    environment: dict[str, Any]
    seeds: tuple[int, ...]
    profile: str
    config: dict[str, Any]
    argv: tuple[str, ...] = ()
    started: str | None = None
    seconds: float | None = None
    target: TargetRow
    validity: tuple[ValidityRow, ...]
    cells: tuple[CellRow, ...]
    findings: tuple[Finding, ...]
    matrix: Matrix | None = None
    coverage: Coverage
    verdict: Verdict

    @model_validator(mode="after")
    def _findings_have_cells(self) -> Audit:
        keys = {cell.key for cell in self.cells}
        for finding in self.findings:
            if not finding.cells or not set(finding.cells) <= keys:
                raise ValueError(f"finding {finding.id} refers to a cell that is not in the document")
        return self


VOLATILE = {"seconds", "peak_rss_mb", "started", "argv", "host"}


def to_bytes(audit: Audit) -> bytes:
    """Canonical bytes of the whole document: sorted keys, one final newline."""
    return _dump(audit.model_dump(mode="json"))


def canonical(audit: Audit) -> bytes:
    """The bytes that an equal run must reproduce: times, memory, argv and host left out."""
    return _dump(_without_volatile(audit.model_dump(mode="json")))


def from_bytes(raw: bytes) -> Audit:
    """Reads a document somebody else may have written.

    Raises:
        UsageError: too large, not JSON, too deep, NaN, duplicate keys, another major version, or not our schema.
    """
    if len(raw) > MAX_BYTES:
        raise UsageError(f"the audit document has {len(raw)} bytes; expected at most {MAX_BYTES}. Is it an audit.json?")
    try:
        document = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"not a readable audit document: {error}. Give the audit.json that auditor run wrote."
        ) from None
    if not isinstance(document, dict) or "schema_version" not in document:
        raise UsageError(
            "not an audit document: schema_version is missing. Give the audit.json that auditor run wrote."
        )
    if _depth(document) > MAX_DEPTH:
        raise UsageError(f"the audit document is nested deeper than {MAX_DEPTH}; auditor writes no such file.")
    version = str(document["schema_version"])
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(f"the document has schema {version}, this auditor reads {SCHEMA_VERSION.partition('.')[0]}.x.")
    if version != SCHEMA_VERSION:
        document = _drop_unknown(document, Audit)
    try:
        return Audit.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise UsageError(
            f"not a valid audit document: {place}: {first['msg']} ({error.error_count()} problems)."
        ) from None


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of the document."""
    return Audit.model_json_schema()


def _dump(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _without_volatile(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_volatile(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [_without_volatile(item) for item in value]
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _depth(value: object) -> int:
    """Nesting depth, without recursion: the document may be hostile."""
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, level = todo.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            break
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        todo.extend((child, level + 1) for child in children)
    return deepest


def _drop_unknown(value: Any, kind: Any) -> Any:
    """A later minor's document without the fields this version does not know."""
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Model):
        known = kind.model_fields
        return {k: _drop_unknown(v, _inner(known[k].annotation)) for k, v in value.items() if k in known}
    if isinstance(value, list):
        return [_drop_unknown(item, kind) for item in value]
    return value


def _inner(annotation: Any) -> Any:
    """The model class inside `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _inner(part)
        if isinstance(found, type) and issubclass(found, Model):
            return found
    return None
