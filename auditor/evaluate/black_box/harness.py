"""The harness of an adversary who asks: accuracy under flips found by queries, beside the best of as many random sets.

The adversary holds the graph and hands it in edited. It has no weight and no gradient; every query is counted by the
service, which answers no more of them than it is allowed to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.edits import EdgeSpace, settled
from auditor.document import Control, Curve, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import Robust
from auditor.errors import SkippedError
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.attacked import attacked_items
from auditor.evaluate.robustness.budgets import Level, graph_levels, node_levels, parse_eps
from auditor.evaluate.robustness.envelope import Tried, edits_of
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verified, Verifier
from auditor.outcomes import FlipSet
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import Profile
from auditor.statistics.shares import paired, share
from auditor.targets.edit_queries import EditQueries, open_edit_queries
from auditor.targets.target import Target
from auditor.view import View

Bools = NDArray[np.bool_]
ROBUST_ACCURACY = Metric("robust_accuracy", "share", "lower", "robustness")
QUERIES: Mapping[Profile, int] = {"quick": 500, "standard": 2_000, "full": 10_000}
EACH_GRAPH = 500
MAIN_EPS = 0.05
POINTS = 40
"""Points of the chart of accuracy against queries."""


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: budgets as decimal shares of the edges; each has queries of its own. The one nearest 5 % is judged.
        max_queries: queries that are answered at each budget, of many graphs about each; 0 for the profile's.
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
    """

    eps: Annotated[tuple[str, ...], Field(min_length=1)] = ("0.05",)
    max_queries: Annotated[int, Field(ge=0)] = 0
    graphs: Annotated[int, Field(ge=0), Only(level="graph")] = 0

    @model_validator(mode="after")
    def _budgets_can_be_read(self) -> Self:
        if not parse_eps(self.eps, "edges"):  # before any cell: a usage error
            raise ValueError(f"eps={'/'.join(self.eps)} edits nothing; write eps=0.05")
        return self


@dataclass(slots=True)
class _Run(FlipClaims):
    """What the attacks of one cell left behind.

    Attributes:
        tried: every verified flip set.
        spent: by attack and budget, queries that the service answered, and rows that it returned.
        curves: by attack and budget, the best accuracy seen at each query.
    """

    tried: list[Tried] = field(default_factory=list)
    spent: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    curves: dict[tuple[str, int], list[tuple[int, float]]] = field(default_factory=dict)

    def best(self, clean: Verified, roles: Sequence[str], place: int) -> Tried:
        """The strongest verified set of these roles at one budget; nothing flipped where none is stronger."""
        usable = [each for each in self.tried if each.role in roles and each.level == place]
        return min(
            [Tried("clean", "control", "", -1, clean), *usable],
            key=lambda each: (each.verified.accuracy, each.flips),
        )


