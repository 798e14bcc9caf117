"""Accepted results: a file that says what is known, by whom, why, and until when.

A baseline accepts a result only while it is unexpired and not worse than what was accepted. It also remembers which
cells had run, so that a probe that silently stops running is noticed.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationError

from auditor.document import Audit, CellRow, Result
from auditor.document.facts import Severity
from auditor.errors import UsageError, expected
from auditor.policy.rules import LONGEST_ACCEPTANCE_DAYS
from auditor.reading.files import first_line, reading
from auditor.records import Model, Number

SCHEMA_VERSION = "2.0"
OPENING = r'\{\s*"accepted":|\{.*"kind":\s*"auditor-baseline"'
"""How a baseline begins, whatever an editor made of its white space."""
_NEXT = 'Write one with "auditor baseline write AUDIT.json --reason … --expires …".'


def _day(value: object) -> object:
    """A day as text, never a number of seconds that happens to be read as one."""
    if not isinstance(value, str | datetime.date):
        raise ValueError("expected a date such as 2027-01-31")
    return value


Day = Annotated[datetime.date, BeforeValidator(_day)]


class Accepted(Model):
    """One accepted result: `what` says for people what the fingerprint stands for; `hi` is the accepted upper bound."""

    fingerprint: str
    id: str
    what: str = ""
    severity: Severity
    hi: Number
    reason: str
    by: str
    created: Day
    expires: Day

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
            hi=_bound(result),
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


def _bound(result: Result) -> float:
    """Up to where a result is accepted: the end of its excess, or the number that was seen where the end is open."""
    seen = [estimate for estimate in (result.excess, result.estimate) if estimate is not None]
    ends = (end for estimate in seen for end in (estimate.hi, estimate.value, estimate.lo) if end is not None)
    return next(ends, 0.0)


def _on(result: Result) -> str:
    return "" if result.arm == "none" else f"on {result.arm}"


def to_bytes(baseline: Baseline) -> bytes:
    """Canonical bytes: sorted keys, one final newline; made to be read in a diff."""
    text = json.dumps(baseline.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def read_baseline(raw: bytes, *, today: datetime.date | None = None) -> Baseline:
    """Reads a baseline file, which somebody may have edited to accept more than he may.

    Args:
        raw: its bytes.
        today: the day (UTC) that no acceptance may come after; None for that of the clock.

    Raises:
        UsageError: not JSON, not ours, another major version, the same fingerprint twice, or an acceptance without a
            reason or a bound, of more than 365 days, or made in the future.
    """
    with reading("the baseline", error=UsageError, expected=f"accepted results. {_NEXT}"):
        baseline = _parsed(raw)
        _check_limits(baseline, today or datetime.datetime.now(datetime.UTC).date())
    return baseline


def _parsed(raw: bytes) -> Baseline:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a readable baseline: {first_line(error)}. {_NEXT}") from None
    if not isinstance(document, dict) or document.get("kind") != "auditor-baseline":
        raise UsageError(f'not a baseline: expected "kind": "auditor-baseline". {_NEXT}')
    version = str(document.get("schema_version"))[:20]
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(
            f"the baseline has schema {version}, this auditor reads {SCHEMA_VERSION.partition('.')[0]}.x. {_NEXT}"
        )
    try:
        baseline = Baseline.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise UsageError(f"not a valid baseline: {place}: {expected(first)}. {_NEXT}") from None
    return baseline


def _check_limits(baseline: Baseline, today: datetime.date) -> None:
    """Raises UsageError for an acceptance that `auditor baseline write` would not have written."""
    if not baseline.cells:
        raise UsageError(f"the baseline names no cell that had run; expected those of its audit. {_NEXT}")
    seen: set[str] = set()
    for entry in baseline.accepted:
        what = f"the baseline accepts {entry.id} ({entry.fingerprint[:12]})"
        if entry.fingerprint in seen:
            raise UsageError(f"{what} twice; keep one of the two.")
        seen.add(entry.fingerprint)
        if not entry.reason.strip():
            raise UsageError(f"{what} without a reason; expected one, such as a ticket. {_NEXT}")
        if entry.hi is None:
            raise UsageError(f"{what} without an upper bound hi; expected a finite number. {_NEXT}")
        if entry.created > today:
            raise UsageError(f"{what} since {entry.created}; expected a day up to today, {today}. {_NEXT}")
        days = (entry.expires - entry.created).days
        if not 0 <= days <= LONGEST_ACCEPTANCE_DAYS:
            raise UsageError(
                f"{what} from {entry.created} to {entry.expires}, {days} days; expected 0 to "
                f"{LONGEST_ACCEPTANCE_DAYS}, so that somebody looks again. {_NEXT}"
            )
