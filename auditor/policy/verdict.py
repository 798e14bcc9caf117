"""Coverage and the verdict: one status, one exit code, and the codes that say why."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Sequence

from auditor import registry
from auditor.document import CellRow, Coverage, Result, Verdict
from auditor.document.codes import (
    BrokeOff,
    ClaimUnsettled,
    CoverageLost,
    NamedAndSkipped,
    NeverFinished,
    NothingJudged,
    NothingMeasured,
    OpenAndMustNot,
    PowerOnly,
    ResultUntrusted,
    SplitUnknown,
    StaleAcceptance,
    Unverified,
    VerdictCode,
)
from auditor.policy.baseline import Baseline
from auditor.policy.judge import gates
from auditor.policy.rules import Policy
from auditor.registry import Capability


def coverage_of(cells: Sequence[CellRow], planned: int) -> Coverage:
    """How many of the planned cells ended how."""
    counts = Counter(cell.status for cell in cells)
    return Coverage(
        planned=max(planned, len(cells)),
        ok=counts["ok"],
        skipped=counts["skipped"],
        error=counts["error"],
        timeout=counts["timeout"],
    )


def verdict_of(
    results: Sequence[Result],
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
    verified: bool = True,
    power: PowerOnly | None = None,
    controls: Collection[str] = (),
) -> Verdict:
    """The verdict of a run whose target could be loaded (4 and 2 are raised as errors before).

    Order, first that holds: an unaccepted fail → 1; anything that kept the audit from a verdict → 3; else 0. Where
    power alone was asked for nothing passes either, and 3 says that an audit could see nothing.

    Args:
        results: judged by `policy`.
        cells: all cells of the run.
        coverage: of the plan.
        policy: the policy the results were judged by.
        named: ids or specs of probes asked for by name; a skipped one is no verdict.
        exit_zero: turns 1 into 0, never 3.
        baseline: adds the cells that must have run, and codes about stale entries.
        target_name: the target the baseline's cells are looked up for.
        as_of: the day on which entries count as expired; None leaves the codes about them out.
        allow_inconclusive: an UNDERPOWERED claim is no reason for 3, nor is a plan that can settle none.
        verified: whether anything shows that the target is the model that was trained; the policy says what follows.
        power: what was found where nothing but the power of a claim's audit was asked for.
        controls: arms of a comparison that nobody asked for: their results are shown and decide nothing.
    """
    own = [result for result in results if result.arm not in controls]
    failing = sum(not result.has_status("accepted") and gates(result, policy) for result in own)
    if power is None:
        holes = _holes(own, cells, coverage, policy, named, baseline, target_name, allow_inconclusive)
    else:
        holes = (power,)
    doubts: tuple[VerdictCode, ...] = () if verified or power is not None else (Unverified(),)
    if policy.unverified == "incomplete":
        holes, doubts = (*holes, *doubts), ()
    open_code = 0 if power is not None and (power.possible or allow_inconclusive) else 3
    status, code = (
        ("FAILED", 0 if exit_zero else 1) if failing else ("INCOMPLETE", open_code) if holes else ("PASSED", 0)
    )
    judged = [result.judgement for result in own if result.judgement is not None]
    counts: Counter[str] = Counter(judgement.status for judgement in judged)
    return Verdict(
        status=status,  # type: ignore[arg-type]  # one of three literals
        exit_code=code,
        fail_on=policy.fail_on,
        policy=policy.name,
        inconclusive=policy.inconclusive,
        counts={
            **{word: counts[word] for word in ("pass", "fail", "inconclusive", "accepted")},
            "untrusted": sum(judgement.untrusted for judgement in judged),
            "on_controls": sum(result.has_status("fail") for result in results if result.arm in controls),
        },
        codes=(*holes, *doubts, *_stale(results, policy, baseline, target_name, as_of)),
    )


def _holes(
    results: Sequence[Result],
    cells: Sequence[CellRow],
    coverage: Coverage,
    policy: Policy,
    named: Collection[str],
    baseline: Baseline | None,
    target_name: str,
    allow_inconclusive: bool,
) -> tuple[VerdictCode, ...]:
    """Everything that keeps the audit from a verdict."""
    found: list[VerdictCode] = [
        BrokeOff(probe=c.probe, arm=c.arm, seed=c.seed, status=c.status, reason=c.reason)
        for c in cells
        if c.status in ("error", "timeout")
    ]
    if coverage.planned > len(cells):
        found.append(NeverFinished(cells=coverage.planned - len(cells), planned=coverage.planned))
    found += [
        NamedAndSkipped(probe=c.probe, arm=c.arm, seed=c.seed, reason=c.reason)
        for c in cells
        if c.status == "skipped" and ({c.probe, c.probe.partition(":")[0]} & set(named))
    ]
    blind = tuple(dict.fromkeys(c.probe for c in cells if Capability.SPLIT in c.lacks))
    if blind:
        found.append(SplitUnknown(probes=blind))
    lost = () if baseline is None else baseline.lost(cells, target_name)
    found += [CoverageLost(probe=c.probe, arm=c.arm) for c in lost]
    if coverage.planned and not coverage.ok:
        found.append(NothingMeasured())
    some_judged = any(result.judged for result in results)
    found += [
        NothingJudged(probe=probe)
        for probe in _unjudged(results)
        if not some_judged or (_judges(probe) and {probe, probe.partition(":")[0]} & set(named))
    ]
    for result in results:
        judgement = result.judgement
        if judgement is None or judgement.status != "inconclusive":
            continue
        if judgement.untrusted:
            found.append(ResultUntrusted(fingerprint=result.fingerprint))
        elif result.question == "claim":
            if not allow_inconclusive:
                found.append(ClaimUnsettled(fingerprint=result.fingerprint))
        elif policy.inconclusive == "incomplete":
            found.append(OpenAndMustNot(fingerprint=result.fingerprint))
    return tuple(found)


def _unjudged(results: Sequence[Result]) -> list[str]:
    """Probes that gave numbers, not one of which is judged."""
    return sorted({result.probe for result in results} - {result.probe for result in results if result.judged})


def _judges(probe: str) -> bool:
    """Whether a probe, by its id or spec, has numbers to be judged; somebody else's that is gone counts as one."""
    entry = registry.probes().get(probe.partition(":")[0])
    return entry is None or entry.judges