def evaluate(cell: Cell) -> CellResult:
    """Runs the search and its control with as many queries each, verifies every flip set, measures.

    Raises:
        SkippedError: no edges, nobody may ask about graphs of their own, or no search could run.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    if not cell.side.asks_own:
        raise SkippedError(
            f"needs answers about edited graphs; [access] queries is {cell.side.queries}, so that nobody "
            "may hand one in."
        )
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    given = replace(cell.target, graph=settled(cell.target.graph))  # each of many graphs is edited as all of them are
    space = EdgeSpace.of(given.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph)
    if space.m == 0:
        raise SkippedError(f"{target.graph.name} has no edges to edit")
    items = attacked_items(cell, settings.graphs)
    if target.task.level == "graph":
        levels = graph_levels(space, items, settings.eps, cell.profile)
        most = (settings.max_queries or EACH_GRAPH) * items.numel()
    else:
        counted = space if given.private is None else EdgeSpace.of(given.private)
        levels = node_levels(space, items, settings.eps, "edges", cell.profile, counted=counted)
        most = settings.max_queries or QUERIES[cell.profile]
    verifier, run = Verifier(target, items), _Run()
    for attack in cell.attacks:
        for place, level in enumerate(levels):
            _attack(cell, target, attack, items, (place, level), most, verifier, run)
    searches = [attack for attack in cell.attacks if attack.entry.role == "search"]
    if not searches or all(attack.id in run.skipped for attack in searches):
        raise SkippedError(run.why_none)
    clean = verifier.clean()
    main = min(range(len(levels)), key=lambda place: abs(levels[place].eps - MAIN_EPS))
    rows = [_row(cell, run, clean, place, level, items, judged=place == main) for place, level in enumerate(levels)]
    as_given = given.task.correct(given.clean_logits(), given.graph.y)[items].numpy()
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=tuple(rows),
        series=(_series(cell, run, main, levels[main], clean, items.numel()),),
        validity=(
            trust.canonical_row(given.graph, space, as_given, clean.correct),
            *_rows(cell, run, clean, main, most),
        ),
        params={
            "edges": space.m,
            "directed": space.directed,
            "targets": items.numel(),
            "budgets": {level.subset: level.budget for level in levels},
            "max_queries": most,
            "queries": {f"{id_} at {budget}": count for (id_, budget), (count, _rows) in run.spent.items()},
            "rows": {f"{id_} at {budget}": rows for (id_, budget), (_count, rows) in run.spent.items()},
            **run.params(cell.attacks),
        },
        edits=edits_of(target.graph, run.tried),
    )


def _attack(
    cell: Cell,
    target: Target,
    attack: Registered,
    items: Tensor,
    at: tuple[int, Level],
    most: int,
    verifier: Verifier,
    run: _Run,
) -> None:
    """Runs one attack at one budget, with queries of its own, and verifies what it claims."""
    place, level = at
    seen: list[tuple[int, float]] = []
    y = target.graph.y[items]

    def watch(queries: EditQueries, answers: Tensor) -> None:
        right = float(target.task.correct(answers[items], y).double().mean())
        seen.append((queries.count, min(right, seen[-1][1]) if seen else right))

    queries = open_edit_queries(target, most=most, digits=cell.side.served_digits, watch=watch)
    attempt = replace(
        cell.attempt(attack, level.subset, budgets=(level.budget,)),
        item_budgets=() if level.item_budgets is None else (level.item_budgets,),
    )

    def verify(claim: FlipSet, variant: str) -> None:
        verified = verifier.check(claim, item_budgets=level.item_budgets)
        run.tried.append(Tried(attack.id, attack.entry.role, variant, place, verified, claim))
        cell.models.keep_flips(cell.target, (claim,))

    granted: Callable[[View], View] = partial(View.with_edit_queries, queries=queries)
    run.run(attack, target, items, attempt, verify, granted=granted)
    if attack.id not in run.skipped:
        run.spent[attack.id, level.budget] = queries.count, queries.rows
        run.curves[attack.id, level.budget] = seen


def _row(cell: Cell, run: _Run, clean: Verified, place: int, level: Level, items: Tensor, *, judged: bool) -> Measured:
    """Accuracy that the strongest verified set leaves, beside the best of as many random sets."""
    target = cell.target
    winner = run.best(clean, ("search", "heuristic"), place)
    own = winner.verified.correct
    controls = []
    for attack in cell.attacks:
        if attack.entry.role == "control" and (attack.id, level.budget) in run.spent:
            mine = [each for each in run.tried if each.attack == attack.id]
            beside = _Run(tried=mine).best(clean, ("control",), place).verified.correct
            controls.append(Control(name=attack.id, estimate=share(beside), contrast=paired(own, beside)))
    commonest = int(torch.bincount(target.graph.y[target.split.test]).argmax())
    queries = run.spent.get((winner.attack, level.budget), max(run.spent.values()))[0]
    facts = Robust(
        clean=share(clean.correct),
        attacked=share(own),
        random=controls[0].estimate if controls else None,
        edge_free=None,
        majority=float((target.graph.y[items] == commonest).double().mean()),
        edits=winner.flips,
        budget=level.budget,
        additions=winner.verified.additions,
        deletions=winner.verified.deletions,
        attacked_items=items.numel(),
        winner=winner.name,
        attempts={each.name: each.verified.accuracy for each in run.tried if each.level == place},
        queries=queries,
    )
    return measured(
        ROBUST_ACCURACY,
        share(own),
        finding=cell.probe.findings[0],
        subset=level.subset,
        controls=controls,
        judged=judged,
        facts=facts,
    )


def _rows(cell: Cell, run: _Run, clean: Verified, main: int, most: int) -> list[ValidityRow]:
    """Whether claims and counts held, and how much the search was worth."""
    target = cell.target
    searched = [each for each in run.tried if each.role == "search" and each.level == main]
    beside, own = (run.best(clean, roles, main).verified.correct for roles in (("control",), ("search", "heuristic")))
    tested, y = target.split.test, target.graph.y
    over = {id_: count for (id_, _budget), (count, _rows) in run.spent.items() if count > most}
    told = ", ".join(f"{id_} {count}" for (id_, _budget), (count, _rows) in run.spent.items())
    rows = [
        run.budget_row(),
        trust.finite_row(run.tried),
        check("queries-counted", "integrity", not over, f"queries answered, {most} allowed at each budget: {told}"),
        trust.claim_row(run.tried),
        trust.random_wins_row([beside.astype(np.float64)], [searched], cell.rng("random-wins")),
        trust.beyond_chance_row(clean.correct, beside, own),
        trust.nothing_to_lose_row(
            target.task.correct(target.clean_logits(), y)[tested].numpy(), target.task.constant_quality(y[tested])
        ),
        trust.underpowered_row(len(clean.correct)),
    ]
    return [row for row in rows if row is not None]


def _series(cell: Cell, run: _Run, main: int, level: Level, clean: Verified, n: int) -> Series:
    """Accuracy against queries: the best set so far, of the search and of its control; as the service answered."""
    curves = []
    for attack in cell.attacks:
        seen = run.curves.get((attack.id, level.budget), [])
        if not seen:
            continue
        if cell.target.task.level == "graph":  # a query is one graph, so that no answer is about all of them
            verified = [each.verified.accuracy for each in run.tried if each.attack == attack.id and each.level == main]
            seen = [(0, clean.accuracy), (run.spent[attack.id, level.budget][0], min([clean.accuracy, *verified]))]
        places = np.unique(np.geomspace(1, len(seen), min(POINTS, len(seen))).round().astype(int)) - 1
        shown = [seen[int(place)] for place in places]
        curves.append(
            Curve(
                name=attack.id,
                role="control" if attack.entry.role == "control" else "worst",
                x=tuple(float(count) for count, _ in shown),
                y=tuple(best for _, best in shown),
            )
        )
    most = max((x for curve in curves for x in curve.x if x is not None), default=1.0)
    curves.append(Curve(name="clean", role="reference", x=(0.0, most), y=(clean.accuracy, clean.accuracy)))
    return Series(
        id=f"{cell.probe.id}-queries",
        kind="budget",
        title="Accuracy against queries",
        x_label="queries" if n and cell.target.task.level == "node" else "queries, of all graphs",
        y_label="accuracy",
        curves=tuple(curves),
    )
