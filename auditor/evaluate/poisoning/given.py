"""A graph that a published attack poisoned, as flips of the target's own graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.data.deeprobust import poisoned_by
from auditor.data.edits import EdgeSpace
from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.document import ValidityRow, check
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.robustness.budgets import Level, flips_for
from auditor.targets.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Flips of a file.

    Attributes:
        name: the attack that made them, `metattack`.
        level: their number, as a budget.
        keys: int64 [k].
        row: whether there are as many as its rate says.
    """

    name: str
    level: Level
    keys: Tensor
    row: ValidityRow


def poisoned_graph(name: str, target: Target, space: EdgeSpace) -> Given:
    """The flips between the target's graph and a poisoned one of `auditor list data`.

    Raises:
        ConfigError: it is no poisoned graph.
        DataError: it is not in the data root.
        SkippedError: no data root, or it was made from another graph than the target's.
    """
    variant = poisoned_by(name)
    if not variant:
        raise ConfigError(f'"{name}" is no poisoned graph; expected one like deeprobust/cora:metattack=0.25.')
    root = resolve_root()
    if root is None:
        raise SkippedError(f"{name} is read from a data root; name it in AUDITOR_DATA")
    there, graph = load_data(name, root=root, transform=target.transform).graph, space.graph
    alike = (
        not space.directed
        and torch.equal(there.y, graph.y)
        and there.x.shape == graph.x.shape
        and torch.allclose(there.x, graph.x)
    )
    if not alike:
        raise SkippedError(f"{name} was made from another graph than {graph.name}: nodes, features or labels differ")
    keys, count = torch.unique(torch.cat([space.existing, there.pair_keys()]), return_counts=True)
    flips = keys[count == 1]
    attack, _, rate = variant.partition("=")
    stated = flips_for(rate, space.m) if attack == "metattack" else int(flips.numel())
    row = check(
        "stated-rate",
        "integrity",
        flips.numel() == stated,
        f"{name} differs from {graph.name} at {flips.numel()} edges; its rate says {stated}",
    )
    return Given(attack, Level(variant, flips.numel() / space.m, int(flips.numel())), flips, row)
