"""How strong was the search? It is run again at other sizes, beside one that follows no gradient, and beside all flips.

Runs after the search, at `standard` and `full`; see docs/methods/robustness.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor import registry
from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.oracle import ITEMS, MOST_IN_GRAPH, MOST_NODES, Oracle, graphs_broken
from auditor.evaluate.robustness.verification import Verified, Verifier
from auditor.outcomes import FlipSet
from auditor.probe import Cell, Registered
from auditor.targets.edit_queries import open_edit_queries
from auditor.targets.target import Target
from auditor.view import View

EFFORT = "effort"
"""Where a search that takes notice of how many steps it is to take repeats that in its notes."""
MORE, LESS = 2.0, 0.25
"""Steps of the two runs, in units of the usual ones: reduced where the budget has no limit, since it costs most."""
CONVERGED = 0.01
ABOVE_MAJORITY = 0.05
MOST_EDGES = 100_000
"""Without a limit a search holds eight candidates for each edge; above this it is not run."""
LARGE = 1_000_000
"""Arcs of one graph from which searches take their short cuts, and twice the steps are the strongest loss's alone."""
SURVIVORS, QUERIES = 20, 25
ASKED, ASKED_EACH = 250, 25
"""Queries without a gradient: about one graph, and about each of many."""


def is_large(graph: Graph) -> bool:
    """Whether searches of one graph take their short cuts: then they say so."""
    return graph.task.level == "node" and graph.num_edges >= LARGE


@dataclass(frozen=True, slots=True, eq=False)
class Rerun:
    """One search on one target, to be run at other sizes."""

    cell: Cell
    target: Target
    attack: Registered
    items: Tensor

    def best(
        self, name: str, level: Level, verifier: Verifier, *, effort: float, caps: Tensor | None, variant: str = ""
    ) -> tuple[FlipSet, Verified] | None:
        """The strongest verified flip set; None where there is none, or the attack takes no notice of the effort."""
        found: list[tuple[FlipSet, Verified]] = []
        attempt = self.cell.attempt(self.attack, name, budgets=(level.budget,))
        run = FlipClaims()
        run.run(
            self.attack,
            self.target,
            self.items,
            replace(attempt, node_caps=caps, effort=effort, variant=variant, sparing=is_large(self.target.graph)),
            lambda claim, _variant: found.append((claim, verifier.check(claim))),
        )
        if effort != 1.0 and run.notes.get(self.attack.id, {}).get(EFFORT) != effort:
            return None
        return min(found, key=lambda pair: pair[1].accuracy, default=None)


def convergence(
    rerun: Rerun,
    level: Level,
    place: int,
    verifier: Verifier,
    caps: Tensor | None,
    before: Sequence[Tried],
    *,
    variant: str = "",
) -> tuple[ValidityRow, Tried] | None:
    """Whether twice the steps find what the search did not, and what they found.

    Args:
        rerun: the strongest search that takes notice of how many steps it is to take.
        level: the budget.
        place: where it stands among the budgets.
        verifier: as for every claim.
        caps: the same.
        before: its flip sets at this budget.
        variant: the only one of its variants that is run again; empty for all.
    """
    rerun.cell.tick(None, f"{rerun.attack.id}: twice the steps")
    again = rerun.best("convergence", level, verifier, effort=MORE, caps=caps, variant=variant)
    if again is None or not before:
        return None
    usual = min(each.verified.accuracy for each in before)
    claim, verified = again
    evidence = (
        f"{rerun.attack.id} at {level.budget} edits leaves {usual:.1%}; with twice the steps {verified.accuracy:.1%}"
    )
    if variant:
        evidence += f" (a large graph: {variant} alone was run again)"
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


