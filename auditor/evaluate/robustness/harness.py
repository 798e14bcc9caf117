"""The harness of edited graphs: verified accuracy under edge edits, beside random edits of the same budget.

See docs/methods/robustness.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.edits import EdgeSpace, settled
from auditor.data.graph import EditedAs
from auditor.document import ValidityRow
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.robustness import strength, trust
from auditor.evaluate.robustness.attacked import attacked_items
from auditor.evaluate.robustness.budgets import ONE, BudgetOf, Level, graph_levels, node_caps, node_levels, parse_eps
from auditor.evaluate.robustness.differences import differences_row
from auditor.evaluate.robustness.edge_free import edge_free_reference
from auditor.evaluate.robustness.envelope import Floats, Tried, edits_of, envelope
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.measure import Beside, Found, budget_series, main_level, numbers
from auditor.evaluate.robustness.replay import play_back, replayed_rows
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.parameters import Only, build, meant_for, parameters
from auditor.perturbations import read_flips
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import Role, lack_of
from auditor.targets.edge_use import EdgeUse
from auditor.targets.target import Target

Undirected = Literal["auto", "true", "false"]
EDITED_AS: Mapping[Undirected, EditedAs] = {"true": "pairs", "false": "arcs"}


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: budgets as decimal shares (`0.01/0.05`); empty for the profile's. Task `graph` also knows `one`: one flip.
        budget_of: what a share is of: `edges`, `targets` (edges incident to targets) or `absolute` (flips).
        local_cap: at most this share of a node's degree in flips at it; 0 for no cap (task `node`).
        undirected: whether one edit toggles both arcs of a pair (`true`) or one arc (`false`); `auto`: a pair where at
            least 99 % of the arcs have their reverse.
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
        replay: files of `--save-flips` whose flips join the envelope, joined by `:` (`;` on Windows); empty for none.
    """

    eps: tuple[str, ...] = ()
    budget_of: Annotated[BudgetOf, Only(level="node")] = "edges"
    local_cap: Annotated[float, Field(ge=0), Only(level="node")] = 0.0
    undirected: Undirected = "auto"
    graphs: Annotated[int, Field(ge=0), Only(level="graph")] = 0
    replay: str = ""

    @model_validator(mode="after")
    def _budgets_can_be_read(self) -> Self:
        shares = parse_eps([word for word in self.eps if word != ONE], self.budget_of)  # before any cell: a usage error
        if self.eps and not shares and ONE not in self.eps:
            raise ValueError(f"eps={'/'.join(self.eps)} edits nothing; write eps=0.05")
        if self.budget_of == "absolute" and not self.eps:
            raise ValueError("budget_of=absolute counts flips, and none were named; write eps=100,budget-of=absolute")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of `replay`."""
        return tuple(Path(part) for part in self.replay.split(os.pathsep) if part)


@dataclass(slots=True)
class _Run(FlipClaims):
    """What the attacks of one cell left behind, with every verified flip set."""

    tried: list[Tried] = field(default_factory=list)

    def of_role(self, role: Role, level: int) -> list[Tried]:
        """The flip sets of one role at one level."""
        return [each for each in self.tried if each.role == role and each.level == level]


def check_fits(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether budgets are of such a target, and flips to be played back of this graph, before anything runs.

    Raises:
        ConfigError: `eps=one` of one graph, or more flips than there are pairs.
        ConfigError, DataError: see `read_flips`.
    """
    settings = build(Settings, meant_for(Settings, params), owner=owner)
    if ONE in settings.eps and target.task.level == "node":
        raise ConfigError(
            f"{owner}: eps={ONE} is one flip in each of many graphs; {target.name} classifies nodes. Write eps=0.05, "
            "or eps=1,budget-of=absolute for one flip."
        )
    counted = settings.budget_of == "absolute" and target.task.level == "node"
    if not settings.files and not counted:
        return
    try:
        space = EdgeSpace.of(_read_as(target, EDITED_AS.get(settings.undirected, "auto")).graph)
    except SkippedError:
        return  # the row of the cell says why
    if counted and (most := int(parse_eps(settings.eps, "absolute")[-1])) > space.num_pairs:
        raise ConfigError(
            f"{owner}: eps={most} with budget-of=absolute are more flips than {target.graph.name} has pairs of nodes; "
            f"expected at most {space.num_pairs:,}."
        )
    for path in settings.files:
        read_flips(path, space)


