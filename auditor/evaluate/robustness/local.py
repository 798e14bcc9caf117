"""The harness of single nodes: how many of them a few flips of their own break, beside random flips of as many tries.

See docs/methods/other-edits.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.document import Control, Curve, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import SingleNodes
from auditor.errors import SkippedError
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.node_answers import NodeAnswers
from auditor.evaluate.robustness.one_by_one import FAR, Bools, OneByOne
from auditor.evaluate.robustness.oracle import ITEMS, MOST_NODES, Oracle
from auditor.evaluate.robustness.protocols import PROTOCOLS, UNIFORM, Protocol, drawn
from auditor.evaluate.robustness.single_nodes import affordable, limited
from auditor.evaluate.robustness.verification import Verified, Verifier
from auditor.parameters import Only, build, parameters
from auditor.perturbations import Perturbations
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import lack_of
from auditor.statistics.shares import paired, share
from auditor.targets.edge_use import EdgeUse
from auditor.targets.surroundings import Parts, reach_of
from auditor.targets.target import Target

ONE_FLIP = Metric("one_flip_rate", "share", "higher", "robustness")
DEGREE_FLIPS = Metric("degree_flip_rate", "share", "higher", "robustness")
MOST_ARCS = 50_000_000
"""Arcs that all attacked nodes' surroundings may have together; a node is asked about some twenty times."""
JUDGED = "uniform"
MAIN_MODE = "direct"


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        protocols: how nodes are chosen: `uniform`, `margin40`, `degree120`; empty for the profile's.
        targets: nodes of `uniform`; 0 for the profile's.
        per_degree: flips at a node for each of its edges; 0 for the profile's (1 in `quick`, 2 above).
        most: flips at a node, whatever its degree.
        oracle: nodes of `uniform` at which every single flip is tried; −1 for the profile's.
    """

    protocols: tuple[Protocol, ...] = ()
    targets: Annotated[int, Field(ge=0), Only(beside="protocols", being=("uniform",))] = 0
    per_degree: Annotated[int, Field(ge=0, le=10)] = 0
    most: Annotated[int, Field(ge=1)] = 40
    oracle: Annotated[int, Field(ge=-1), Only(beside="protocols", being=("uniform",))] = -1


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Who is attacked with how much.

    Attributes:
        groups: attacked nodes by the name of their group.
        nodes: all of them, int64 [n] ascending.
        one, degree: budgets in all: one flip each, and as many as a node has edges.
        per_degree: flips at a node for each of its edges, at most.
        room: flips at each node by budget, int64 [n].
        degrees: of the nodes, int64 [n].
        limited: why fewer are attacked than were drawn.
    """

    groups: Mapping[str, Tensor]
    nodes: Tensor
    one: int
    degree: int
    per_degree: int
    room: Mapping[int, Tensor]
    degrees: Tensor
    limited: tuple[ValidityRow, ...] = ()

    def places(self, group: str) -> Tensor:
        """Where the nodes of a group stand among all."""
        return torch.searchsorted(self.nodes, self.groups[group])


