"""Cells of the shift family on toy targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from auditor import registry
from auditor.document import Measured
from auditor.probe import Attack, Cell, CellResult, Registered
from auditor.registry import Profile
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Target
from auditor.view import SideKnowledge


def make_cell(
    target: Target,
    probe: str,
    attack: Attack | None = None,
    *,
    profile: Profile = "quick",
    params: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Cell:
    entry = registry.find("attacks", probe)
    return Cell(
        target=target,
        probe=registry.find_probe(probe),
        attacks=(Registered(entry, attack or entry.load()()),),
        params=params or {},
        profile=profile,
        seed=seed,
        side=SideKnowledge(),
        models=TrainedCache(),
    )


def row(result: CellResult, metric: str, subset: str = "") -> Measured:
    (found,) = [m for m in result.measured if (m.metric, m.subset) == (metric, subset)]
    return found


def with_model(target: Target, model: nn.Module) -> Target:
    return replace(target, model=model)
