"""What the benchmarks of this group share: a target trained as `auditor train` does, and one cell of a probe on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from auditor import registry
from auditor.data.sources import LoadedData
from auditor.document import Estimate
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge


def trained(data: LoadedData, arch: str, *, seed: int, hidden: int | None = None, split: str | None = None) -> Target:
    """A reference target; width and split are the defaults of `auditor train` where they are None."""
    with tempfile.TemporaryDirectory() as folder:
        return train_reference(data, arch, hidden=hidden, seed=seed, split_spec=split, out_dir=Path(folder) / "target")


def cell(probe_id: str, target: Target, seed: int, params: Mapping[str, str] | None = None) -> tuple[CellResult, float]:
    """What the harness answers at profile `standard`, and the CPU seconds that it took."""
    probe = registry.find_probe(probe_id)
    attacks, own = build_attacks(probe, params or {})
    start = time.process_time()
    made = Cell(target, probe, attacks, own, "standard", seed, SideKnowledge(), TrainedCache())
    result: CellResult = registry.load_location(probe.evaluation)(made)
    return result, time.process_time() - start


def shown(estimate: Estimate, *, scale: float = 100) -> str:
    """`28.3 [12.2, 43.7]`."""
    assert estimate.value is not None
    ends = "" if estimate.lo is None else f" [{scale * estimate.lo:.1f}, {scale * (estimate.hi or 0.0):.1f}]"
    return f"{scale * estimate.value:.1f}{ends}"
