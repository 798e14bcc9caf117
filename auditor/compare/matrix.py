"""The comparison in headline numbers: utility, privacy, robustness, shift by defence, with paired differences.

Differences are value − other arm, paired by seed, with Student's t interval over seeds: every seed is a new fit, so
this takes the place of joining intervals of one trained model (joint-cluster spec 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from auditor.audit import CellRow, Difference, Interval, MatrixEntry, MatrixRow, Measurement
from auditor.compare.arms import NONE, DefenseRequest, controls_of
from auditor.compare.columns import LEAK, POISONED, Column, Read, columns_of, number
from auditor.compare.comparison_words import (
    MIN_SEEDS,
    Reach,
    accuracy_words,
    refit_robust_words,
    refit_words,
    robust_words,
)
from auditor.compare.gain_words import holm_levels, judge_gain
from auditor.compare.private_gain import best_control, leak_words, utility_words
from auditor.probe import HasEffect
from auditor.statistics.intervals import Z95, join_seeds, student_t
from auditor.targets.target import DefenseTag, Target

ORACLE = "group-balanced"


def build_matrix(
    defenses: Sequence[DefenseRequest],
    rows: Sequence[CellRow],
    targets: Mapping[tuple[str, int], Target],
    seconds: Mapping[tuple[str, int], float],
    reasons: Mapping[tuple[str, int], tuple[str, str]],
    seeds: Sequence[int],
) -> tuple[MatrixRow, ...]:
    """One row per defence: headline numbers joined over seeds, differences to `none` and to its controls, words."""
    by_arm: dict[tuple[str, int], list[CellRow]] = {}
    for row in rows:
        by_arm.setdefault((row.defense, row.seed), []).append(row)
    columns = columns_of(rows)
    read = {
        (request.spec, seed, c): number(columns[c], by_arm.get((request.spec, seed), []))
        for request in defenses
        for seed in seeds
        for c in range(len(columns))
    }
    by_spec = {request.spec: request for request in defenses}

    def gains(arms: Sequence[tuple[str, str]], c: int) -> list[float]:
        """Own − other, the least over (own, other) pairs of arms, at every seed that has them all."""
        least = []
        for seed in seeds:
            found = [_minus(read[own, seed, c], read[other, seed, c]) for own, other in arms]
            known = [difference for difference in found if difference is not None]
            least += [min(known)] if len(known) == len(arms) else []
        return least

    tags = {
        request.spec: next((t.defense for seed in seeds if (t := targets.get((request.spec, seed))) is not None), None)
        for request in defenses
    }

    def starts_trained(spec: str) -> bool:
        tag = tags[spec]
        return spec == NONE or (tag is not None and tag.starts_trained)

    found: dict[str, _Arm] = {}
    for request in defenses:
        others = [spec for spec in (*controls_of(request, defenses), NONE) if spec != request.spec]
        arm = _Arm(request, others[:-1], tags[request.spec], request.spec != NONE and starts_trained(request.spec))
        for c, column in enumerate(columns):
            own = [read[request.spec, seed, c] for seed in seeds]
            if not any(part is not None for part in own):
                continue
            paired = {spec: gains([(request.spec, spec)], c) for spec in others}
            least = paired
            if request.modes and column.name == "robust_accuracy":
                theirs = {mode: [*controls_of(by_spec[mode], defenses), NONE] for mode in request.modes}
                least = {
                    spec: gains([(request.spec, spec), *((mode, theirs[mode][i]) for mode in request.modes)], c)
                    for i, spec in enumerate(others)
                }
            arm.gains[column.name, column.subset] = least
            differences = tuple(
                _over_items(column, request.spec, spec, by_arm, seeds)
                if arm.refits and starts_trained(spec)
                else _difference(spec, values)
                for spec, values in paired.items()
                if values
            )
            arm.entries.append(_entry(column, own, differences))
        found[request.spec] = arm
    levels = _levels([arm for arm in found.values() if isinstance(arm.request.defense, HasEffect)])
    result = []
    for arm in found.values():
        served = [found[spec] for spec in (arm.request.spec, *arm.request.modes) if spec in found]
        failed = _failed([spec for a in served for spec in (a.request.spec, *a.controls[:1])], rows)
        spec = arm.request.spec
        spent = [
            max(seconds[spec, seed], _fit_seconds(targets.get((spec, seed))))
            for seed in seeds
            if (spec, seed) in seconds
        ]
        why = next((reasons[spec, seed][1] for seed in seeds if (spec, seed) in reasons), "")
        said = (
            *_private_words(arm, rows, seeds),
            *_words(arm, _reach(arm.request, rows), levels),
            *_recovery_words(arm, found),
            *(() if arm.tag is None or not arm.controls else (m.text for m in arm.tag.measurements)),
        )
        result.append(
            MatrixRow(
                defense=spec,
                control_of=arm.request.control_of,
                entries=tuple(arm.entries),
                seconds=round(float(np.mean(spent)), 3) if spent else None,
                guarantee=None if arm.tag is None else arm.tag.guarantee,
                notes={} if arm.tag is None else {k: v for k, v in arm.tag.notes.items() if k != "seconds"},
                words=() if why else tuple(_marked(text, failed) for text in said),
                reason=why,
            )
        )
    return _with_pareto(result)


@dataclass(slots=True)
class _Arm:
    """One defence with what was measured of it.

    Attributes:
        request: as it was asked for, or brought along.
        controls: those that take part, its own first.
        tag: of a fit; None for `none`, and where no fit came about.
        refits: made from the trained model as it is: seeds are no new trainings.
        entries: headline numbers.
        gains: by (column, subset) and other arm, own − other at every seed; of several modes the least.
    """

    request: DefenseRequest
    controls: list[str]
    tag: DefenseTag | None
    refits: bool
    entries: list[MatrixEntry] = field(default_factory=list)
    gains: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)


def _failed(specs: Sequence[str], rows: Sequence[CellRow]) -> dict[str, str]:
    """Kind by id of the integrity and strength rows that failed on the `gain` cells of these arms."""
    own = [check for row in rows if row.probe == "gain" and row.defense in specs for check in row.validity]
    return {c.id: c.kind for c in own if c.status == "fail" and c.kind != "warning"}


def _marked(text: str, failed: Mapping[str, str]) -> str:
    """A sentence with the checks that spoil it; harm that was measured stands against a weak control all the more."""
    spoil = [id_ for id_, kind in failed.items() if kind == "integrity" or "harm" not in text]
    return f"untrusted, {', '.join(spoil)} failed: {text}" if spoil else text


def _levels(arms: Sequence[_Arm]) -> dict[tuple[str, str], float]:
    """Holm's level of every (reweighting, set of test items): all that one comparison judges count together."""
    p: dict[tuple[str, str], float] = {}
    for arm in arms:
        for entry in arm.entries:
            if entry.name != "balanced_accuracy" or not arm.controls or arm.request.control_of:
                continue
            values = arm.gains[entry.name, entry.subset].get(arm.controls[0], [])
            own = next((d for d in entry.differences if d.to == arm.controls[0]), None)
            if arm.refits and own is not None and own.value is not None and own.ci is not None:
                half = ((own.ci.hi or 0.0) - (own.ci.lo or 0.0)) / 2
                p[arm.request.spec, entry.subset] = (
                    2 * float(stats.norm.sf(Z95 * abs(own.value) / half)) if half else float(own.value == 0)
                )
            elif len(values) > 1 and not arm.refits:
                p[arm.request.spec, entry.subset] = judge_gain(values).p
    return dict(zip(p, holm_levels(list(p.values())), strict=True))


