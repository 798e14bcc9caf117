"""Judges an existing audit again: a pure function of document, policy, baseline and day."""

from __future__ import annotations

import datetime
from collections.abc import Collection

from auditor.document import Audit, sealed
from auditor.policy.baseline import Baseline
from auditor.policy.judge import judge
from auditor.policy.rules import Policy
from auditor.policy.verdict import coverage_of, verdict_of
from auditor.registry import parse_specs


def gate(
    audit: Audit,
    policy: Policy,
    baseline: Baseline | None = None,
    *,
    as_of: datetime.date,
    named: Collection[str] | None = None,
    exit_zero: bool = False,
    seal: bool = True,
) -> Audit:
    """The audit with judgements and verdict by `policy`; numbers, cells and validity stay as they were measured.

    Args:
        audit: an audit document, whatever it was judged by before.
        policy: what fails now.
        baseline: accepted results.
        as_of: the day (UTC) on which acceptances are checked.
        named: probes that were asked for by name; read from the audit's own config by default.
        exit_zero: turns exit code 1 into 0.
        seal: whether it gets the digest of its new content; one that is only shown needs none.
    """
    cells, target = audit.cells, audit.target.name
    results = judge(audit.results, cells, audit.validity, target, policy, as_of=as_of, baseline=baseline)
    coverage = coverage_of(cells, audit.coverage.planned)
    verdict = verdict_of(
        results,
        cells,
        coverage,
        policy,
        named=asked_by_name(audit) if named is None else named,
        exit_zero=exit_zero,
        baseline=baseline,
        target_name=target,
        as_of=as_of,
        verified=audit.target.verified,
        controls=frozenset() if audit.comparison is None else audit.comparison.controls,
    )
    judged = audit.model_copy(update={"results": results, "coverage": coverage, "verdict": verdict})
    return sealed(judged) if seal else judged


def asked_by_name(audit: Audit) -> frozenset[str]:
    """Probes the run was asked for by name, as its config recorded them."""
    run = audit.config.get("run", audit.config)
    only = run.get("only", "") if isinstance(run, dict) else ""
    return frozenset(id_ for id_, _ in parse_specs(only)) if isinstance(only, str) else frozenset()
