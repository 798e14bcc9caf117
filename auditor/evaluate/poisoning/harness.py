"""The harness of poisoned training: what the target's own recipe learns on an edited graph, beside random edits.

Flips are found on the target as evasion finds them, and the recipe is trained anew on the edited graph, as it is on the
clean one and on one with as many random flips: every arm from the same seeds. So it is a floor of the damage: an attack
that looks ahead to the training does more. See docs/methods/robustness.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.deeprobust import poisoned_by
from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import Poisoned
from auditor.errors import AuditorError, SkippedError
from auditor.evaluate.poisoning.given import Given, poisoned_graph
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.budgets import Level, node_levels, parse_eps
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verified, Verifier
from auditor.outcomes import FlipSet
from auditor.parameters import Only, build, parameters
from auditor.perturbations import Perturbations, VerifiedEdit
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import Profile, lack_of
from auditor.statistics import draws
from auditor.statistics.estimate import SHARES, Range
from auditor.statistics.intervals import student_t
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.target import Capability, Target

Floats = NDArray[np.float64]
POISONED_ACCURACY = Metric("poisoned_accuracy", "share", "lower", "robustness")
HARNESS = "poisoned training"
"""Name of the random streams of the trainings, which all seeds and arms of a run share; fixed for ever."""
TRAININGS: Mapping[Profile, int] = {"quick": 3, "standard": 3, "full": 5}
CLEAN = "the clean graph"


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: budgets as decimal shares of the edges; the largest is judged.
        graph: a poisoned graph of `auditor list data` (`deeprobust/cora:metattack=0.25`) in place of flips found on the
            target; empty for these.
        trainings: seeds that every arm is trained from; 0 for the profile's.
    """

    eps: Annotated[tuple[str, ...], Field(min_length=1), Only(beside="graph", being=("",))] = ("0.05",)
    graph: str = ""
    trainings: Annotated[int, Field(ge=0, le=100)] = 0

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if not parse_eps(self.eps, "edges"):  # before any cell: a usage error
            raise ValueError(f"eps={'/'.join(self.eps)} edits nothing; write eps=0.05")
        if self.trainings == 1:
            raise ValueError("trainings=1 cannot be used: expected at least 2, since the interval is over them")
        if self.graph and not poisoned_by(self.graph):
            raise ValueError(f"graph={self.graph} is no poisoned graph: one is deeprobust/cora:metattack=0.25")
        return self

    def idle(self, attacks: Sequence[Registered], _profile: Profile) -> Mapping[str, str]:
        """Those of the attacks that do not run, and why."""
        why = f"graph={self.graph} takes its place. Leave one of them out"
        return {each.id: why for each in attacks if each.entry.role != "control"} if self.graph else {}


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """One verified flip set: of which attack, in which role, at which budget, and what it does to the fixed weights."""

    attack: str
    role: str
    place: int
    keys: Tensor
    verified: Verified


@dataclass(slots=True)
class _Run(FlipClaims):
    """What the attacks of one cell left behind."""

    sets: list[_Set] = field(default_factory=list)

    def strongest(self, place: int) -> list[_Set]:
        """The set that costs the fixed weights most, alone; one of a smaller budget is one of a larger too."""
        usable = [each for each in self.sets if each.role != "control" and each.place <= place]
        return sorted(usable, key=lambda each: each.verified.accuracy)[:1]

    def edits(self, levels: Sequence[Level]) -> tuple[VerifiedEdit, ...]:
        """What was found on the target, for a file; the accuracy is that of the fixed weights."""
        return tuple(
            VerifiedEdit(each.attack, "", FlipSet(levels[each.place].budget, each.keys), each.verified.accuracy)
            for each in self.sets
            if each.role != "control"
        )

    def drawn(self, place: int) -> list[_Set]:
        """Every draw of the control at a budget: none is chosen by what it does."""
        return [each for each in self.sets if each.role == "control" and each.place == place]