def _entry(column: Column, own: Sequence[Read | None], differences: tuple[Difference, ...]) -> MatrixEntry:
    known = [part for part in own if part is not None]
    value, lo, hi = join_seeds([v for v, _ in known], [ci for _, ci in known])
    if not column.leak:  # a share
        lo, hi = max(0.0, lo), min(1.0, hi)
    return MatrixEntry(
        family=column.family,
        name=column.name,
        subset=column.subset,
        better=column.better,  # type: ignore[arg-type]
        value=value,
        ci=Interval(lo=min(lo, value), hi=max(hi, value)),
        differences=differences,
        per_seed=tuple(None if part is None else part[0] for part in own),
    )


def _over_items(
    column: Column, own: str, other: str, by_arm: Mapping[tuple[str, int], Sequence[CellRow]], seeds: Sequence[int]
) -> Difference:
    """Own − other of two models that come from one trained model: paired over its test items."""
    pairs = [
        (m.advantage.value, m.advantage.ci)
        for seed in seeds
        for cell in by_arm.get((own, seed), ())
        if cell.probe == "gain"
        for m in cell.measurements
        if m.name.partition("/")[0] == column.name and m.subset == column.subset
        if m.control is not None and m.control.name == other and m.advantage is not None
    ]
    values, ends = [], []
    for value, ci in pairs:
        if value is not None and ci.lo is not None and ci.hi is not None:
            values.append(-value)
            ends.append((-ci.hi, -ci.lo))
    if not values:  # a probe's number has no pairs of items
        plain = [_minus(*(number(column, by_arm.get((arm, seed), ())) for arm in (own, other))) for seed in seeds]
        found = [value for value in plain if value is not None]
        return Difference(to=other, value=float(np.mean(found)) if found else None)
    mean = float(np.mean(values))  # seeds share the items: the widest of their intervals, around the mean
    lo = mean - max(value - low for value, (low, _) in zip(values, ends, strict=True))
    hi = mean + max(high - value for value, (_, high) in zip(values, ends, strict=True))
    # against the trained model a refit of the head gains what the refit gains: printed, never judged
    judged = other != NONE or column.family != "utility"
    return Difference(to=other, value=mean, ci=Interval(lo=min(lo, mean), hi=max(hi, mean)), judged=judged)


