"""Turns a target and a plan into the audit document: validity, cells, results, coverage, verdict."""

from __future__ import annotations

import datetime
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor import __version__, registry
from auditor.document import (
    NONE,
    RECIPE,
    Audit,
    Comparison,
    Estimate,
    Result,
    TargetRow,
    TaskRow,
    ValidityRow,
    sealed,
)
from auditor.document.codes import Interrupted, PowerOnly
from auditor.errors import AuditorError
from auditor.policy import Policy, coverage_of, judge, verdict_of
from auditor.policy.baseline import Baseline
from auditor.registry import Profile
from auditor.runner.execute import Observer, TrainedCache, not_run, one_line, run_cells
from auditor.runner.joining import Finished, results_of
from auditor.runner.plan import PlannedCell
from auditor.statistics.intervals import wilson
from auditor.targets.target import Target
from auditor.targets.validity import validity_rows
from auditor.view import SideKnowledge


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run is asked for, besides target and plan; `config_file` is relative to the working directory."""

    seeds: tuple[int, ...]
    profile: Profile
    policy: Policy
    side: SideKnowledge = field(default_factory=SideKnowledge)
    config: dict[str, Any] = field(default_factory=dict)
    config_file: str = ""
    argv: tuple[str, ...] = ()
    exit_zero: bool = False


def check_validity(target: Target, probes: Iterable[str]) -> tuple[ValidityRow, ...]:
    """The pre-flight rows, made once per target with a fixed seed: a rerun gives the same bytes.

    Each says which of `probes` (ids) it touches: those whose registry line lists it; all, where no line lists it.
    """
    known, asked = registry.probes(), list(dict.fromkeys(probes))
    listed = {id_ for entry in known.values() for id_ in entry.touches}

    def touched(row: ValidityRow) -> tuple[str, ...] | None:
        return tuple(probe for probe in asked if row.id in known[probe].touches) if row.id in listed else None

    rows = validity_rows(target, np.random.default_rng(0))
    return tuple(row.model_copy(update={"touches": touched(row)}) for row in rows)


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
    validity = check_validity(target, (cell.request.entry.id for cell in cells))
    finished: list[Finished] = []
    interrupted, models = False, TrainedCache()
    observer.planned(cells)
    try:
        for model, own in _by_model(target, cells, models):
            if isinstance(model, str):
                finished += not_run(own, "error", f"the recipe was not trained anew: {model}", observer)
                continue
            for cell in run_cells(model, own, side=settings.side, observer=observer, out=out, models=models):
                finished.append(cell)
    except KeyboardInterrupt:
        interrupted = True
    return assemble_audit(
        target,
        finished,
        settings,
        validity=validity,
        planned=len(cells),
        named={cell.request.entry.id for cell in cells if cell.request.named},
        seconds=time.perf_counter() - clock,
        interrupted=interrupted,
        baseline=baseline,
    )


def _by_model(
    target: Target, cells: Sequence[PlannedCell], models: TrainedCache
) -> Iterator[tuple[Target | str, list[PlannedCell]]]:
    """The cells of each model: the target, and one that its recipe trains anew for each seed of that arm.

    In place of a model that could not be trained stands why not. What is known of the target, such as the accuracy that
    it is claimed to have, is not known of another training.
    """
    for seed, own in groupby(cells, lambda cell: cell.seed if cell.arm == RECIPE else None):
        planned = list(own)
        if seed is None:
            yield target, planned
            continue
        try:
            yield replace(models.twin(target, target.private_graph, seed), claimed_accuracy=None), planned
        except Exception as error:  # one training's crash leaves the target's own numbers standing
            yield (
                one_line(str(error) if isinstance(error, AuditorError) else f"{type(error).__name__}: {error}"),
                planned,
            )


def assemble_audit(
    target: Target | TargetRow,
    finished: Sequence[Finished],
    settings: RunSettings,
    *,
    validity: tuple[ValidityRow, ...],
    planned: int,
    named: set[str],
    seconds: float,
    interrupted: bool = False,
    baseline: Baseline | None = None,
    compare: Callable[[Sequence[Result]], Comparison] | None = None,
    allow_inconclusive: bool = False,
    power: PowerOnly | None = None,
) -> Audit:
    """The document: numbers joined over seeds once, judged by the policy once; coverage of the plan, verdict.

    A row stands in for a target where there is none to load (a claim given by parameters or scores). `compare` makes
    the comparison from the joined results.
    """
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    shown = target if isinstance(target, TargetRow) else target_row(target)
    today, rows = started.date(), tuple(cell.row for cell in finished)
    results = results_of(finished, target.name)
    comparison = None if compare is None else compare(results)
    results = judge(results, rows, validity, target.name, settings.policy, as_of=today, baseline=baseline)
    coverage = coverage_of(rows, planned)
    verdict = verdict_of(
        results,
        rows,
        coverage,
        settings.policy,
        named=named,
        exit_zero=settings.exit_zero,
        baseline=baseline,
        target_name=target.name,
        as_of=today,
        allow_inconclusive=allow_inconclusive,
        verified=shown.verified,
        power=power,
        controls=frozenset() if comparison is None else comparison.controls,
    )
    if interrupted:
        codes = (*verdict.codes, Interrupted(finished=len(rows), planned=planned))
        verdict = verdict.model_copy(update={"status": "INCOMPLETE", "exit_code": 130, "codes": codes})
    return sealed(
        Audit(
            tool={"name": "gnn-auditor", "version": __version__},
            environment=environment(),
            seeds=settings.seeds,
            profile=settings.profile,
            config=settings.config,
            config_file=settings.config_file,
            argv=settings.argv,
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            target=shown,
            validity=validity,
            cells=rows,
            results=results,
            comparison=comparison,
            coverage=coverage,
            verdict=verdict,
        )
    )


def target_row(target: Target) -> TargetRow:
    """The target as the document shows it: sizes, capabilities, clean accuracy with interval and constant predictor."""
    graph, split = target.graph, target.split
    correct = target.task.correct(target.clean_logits(), graph.y)[split.test]
    n, right = int(correct.numel()), int(correct.sum())
    clean = None
    if split.is_known:
        lo, hi = wilson(right, n)
        clean = Estimate(value=right / n, lo=lo, hi=hi, n=n)
    train, val, test = split.sizes
    return TargetRow(
        name=target.name,
        task=TaskRow(level=target.task.level, mode=target.task.mode),
        kind=target.kind,
        digest=target.digest,
        capabilities=tuple(sorted(target.capabilities)),
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        graphs=1 if graph.batch is None else graph.num_items,
        features=graph.num_features,
        classes=target.num_classes,
        defense=NONE if target.defense is None else target.defense.spec,
        guarantee=None if target.defense is None else target.defense.guarantee,
        split={"spec": split.spec, "seed": split.seed, "train": train, "val": val, "test": test},
        verified=target.verified,
        fixed_nodes=target.fixed_nodes,
        clean=clean,
        # the best constant guess on the very test items
        constant_predictor=target.task.constant_quality(graph.y[split.test]) if split.is_known else None,
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
