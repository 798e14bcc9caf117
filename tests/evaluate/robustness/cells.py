"""Cells of the probe that edits edges, on toy targets, and attacks that claim what they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.document import Measured
from auditor.document.facts import Robust
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.probe import Attempt, Cell, CellResult, Registered
from auditor.registry import Entry, Profile
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Target
from auditor.view import SideKnowledge, View

ATTACKS: dict[str, dict[str, Any]] = {"active-set": {"cycles": 1}, "random": {}, "dice": {}}


def shipped(**changes: dict[str, Any]) -> tuple[Registered, ...]:
    """The registered attacks of the probe, with fewer cycles."""
    entries = [registry.find("attacks", id_) for id_ in ATTACKS]
    return tuple(Registered(e, e.load()(**{**ATTACKS[e.id], **changes.get(e.id, {})})) for e in entries)


@dataclass(frozen=True)
class Claims:
    """Returns what it is told, for planting faults."""

    make: Callable[[EdgeSpace, int, Attempt], Tensor]
    claimed: float | None = None

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        space = EdgeSpace.of(view.graph)
        sets = (FlipSet(budget, self.make(space, budget, attempt), self.claimed) for budget in attempt.budgets)
        return FlipOutcome(tuple(sets), ("planted",) * len(attempt.budgets))


def claims(make: Callable[[EdgeSpace, int, Attempt], Tensor], claimed: float | None = None) -> Registered:
    """A search that returns what it is told."""
    entry = Entry(
        "claims", "tests.evaluate:claims", "", "robustness", needs=("GRAD_EDGE",), access=("graph",), role="search"
    )
    return Registered(entry, Claims(make, claimed))


def cell(
    target: Target,
    attacks: Sequence[Registered] | None = None,
    *,
    profile: Profile = "quick",
    seed: int = 0,
    **params: str,
) -> Cell:
    return Cell(
        target=target,
        probe=registry.find_probe("structure-evasion"),
        attacks=shipped() if attacks is None else tuple(attacks),
        params=params,
        profile=profile,
        seed=seed,
        side=SideKnowledge(),
        models=TrainedCache(),
    )


def robust(result: CellResult, subset: str = "eps=0.05") -> Measured:
    return next(m for m in result.measured if m.metric == "robust_accuracy" and m.subset == subset)


def facts(result: CellResult, subset: str = "eps=0.05") -> Robust:
    found = robust(result, subset).facts
    assert isinstance(found, Robust)
    return found