def _minus(own: Read | None, other: Read | None) -> float | None:
    """Own − other; None where one is missing."""
    return None if own is None or other is None else own[0] - other[0]


def _difference(spec: str, paired: Sequence[float]) -> Difference:
    if len(paired) < 2:
        return Difference(to=spec, value=paired[0])
    lo, hi = student_t(paired)
    return Difference(to=spec, value=float(np.mean(paired)), ci=Interval(lo=lo, hi=hi))


def _words(arm: _Arm, reach: Reach, levels: Mapping[tuple[str, str], float]) -> tuple[str, ...]:
    """What may be said of a defence: robustness, then accuracy. A control has no controls and no words."""
    request, controls = arm.request, arm.controls
    if not controls:
        return ()
    said = []
    for entry in arm.entries:
        against, paired = arm.gains[entry.name, entry.subset], {d.to: d for d in entry.differences}
        if entry.name == "robust_accuracy":
            where = f", as {' or '.join((request.spec, *request.modes))}, where it gains least" if request.modes else ""
            text = _edit_words(arm, against, paired, reach)
            said.append(f"robustness at {entry.subset}{where}: {text}")
        if entry.name == POISONED:
            said.append(f"accuracy under poisoning by {entry.subset}: {_edit_words(arm, against, paired, 'poisoned')}")
        if entry.name == "balanced_accuracy":
            level = levels.get((request.spec, entry.subset), 0.05)
            text = refit_words(paired, controls, level) if arm.refits else accuracy_words(against, controls, level)
            together = (
                f" (Holm over {len(levels)})" if len(levels) > 1 and (request.spec, entry.subset) in levels else ""
            )
            said.append(f"balanced accuracy{f' on {entry.subset}' if entry.subset else ''}{together}: {text}")
    return tuple(said)


def _edit_words(
    arm: _Arm, against: Mapping[str, Sequence[float]], paired: Mapping[str, Difference], reach: Reach
) -> str:
    """Over seeds; of a refitted head over test items, once there are as many attack seeds."""
    few = len(against.get(arm.controls[0], ())) < MIN_SEEDS
    if few or not arm.refits:
        return robust_words(against, arm.controls, reach)
    return refit_robust_words(paired, arm.controls, reach)