def evaluate(cell: Cell) -> CellResult:
    """Attacks nodes one by one, verifies every flip on the really edited graph, and counts who breaks.

    Where no edge can change an answer nothing is searched: random flips are verified to take nothing.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: no edges, no test node is classified right, or edges matter and no attack could run.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    given = cell.target
    space = EdgeSpace.of(given.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph)
    if space.m == 0:
        raise SkippedError(f"{target.graph.name} has no edges to edit")
    use = EdgeUse.of(given.beneath(), cell.rng("edge-dependence"))
    lacks = tuple(word for word in cell.probe.may_lack if word not in target.capabilities)
    if use.kind == "used" and lacks and not any(_searches(a) and a.needs <= target.capabilities for a in cell.attacks):
        raise SkippedError(f"needs {', '.join(map(lack_of, lacks))}", lacks=lacks)
    plan = _plan(cell, target, space, settings)
    verifier = Verifier(target, plan.nodes)
    run = OneByOne(answers=NodeAnswers(verifier), nodes=plan.nodes, room=plan.room)
    attacks = [a for a in cell.attacks if use.kind != "unused" or a.entry.role != "search"]
    budgets = tuple(sorted(plan.room))
    for attack in attacks:
        own = tuple(plan.room[budget] for budget in budgets)
        attempt = replace(cell.attempt(attack, budgets=budgets), item_budgets=own)
        run.run(attack, target, plan.nodes, attempt, partial(run.verify, attack.entry))
        run.settle()
    if use.kind == "used" and not run.modes and not run.violations:
        raise SkippedError(run.why_none)
    fewest = run.fewest(MAIN_MODE)
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=tuple(_numbers(cell, plan, run)),
        series=(_series(cell.probe.id, plan, run),) if JUDGED in plan.groups else (),
        validity=tuple(_rows(cell, target, given, space, use, plan, run, settings)),
        params={
            "edges": space.m,
            "directed": space.directed,
            "targets": {name: nodes.tolist() for name, nodes in plan.groups.items()},
            "flips": {
                str(node): None if k == FAR else int(k)
                for node, k in zip(plan.nodes.tolist(), fewest.tolist(), strict=True)
            },
            "largest_room": int(max(int(room.max()) for room in plan.room.values())),
            **run.params(attacks),
        },
        fixed=use.kind == "unused",
        edits=Perturbations(target.graph, tuple(run.longest.values())),
    )


def _searches(attack: Registered) -> bool:
    return attack.entry.role == "search"


def _plan(cell: Cell, target: Target, space: EdgeSpace, settings: Settings) -> _Plan:
    """The attacked nodes, all of them classified right, and their budgets."""
    logits, y = target.clean_logits(), target.graph.y
    right = torch.nonzero(target.task.correct(logits, y) & target.split.test).flatten()
    if not right.numel():
        raise SkippedError("no test node is classified right: there is nothing to break")
    degrees = torch.bincount(torch.cat(space.ends(space.existing)), minlength=target.graph.num_nodes)
    margins = target.task.margin(logits[right], y[right])
    count = settings.targets or UNIFORM[cell.profile]
    groups: dict[str, Tensor] = {}
    for protocol in settings.protocols or PROTOCOLS[cell.profile]:
        groups |= drawn(protocol, right, margins, degrees[right], count, cell.rng("targets", protocol))
    nodes = torch.unique(torch.cat(list(groups.values())))
    why: tuple[ValidityRow, ...] = ()
    arcs = _read(target, space, nodes)
    most = affordable(arcs, MOST_ARCS)
    if most < len(arcs):
        rng = cell.rng("affordable")
        groups = {name: _some(each, most / len(arcs), rng) for name, each in groups.items()}
        nodes = torch.unique(torch.cat(list(groups.values())))
        why = limited(nodes.numel(), arcs, space.graph.num_edges, MOST_ARCS)
    own = degrees[nodes]
    largest = settings.per_degree or (1 if cell.profile == "quick" else 2)
    rooms = [torch.ones_like(own), *((k * own).clamp(1, settings.most) for k in range(1, largest + 1))]
    by_budget = {int(each.sum()): each for each in rooms}
    return _Plan(groups, nodes, int(rooms[0].sum()), int(rooms[1].sum()), largest, by_budget, own, why)


def _read(target: Target, space: EdgeSpace, nodes: Tensor) -> list[int]:
    """Arcs that the model reads to answer about each node; all of them where its surroundings are most of the graph."""
    graph, hops = space.graph, reach_of(target.model)
    arcs = [graph.num_edges] * nodes.numel()
    if sum(arcs) > MOST_ARCS:  # else it is all the same
        parts, none = Parts.of(space), space.existing[:0]
        for i, node in enumerate(nodes):
            ids = parts.around(node[None], none, hops)
            if 2 * ids.numel() <= graph.num_nodes:
                arcs[i] = int(parts.into.at(ids)[0].numel())
    return arcs


def _some(nodes: Tensor, part: float, rng: np.random.Generator) -> Tensor:
    """That part of a group, one node at least, drawn at random and ascending."""
    count = max(1, round(part * nodes.numel()))
    return nodes[torch.from_numpy(np.sort(rng.permutation(nodes.numel())[:count]))]


def _numbers(cell: Cell, plan: _Plan, run: OneByOne) -> list[Measured]:
    """Share of each group that one flip breaks, and that as many as a node has edges break; one number is judged."""
    rows = []
    for mode in run.modes or (MAIN_MODE,):
        for group in plan.groups:
            if mode != MAIN_MODE and group != JUDGED:
                continue
            for metric, budget in ((ONE_FLIP, plan.one), (DEGREE_FLIPS, plan.degree)):
                judged = group == JUDGED and mode == MAIN_MODE and metric is ONE_FLIP
                rows.append(_rate(cell, plan, run, metric, budget, group, mode, judged=judged))
    return rows


def _rate(
    cell: Cell, plan: _Plan, run: OneByOne, metric: Metric, budget: int, group: str, mode: str, *, judged: bool
) -> Measured:
    places = plan.places(group).numpy()
    own = run.broken(mode, budget)[places]
    controls = []
    if run.ran(mode, control=True):
        beside = run.broken(mode, budget, control=True)[places]
        controls = [Control(name=run.control, estimate=share(beside), contrast=paired(own, beside))]
    tries = sum(each.is_control and each.mode == mode and each.budget == budget for each in run.tries)
    median = float(np.median(run.fewest(mode)[places]))
    each: Literal["one", "degree"] = "one" if metric is ONE_FLIP else "degree"
    return measured(
        metric,
        share(own),
        finding=cell.probe.findings[0],
        subset=group if mode == MAIN_MODE else f"{group}, {mode}",
        controls=controls,
        judged=judged,
        facts=SingleNodes(
            group=group,
            mode=mode,
            flips=each,
            attacked=len(places),
            tries=tries // max(1, plan.nodes.numel()),
            median_flips=None if median >= FAR else median,
            largest=int(plan.room[budget][places].max()),
        ),
    )


def _series(probe: str, plan: _Plan, run: OneByOne) -> Series:
    """Share of the nodes drawn at random that are still right, against flips in units of a node's own edges."""
    places = plan.places(JUDGED).numpy()
    degrees = np.maximum(plan.degrees.numpy()[places], 1)
    ratio = run.fewest(MAIN_MODE)[places] / degrees
    xs = tuple(float(x) for x in np.arange(0, plan.per_degree + 0.25, 0.25))
    left = [share(ratio > x) for x in xs]
    curves = [
        Curve(
            name="worst of all attacks",
            role="worst",
            x=xs,
            y=tuple(each.value for each in left),
            lo=tuple(each.lo for each in left),
            hi=tuple(each.hi for each in left),
        )
    ]
    if run.ran(MAIN_MODE, control=True):
        beside = share(~run.broken(MAIN_MODE, plan.degree, control=True)[places])
        curves.append(Curve(name=run.control, role="control", x=(0.0, 1.0), y=(1.0, beside.value)))
    return Series(
        id=f"{probe}-budget",
        kind="budget",
        title="Nodes still right under flips of their own",
        x_label="flips / edges of the node",
        y_label="share still right",
        curves=tuple(curves),
    )