def evaluate(cell: Cell) -> CellResult:
    """Finds flips, trains on the edited graphs and on the clean one, measures.

    Raises:
        SkippedError: the target cannot be trained again, has no edges, no search could run, or a training failed.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    if target.recipe is None or Capability.RETRAIN not in target.capabilities:
        raise SkippedError(f"needs {lack_of(Capability.RETRAIN)}", lacks=(Capability.RETRAIN,))
    if not settings.graph and not any(attack.entry.role == "search" for attack in cell.attacks):
        raise SkippedError(f"needs {lack_of(Capability.GRAD_EDGE)}", lacks=(Capability.GRAD_EDGE,))
    if target.private is not None:
        raise SkippedError(
            f"{target.name} runs on a released graph; flips are found on it, and it is not what the recipe trains on"
        )
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    given, space = cell.target, EdgeSpace.of(cell.target.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph)
    if space.m == 0:
        raise SkippedError(f"{target.graph.name} has no edges to edit")
    items = torch.nonzero(target.split.test).flatten()
    given_flips = poisoned_graph(settings.graph, target, space) if settings.graph else None
    if given_flips is None:
        levels = node_levels(space, items, settings.eps, "edges", cell.profile)
    else:
        levels = (given_flips.level,)
    run = _found(cell, target, items, levels, given_flips, settings.idle(cell.attacks, cell.profile))
    count = settings.trainings or TRAININGS[cell.profile]
    train = _Trainings(cell, target, items, tuple(draws.integer(0, HARNESS, f"training {k}") for k in range(count)))
    clean = train.accuracy(CLEAN, [space.graph])
    rows, curves = [], dict[str, list[tuple[float, Floats]]]()
    for place, level in enumerate(levels):
        chosen = {"search": run.strongest(place), "control": run.drawn(place)}
        if not chosen["search"]:
            raise SkippedError("every flip set breaks a rule" if run.violations else run.why_none)
        arms = {
            role: (sets[0], train.accuracy(sets[0].attack, [space.toggled(each.keys) for each in sets]))
            for role, sets in chosen.items()
            if sets
        }
        for each, accuracy in arms.values():
            curves.setdefault(each.attack, [(0.0, clean)]).append((level.eps, accuracy))
        rows.append(_row(cell, level, arms, clean, items, judged=place == len(levels) - 1))
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=tuple(rows),
        series=(_series(cell, curves),),
        validity=(*_rows(run, clean, target), *(() if given_flips is None else (given_flips.row,))),
        params={
            "edges": space.m,
            "targets": items.numel(),
            "budgets": {level.subset: level.budget for level in levels},
            "trainings": list(train.seeds),
            **run.params(cell.attacks),
        },
        edits=Perturbations(target.graph, run.edits(levels)),
    )


def _found(
    cell: Cell, target: Target, items: Tensor, levels: Sequence[Level], given: Given | None, idle: Mapping[str, str]
) -> _Run:
    """Runs every attack on the target as it is, and verifies its claims; of a file's flips, the control alone."""
    run, verifier = _Run(), Verifier(target, items)
    if given is not None:
        run.sets.append(
            _Set(given.name, "search", 0, given.keys, verifier.check(FlipSet(given.level.budget, given.keys)))
        )
    distinct = {level.budget: place for place, level in reversed(list(enumerate(levels)))}

    for attack in cell.attacks:
        if attack.id in idle:
            continue

        def verify(claim: FlipSet, _variant: str, attack=attack) -> None:  # type: ignore[no-untyped-def]
            place = distinct[claim.budget]
            verified = verifier.check(claim)
            run.sets.append(_Set(attack.id, attack.entry.role, place, claim.keys, verified))

        run.run(attack, target, items, cell.attempt(attack, budgets=tuple(sorted(distinct))), verify)
    return run


