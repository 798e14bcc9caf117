"""The audit document of finished cells: validity, results, coverage, verdict. Imports no torch, runs no user code."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor import __version__
from auditor.document import Audit, Comparison, Result, TargetRow, ValidityRow, sealed
from auditor.document.agreement import plan_of
from auditor.document.codes import Interrupted, PowerOnly
from auditor.policy import Policy, coverage_of, judge, verdict_of
from auditor.policy.baseline import Baseline
from auditor.registry import Profile
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of
from auditor.side_knowledge import SideKnowledge


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


def assemble_audit(
    target: TargetRow,
    finished: Sequence[Finished],
    settings: RunSettings,
    *,
    validity: tuple[ValidityRow, ...],
    planned: int,
    named: set[str],
    seconds: float,
    interrupted: int = 0,
    environment: Mapping[str, Any],
    keys: Sequence[str] = (),
    baseline: Baseline | None = None,
    compare: Callable[[Sequence[Result]], Comparison] | None = None,
    allow_inconclusive: bool = False,
    power: PowerOnly | None = None,
) -> Audit:
    """The document: numbers joined over seeds once, judged by the policy once; coverage of the plan, verdict.

    `compare` makes the comparison from the joined results. `interrupted` is the exit code of what ended the run early,
    0 where nothing did. `keys` are those of all planned cells, where a part of them may be missing.
    """
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
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
        verified=target.verified,
        power=power,
        controls=frozenset() if comparison is None else comparison.controls,
    )
    if interrupted:
        codes = (*verdict.codes, Interrupted(finished=len(rows), planned=planned))
        verdict = verdict.model_copy(update={"status": "INCOMPLETE", "exit_code": interrupted, "codes": codes})
    return sealed(
        Audit(
            tool={"name": "gnn-auditor", "version": __version__},
            environment=dict(environment),
            plan=plan_of(keys) if keys else "",
            seeds=settings.seeds,
            profile=settings.profile,
            config=settings.config,
            config_file=settings.config_file,
            argv=settings.argv,
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            target=target,
            validity=validity,
            cells=rows,
            results=results,
            comparison=comparison,
            coverage=coverage,
            verdict=verdict,
        )
    )