def by_answers(
    rerun: Rerun, level: Level, place: int, verifier: Verifier, before: Sequence[Tried], rng: np.random.Generator
) -> tuple[ValidityRow, list[Tried]] | None:
    """Whether a search on answers alone reaches further than every gradient at an equal budget, and what it found.

    It follows gradients nowhere: where it wins, those that were followed lead nowhere, and may be masked.

    Args:
        rerun: the strongest search.
        level: the budget.
        place: where it stands among the budgets.
        verifier: as for every claim.
        before: what the searches found at this budget.
        rng: of the bootstrap.
    """
    cell, target = rerun.cell, rerun.target
    many = target.task.level == "graph"
    if not cell.probe.held_against or not before or (not many and target.graph.num_edges > 2 * MOST_EDGES):
        return None
    most = ASKED_EACH * rerun.items.numel() if many else ASKED
    found: list[Tried] = []
    for entry in registry.attacks_of(cell.probe.held_against):
        if entry.role != "search":
            continue
        attack = Registered(entry, entry.load()())
        cell.tick(None, f"{attack.id}: {most} queries")
        attempt = cell.attempt(attack, "held against", budgets=(level.budget,))
        own = () if level.item_budgets is None else (level.item_budgets,)

        def verify(claim: FlipSet, variant: str, attack: Registered = attack) -> None:
            verified = verifier.check(claim, item_budgets=level.item_budgets)
            found.append(Tried(attack.id, "heuristic", f"{variant}, {most} queries", place, verified, claim))

        queries = open_edit_queries(target, most=most, digits=cell.side.served_digits)
        asked = partial(View.with_edit_queries, queries=queries)
        FlipClaims().run(attack, target, rerun.items, replace(attempt, item_budgets=own), verify, granted=asked)
    if not found:
        return None
    best = min(found, key=lambda each: each.verified.accuracy)
    return trust.black_box_wins_row(best, most, before, rng), found


def one_flip(
    rerun: Rerun, levels: Sequence[Level], tried: Sequence[Tried], clean: Verified, rng: np.random.Generator
) -> ValidityRow | None:
    """Whether the search breaks what trying every single flip breaks, on a few items that are right unedited.

    One graph: one flip at each of a few nodes, the best of all there are; together they are a set that the search,
    given as many flips for those nodes, ought to match. Many graphs: each has a budget of one flip anyway.

    Args:
        rerun: the strongest search.
        levels: the budgets.
        tried: what the searches found.
        clean: nothing flipped.
        rng: of the choice of items.
    """
    count, right = ITEMS[rerun.cell.profile], np.flatnonzero(clean.correct)
    if rerun.target.task.level == "graph":
        return _one_flip_in_each(rerun, levels, tried, right, count, rng)
    if rerun.target.graph.num_nodes > MOST_NODES:
        return check("oracle", "warning", None, f"every flip at a node is tried up to {MOST_NODES} nodes")
    items = rerun.items[torch.from_numpy(np.sort(rng.permutation(right)[:count]))]
    verifier = Verifier(rerun.target, items)
    rerun.cell.tick(None, f"every single flip at {items.numel()} nodes")
    oracle = Oracle(verifier)
    keys = [key for place in range(items.numel()) if (key := oracle.breaking(place)) is not None]
    if not keys:
        return trust.oracle_row(items.numel(), 0, 0, "the search")
    together = torch.unique(torch.cat(keys))
    level = Level("oracle", 0.0, together.numel())
    possible = int((~verifier.check(FlipSet(level.budget, together)).correct).sum())
    best = replace(rerun, items=items).best("oracle", level, verifier, effort=1.0, caps=None)
    if best is None:
        return None
    words = f"{rerun.attack.id}, given {level.budget} flips for them,"
    return trust.oracle_row(items.numel(), possible, int((~best[1].correct).sum()), words)


def _one_flip_in_each(
    rerun: Rerun,
    levels: Sequence[Level],
    tried: Sequence[Tried],
    right: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> ValidityRow | None:
    one, batch = next((k for k, level in enumerate(levels) if not level.on_curve), None), rerun.target.graph.batch
    if one is None or batch is None:
        return None
    sizes = torch.bincount(batch)[rerun.items]
    places = rng.permutation(right[(sizes[right] <= MOST_IN_GRAPH).numpy()])[:count].tolist()
    if not places:
        return None
    rerun.cell.tick(None, f"every single flip in {len(places)} graphs")
    by_search = ~np.logical_and.reduce([each.verified.correct for each in tried if each.level == one])[places]
    broken = graphs_broken(Verifier(rerun.target, rerun.items), places)
    return trust.oracle_row(len(places), int(broken.sum()), int((by_search & broken).sum()), "the first flip found")
