"""What a worker loads: the target of its job, and what carries out its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from auditor.compare.arms import load_any
from auditor.data.sources import resolve_root
from auditor.runner.bench import Bench
from auditor.runner.claim_bench import ClaimBench
from auditor.runner.execute import Survived, TrainedCache
from auditor.runner.job import Job
from auditor.runner.kept_models import KeptModels
from auditor.runner.record import holds_models
from auditor.targets.derived import group_column


def loaded(job: Job, notify: Callable[[str], object], *, survives: Survived = BaseException) -> Bench | ClaimBench:
    """The target of the job, loaded in a process of its own, which whatever user code raises must not end.

    Raises:
        UsageError, TargetError: as `load_target` does.
    """
    root, path = resolve_root(job.data_root), Path(job.path)
    kept = KeptModels(Path(job.models), notify, holds_models) if job.models else None
    models = TrainedCache(kept=kept)
    target = load_any(
        path,
        models=models,
        data_root=root,
        data=job.data,
        split=job.split,
        trust_pickle=job.trust_pickle,
        notify=notify,
    ).on(job.device)
    if job.asked is not None:
        return replace(ClaimBench.about(target, job), survives=survives)
    return replace(Bench.of(target, job, group_column(path, job.group, root)), survives=survives, models=models)