def _stale(
    results: Sequence[Result],
    policy: Policy,
    baseline: Baseline | None,
    target_name: str,
    as_of: datetime.date | None,
) -> tuple[VerdictCode, ...]:
    """Acceptances that accept nothing: mended results or forgotten rules; and expired ones."""
    found: list[VerdictCode] = []
    judged = [result for result in results if result.judgement is not None]
    prints = {result.fingerprint for result in judged}
    failing = {r.fingerprint for r in judged if r.judgement and r.judgement.status in ("fail", "accepted")}
    for entry in () if baseline is None else baseline.accepted:
        if as_of is not None and not entry.valid_on(as_of):
            found.append(StaleAcceptance(source="baseline", finding=entry.id, why="expired", until=entry.expires))
        elif entry.fingerprint not in prints:
            found.append(StaleAcceptance(source="baseline", finding=entry.id, why="absent"))
        elif entry.fingerprint not in failing:
            found.append(StaleAcceptance(source="baseline", finding=entry.id, why="passes"))
    for rule in policy.suppress:
        expired = as_of is not None and as_of > rule.expires
        if expired or not any(rule.matches(r.finding, target_name, r.arm) for r in judged):
            found.append(
                StaleAcceptance(
                    source="suppress",
                    finding=rule.id,
                    target=rule.target,
                    why="expired" if expired else "absent",
                    until=rule.expires if expired else None,
                )
            )
    return tuple(found)
