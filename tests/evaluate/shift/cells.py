"""Cells of the shift family on toy targets."""

from __future__ import annotations

from dataclasses import replace

from attacks.shift.corruption import Corruption
from attacks.shift.strata import Strata
from auditor import registry
from auditor.audit import Measurement
from auditor.probe import Attack, Cell, Profile, Result
from auditor.targets.target import Target
from auditor.view import SideKnowledge

ATTACKS: dict[str, type] = {"strata": Strata, "corruption": Corruption}


def make_cell(
    target: Target,
    probe: str,
    attack: Attack | None = None,
    *,
    profile: Profile = "quick",
    params: dict[str, str] | None = None,
    seed: int = 0,
) -> Cell:
    return Cell(
        target=target,
        probe=registry.find_probe(probe),
        attacks=(attack or ATTACKS[probe](),),
        params=params or {},
        profile=profile,
        seed=seed,
        side=SideKnowledge(),
        models=None,  # type: ignore[arg-type]
    )


def row(result: Result, name: str, subset: str = "") -> Measurement:
    (found,) = [m for m in result.measurements if m.name == name and m.subset == subset]
    return found


def with_model(target: Target, model) -> Target:  # type: ignore[no-untyped-def]
    return replace(target, model=model, _clean={})