def _recovery_words(arm: _Arm, found: Mapping[str, _Arm]) -> tuple[str, ...]:
    """The share of the group-balanced model's gain that weights reach without groups, where there is such a gain."""
    is_reweighting = isinstance(arm.request.defense, HasEffect)
    if not arm.controls or not is_reweighting:
        return ()
    said = []
    oracles = [
        o
        for o in found.values()
        if o is not arm and o.request.spec.startswith(ORACLE) and o.controls[:1] == arm.controls[:1]
    ]
    for oracle in oracles:
        room = {(e.name, e.subset): d for e in oracle.entries for d in e.differences if d.to == arm.controls[0]}
        for entry in arm.entries:
            own = next((d for d in entry.differences if d.to == arm.controls[0]), None)
            most = room.get((entry.name, entry.subset))
            if entry.name != "balanced_accuracy" or own is None or most is None or own.value is None:
                continue
            if most.value is not None and most.ci is not None and most.ci.lo is not None and most.ci.lo > 0:
                where = f" on {entry.subset}" if entry.subset else ""
                said.append(
                    f"recovery{where}: {100 * own.value / most.value:.0f} % of the {100 * most.value:.1f} points that "
                    f"{oracle.request.spec}, which knows the groups, gains over {arm.controls[0]}"
                )
    return tuple(said)


def _private_words(arm: _Arm, rows: Sequence[CellRow], seeds: Sequence[int]) -> tuple[str, ...]:
    """What a defence with a Guarantee is worth, over the seeds at which it and all of its controls were measured."""
    if arm.tag is None or arm.tag.guarantee is None or arm.request.control_of:
        return ()
    spec, leaks = arm.request.spec, arm.gains.get(("leak", LEAK), {})
    gains = {(row.defense, row.seed): row for row in rows if row.probe == "gain" and row.status == "ok"}
    arms = [name for name in (spec, *arm.controls) if any((name, seed) in gains for seed in seeds)]
    shared = [seed for seed in seeds if all((name, seed) in gains for name in arms)]
    if spec not in arms or not shared:
        return ()
    own, *others = (
        [float(m.value or 0.0) for seed in shared if (m := _accuracy(gains[name, seed])) is not None] for name in arms
    )
    majority = float(gains[spec, shared[0]].params["majority"])
    edge_free = dict(zip(arms[1:], others, strict=True))
    words = [f"accuracy: {utility_words(own, edge_free, majority)}"]
    control = best_control(edge_free) if edge_free else None
    if control is not None and leaks.get(control):
        words.append(f"links: {leak_words(leaks[control], control)}")
    return tuple(words)


def _accuracy(gain: CellRow) -> Measurement | None:
    """Of one arm on the graph as it is, clean or poisoned."""
    return next((m for m in gain.measurements if m.name in ("clean_accuracy", POISONED)), None)


def _reach(request: DefenseRequest, rows: Sequence[CellRow]) -> Reach:
    """Which edits an arm was tried with; of several modes, the one that saw the least."""
    arms = {request.spec, *request.modes}
    own = [row for row in rows if row.family == "adversarial" and row.defense in arms]
    if {row.defense for row in own} - {row.defense for row in own if row.status == "ok"}:
        return "transferred"
    counts = [row.params.get("attacks") for row in rows if row.probe == "gain" and row.defense in arms]
    return "own" if own and not any(counts) else "every"


def _fit_seconds(target: Target | None) -> float:
    """What the fit behind a model took, also where the model came from the cache of trained ones."""
    noted = None if target is None or target.defense is None else target.defense.notes.get("seconds")
    return float(noted) if isinstance(noted, int | float) else 0.0


def _with_pareto(rows: Sequence[MatrixRow]) -> tuple[MatrixRow, ...]:
    """Marks the rows that no other row beats in every headline (utility, privacy, robustness, shift) at once."""
    names = {(e.family, e.name, e.subset) for row in rows for e in row.entries}
    points: dict[str, dict[tuple[str, str, str], float]] = {}
    for row in rows:
        signed = {
            (e.family, e.name, e.subset): (e.value if e.better == "higher" else -e.value)
            for e in row.entries
            if e.value is not None
        }
        if signed.keys() == names:
            points[row.defense] = signed
    front = {
        a
        for a, own in points.items()
        if not any(
            all(other[n] >= own[n] for n in names) and any(other[n] > own[n] for n in names)
            for b, other in points.items()
            if b != a
        )
    }
    return tuple(row.model_copy(update={"pareto": row.defense in front}) for row in rows)
