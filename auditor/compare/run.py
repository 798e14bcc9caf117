"""The comparison: one target undefended and under each defence × every probe × every seed, controls included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor import registry
from auditor.audit import Audit, CellRow, Matrix, ValidityRow
from auditor.compare.arms import NONE, DefenseRequest, controls_of, fit_defended
from auditor.compare.gain import (
    FINDING,
    LIMITS,
    ArmScores,
    Bools,
    gain_measurements,
    paired_by_class,
    score_arm,
    sized_parts,
)
from auditor.compare.matrix import build_matrix
from auditor.data.deeprobust import poisoned_by
from auditor.errors import AuditorError, CapabilityError, ConfigError, SkippedError, UsageError
from auditor.probe import FlipSet, HasEffect
from auditor.runner.document import RunSettings, assemble_audit, check_validity
from auditor.runner.execute import Observer, TrainedCache, one_line, run_cells
from auditor.runner.plan import PlannedCell, ProbeRequest, plan
from auditor.statistics.draws import generator
from auditor.statistics.intervals import join_seeds
from auditor.targets.target import DefenseTag, Target

QUICK_LEAVES_OUT = (
    "edge budgets other than 5 %, corruption above severity 1, retrained twins as controls of the link probes (quick)"
)


@dataclass(slots=True)
class Arms:
    """What one comparison has made so far, by (defence spec, seed)."""

    targets: dict[tuple[str, int], Target] = field(default_factory=dict)
    reasons: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)
    scores: dict[tuple[str, int], ArmScores] = field(default_factory=dict)


def run_compare(
    target: Target,
    defenses: Sequence[DefenseRequest],
    probes: Sequence[ProbeRequest],
    settings: RunSettings,
    *,
    observer: Observer,
    group: Tensor | None = None,
    out: Path | None = None,
) -> Audit:
    """Fits every defence once per seed, audits each, tries every edit on every arm, and compares.

    Trained models and flip sets are shared between the cells of the run. A defence that cannot be fitted gives rows
    that say why; the others go on.

    Raises:
        ConfigError: the target is defended already.
        UsageError: a defence that was asked for has a parameter that does not fit this target.
    """
    if target.defense is not None:
        raise ConfigError(
            f"{target.name} is defended by {target.defense.spec} already; a comparison fits every defence from an "
            'undefended target. Give that one; "auditor run" audits this one as it is.'
        )
    clock = time.perf_counter()
    arms, models = Arms(), TrainedCache()
    order = [(request, seed) for seed in settings.seeds for request in defenses]
    observer.planned([cell for request, seed in order for cell in _plan(target, probes, settings, request, seed)])
    for request in defenses:  # a parameter that does not fit this target is said before anything is measured
        error = _fit_arm(target, request, settings.seeds[0], arms, models, observer, group)
        if isinstance(error, UsageError) and not request.control_of:
            raise error
    validity = (*check_validity(target), *_origin(target))
    rows: list[CellRow] = []
    interrupted = False
    try:
        for request, seed in order:
            rows += _audit_arm(target, request, seed, probes, settings, arms, models, observer, group, out)
        for seed in settings.seeds:
            _score_arms(defenses, seed, arms, models)
        for seed in settings.seeds:
            rows += _gain_rows(target, defenses, seed, settings, arms, rows)
    except KeyboardInterrupt:
        interrupted = True
    left_out = _left_out(probes, settings)
    matrix = Matrix(
        rows=build_matrix(defenses, rows, arms.targets, arms.seconds, arms.reasons, settings.seeds),
        seeds=settings.seeds,
        left_out=left_out,
    )
    planned = len(order) * (len(probes) + 1) if interrupted else len(rows)
    return assemble_audit(
        target,
        rows,
        settings,
        validity=validity,
        planned=planned,
        named={request.entry.id for request in probes if request.named},
        seconds=time.perf_counter() - clock,
        interrupted=interrupted,
        matrix=matrix,
    )


def _plan(
    target: Target, probes: Sequence[ProbeRequest], settings: RunSettings, request: DefenseRequest, seed: int
) -> tuple[PlannedCell, ...]:
    return plan(target, probes, seeds=(seed,), profile=settings.profile, side=settings.side, defense=request.spec)


def _fit_arm(
    target: Target,
    request: DefenseRequest,
    seed: int,
    arms: Arms,
    models: TrainedCache,
    observer: Observer,
    group: Tensor | None,
) -> AuditorError | None:
    """Fits one defence at one seed, once, into `arms`; what kept it from that, where it is one of our errors."""
    key, failure = (request.spec, seed), None
    if key in arms.seconds:
        return None
    start = time.perf_counter()
    try:
        arms.targets[key] = (
            target
            if request.defense is None
            else fit_defended(target, request.defense, seed=seed, models=models, group=group, tick=observer.tick)
        )
    except (SkippedError, CapabilityError) as reason:
        arms.reasons[key] = ("skipped", str(reason))
    except AuditorError as error:
        arms.reasons[key], failure = ("error", one_line(str(error))), error
    except Exception as error:  # one defence's crash leaves the others standing
        arms.reasons[key] = ("error", one_line(f"{type(error).__name__}: {error}"))
    arms.seconds[key] = time.perf_counter() - start
    return failure


def _audit_arm(
    target: Target,
    request: DefenseRequest,
    seed: int,
    probes: Sequence[ProbeRequest],
    settings: RunSettings,
    arms: Arms,
    models: TrainedCache,
    observer: Observer,
    group: Tensor | None,
    out: Path | None,
) -> list[CellRow]:
    """Fits one defence at one seed and runs its cells; where it cannot be fitted, the rows say why."""
    key = (request.spec, seed)
    _fit_arm(target, request, seed, arms, models, observer, group)
    if key in arms.reasons:
        status, why = arms.reasons[key]
        cells = _plan(target, probes, settings, request, seed)
        blocked = [_row(cell, status, f"{request.spec} was not fitted: {why}") for cell in cells]
        for row in blocked:
            observer.finished(row)
        return blocked
    own = _plan(arms.targets[key], probes, settings, request, seed)
    return list(run_cells(arms.targets[key], own, side=settings.side, observer=observer, out=out, models=models))


def _row(cell: PlannedCell, status: str, reason: str) -> CellRow:
    return CellRow(
        key=cell.key,
        probe=cell.request.spec,
        family=cell.request.entry.family,
        defense=cell.defense,
        seed=cell.seed,
        status=status,  # type: ignore[arg-type]
        reason=reason,
    )


def _score_arms(defenses: Sequence[DefenseRequest], seed: int, arms: Arms, models: TrainedCache) -> None:
    """Every arm of one seed with every edit that was found on any of them."""
    specs = [request.spec for request in defenses if (request.spec, seed) in arms.targets]
    flips = _all_flips([arms.targets[spec, seed] for spec in specs], models)
    for spec in specs:
        arms.scores[spec, seed] = score_arm(arms.targets[spec, seed], flips)


def _gain_rows(
    target: Target,
    defenses: Sequence[DefenseRequest],
    seed: int,
    settings: RunSettings,
    arms: Arms,
    rows: Sequence[CellRow],
) -> list[CellRow]:
    """The `gain` cells of one seed: every arm beside its controls and beside no defence."""
    specs = [request.spec for request in defenses if (request.spec, seed) in arms.scores]
    y, parts = target.graph.y[target.split.test].numpy(), sized_parts(target)
    budgets = _budget_names(rows)
    made = []
    for request in defenses:
        if request.spec not in specs:
            continue
        wanted = controls_of(request, defenses)
        controls = [spec for spec in wanted if spec in specs]
        is_judged = bool(wanted) and wanted[0] in controls  # against its own control, never against the next best
        names = (*controls, NONE) if request.defense is not None else ()
        others = {spec: arms.scores[spec, seed] for spec in names if (spec, seed) in arms.scores}
        start = time.perf_counter()
        own, tag = arms.scores[request.spec, seed], arms.targets[request.spec, seed].defense
        rng = generator(seed, "gain")
        made.append(
            CellRow(
                key=_gain_key(arms.targets[request.spec, seed], request.spec, seed, settings),
                probe="gain",
                family="defense",
                defense=request.spec,
                seed=seed,
                status="ok",
                access=("features", "graph", "labels", "weights"),
                params={
                    "attacks": {budgets.get(b, str(b)): n for b, n in own.attacks.items()},
                    "majority": float(np.bincount(y).max() / len(y)),
                },
                measurements=(
                    *gain_measurements(
                        own,
                        others,
                        y,
                        budgets,
                        rng,
                        poisoned=poisoned_by(target.graph.name),
                        judged=_judged(request, tag) if is_judged else "",
                        parts=parts,
                    ),
                    *(() if tag is None or request.control_of else tag.measurements),
                ),
                seconds=time.perf_counter() - start,
                validity=(
                    *(() if tag is None else tag.validity),
                    *(
                        _arm_rows(request, [arms.targets[spec, seed] for spec in controls], tag, arms, y, parts)
                        if is_judged
                        else ()
                    ),
                ),
                guarantee=None if tag is None else tag.guarantee,
            )
        )
    return made


def _judged(request: DefenseRequest, tag: DefenseTag | None) -> str:
    """The finding that the gate looks at: of defences that were asked for and have no Guarantee to be judged by."""
    if request.control_of or tag is None or tag.guarantee is not None:
        return ""
    return request.defense.effect if isinstance(request.defense, HasEffect) else FINDING


def _arm_rows(
    request: DefenseRequest,
    controls: Sequence[Target],
    tag: DefenseTag | None,
    arms: Arms,
    y: NDArray[np.int64],
    parts: Mapping[str, Bools],
) -> tuple[ValidityRow, ...]:
    """`arms-matched`, and over all seeds `weak-control`: whether a gain could be one of size, or over a straw man."""
    if not controls or tag is None or tag.guarantee is not None:
        return ()
    first = controls[0].defense
    assert first is not None  # a control is a defence
    rows = []
    tags = [t for t in (tag, *(c.defense for c in controls)) if t is not None]
    sizes = [t.notes.get("encoder_parameters") for t in tags]
    if all(size is not None for size in sizes):
        rows.append(
            ValidityRow(
                id="arms-matched",
                kind="integrity",
                status="pass" if len(set(sizes)) == 1 else "fail",
                evidence=f"encoders of {request.spec} and its controls have {', '.join(map(str, sizes))} parameters, "
                f"with their heads {', '.join(str(t.notes.get('parameters')) for t in tags)}",
                touches=("defense",),
            )
        )
    weak = _lost(request, first.spec, arms, y, parts)
    if weak is not None:
        rows.append(weak)
    return tuple(rows)


def _lost(
    request: DefenseRequest, control: str, arms: Arms, y: NDArray[np.int64], parts: Mapping[str, Bools]
) -> ValidityRow | None:
    """`weak-control`: what a control has lost to the undefended model, in the accuracy that it is the control of.

    Fails where the whole interval over all seeds is beyond a point, warns where the mean is: one item is no straw man.
    """
    seeds = [seed for spec, seed in arms.scores if spec == control and (NONE, seed) in arms.scores]
    balanced = isinstance(request.defense, HasEffect)
    sets = parts if balanced and parts else {"": np.ones(len(y), dtype=bool)}
    allowed, found = LIMITS["max_defense_cost_pt"], []
    for part, at in sets.items():
        classes = y[at] if balanced else np.zeros(int(at.sum()), dtype=np.int64)
        lost = []
        for seed in seeds:
            own, none = (
                (scores.predicted[at] == y[at]) if balanced else scores.clean[at]
                for scores in (arms.scores[control, seed], arms.scores[NONE, seed])
            )
            lost.append(paired_by_class(own, none, classes))
        if lost:
            found.append((part, *join_seeds([value for value, _, _ in lost], [(lo, hi) for _, lo, hi in lost])))
    if not found:
        return None
    worst = max(found, key=lambda row: row[2])
    status = "fail" if worst[2] > allowed else "warn" if any(mean > allowed for _, mean, _, _ in found) else "pass"
    what = "balanced accuracy" if balanced else "accuracy"
    said = "; ".join(
        f"{what}{f' on {part}' if part else ''} {-100 * mean:+.1f} points [{-100 * hi:+.1f}, {-100 * lo:+.1f}]"
        for part, mean, lo, hi in found
    )
    return ValidityRow(
        id="weak-control",
        kind="strength",
        status=status,  # type: ignore[arg-type]  # one of three literals
        evidence=f"{control} against the undefended model: {said}; a control may lose 1 point",
        touches=("defense",),
    )


def _origin(target: Target) -> tuple[ValidityRow, ...]:
    """`attack-origin` of a poisoned graph."""
    attack = poisoned_by(target.graph.name)
    if not attack:
        return ()
    text = f"{attack} was made against a plain GCN: a gain on this graph is a gain against transferred edits alone"
    return (ValidityRow(id="attack-origin", kind="warning", status="warn", evidence=text, touches=("defense",)),)


def _all_flips(targets: Sequence[Target], models: TrainedCache) -> list[FlipSet]:
    """Every flip set found on any of these arms, each once."""
    seen: set[tuple[int, bytes]] = set()
    found = []
    for target in targets:
        for claim in models.flips_of(target):
            word = (claim.budget, torch.sort(claim.keys).values.numpy().tobytes())
            if word not in seen:
                seen.add(word)
                found.append(claim)
    return found


def _budget_names(rows: Sequence[CellRow]) -> dict[int, str]:
    """Subset name of each budget in edges, as the robustness cells resolved them."""
    names: dict[int, str] = {}
    for row in rows:
        if row.family == "adversarial" and isinstance(row.params.get("budgets"), Mapping):
            names |= {int(edges): str(name) for name, edges in row.params["budgets"].items()}
    return names


def _gain_key(target: Target, spec: str, seed: int, settings: RunSettings) -> str:
    words = "\0".join(("gain", target.digest, spec, str(seed), settings.profile))
    return hashlib.sha256(words.encode()).hexdigest()


def _left_out(probes: Sequence[ProbeRequest], settings: RunSettings) -> tuple[str, ...]:
    """What this comparison did not measure against profile `standard`."""
    ran = {request.entry.id for request in probes}
    lines = [
        f"probe {p.id} ({p.summary})"
        for p in registry.probes().values()
        if "standard" in p.profiles and p.id not in ran
    ]
    if settings.profile == "quick":
        lines.append(QUICK_LEAVES_OUT)
    return tuple(lines)
