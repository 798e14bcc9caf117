"""The harness of membership probes: training items against test items, beside what needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any, cast

import numpy as np
import torch
from pydantic import Field

from auditor import registry
from auditor.document import Measured, Series, ValidityRow, check
from auditor.document.exposed import Exposed, gives_away
from auditor.document.facts import MemberFacts
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.membership.controls import BLIND, DIFFICULTY, UNTRAINED, blind, difficulty
from auditor.evaluate.membership.exposed import exposed_members
from auditor.evaluate.membership.measure import exposure, judged_numbers, plain_numbers, roc_series, within_class
from auditor.evaluate.membership.queries import FULL, margins
from auditor.evaluate.membership.references import HARNESS, REFERENCES, Made, made_references, references_row
from auditor.evaluate.membership.scoring import Guesser, Scored
from auditor.evaluate.membership.trial import Trial, sizes_of
from auditor.outcomes import MembershipOutcome
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import Profile
from auditor.statistics import draws
from auditor.targets.rng import forked_rng
from auditor.targets.target import Target
from auditor.view import Access, References, grant_privacy

REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
PART_REPLICATES = 200  # rows that are shown and never gated
UNTRAINED_DRAWS = 3
LEAST = 50
"""Items that an interval needs, and members that a number without a warning needs."""
WIDE = 0.1


@parameters
class Settings:
    """Parameters of the harness; None means: by the profile.

    Attributes:
        references: models of the same recipe that an attack compares the target with.
        replicates: of the bootstrap.
    """

    references: Annotated[Annotated[int, Field(ge=2)] | None, Only(access=Access.REFERENCES)] = None
    replicates: Annotated[int, Field(ge=50)] | None = None

    def idle(self, attacks: Sequence[Registered], profile: Profile) -> Mapping[str, str]:
        """Those of the attacks that do not run, and why: in a quick audit all that train, where others do not."""
        trains = [each.id for each in attacks if Access.REFERENCES in each.access]
        if profile != "quick" or len(trains) == len(attacks):
            return {}
        why = "it is for a comparison with models of the same recipe, which the profile quick does without"
        return dict.fromkeys(trains, f"{why}. Leave it out, or take the profile standard")


def evaluate(cell: Cell) -> CellResult:
    """Every attack and control scores the training and the test items; each way of asking is a row of its own.

    Raises:
        ConfigError: a parameter that cannot be used.
        EvaluationError: an attack's scores are not one finite number an item.
        SkippedError: the split is not known, the labels are not granted, or there is one class.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target, trial = cell.target, Trial.of(cell.target)
    if cell.side.labels != "all":
        raise SkippedError(
            f'membership is asked of items whose class is known; [access] labels is "{cell.side.labels}", which '
            + ("tells who was trained on." if cell.side.labels == "train" else "grants none.")
        )
    attacks = _running(cell, settings)
    count = settings.references or REFERENCES[cell.profile]
    times = (settings.replicates or REPLICATES[cell.profile]) if len(trial.member) >= LEAST else 0
    access = frozenset().union(*(attack.access for attack in attacks))
    cell.tick(0.05, "controls")
    made = made_references(cell, access, count) if Access.REFERENCES in access else None
    guess = blind(
        target,
        trial,
        features=cell.side.features,
        seed=draws.integer(0, HARNESS, "blind"),
        shared=cell.models.shared,
    )
    shared = () if guess is None else (Guesser(BLIND, (guess,)),)
    rows, series, exposed, mode = list[Measured](), list[Series](), list[Exposed](), {}
    for attack in attacks:
        cell.tick(0.5, attack.id)
        outcome, scored = _scored(cell, attack, trial, made, shared, times)
        mode[attack.id] = {**asdict(cast(Any, attack.attack)), **outcome.notes}
        for query, each in scored.items():
            found, drawn = _numbers(cell, attack, query, each, times)
            rows, series = [*rows, *found], [*series, drawn]
            if cell.exposed and gives_away(found):
                exposed.append(exposed_members(each, sizes_of(target)[1], of=found[0], count=cell.exposed))
    validity = [_power_row(trial, rows)]
    if made is not None:
        view = grant_privacy(target, access - {Access.REFERENCES}, cell.side, _rng(cell, "view"))
        validity.insert(0, references_row(target, made, margins(view)[FULL], _rng(cell, "two-sample")))
    return CellResult(
        access=tuple(sorted(access)),
        measured=tuple(rows),
        series=tuple(series),
        validity=tuple(validity),
        params={
            "attack": mode,
            "members": trial.members,
            "others": trial.others,
            "references": 0 if made is None else count,
        },
        exposed=tuple(exposed),
    )