def evaluate(cell: Cell) -> CellResult:
    """Runs every attack of the probe, verifies every flip set on the really edited graph, measures the envelope.

    Where no edge can change an answer nothing is searched: every fixed rule and control is verified to take nothing.

    Raises:
        ConfigError: a budget or another parameter that cannot be used, or a file to play back that does not fit.
        SkippedError: no edges, or edges that matter and no attack that could run.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    asked = settings.undirected != "auto"
    given = _read_as(cell.target, EDITED_AS.get(settings.undirected, "auto"))
    space = EdgeSpace.of(given.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph)
    if space.m == 0:
        raise SkippedError(f"{target.graph.name} has no edges to edit")
    use = EdgeUse.of(given.beneath(), cell.rng("edge-dependence"))
    if use.kind == "used":
        _require_search(cell)
    items = attacked_items(cell, settings.graphs)
    if target.task.level == "graph":
        levels, caps = graph_levels(space, items, settings.eps, cell.profile), None
    else:
        counted = space if given.private is None else EdgeSpace.of(given.private)  # every arm shares the budget
        levels = node_levels(space, items, settings.eps, settings.budget_of, cell.profile, counted=counted)
        caps = node_caps(counted, settings.local_cap)
    verifier = Verifier(target, items, node_caps=caps)
    run = _Run()
    attacks = [a for a in cell.attacks if use.kind != "unused" or a.entry.role != "search"]
    for attack in attacks:
        _attack(cell, target, attack, items, levels, caps, verifier, run)
    replayed = play_back(settings.files, levels, verifier, run.tried)
    commonest = int(torch.bincount(given.graph.y[given.split.test]).argmax())
    majority = float((given.graph.y[items] == commonest).double().mean())
    again = _search_again(cell, target, items, levels, caps, verifier, run, majority) if use.kind == "used" else ()
    others = [each for each in run.tried if each.role != "control"]
    if use.kind == "used":
        _require_found(attacks, run, others)

    points = envelope(verifier.clean(), others, len(levels), per_item=target.task.level == "graph")
    found = Found(
        probe=cell.probe.id,
        task=target.task,
        levels=levels,
        points=tuple(points),
        beside=_beside(cell, run, levels),
        tried=tuple(run.tried),
        majority=majority,
        reference=None if use.kind == "unused" else edge_free_reference(cell, items, commonest),
        items=items,
    )
    as_given = given.task.correct(given.clean_logits(), given.graph.y)[items].numpy()
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=numbers(found, cell.rng("bootstrap")),
        series=(budget_series(found),),
        validity=(
            trust.canonical_row(given.graph, space, as_given, found.points[0].correct, asked=asked),
            *_trust_rows(run, found, use),
            *(_strength_rows(cell, run, found) if use.kind != "unused" else ()),
            *again,
            *replayed_rows(replayed, levels, capped=caps is not None),
        ),
        params={
            "edges": space.m,
            "directed": space.directed,
            "targets": found.n,
            "budgets": {level.subset: level.budget for level in levels},
            "capped_out_nodes": None if caps is None else int((caps == 0).sum()),
            "reference": None if found.reference is None else found.reference.name,
            **({"no_reference": found.reference.reason} if found.reference and found.reference.reason else {}),
            **({"replay": replayed} if replayed else {}),
            **run.params(attacks),
        },
        fixed=use.kind == "unused",
        edits=edits_of(target.graph, run.tried),
    )


def _read_as(target: Target, edited_as: EditedAs) -> Target:
    """The target on a graph that says what one edit toggles: edits must not make another graph of it."""
    private = None if target.private is None else settled(target.private, edited_as)
    return replace(target, graph=settled(target.graph, edited_as), private=private)


def _attack(
    cell: Cell,
    target: Target,
    attack: Registered,
    items: Tensor,
    levels: Sequence[Level],
    caps: Tensor | None,
    verifier: Verifier,
    run: _Run,
) -> None:
    """Runs one attack and verifies its claims; what passes is tried, and kept to be tried on other models."""
    distinct = {level.budget: level for level in reversed(levels)}
    budgets = tuple(sorted(distinct))
    attempt = replace(
        cell.attempt(attack, budgets=budgets),
        node_caps=caps,
        sparing=strength.is_large(target.graph),
        item_budgets=tuple(own for budget in budgets if (own := distinct[budget].item_budgets) is not None),
    )

    def verify(claim: FlipSet, variant: str) -> None:
        level = distinct[claim.budget]
        verified = verifier.check(claim, item_budgets=level.item_budgets)
        place = levels.index(level)
        run.tried.append(Tried(attack.id, attack.entry.role, variant, place, verified, claim))
        cell.models.keep_flips(cell.target, (claim,))

    run.run(attack, target, items, attempt, verify)


def _search_again(
    cell: Cell,
    target: Target,
    items: Tensor,
    levels: Sequence[Level],
    caps: Tensor | None,
    verifier: Verifier,
    run: _Run,
    majority: float,
) -> list[ValidityRow]:
    """The strongest search at other sizes, at the budget that is judged, and beside others; all found is tried too."""
    budgets = [level.budget for level in levels]
    main = budgets.index(budgets[main_level(levels)])  # flip sets stand at the first of equals
    before = run.of_role("search", main)
    if cell.profile == "quick" or not before:
        return []

    def again(found: Sequence[Tried]) -> tuple[Tried, strength.Rerun]:
        best = min(found, key=lambda each: each.verified.accuracy)
        return best, strength.Rerun(cell, target, next(a for a in cell.attacks if a.id == best.attack), items)

    _, rerun = again(before)
    rows: list[ValidityRow | None] = [differences_row(target, cell.rng("finite-differences"))]
    # A search that takes no notice of its number of steps, where it is the strongest, says nothing about more of them.
    steered = [each for each in before if strength.EFFORT in run.notes[each.attack]]
    if target.task.level == "node" and steered:
        best, longer = again(steered)
        own = [each for each in steered if each.attack == best.attack]
        alone = best.variant if strength.is_large(target.graph) else ""
        twice = strength.convergence(longer, levels[main], main, verifier, caps, own, variant=alone)
        if twice is not None:
            row, tried = twice
            rows.append(row)
            run.tried.append(tried)
        rows.append(strength.unbounded(longer, majority, cell.rng("unbounded")))
    if caps is None:  # a search on answers keeps to no cap
        held = strength.by_answers(rerun, levels[main], main, verifier, before, cell.rng("black-box-wins"))
        if held is not None:
            rows.append(held[0])
            run.tried += held[1]
    searched = [each for each in run.tried if each.role == "search"]
    rows.append(strength.one_flip(rerun, levels, searched, verifier.clean(), cell.rng("oracle")))
    return [row for row in rows if row is not None]


def _require_search(cell: Cell) -> None:
    """Raises SkippedError where edges matter and no search of the probe can run on this target."""
    lacks = tuple(word for word in cell.probe.may_lack if word not in cell.target.capabilities)
    if lacks and not any(a.entry.role == "search" and a.needs <= cell.target.capabilities for a in cell.attacks):
        raise SkippedError(f"needs {', '.join(map(lack_of, lacks))}", lacks=lacks)


def _require_found(attacks: Sequence[Registered], run: _Run, others: Sequence[Tried]) -> None:
    """Raises SkippedError where no attack ran, or none that searches."""
    if not others and not run.violations:
        raise SkippedError(run.why_none)
    if run.skipped and not any(a.entry.role == "search" and a.id not in run.skipped for a in attacks):
        raise SkippedError(f"no search could run ({next(iter(run.skipped.values()))}); what is left is no audit")


def _beside(cell: Cell, run: _Run, levels: Sequence[Level]) -> tuple[Beside, ...]:
    """What stands beside the envelope: the controls, then the fixed rules."""
    place = {
        level.budget: i for i, level in reversed(list(enumerate(levels)))
    }  # flip sets stand at the first of equals
    found = []
    for role in ("control", "heuristic"):
        for attack in cell.attacks:
            if attack.entry.role == role:
                right = tuple(_mean_correct(run.tried, attack.id, place[level.budget]) for level in levels)
                found.append(Beside(attack.id, role == "control", right))
    return tuple(found)


def _mean_correct(tried: Sequence[Tried], attack: str, level: int) -> Floats | None:
    """Share of this attack's flip sets at this level in which each item is right, [n]; None when there are none."""
    own = [each.verified.correct for each in tried if each.attack == attack and each.level == level]
    return np.mean(own, axis=0).astype(np.float64) if own else None


