"""The harness of the adversarial family: verified accuracy under edge edits, beside random edits of the same budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.audit import ValidityRow
from auditor.data.edits import EdgeSpace
from auditor.errors import SkippedError
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.budgets import Level, graph_levels, node_caps, node_levels, parse_eps
from auditor.evaluate.robustness.envelope import Arm, Floats, envelope, needs_gradient
from auditor.evaluate.robustness.feature_reference import feature_reference
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.measure import Findings, budget_series, measurements
from auditor.evaluate.robustness.verification import Verifier
from auditor.probe import Attack, Cell, FlipSet, Profile, Result, read_settings
from auditor.targets.target import Target, is_correct

CONTROL = "random"
GRAPHS: Mapping[Profile, int] = {"quick": 40, "standard": 100, "full": 10**9}
MOVES = 1e-6


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: budgets as decimal shares (`0.01/0.05`); empty for the profile's. Task `graph` also knows `one`: one flip.
        budget_of: what a share is of: `edges`, `targets` (edges incident to targets) or `absolute` (flips).
        local_cap: at most this share of a node's degree in flips at it; 0 for no cap (task `node`).
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
    """

    eps: tuple[str, ...] = ()
    budget_of: str = "edges"
    local_cap: float = 0.0
    graphs: int = 0

    def __post_init__(self) -> None:
        parse_eps([word for word in self.eps if word != "one"], self.budget_of)  # before any cell: a usage error


@dataclass(slots=True)
class _Run(FlipClaims):
    """What the attacks of one cell left behind, with every verified arm."""

    arms: list[Arm] = field(default_factory=list)


def evaluate(cell: Cell) -> Result:
    """Runs every attack of the probe, verifies every flip set on the really edited graph, measures the envelope.

    Raises:
        ConfigError: a budget or another parameter that cannot be used.
        SkippedError: no edges, a model that does not use them, or no attack that could run.
    """
    settings = read_settings(Settings, cell.params, owner=cell.probe.id)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> Result:
    given, probe = cell.target, cell.probe.id
    space = EdgeSpace.of(given.graph)
    target = given if space.graph is given.graph else replace(given, graph=space.graph, _clean={})
    if space.m == 0:
        raise SkippedError(f"{target.graph.name} has no edges to edit")
    _require_edge_dependence(target, space, cell)
    items = torch.nonzero(target.split.test).flatten()
    if target.task == "graph":
        count = settings.graphs or GRAPHS[cell.profile]
        drawn = cell.rng("graphs").permutation(items.numel())[:count]
        items = items[torch.from_numpy(np.sort(drawn))]
        levels, caps = graph_levels(space, items, settings.eps, cell.profile), None
    else:
        counted = space if given.private is None else EdgeSpace.of(given.private)  # every column shares the budget
        levels = node_levels(space, items, settings.eps, settings.budget_of, cell.profile, counted=counted)
        caps = node_caps(counted, settings.local_cap)
    verifier = Verifier(target, items, node_caps=caps)
    run = _Run()
    for attack in cell.attacks:
        _attack(cell, target, attack, items, levels, caps, verifier, run)
    if not any(arm.attack != CONTROL for arm in run.arms) and not run.violations:
        raise SkippedError(run.why_none)
    if run.skipped and not any(needs_gradient(a) and a.id not in run.skipped for a in cell.attacks):
        reason = next((why for id_, why in run.skipped.items()), "")
        raise SkippedError(f"no gradient attack could run ({reason}); floors alone are no audit")

    clean = Arm("clean", "", -1, verifier.clean())
    others = [arm for arm in run.arms if arm.attack != CONTROL]
    points = envelope(clean, others, len(levels), per_item=target.task == "graph")
    place = {level.budget: i for i, level in reversed(list(enumerate(levels)))}  # arms stand at the first of equals
    findings = Findings(
        probe=probe,
        finding=cell.probe.findings[0],
        task=target.task,
        levels=levels,
        points=tuple(points),
        control=tuple(_mean_correct(run.arms, CONTROL, place[level.budget]) for level in levels),
        dice=tuple(_mean_correct(run.arms, "dice", place[level.budget]) for level in levels),
        arms=tuple(run.arms),
        reference=feature_reference(target.graph, target.split, items, rng=cell.torch_rng("reference")),
        items=items,
    )
    as_given = is_correct(given.clean_logits(), given.graph.y)[items].numpy()
    rows = [trust.canonical_row(given.graph, space, as_given, clean.verified.correct, probe)]
    rows += _trust_rows(cell, run, findings, clean)
    return Result(
        access=tuple(sorted(run.access)),
        measurements=measurements(findings, cell.rng("bootstrap")),
        series=(budget_series(findings),),
        validity=tuple(rows),
        params=_params(cell, space, findings, run, caps),
    )