@dataclass(frozen=True, slots=True, eq=False)
class _Trainings:
    """The recipe, trained on one graph after another from the same seeds."""

    cell: Cell
    target: Target
    items: Tensor
    seeds: tuple[int, ...]

    def accuracy(self, what: str, graphs: Sequence[Graph]) -> Floats:
        """Share of the test items that each training is right on, asked about the graph it was trained on, [S].

        Of several graphs each training takes the next one.

        Raises:
            SkippedError: a training failed.
        """
        found = []
        for number, (seed, graph) in enumerate(zip(self.seeds, cycle(graphs), strict=False)):
            self.cell.tick(number / len(self.seeds), f"training on {what}")
            try:
                twin = self.cell.models.twin(self.target, graph, seed)
                right = self.target.task.correct(twin.clean_logits(), graph.y)
            except (*TRIAL_ERRORS, AuditorError) as error:
                raise SkippedError(f"training on {what} failed: {type(error).__name__}: {error}") from error
            found.append(float(right[self.items].double().mean()))
        return np.asarray(found)


def _row(
    cell: Cell,
    level: Level,
    arms: Mapping[str, tuple[_Set, Floats]],
    clean: Floats,
    items: Tensor,
    *,
    judged: bool,
) -> Measured:
    """Mean accuracy of the poisoned trainings, beside random flips (paired by seed) and the clean graph."""
    own_set, own = arms["search"]
    controls = []
    if "control" in arms:
        beside_set, beside = arms["control"]
        apart = over_trainings(own - beside, SHARES.of_differences)
        controls.append(Control(name=beside_set.attack, estimate=over_trainings(beside), contrast=apart))
    controls.append(Control(name=CLEAN, estimate=over_trainings(clean)))
    facts = Poisoned(
        clean=over_trainings(clean),
        poisoned=over_trainings(own),
        random=controls[0].estimate if "control" in arms else None,
        fixed=float(own_set.verified.accuracy),
        edits=int(own_set.keys.numel()),
        budget=level.budget,
        trainings=len(own),
        by_seed=tuple(float(each) for each in own),
        items=items.numel(),
    )
    return measured(
        POISONED_ACCURACY,
        over_trainings(own),
        finding=cell.probe.findings[0],
        subset=level.subset,
        controls=controls,
        judged=judged and "control" in arms,
        facts=facts,
    )


def _rows(run: _Run, clean: Floats, target: Target) -> list[ValidityRow]:
    """Whether claims held, and whether the recipe gives what the target is."""
    own = target.accuracy()
    lo, hi = student_t(list(clean))
    evidence = (
        f"the recipe on the clean graph is right on {clean.mean():.1%} of the test items (mean of {len(clean)} "
        f"trainings, {clean.min():.1%} to {clean.max():.1%}), the target on {own:.1%}"
    )
    like = min(lo, float(clean.min()) - 0.05) <= own <= max(hi, float(clean.max()) + 0.05)
    tested = target.graph.y[target.split.test]
    constant = target.task.constant_quality(tested)
    few = trust.underpowered_row(tested.numel())  # the interval is over trainings: it does not know how few are tested
    return [
        run.budget_row(),
        *([] if few is None else [few]),
        check("recipe-like-target", "strength", like, evidence),
        check(
            "nothing-to-lose",
            "strength",
            bool(lo > constant),
            f"trained on the clean graph {clean.mean():.1%}, at least {lo:.1%}; majority class {constant:.1%}",
        ),
    ]


def _series(cell: Cell, curves: Mapping[str, Sequence[tuple[float, Floats]]]) -> Series:
    """Accuracy of the trainings against the share of edited edges."""
    controls = {attack.id for attack in cell.attacks if attack.entry.role == "control"}
    shown = []
    for name, points in curves.items():
        means = [over_trainings(values) for _, values in points]
        shown.append(
            Curve(
                name=name,
                role="control" if name in controls else "worst",
                x=tuple(eps for eps, _ in points),
                y=tuple(each.value for each in means),
                lo=tuple(each.lo for each in means),
                hi=tuple(each.hi for each in means),
            )
        )
    return Series(
        id=f"{cell.probe.id}-budget",
        kind="budget",
        title="Accuracy of models trained on edited graphs",
        x_label="flips / edges",
        y_label="accuracy",
        curves=tuple(shown),
    )


def over_trainings(values: Floats, range_: Range = SHARES) -> Estimate:
    """The mean over trainings with Student's interval, which ends where the number does."""
    value = float(values.mean())
    lo, hi = range_.cut(*student_t(list(values)))
    return Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=len(values))
