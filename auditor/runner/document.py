"""Turns a target and a plan into the audit document: validity, cells, findings, coverage, verdict."""

from __future__ import annotations

import datetime
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor import __version__
from auditor.audit import Audit, CellRow, Matrix, TargetRow, ValidityRow
from auditor.baseline import Baseline
from auditor.policy import Policy, coverage_of, judge, verdict_of
from auditor.probe import Profile
from auditor.runner.execute import Observer, run_cells
from auditor.runner.plan import PlannedCell
from auditor.statistics.intervals import wilson
from auditor.targets.target import Target, is_correct
from auditor.targets.validity import validity_rows
from auditor.view import SideKnowledge


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run is asked for, besides target and plan."""

    seeds: tuple[int, ...]
    profile: Profile
    policy: Policy
    side: SideKnowledge = field(default_factory=SideKnowledge)
    config: dict[str, Any] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    exit_zero: bool = False


def check_validity(target: Target) -> tuple[ValidityRow, ...]:
    """The pre-flight rows, made once per target with a fixed seed: a rerun gives the same bytes."""
    return validity_rows(target, np.random.default_rng(0))


def run_audit(
    target: Target,
    cells: Sequence[PlannedCell],
    settings: RunSettings,
    *,
    observer: Observer,
    out: Path | None = None,
    baseline: Baseline | None = None,
) -> Audit:
    """Runs the plan and judges it. Interrupted, it returns what is finished as an INCOMPLETE audit.

    The document says `exit_code` 130 then; `out/cells.jsonl` holds every finished cell in any case.
    """
    clock = time.perf_counter()
    validity = check_validity(target)
    rows: list[CellRow] = []
    interrupted = False
    observer.planned(cells)
    try:
        for row in run_cells(target, cells, side=settings.side, observer=observer, out=out):
            rows.append(row)
    except KeyboardInterrupt:
        interrupted = True
    return assemble_audit(
        target,
        rows,
        settings,
        validity=validity,
        planned=len(cells),
        named={cell.request.entry.id for cell in cells if cell.request.named},
        seconds=time.perf_counter() - clock,
        interrupted=interrupted,
        baseline=baseline,
    )


def assemble_audit(
    target: Target | TargetRow,
    rows: Sequence[CellRow],
    settings: RunSettings,
    *,
    validity: tuple[ValidityRow, ...],
    planned: int,
    named: set[str],
    seconds: float,
    interrupted: bool = False,
    baseline: Baseline | None = None,
    matrix: Matrix | None = None,
    allow_inconclusive: bool = False,
) -> Audit:
    """The document: rows judged by the policy, coverage of the plan, verdict.

    A row stands in for a target where there is none to load (a claim given by parameters or scores).
    """
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    today = started.date()
    findings = judge(rows, validity, target.name, settings.policy, as_of=today, baseline=baseline)
    coverage = coverage_of(rows, planned)
    verdict = verdict_of(
        findings,
        rows,
        coverage,
        settings.policy,
        named=named,
        exit_zero=settings.exit_zero,
        baseline=baseline,
        target_name=target.name,
        as_of=today,
        allow_inconclusive=allow_inconclusive,
    )
    if interrupted:
        lines = (*verdict.lines, f"interrupted after {len(rows)} of {planned} cells")
        verdict = verdict.model_copy(update={"status": "INCOMPLETE", "exit_code": 130, "lines": lines})
    return Audit(
        tool={"name": "gnn-auditor", "version": __version__},
        environment=environment(),
        seeds=settings.seeds,
        profile=settings.profile,
        config=settings.config,
        argv=settings.argv,
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        target=target if isinstance(target, TargetRow) else target_row(target),
        validity=validity,
        cells=tuple(rows),
        findings=findings,
        matrix=matrix,
        coverage=coverage,
        verdict=verdict,
    )


def target_row(target: Target) -> TargetRow:
    """The target as the document shows it: sizes, capabilities, clean accuracy with interval and constant predictor."""
    graph, split = target.graph, target.split
    correct = is_correct(target.clean_logits(), graph.y)[split.test]
    n, right = int(correct.numel()), int(correct.sum())
    constant = int(torch.bincount(graph.y[split.test]).max()) / n  # the best constant guess on the very test items
    train, val, test = split.sizes
    return TargetRow(
        name=target.name,
        task=target.task,
        kind=target.kind,
        digest=target.digest,
        capabilities=tuple(sorted(target.capabilities)),
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        graphs=1 if graph.batch is None else graph.num_items,
        features=graph.num_features,
        classes=target.num_classes,
        defense="none" if target.defense is None else target.defense.spec,
        split={"spec": split.spec, "seed": split.seed, "train": train, "val": val, "test": test},
        clean={"accuracy": right / n, "ci": list(wilson(right, n)), "n": n, "constant_predictor": constant},
        provenance=dict(target.provenance),
    )


def environment() -> dict[str, Any]:
    """Versions and threads: what a rerun must share to give the same bytes."""
    import torch_geometric

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "platform": f"{sys.platform}-{platform.machine()}",
        "threads": torch.get_num_threads(),
    }