def _rows(
    cell: Cell,
    target: Target,
    given: Target,
    space: EdgeSpace,
    use: EdgeUse,
    plan: _Plan,
    run: OneByOne,
    settings: Settings,
) -> list[ValidityRow]:
    """Whether the numbers can be trusted: the rules kept, and, where edges matter, what the search was worth."""
    tested, y = target.split.test, target.graph.y
    as_given, clean = (each.task.correct(each.clean_logits(), y)[tested].numpy() for each in (given, target))
    bad = f"non-finite logits under {', '.join(sorted(run.not_finite))}"
    finite = not run.not_finite
    rows: list[ValidityRow | None] = [
        *plan.limited,
        trust.canonical_row(given.graph, space, as_given, clean),
        run.budget_row(),
        check("finite-under-attack", "integrity", finite, "every logit under attack is finite" if finite else bad),
        trust.edge_use_row(use),
    ]
    if use.kind != "unused":
        rows.append(trust.nothing_to_lose_row(clean, target.task.constant_quality(y[tested])))
        if JUDGED in plan.groups:
            rows += [
                _random_wins(cell, plan, run),
                _beyond_chance(plan, run),
                trust.underpowered_row(plan.groups[JUDGED].numel()),
                _oracle_row(cell, plan, run, settings),
            ]
        rows += [trust.relaxation_row(notes) for notes in run.notes.values()]
    return [row for row in rows if row is not None]


def _random_wins(cell: Cell, plan: _Plan, run: OneByOne) -> ValidityRow:
    """Whether random flips break more nodes than the search at an equal budget."""
    places = plan.places(JUDGED).numpy()

    def left(budget: int, *, control: bool) -> Bools:
        whole: Bools = ~run.broken(MAIN_MODE, budget, control=control)[places]
        return whole

    budgets = sorted({plan.one, plan.degree})
    ran = run.ran(MAIN_MODE, control=True)
    return trust.random_wins_row(
        [left(budget, control=True).astype(np.float64) if ran else None for budget in budgets],
        [
            [Tried("search", "search", "", k, Verified(left(budget, control=False), True, 0, 0))]
            for k, budget in enumerate(budgets)
        ],
        cell.rng("random-wins"),
    )


def _beyond_chance(plan: _Plan, run: OneByOne) -> ValidityRow | None:
    """Whether the best of some random flips break more of the nodes, all of them right, than the search adds."""
    places = plan.places(JUDGED).numpy()
    beside, own = (~run.broken(MAIN_MODE, plan.one, control=control)[places] for control in (True, False))
    return trust.beyond_chance_row(np.ones_like(own), beside, own)


def _oracle_row(cell: Cell, plan: _Plan, run: OneByOne, settings: Settings) -> ValidityRow | None:
    """Of the nodes that some single flip breaks, how many the search breaks with one; None where it was not asked."""
    count = ITEMS[cell.profile] if settings.oracle < 0 else settings.oracle
    if count == 0:
        return None
    verifier = run.answers.verifier
    if verifier.space.graph.num_nodes > MOST_NODES:
        return check("oracle", "warning", None, f"every flip at a node is tried up to {MOST_NODES} nodes")
    oracle, broken, possible, found = Oracle(verifier), run.broken(MAIN_MODE, plan.one), 0, 0
    places = cell.rng("oracle").permutation(plan.places(JUDGED).numpy())[:count]
    for place in map(int, places):
        cell.tick(None, f"every single flip at node {int(plan.nodes[place])}")
        by_search = bool(broken[place])
        found += by_search
        possible += by_search or oracle.breaking(place) is not None
    return trust.oracle_row(len(places), possible, found, "the first flip of the search")
