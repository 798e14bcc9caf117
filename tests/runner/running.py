"""An audit of a plan in this process, and the row of a target that nothing was loaded for."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.document import Audit, TargetRow, TaskRow
from auditor.runner.assemble import RunSettings
from auditor.runner.bench import Bench
from auditor.runner.plan import PlannedCell
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


def audited(target: Target, cells: Sequence[PlannedCell], settings: RunSettings) -> Audit:
    bench = Bench(target, tuple(cells), settings.side)
    return run_audit(bench, bench.describe(), settings, observer=Silent(), record=Record())
