"""An audit of a plan and a comparison in this process, and the row of a target that nothing was loaded for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from auditor.compare.arms import DefenseRequest
from auditor.document import Audit, TargetRow, TaskRow
from auditor.runner.assemble import RunSettings
from auditor.runner.bench import Bench
from auditor.runner.comparing import run_compare
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell, ProbeRequest, plan_compare
from auditor.runner.record import Record
from auditor.runner.running import run_audit
from auditor.targets.target import Target
from tests.policy.samples import TARGET
from tests.toys import Silent

PLACE = TargetRow(
    name=TARGET,
    task=TaskRow(level="node"),
    kind="parameters",
    digest="d",
    capabilities=(),
    nodes=0,
    edges=0,
    graphs=0,
    features=0,
    classes=0,
)


def comparison(
    target: Target,
    defenses: Sequence[DefenseRequest],
    probes: Sequence[ProbeRequest],
    settings: RunSettings,
    *,
    observer: Observer,
    group: Tensor | None = None,
) -> Audit:
    arms, how = [request.spec for request in defenses], {"profile": settings.profile, "side": settings.side}
    cells = plan_compare(target, arms, probes, seeds=settings.seeds, **how)
    bench = Bench(target, cells, settings.side, group)
    return run_compare(bench, bench.describe(), defenses, probes, settings, observer=observer, record=Record())


def audited(target: Target, cells: Sequence[PlannedCell], settings: RunSettings) -> Audit:
    bench = Bench(target, tuple(cells), settings.side)
    return run_audit(bench, bench.describe(), settings, observer=Silent(), record=Record())