def _running(cell: Cell, settings: Settings) -> tuple[Registered, ...]:
    """The attacks that run."""
    if not cell.attacks:
        raise EvaluationError(f"{cell.probe.id} has no attack; the membership harness expects one.")
    idle = settings.idle(cell.attacks, cell.profile)
    return tuple(attack for attack in cell.attacks if attack.id not in idle)


def _rng(cell: Cell, *draw: str) -> np.random.Generator:
    """The generator of a draw that all membership probes of one seed share."""
    return draws.generator(cell.seed, HARNESS, *draw)


def _scored(
    cell: Cell, attack: Registered, trial: Trial, made: Made | None, shared: Sequence[Guesser], times: int
) -> tuple[MembershipOutcome, dict[str, Scored]]:
    """What the attack claims, and by query its scores beside every control's."""
    references = None if made is None else made.references
    run = partial(_claim, cell, attack, references)
    own, items = run(cell.target), trial.items
    untrained = [run(model) for model in _untrained(cell)]
    found = {}
    for row, query in enumerate(own.variant):
        guessers = [Guesser("attack", (own.scores[row][items].numpy(),)), *shared]
        if references is not None and Access.REFERENCES in attack.access:
            guessers.append(Guesser(DIFFICULTY, (difficulty(references, query, trial),)))
        beside = [each.scores[each.variant.index(query)][items].numpy() for each in untrained if query in each.variant]
        if beside:
            guessers.append(Guesser(UNTRAINED, tuple(beside)))
        found[query] = Scored.of(trial, guessers, partial(_rng, cell, "bootstrap"), times)
    return own, found


def _untrained(cell: Cell) -> list[Target]:
    """The same architecture freshly initialised; none where it cannot be built, or in a quick audit."""
    target = cell.target
    if target.build is None or cell.profile == "quick":
        return []
    models = []
    for draw in range(UNTRAINED_DRAWS):
        with forked_rng(draws.integer(cell.seed, HARNESS, "untrained", str(draw))):
            models.append(target.build())
    return [replace(target, model=model) for model in models]


def _claim(cell: Cell, attack: Registered, references: References | None, target: Target) -> MembershipOutcome:
    """What the attack says on a view of `target`, its scores in float64."""
    view = grant_privacy(target, attack.access, cell.side, _rng(cell, "view"), references=references)
    claim = attack.run(view, cell.attempt(attack))
    return checked_claim(claim, attack.id, target.graph.num_items)


def checked_claim(claim: object, owner: str, items: int) -> MembershipOutcome:
    """A claim with one finite score an item and row, in float64.

    Raises:
        EvaluationError: it is none.
    """
    if not isinstance(claim, MembershipOutcome):
        raise EvaluationError(f"{owner} returned a {type(claim).__name__}; this harness takes a MembershipOutcome")
    scores, wanted = claim.scores.double(), (len(claim.variant), items)
    if scores.shape != wanted or not bool(torch.isfinite(scores).all()):
        raise EvaluationError(f"{owner}: scores {list(scores.shape)}; expected finite ones, {list(wanted)}.")
    return replace(claim, scores=scores)


def _numbers(cell: Cell, attack: Registered, query: str, scored: Scored, times: int) -> tuple[list[Measured], Series]:
    """Every number of one attack asked in one way; a graph can be asked about in one way alone."""
    trial, finding, level = scored.trial, cell.probe.findings[0], cell.target.task.level
    name = attack.entry.label or (attack.id if len(registry.attacks_of(cell.probe.id)) > 1 else "")
    query = query if level == "node" else ""
    subset = "/".join(filter(None, (name, query)))
    facts = MemberFacts(members=trial.members, others=trial.others, query=query, attack=name)
    rows = judged_numbers(scored, finding, subset, facts)
    rows += plain_numbers(scored, finding, subset, facts)
    rows += within_class(scored, finding, subset, facts, _rng(cell, "bootstrap"), min(times, PART_REPLICATES))
    rows += exposure(scored, finding, subset, facts)
    held = tuple(sorted(attack.access))
    return [row.model_copy(update={"access": held}) for row in rows], roc_series(scored, subset, level)


def _power_row(trial: Trial, rows: Sequence[Measured]) -> ValidityRow:
    """Whether there are enough members, and whether the widest AUC says anything."""
    halves = [row.estimate.half_width for row in rows if row.metric == "combined_auc"]
    known = [half for half in halves if half is not None]
    shown = f"half-width of the AUC up to {max(known):.3f}" if known else "no interval"
    enough = trial.members >= LEAST and bool(known) and max(known) <= WIDE
    return check("power", "warning", enough, f"{trial.members} members judged against {trial.others} others, {shown}")
