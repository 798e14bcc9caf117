"""Small hand-made audits for the rules of the policy."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from auditor.audit import (
    Advantage,
    Audit,
    CellRow,
    Control,
    Interval,
    Measurement,
    TargetRow,
    ValidityRow,
)
from auditor.policy import Policy, coverage_of, judge, verdict_of

TODAY = datetime.date(2026, 11, 21)
TARGET = "cora-gcn"


def measurement(
    value: float | None = 0.5,
    lo: float | None = 0.4,
    hi: float | None = 0.6,
    *,
    name: str = "auc",
    finding: str = "privacy-link-stealing",
    control: float = 0.5,
    primary: bool = True,
    **more: Any,
) -> Measurement:
    """A measurement whose advantage is value [lo, hi] over a control."""
    raw = None if value is None else control + value
    fields: dict[str, Any] = {
        "name": name,
        "finding": finding,
        "value": raw,
        "ci": None,
        "control": Control(name="features+labels", value=control),
        "advantage": None if value is None else Advantage(value=value, ci=Interval(lo=lo, hi=hi)),
        "n": 1000,
        "direction": "higher_is_worse",
        "scale": "auc",
        "primary": primary,
    }
    return Measurement(**{**fields, **more})


def cell(
    *measurements: Measurement,
    probe: str = "posterior-similarity",
    family: str = "privacy",
    seed: int = 0,
    **more: Any,
) -> CellRow:
    """A finished cell (another status by keyword)."""
    fields: dict[str, Any] = {
        "key": f"{probe}-{more.get('defense', 'none')}-{seed}",
        "probe": probe,
        "family": family,
        "seed": seed,
        "status": "ok",
        "access": ("posteriors",),
        "measurements": measurements,
    }
    return CellRow(**{**fields, **more})


def seeds(values: Sequence[tuple[float, float, float]], **more: Any) -> list[CellRow]:
    """One cell per (value, lo, hi), seeds 0, 1, ….  `family`, `probe` go to the cell, the rest to the measurement."""
    place = {key: more.pop(key) for key in ("family", "probe", "defense") if key in more}
    return [cell(measurement(*bounds, **more), seed=seed, **place) for seed, bounds in enumerate(values)]


def row(status: str = "fail", kind: str = "integrity", id_: str = "deterministic", *touches: str) -> ValidityRow:
    return ValidityRow(id=id_, kind=kind, status=status, evidence="seen", touches=touches or ("all",))  # type: ignore[arg-type]


def audit_of(
    cells: Sequence[CellRow],
    *,
    validity: Sequence[ValidityRow] = (),
    policy: Policy | None = None,
    target: str = TARGET,
    planned: int | None = None,
    config: dict[str, Any] | None = None,
) -> Audit:
    """A whole document around some cells, judged by `policy` (standard)."""
    policy = policy or Policy()
    findings = judge(cells, validity, target, policy, as_of=TODAY)
    coverage = coverage_of(cells, len(cells) if planned is None else planned)
    return Audit(
        tool={"name": "gnn-auditor", "version": "0"},
        environment={},
        seeds=tuple(sorted({c.seed for c in cells})),
        profile="quick",
        config=config or {},
        target=TargetRow(
            name=target,
            task="node",
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
        cells=tuple(cells),
        findings=findings,
        coverage=coverage,
        verdict=verdict_of(findings, cells, coverage, policy),
    )
