"""Accepted results: a file that says what is known, by whom, why, and until when.

A baseline accepts a result only while it is unexpired and not worse than what was accepted. It also remembers which
cells had run, so that a probe that silently stops running is noticed.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from pydantic import ValidationError

from auditor.document import Audit, CellRow, Result
from auditor.document.facts import Severity
from auditor.errors import UsageError
from auditor.records import Model, Number

SCHEMA_VERSION = "2.0"
_NEXT = 'Write one with "auditor baseline write AUDIT.json --reason … --expires …".'


class Accepted(Model):
    """One accepted result: `what` says for people what the fingerprint stands for; `hi` is the accepted upper bound.

    `hi` is None where the accepted excess was open above.
    """

    fingerprint: str
    id: str
    what: str = ""
    severity: Severity
    hi: Number
    reason: str
    by: str
    created: datetime.date
    expires: datetime.date

    def valid_on(self, day: datetime.date) -> bool:
        """Whether the acceptance still stands; the day of expiry itself still counts."""
        return day <= self.expires


class BaselineCell(Model):
    """A (target, arm, probe) that had run when the baseline was written."""

    target: str
    arm: str
    probe: str


class Baseline(Model):
    """The file `auditor-baseline.json`."""

    kind: Literal["auditor-baseline"] = "auditor-baseline"
    schema_version: str = SCHEMA_VERSION
    policy: str
    fail_on: str
    accepted: tuple[Accepted, ...]
    cells: tuple[BaselineCell, ...]

    def find(self, fingerprint: str) -> Accepted | None:
        """The acceptance of a finding, expired or not."""
        return self._by_fingerprint.get(fingerprint)

    @cached_property
    def _by_fingerprint(self) -> dict[str, Accepted]:
        return {entry.fingerprint: entry for entry in reversed(self.accepted)}

    def lost(self, cells: Iterable[CellRow], target: str) -> tuple[BaselineCell, ...]:
        """Cells of `target` that the baseline has and that did not finish here."""
        finished = {(cell.arm, cell.probe) for cell in cells if cell.status == "ok"}
        return tuple(c for c in self.cells if c.target == target and (c.arm, c.probe) not in finished)


def accept(
    audit: Audit,
    results: Iterable[Result],
    *,
    reason: str,
    by: str,
    created: datetime.date,
    expires: datetime.date,
) -> Baseline:
    """A baseline that accepts `results` of a judged audit and remembers its finished cells."""
    accepted = [
        Accepted(
            fingerprint=result.fingerprint,
            id=result.finding,
            what=" ".join(filter(None, (result.probe, result.metric, result.subset, _on(result)))),
            severity=result.judgement.severity,
            hi=None if result.excess is None else result.excess.hi,
            reason=reason,
            by=by,
            created=created,
            expires=expires,
        )
        for result in results
        if result.judgement is not None
    ]
    ran = dict.fromkeys((cell.arm, cell.probe) for cell in audit.cells if cell.status == "ok")
    cells = tuple(BaselineCell(target=audit.target.name, arm=arm, probe=probe) for arm, probe in ran)
    return Baseline(policy=audit.verdict.policy, fail_on=audit.verdict.fail_on, accepted=tuple(accepted), cells=cells)


def _on(result: Result) -> str:
    return "" if result.arm == "none" else f"on {result.arm}"


def to_bytes(baseline: Baseline) -> bytes:
    """Canonical bytes: sorted keys, one final newline; made to be read in a diff."""
    text = json.dumps(baseline.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def read_baseline(raw: bytes) -> Baseline:
    """Reads a baseline file.

    Raises:
        UsageError: not JSON, not ours, another major version, or the same fingerprint twice.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a readable baseline: {error}. {_NEXT}") from None
    if not isinstance(document, dict) or document.get("kind") != "auditor-baseline":
        raise UsageError(f'not a baseline: expected "kind": "auditor-baseline". {_NEXT}')
    version = str(document.get("schema_version"))
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(
            f"the baseline has schema {version}, this auditor reads {SCHEMA_VERSION.partition('.')[0]}.x. {_NEXT}"
        )
    try:
        baseline = Baseline.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise UsageError(f"not a valid baseline: {place}: {first['msg']}. {_NEXT}") from None
    seen: set[str] = set()
    for entry in baseline.accepted:
        if entry.fingerprint in seen:
            raise UsageError(f"the baseline accepts {entry.id} ({entry.fingerprint[:12]}) twice; keep one of the two.")
        seen.add(entry.fingerprint)
    return baseline
