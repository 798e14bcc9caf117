"""Small hand-made cells, results and audits for the rules of document, runner and policy."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from auditor.document import (
    Audit,
    CellRow,
    Control,
    Estimate,
    Judgement,
    Measured,
    Metric,
    Result,
    TargetRow,
    TaskRow,
    ValidityRow,
    measured,
    sealed,
)
from auditor.document.facts import ClaimFacts
from auditor.policy import Policy, coverage_of, judge, verdict_of
from auditor.policy.bands import BANDS
from auditor.policy.baseline import Baseline
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of

TODAY = datetime.date(2026, 11, 21)
TARGET = "cora-gcn"
AUC = Metric("auc", "auc", "higher", "ranking")
METRICS = {question: Metric("auc", "auc", "higher", question) for question in BANDS}
METRICS |= {question: Metric("auc", "ratio", "higher", question) for question in ("claim", "artifact", "other")}
"""One for every question. Of the names alone: the numbers of one audit need different subsets."""


def measurement(
    value: float | None = 0.5,
    lo: float | None = 0.4,
    hi: float | None = 0.6,
    *,
    metric: Metric = AUC,
    control: float = 0.5,
    raw: float | None = None,
    finding: str = "privacy-link-stealing",
    judged: bool = True,
    **more: Any,
) -> Measured:
    """A number whose excess is value [lo, hi] over one control; no control where `value` is None.

    `raw` is the number itself: the control's plus the excess (or less it, where lower is worse) where it is left out.
    """
    controls: tuple[Control, ...] = ()
    if value is not None:
        excess = Estimate(value=value, lo=lo, hi=hi, n=1000)
        contrast = excess.negated() if metric.worse_when == "lower" else excess
        assert contrast.value is not None
        raw = control + contrast.value if raw is None else raw
        controls = (Control(name="features+labels", estimate=Estimate(value=control), contrast=contrast),)
    own = Estimate(value=raw, n=1000)
    return measured(metric, own, finding=finding, controls=controls, judged=judged, **more)


def cell(
    *numbers: Measured,
    probe: str = "posterior-similarity",
    family: str = "privacy",
    seed: int = 0,
    arm: str = "none",
    access: tuple[str, ...] = ("posteriors",),
    tries: bool = False,
    fixed: bool = False,
    **more: Any,
) -> Finished:
    """A finished cell (another status by keyword)."""
    fields = {"key": f"{probe}-{arm}-{seed}", "status": "ok", **more}
    row = CellRow(probe=probe, family=family, seed=seed, arm=arm, **fields)
    return Finished(row, access, numbers, tries=tries, fixed=fixed)


def seeds(values: Sequence[tuple[float | None, ...]], **more: Any) -> list[Finished]:
    """One cell per (value, lo, hi), seeds 0, 1, …. What is said of cells goes to the cell, the rest to the number."""
    names = ("family", "probe", "arm", "tries", "fixed", "access")
    place = {key: more.pop(key) for key in names if key in more}
    return [cell(measurement(*bounds, **more), seed=seed, **place) for seed, bounds in enumerate(values)]


def claim(word: str, **more: Any) -> ClaimFacts:
    """What is said of a claim of epsilon 1."""
    fields: dict[str, Any] = {"epsilon": 1.0, "delta": 0.0, "level": "edge", "relation": "flip-pair", **more}
    return ClaimFacts(verdict=word, access="scores", **fields)  # type: ignore[arg-type]


def row(status: str = "fail", kind: str = "integrity", id_: str = "deterministic", *touches: str) -> ValidityRow:
    """A validity row; it touches everything where no probe is named."""
    return ValidityRow(id=id_, kind=kind, status=status, evidence="seen", touches=touches or None)  # type: ignore[arg-type]


def rows_of(cells: Sequence[Finished]) -> tuple[CellRow, ...]:
    """The cells as a document holds them."""
    return tuple(each.row for each in cells)


def judged_by(
    cells: Sequence[Finished],
    policy: Policy | None = None,
    validity: Sequence[ValidityRow] = (),
    *,
    baseline: Baseline | None = None,
) -> tuple[Result, ...]:
    """The results of some cells, judged by `policy` (standard)."""
    results = results_of(cells, TARGET)
    return judge(results, rows_of(cells), validity, TARGET, policy or Policy(), as_of=TODAY, baseline=baseline)


def finding(cells: Sequence[Finished], policy: Policy | None = None, validity: Sequence[ValidityRow] = ()) -> Judgement:
    """The judgement of the only judged number of these cells."""
    (only,) = judged_by(cells, policy, validity)
    assert only.judgement is not None
    return only.judgement


def audit_of(
    cells: Sequence[Finished],
    *,
    validity: Sequence[ValidityRow] = (),
    policy: Policy | None = None,
    target: str = TARGET,
    planned: int | None = None,
    config: dict[str, Any] | None = None,
    profile: str = "quick",
) -> Audit:
    """A whole document around some cells, judged by `policy` (standard)."""
    policy, rows = policy or Policy(), rows_of(cells)
    results = judge(results_of(cells, target), rows, validity, target, policy, as_of=TODAY)
    coverage = coverage_of(rows, len(rows) if planned is None else planned)
    return sealed(
        Audit(
            tool={"name": "gnn-auditor", "version": "0"},
            environment={},
            seeds=tuple(sorted({each.seed for each in rows})),
            profile=profile,
            config=config or {},
            target=TargetRow(
                name=target,
                task=TaskRow(level="node"),
                kind="factory",
                digest="d",
                capabilities=(),
                nodes=10,
                edges=20,
                graphs=1,
                features=3,
                classes=2,
            ),
            validity=tuple(validity),
            cells=rows,
            results=results,
            coverage=coverage,
            verdict=verdict_of(results, rows, coverage, policy),
        )
    )
