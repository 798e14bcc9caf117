"""How strong was the search? It is run again at other sizes, and beside one that follows no gradient.

Runs after the search, at `standard` and `full`, on one graph; see docs/methods/robustness.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.document import ValidityRow, check
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verified, Verifier
from auditor.outcomes import FlipSet
from auditor.probe import Cell, Registered
from auditor.targets.target import Target

MORE, LESS = 2.0, 0.25
"""Steps of the two runs, in units of the usual ones: reduced where the budget has no limit, since it costs most."""
CONVERGED = 0.01
ABOVE_MAJORITY = 0.05
MOST_EDGES = 100_000
"""Without a limit a search holds eight candidates for each edge; above this it is not run."""
SURVIVORS, QUERIES = 20, 25


@dataclass(frozen=True, slots=True, eq=False)
class Rerun:
    """One search on one target, to be run at other sizes."""

    cell: Cell
    target: Target
    attack: Registered
    items: Tensor

    def best(
        self, name: str, level: Level, verifier: Verifier, *, effort: float, caps: Tensor | None
    ) -> tuple[FlipSet, Verified] | None:
        """The strongest verified flip set; None where there is none, or the attack takes no notice of the effort."""
        found: list[tuple[FlipSet, Verified]] = []
        attempt = self.cell.attempt(self.attack, name, budgets=(level.budget,))
        run = FlipClaims()
        run.run(
            self.attack,
            self.target,
            self.items,
            replace(attempt, node_caps=caps, effort=effort),
            lambda claim, _variant: found.append((claim, verifier.check(claim))),
        )
        if run.notes.get(self.attack.id, {}).get("effort") != effort:
            return None
        return min(found, key=lambda pair: pair[1].accuracy, default=None)


def convergence(
    rerun: Rerun, level: Level, place: int, verifier: Verifier, caps: Tensor | None, before: Sequence[Tried]
) -> tuple[ValidityRow, Tried] | None:
    """Whether twice the steps find what the search did not, and what they found.

    Args:
        rerun: the strongest search.
        level: the budget.
        place: where it stands among the budgets.
        verifier: as for every claim.
        caps: the same.
        before: its flip sets at this budget.
    """
    rerun.cell.tick(None, f"{rerun.attack.id}: twice the steps")
    again = rerun.best("convergence", level, verifier, effort=MORE, caps=caps)
    if again is None or not before:
        return None
    usual = min(each.verified.accuracy for each in before)
    claim, verified = again
    evidence = (
        f"{rerun.attack.id} at {level.budget} edits leaves {usual:.1%}; with twice the steps {verified.accuracy:.1%}"
    )
    row = check("convergence", "warning", usual - verified.accuracy <= CONVERGED, evidence)
    tried = Tried(rerun.attack.id, "search", "twice the steps", place, verified, claim)
    return row, tried


def unbounded(rerun: Rerun, majority: float, rng: np.random.Generator) -> ValidityRow | None:
    """Whether as many flips as there are edges leave no more than a constant answer would be right on.

    A search that cannot break a model without a limit is either stuck, or the model hardly reads its edges. Items that
    survive tell which: a search that follows no gradient joins each with nodes of other classes.
    """
    space = EdgeSpace.of(rerun.target.graph)
    if space.m > MOST_EDGES:
        return None
    rerun.cell.tick(None, f"{rerun.attack.id}: as many edits as edges")
    budget = min(space.m, space.num_pairs)
    free = Verifier(rerun.target, rerun.items)
    found = rerun.best("unbounded", Level("unbounded", 1.0, budget), free, effort=LESS, caps=None)
    if found is None:
        return None
    left, floor = found[1].accuracy, majority + ABOVE_MAJORITY
    evidence = (
        f"with {budget} edits, as many as edges, {rerun.attack.id} leaves {left:.1%}; commonest class {majority:.1%}"
    )
    if left <= floor:
        return check("unbounded", "strength", True, evidence)
    survivors = np.flatnonzero(found[1].correct)
    survivors = rng.permutation(survivors)[:SURVIVORS]
    broken = sum(_breaks(free, rerun, int(place), rng) for place in survivors)
    evidence += f"; edges to random nodes of other classes break {broken} of {len(survivors)} that are left"
    return check("unbounded", "strength", "fail" if broken else "warn", evidence)


def _breaks(free: Verifier, rerun: Rerun, place: int, rng: np.random.Generator) -> bool:
    """Whether an item falls when its own edges are cut and others are put to random nodes of one other class."""
    space, y = free.space, rerun.target.graph.y
    node, n = int(rerun.items[place]), rerun.target.graph.num_nodes
    u, v = space.ends(space.existing)
    own = space.existing[(u == node) | (v == node)]
    others = [label for label in torch.unique(y).tolist() if label not in (-1, int(y[node]))]
    for _ in range(QUERIES if others else 0):
        there = np.flatnonzero((y == others[int(rng.integers(len(others)))]).numpy())
        partners = torch.from_numpy(rng.permutation(there)[: 2 * own.numel() + 5])
        joined = space.keys(partners, torch.full_like(partners, node))
        keys = torch.unique(torch.cat([own, joined[~space.exists(joined)]]))
        if not free.check(FlipSet(n * n, keys)).correct[place]:
            return True
    return False
