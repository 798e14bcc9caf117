"""An audit of a plan in this process."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.document import Audit
from auditor.runner.assemble import RunSettings
from auditor.runner.bench import Bench
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Record
from auditor.runner.running import run_audit
from auditor.targets.target import Target
from tests.toys import Silent


def audited(target: Target, cells: Sequence[PlannedCell], settings: RunSettings) -> Audit:
    bench = Bench(target, tuple(cells), settings.side)
    return run_audit(bench, bench.describe(), settings, observer=Silent(), record=Record())