def _attack(
    cell: Cell,
    target: Target,
    attack: Attack,
    items: Tensor,
    levels: Sequence[Level],
    caps: Tensor | None,
    verifier: Verifier,
    run: _Run,
) -> None:
    """Runs one attack and verifies its claims; what passes is an arm, and kept to be tried on other models."""
    distinct = {level.budget: level for level in reversed(levels)}
    budgets = tuple(sorted(distinct))
    task = replace(
        cell.task(attack, budgets=budgets),
        node_caps=caps,
        item_budgets=tuple(own for budget in budgets if (own := distinct[budget].item_budgets) is not None),
    )

    def verify(claim: FlipSet, variant: str) -> None:
        level = distinct[claim.budget]
        verified = verifier.check(claim, item_budgets=level.item_budgets)
        run.arms.append(Arm(attack.id, variant, levels.index(level), verified, claim.claimed_accuracy))
        cell.models.keep_flips(cell.target, (claim,))

    run.run(attack, target, items, task, budgets, verify)


def _require_edge_dependence(target: Target, space: EdgeSpace, cell: Cell) -> None:
    """Raises SkippedError when dropping 10 % of the edges, then all, moves no logit."""
    drawn = cell.rng("edge-dependence").permutation(space.m)
    scale = max(1.0, float(target.clean_logits().abs().nan_to_num().max()))
    for count in (max(1, space.m // 10), space.m):
        edited = space.toggled(torch.sort(space.existing[torch.from_numpy(drawn[:count])]).values)
        with torch.no_grad():
            moved = target.logits(edited.x, edited.edge_index, edited.edge_weight, edited.batch)
        if float((moved - target.clean_logits()).abs().nan_to_num().max()) > MOVES * scale:
            return
    raise SkippedError(f"{target.name} does not use edges: dropping all {space.m} moves no logit")


def _mean_correct(arms: Sequence[Arm], attack: str, level: int) -> Floats | None:
    """Share of this attack's arms at this level in which each item is right, [n]; None when there are none."""
    own = [arm.verified.correct for arm in arms if arm.attack == attack and arm.level == level]
    return np.mean(own, axis=0).astype(np.float64) if own else None


def _trust_rows(cell: Cell, run: _Run, findings: Findings, clean: Arm) -> list[ValidityRow]:
    """Every row of `robustness_trust` that applies."""
    probe = cell.probe.id
    followers = {attack.id for attack in cell.attacks if needs_gradient(attack)}
    gradient = [
        [arm for arm in run.arms if arm.attack in followers and arm.level == level]
        for level in range(len(findings.levels))
    ]
    drop = clean.verified.accuracy - float(findings.points[-1].correct.mean())
    rows: list[ValidityRow | None] = [
        trust.budget_row(run.violations, run.checked, probe),
        trust.finite_row([clean, *run.arms], probe),
        trust.claim_row(run.arms, probe),
        trust.random_wins_row(findings.control, gradient, cell.rng("random-wins"), probe),
        trust.fragile_row(gradient, findings.points[1:], probe),
        trust.nothing_to_lose_row(clean.verified.correct, findings.reference, probe),
        trust.underpowered_row(findings.n, probe),
    ]
    for notes in run.notes.values():
        rows += [trust.relaxation_row(notes, probe), trust.loss_moves_row(notes, drop, probe)]
    return [row for row in rows if row is not None] + trust.not_checked_rows(probe)


def _params(cell: Cell, space: EdgeSpace, findings: Findings, run: _Run, caps: Tensor | None) -> dict[str, Any]:
    """Resolved budgets, attacks and their settings, what was skipped, and what the attacks noted."""
    return {
        "edges": space.m,
        "directed": space.directed,
        "targets": findings.n,
        "budgets": {level.subset: level.budget for level in findings.levels},
        "capped_out_nodes": None if caps is None else int((caps == 0).sum()),
        "attacks": {
            attack.id: {f.name: _plain(getattr(attack, f.name)) for f in dataclasses.fields(attack)}  # type: ignore[arg-type]
            for attack in cell.attacks
            if dataclasses.is_dataclass(attack)
        },
        "skipped_attacks": dict(run.skipped),
        "notes": {
            id_: {key: _plain(value) for key, value in notes.items()} for id_, notes in run.notes.items() if notes
        },
        "reference": findings.reference.name,
    }


def _plain(value: Any) -> Any:
    """JSON values: tuples as lists."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return value
