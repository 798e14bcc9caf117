"""The harness of probes that reach a node through its cluster: every claim is verified on the really edited graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from auditor.audit import Measurement
from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.trust import budget_row
from auditor.probe import Attack, Cell, FlipSet, Result, read_settings
from auditor.targets.target import Target
from defenses.joint_cluster.layout import ClusterLayout
from defenses.joint_cluster.probes.jumps import Jumps
from defenses.joint_cluster.probes.prototype_edits import Shifts


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the harness.

    Attributes:
        budgets: flips at one cluster's prototype nodes (`prototype-shift`).
        edges: most edges added at one target (`cluster-jump`).
        targets: attacked nodes: a quarter of highest margin, a quarter of lowest, the rest random (`cluster-jump`).
        draws: random draws of each control.
        replicates: of the bootstrap.
    """

    budgets: tuple[int, ...] = (1, 2, 5, 10)
    edges: int = 10
    targets: int = 40
    draws: int = 5
    replicates: int = 1000

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1 or len(set(self.budgets)) < len(self.budgets):
            raise ConfigError(f"clusters: budgets is {self.budgets}; expected distinct numbers of edges, at least 1.")
        for name, least in (("edges", 1), ("targets", 4), ("draws", 2), ("replicates", 50)):
            if getattr(self, name) < least:
                raise ConfigError(f"clusters: {name} is {getattr(self, name)}; expected at least {least}.")


def evaluate(cell: Cell) -> Result:
    """Runs the probe's attacks against a target that serves by clusters and measures what really happened.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: the target stores no clusters, or serves in a mode that the probe has nothing to ask of.
    """
    settings = read_settings(Settings, cell.params, owner=cell.probe.id)
    given = cell.target
    layout = ClusterLayout.of(given.model, given.split.train) if given.task == "node" else None
    if layout is None:
        raise SkippedError(f"{given.name} serves by no stored table of clusters")
    space = EdgeSpace.of(given.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph, _clean={})
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        if cell.probe.id == "cluster-jump":
            return _jumps(cell, settings, target, layout)
        return _shifts(cell, settings, target, layout)


def _shifts(cell: Cell, settings: Settings, target: Target, layout: ClusterLayout) -> Result:
    if layout.model.mode == "recluster":
        raise SkippedError("the partition is made anew, so that no edit moves a prototype alone; see cluster-jump")
    items = torch.nonzero(target.split.test).flatten()
    if not layout.clusters(items):
        raise SkippedError("no cluster holds both a test node and a prototype node")
    found, run, budgets = Shifts(target, layout, items), FlipClaims(), tuple(sorted(settings.budgets))
    _collect(cell, target, items, budgets, run, found.add)
    found.add_random(budgets, settings.draws, cell.rng("random"))
    rows = found.measurements(
        cell.probe.id, cell.probe.findings[0], budgets, cell.rng("bootstrap"), settings.replicates
    )
    return _result(cell, run, rows, {"mode": layout.model.mode, "clusters": len(layout.clusters(items))})


def _jumps(cell: Cell, settings: Settings, target: Target, layout: ClusterLayout) -> Result:
    if layout.model.mode != "recluster":
        raise SkippedError(f"the table of clusters is stored (prototypes={layout.model.mode}): no edge moves a node")
    found, run = Jumps.of(target, layout, settings.targets, cell.rng("targets")), FlipClaims()
    _collect(cell, target, found.targets, (settings.edges,), run, found.add)
    tries = max([int(notes.get("rivals", 1)) for notes in run.notes.values()], default=1)
    found.add_placebos(tries, settings.edges, settings.draws, cell.rng("placebo"), cell.tick)
    rows = found.measurements(cell.probe.findings[0], cell.rng("bootstrap"), settings.replicates)
    return _result(cell, run, rows, {"mode": layout.model.mode, "targets": found.targets.tolist()})


def _collect(
    cell: Cell,
    target: Target,
    items: Tensor,
    budgets: tuple[int, ...],
    run: FlipClaims,
    add: Callable[[FlipSet, str], None],
) -> None:
    """Runs the attacks and hands every claim to `add`."""
    for attack in cell.attacks:
        run.run(attack, target, items, cell.task(attack, budgets=budgets), budgets, add)
    if not run.notes:
        raise SkippedError(run.why_none)


def _result(cell: Cell, run: FlipClaims, rows: tuple[Measurement, ...], params: Mapping[str, Any]) -> Result:
    return Result(
        access=tuple(sorted(run.access)),
        measurements=rows,
        validity=(budget_row(run.violations, run.checked, cell.probe.id),),
        params={
            **params,
            "attacks": {attack.id: _fields(attack) for attack in cell.attacks},
            "skipped_attacks": dict(run.skipped),
            "notes": {id_: _plain(notes) for id_, notes in run.notes.items()},
        },
    )


def _fields(attack: Attack) -> dict[str, Any]:
    """Settings of an attack as plain values."""
    fields = dataclasses.fields(attack)  # type: ignore[arg-type]
    return {f.name: _plain(getattr(attack, f.name)) for f in fields}


def _plain(value: Any) -> Any:
    """JSON values: tuples as lists."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return value
