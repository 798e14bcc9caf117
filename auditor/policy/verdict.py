"""Coverage and the verdict: one status, one exit code, and the lines that say why (reports spec 3.4)."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Sequence

from auditor.audit import CellRow, Coverage, Finding, Verdict
from auditor.baseline import Baseline
from auditor.policy.judge import gates
from auditor.policy.rules import Policy


def coverage_of(cells: Sequence[CellRow], planned: int) -> Coverage:
    """How many of the planned cells ended how; `missing` names probe, seed and reason of each that gave nothing."""
    counts = Counter(cell.status for cell in cells)
    missing = [
        f"{_place(cell)}: {cell.status}: {cell.reason or 'no reason given'}" for cell in cells if cell.status != "ok"
    ]
    absent = planned - len(cells)
    if absent > 0:
        missing.append(f"{absent} of {planned} planned cells never finished")
    return Coverage(
        planned=max(planned, len(cells)),
        ok=counts["ok"],
        skipped=counts["skipped"],
        error=counts["error"],
        timeout=counts["timeout"],
        missing=tuple(missing),
    )


def verdict_of(
    findings: Sequence[Finding],
    cells: Sequence[CellRow],
    coverage: Coverage,
    policy: Policy,
    *,
    named: Collection[str] = (),
    exit_zero: bool = False,
    baseline: Baseline | None = None,
    target_name: str = "",
    as_of: datetime.date | None = None,
    allow_inconclusive: bool = False,
) -> Verdict:
    """The verdict of a run whose target could be loaded (4 and 2 are raised as errors before).

    Order, first that holds: an unaccepted fail → 1; anything that kept the audit from a verdict → 3; else 0.

    Args:
        findings: judged findings.
        cells: all rows of the run.
        coverage: of the plan.
        policy: the policy the findings were judged by.
        named: ids or specs of probes asked for by name; a skipped one is no verdict.
        exit_zero: turns 1 into 0, never 3.
        baseline: adds the cells that must have run, and lines about stale entries.
        target_name: the target the baseline's cells are looked up for.
        as_of: the day on which entries count as expired; None leaves the lines about them out.
        allow_inconclusive: an UNDERPOWERED claim is no reason for 3.
    """
    failing = [f for f in findings if f.status != "accepted" and gates(f, policy)]
    holes = _holes(findings, cells, coverage, policy, named, baseline, target_name, allow_inconclusive)
    if failing:
        status, code = "FAILED", 0 if exit_zero else 1
    elif holes:
        status, code = "INCOMPLETE", 3
    else:
        status, code = "PASSED", 0
    counts: Counter[str] = Counter(finding.status for finding in findings)
    lines = (
        _headline(status, len(failing), counts, coverage, policy),
        *holes,
        *_stale(findings, policy, baseline, target_name, as_of),
    )
    return Verdict(
        status=status,  # type: ignore[arg-type]
        exit_code=code,
        fail_on=policy.fail_on,
        policy=policy.name,
        counts={
            **{word: counts[word] for word in ("pass", "fail", "inconclusive", "accepted")},
            "untrusted": sum(finding.untrusted for finding in findings),
        },
        lines=lines,
    )


def _holes(
    findings: Sequence[Finding],
    cells: Sequence[CellRow],
    coverage: Coverage,
    policy: Policy,
    named: Collection[str],
    baseline: Baseline | None,
    target_name: str,
    allow_inconclusive: bool,
) -> tuple[str, ...]:
    """Everything that keeps the audit from a verdict, one line each."""
    lines = [f"{_place(c)} ended in {c.status}: {c.reason}" for c in cells if c.status in ("error", "timeout")]
    if coverage.planned > len(cells):
        lines.append(f"{coverage.planned - len(cells)} of {coverage.planned} planned cells never finished")
    lines += [
        f"{_place(cell)} was asked for by name and skipped: {cell.reason}"
        for cell in cells
        if cell.status == "skipped" and ({cell.probe, cell.probe.partition(":")[0]} & set(named))
    ]
    lost = () if baseline is None else baseline.lost(cells, target_name)
    lines += [f"coverage lost: {c.probe}{_of(c.defense)} ran for the baseline and not here" for c in lost]
    if coverage.planned and not coverage.ok:
        lines.append("no cell gave a result: nothing was measured")
    lines += [
        f"{probe} measured numbers and none can be judged (too little data for an interval): that is no pass"
        for probe in _unjudged(cells)
        if not findings or {probe, probe.partition(":")[0]} & set(named)
    ]
    lines += [f"{_name(f)} is untrusted: {f.reason}" for f in findings if f.untrusted and f.status != "fail"]
    for finding in findings:
        if finding.status != "inconclusive" or finding.untrusted:
            continue
        if finding.scale == "claim":
            if not allow_inconclusive:
                lines.append(f"{_name(finding)} is UNDERPOWERED and was asked about by name")
        elif policy.inconclusive == "incomplete":
            lines.append(f'{_name(finding)} is inconclusive, and the policy says inconclusive = "incomplete"')
    return tuple(lines)


def _unjudged(cells: Sequence[CellRow]) -> list[str]:
    """Probes that gave numbers, not one of which is judged."""
    measured = {cell.probe for cell in cells if cell.status == "ok" and cell.measurements}
    return sorted(measured - {cell.probe for cell in cells if any(m.primary for m in cell.measurements)})


def _stale(
    findings: Sequence[Finding],
    policy: Policy,
    baseline: Baseline | None,
    target_name: str,
    as_of: datetime.date | None,
) -> tuple[str, ...]:
    """Acceptances that accept nothing: fixed findings or forgotten rules; and expired ones."""
    lines = []
    prints = {finding.fingerprint for finding in findings}
    failing = {finding.fingerprint for finding in findings if finding.status in ("fail", "accepted")}
    for entry in () if baseline is None else baseline.accepted:
        if as_of is not None and not entry.valid_on(as_of):
            lines.append(f"baseline {entry.id}: accepted until {entry.expires.isoformat()}: expired")
        elif entry.fingerprint not in prints:
            lines.append(
                f"stale: the baseline accepts {entry.id} ({entry.fingerprint[:12]}), which is not in this audit"
            )
        elif entry.fingerprint not in failing:
            lines.append(f"stale: the baseline accepts {entry.id}, which no longer fails")
    for rule in policy.suppress:
        if as_of is not None and as_of > rule.expires:
            lines.append(f"suppress {rule.id}: accepted until {rule.expires.isoformat()}: expired")
        elif not any(rule.matches(f.id, target_name, f.defense) for f in findings):
            lines.append(f"stale: suppress {rule.id} on {rule.target} matches no finding")
    return tuple(lines)


def _headline(status: str, failing: int, counts: Counter[str], coverage: Coverage, policy: Policy) -> str:
    number = "no finding" if not failing else f"{failing} finding{'s' if failing > 1 else ''}"
    parts = [f"{status}  {number} at or above {policy.fail_on} or beyond a named limit"]
    if policy.inconclusive == "fail":
        parts[0] += ", inconclusive ones counted"
    parts += [f"{counts[word]} {word}" for word in ("accepted", "inconclusive") if counts[word]]
    parts.append(f"{coverage.ok} of {coverage.planned} cells")
    return " · ".join(parts)


def _place(cell: CellRow) -> str:
    return f"{cell.probe}{_of(cell.defense)} seed {cell.seed}"


def _of(defense: str) -> str:
    return "" if defense == "none" else f" on {defense}"


def _name(finding: Finding) -> str:
    return " ".join(filter(None, (finding.id, finding.measurement, finding.subset))) + _of(finding.defense)