def _trust_rows(run: _Run, found: Found, use: EdgeUse) -> list[ValidityRow]:
    """Every check of `trust` that applies whatever was searched."""
    rows = (
        run.budget_row(),
        trust.finite_row([found.points[0].winner, *run.tried]),
        trust.edge_use_row(use),
    )
    return [row for row in rows if row is not None]


def _strength_rows(cell: Cell, run: _Run, found: Found) -> list[ValidityRow]:
    """How much the search was worth: nothing hangs on it where no edge can change an answer."""
    clean, count, target = found.points[0], len(found.levels), cell.target
    searched = [run.of_role("search", level) for level in range(count)]
    control = found.controls[0].right if found.controls else (None,) * count
    drop = clean.accuracy - found.points[-1].accuracy
    tested, y = target.split.test, target.graph.y
    rows: list[ValidityRow | None] = [
        trust.claim_row(run.tried),
        trust.random_wins_row(control, searched, cell.rng("random-wins")),
        trust.fragile_row(searched, found.points[1:]),
        trust.nothing_to_lose_row(
            target.task.correct(target.clean_logits(), y)[tested].numpy(), target.task.constant_quality(y[tested])
        ),
        trust.underpowered_row(found.n),
    ]
    for notes in run.notes.values():
        rows += [trust.relaxation_row(notes), trust.weak_attack_row(notes), trust.loss_moves_row(notes, drop)]
    return [row for row in rows if row is not None]
