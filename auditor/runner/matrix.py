"""The comparison in headline numbers: utility, privacy, robustness, shift by defence, with paired differences.

Differences are value − other arm, paired by seed, with Student's t interval over seeds: every seed is a new fit, so
this takes the place of joining intervals of one trained model (joint-cluster spec 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditor.audit import CellRow, Difference, Interval, MatrixEntry, MatrixRow, Measurement
from auditor.evaluate.gain_words import CLAIM_SEEDS, judge_gain
from auditor.evaluate.private_gain import best_control, leak_words, utility_words
from auditor.runner.defending import NONE, DefenseRequest, controls_of
from auditor.statistics.intervals import join_seeds, student_t
from auditor.targets.target import Target

Reach = Literal["every", "own", "transferred"]
TRIED = {"every": "the worst of every attack tried on every arm", "own": "each arm against its own attacks"}
MIN_SEEDS = 5
BLUNT = 0.02


@dataclass(frozen=True, slots=True)
class Column:
    """One headline: where it is read from in the cells of one (defence, seed), and which way is better."""

    family: str
    name: str
    subset: str
    better: str
    read: Callable[[Sequence[CellRow]], Measurement | None]
    leak: bool = False


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
    columns = _columns(rows)
    read = {
        (request.spec, seed, c): _number(columns[c], by_arm.get((request.spec, seed), []))
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

    result = []
    for request in defenses:
        controls = controls_of(request, defenses)
        entries: list[MatrixEntry] = []
        own_differences: dict[str, dict[str, list[float]]] = {}
        for c, column in enumerate(columns):
            own = [read[request.spec, seed, c] for seed in seeds]
            if not any(part is not None for part in own):
                continue
            others = [spec for spec in (*controls, NONE) if spec != request.spec]
            paired = {spec: gains([(request.spec, spec)], c) for spec in others}
            own_differences[column.name] = paired
            if request.modes and column.name == "robust_accuracy":
                theirs = {mode: [*controls_of(by_spec[mode], defenses), NONE] for mode in request.modes}
                own_differences[column.name] = {
                    spec: gains([(request.spec, spec), *((mode, theirs[mode][i]) for mode in request.modes)], c)
                    for i, spec in enumerate(others)
                }
            differences = tuple(_difference(spec, values) for spec, values in paired.items() if values)
            entries.append(_entry(column, own, differences))
        tag = next((t.defense for seed in seeds if (t := targets.get((request.spec, seed))) is not None), None)
        promised = None if tag is None else tag.guarantee
        said: tuple[str, ...] = ()
        if promised is not None and not request.control_of:
            said = _private_words(request.spec, controls, rows, seeds, own_differences.get("leak", {}))
        spent = [
            max(seconds[request.spec, seed], _fit_seconds(targets.get((request.spec, seed))))
            for seed in seeds
            if (request.spec, seed) in seconds
        ]
        why = next((reasons[request.spec, seed][1] for seed in seeds if (request.spec, seed) in reasons), "")
        if not why:
            said = (*said, *_words(request, controls, entries, own_differences, _reach(request, rows)))
        result.append(
            MatrixRow(
                defense=request.spec,
                control_of=request.control_of,
                entries=tuple(entries),
                seconds=round(float(np.mean(spent)), 3) if spent else None,
                guarantee=promised,
                notes={} if tag is None else {k: v for k, v in tag.notes.items() if k != "seconds"},
                words=() if why else said,
                reason=why,
            )
        )
    return _with_pareto(result)


def _columns(rows: Sequence[CellRow]) -> list[Column]:
    """Utility, worst link leak, worst case under edits, worst blind gap: those that some cell measured."""
    subsets = sorted(
        {m.subset for row in rows if row.probe == "gain" for m in row.measurements if m.name == "robust_accuracy"}
    )
    eps = "eps=0.05" if "eps=0.05" in subsets or not subsets else subsets[-1]
    columns = [
        Column("utility", "clean_accuracy", "", "higher", lambda cells: _of_gain(cells, "clean_accuracy", "")),
        Column("utility", "balanced_accuracy", "", "higher", lambda cells: _of_gain(cells, "balanced_accuracy", "")),
        Column(
            "privacy",
            "leak",
            "AUC beyond the guess without the model",
            "lower",
            lambda cells: _worst(cells, "privacy", "auc"),
            leak=True,
        ),
        Column("robustness", "robust_accuracy", eps, "higher", lambda cells: _robust(cells, eps)),
        Column(
            "shift",
            "gap",
            "worst blind corruption",
            "lower",
            lambda cells: _worst(cells, "shift", "accuracy"),
            leak=True,
        ),
    ]
    return [column for column in columns if any(column.read([row]) is not None for row in rows)]


def _of_gain(cells: Sequence[CellRow], name: str, subset: str) -> Measurement | None:
    for cell in cells:
        if cell.probe == "gain":
            return next((m for m in cell.measurements if m.name == name and m.subset == subset), None)
    return None


def _robust(cells: Sequence[CellRow], eps: str) -> Measurement | None:
    """Worst case over all arms' attacks where it was tried; the arm's own envelope elsewhere."""
    found = _of_gain(cells, "robust_accuracy", eps)
    if found is not None:
        return found
    return next(
        (
            m
            for cell in cells
            if cell.family == "adversarial"
            for m in cell.measurements
            if m.name == "robust_accuracy" and m.primary
        ),
        None,
    )


def _worst(cells: Sequence[CellRow], family: str, name: str) -> Measurement | None:
    """The primary measurement of this name with the largest advantage."""
    found = [
        m
        for cell in cells
        if cell.family == family
        for m in cell.measurements
        if m.primary and m.name == name and m.advantage is not None and m.advantage.value is not None
    ]
    return max(found, key=lambda m: m.advantage.value or 0.0, default=None) if found else None  # type: ignore[union-attr]


Read = tuple[float, tuple[float, float]]


def _number(column: Column, cells: Sequence[CellRow]) -> Read | None:
    """Value and interval of one seed."""
    m = column.read(cells)
    if m is None:
        return None
    if column.leak:
        if m.advantage is None or m.advantage.value is None:
            return None
        value, ci = m.advantage.value, m.advantage.ci
    else:
        if m.value is None:
            return None
        value, ci = m.value, m.ci or Interval()
    return value, (value if ci.lo is None else ci.lo, value if ci.hi is None else ci.hi)


def _entry(column: Column, own: Sequence[Read | None], differences: tuple[Difference, ...]) -> MatrixEntry:
    known = [part for part in own if part is not None]
    value, lo, hi = join_seeds([v for v, _ in known], [ci for _, ci in known])
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


def _minus(own: Read | None, other: Read | None) -> float | None:
    """Own − other; None where one is missing."""
    return None if own is None or other is None else own[0] - other[0]


def _difference(spec: str, paired: Sequence[float]) -> Difference:
    if len(paired) < 2:
        return Difference(to=spec, value=paired[0])
    lo, hi = student_t(paired)
    return Difference(to=spec, value=float(np.mean(paired)), ci=Interval(lo=lo, hi=hi))


def _words(
    request: DefenseRequest,
    controls: Sequence[str],
    entries: Sequence[MatrixEntry],
    differences: Mapping[str, Mapping[str, Sequence[float]]],
    reach: Reach,
) -> tuple[str, ...]:
    """What may be said of a defence: robustness, then balanced accuracy. A control has no controls and no words."""
    if not controls:
        return ()
    said = []
    for entry in entries:
        against = differences[entry.name]
        if entry.name == "robust_accuracy":
            where = f", as {' or '.join((request.spec, *request.modes))}, where it gains least" if request.modes else ""
            said.append(f"robustness at {entry.subset}{where}: {robust_words(against, controls, reach)}")
        if entry.name == "balanced_accuracy":
            said.append(f"balanced accuracy: {accuracy_words(against, controls)}")
    return tuple(said)


def _private_words(
    spec: str,
    controls: Sequence[str],
    rows: Sequence[CellRow],
    seeds: Sequence[int],
    leaks: Mapping[str, Sequence[float]],
) -> tuple[str, ...]:
    """What a defence with a Guarantee is worth, over the seeds at which it and all of its controls were measured."""
    gains = {(row.defense, row.seed): row for row in rows if row.probe == "gain" and row.status == "ok"}
    arms = [arm for arm in (spec, *controls) if any((arm, seed) in gains for seed in seeds)]
    shared = [seed for seed in seeds if all((arm, seed) in gains for arm in arms)]
    if spec not in arms or not shared:
        return ()
    own, *others = (
        [float(m.value or 0.0) for seed in shared if (m := _of_gain([gains[arm, seed]], "clean_accuracy", ""))]
        for arm in arms
    )
    majority = float(gains[spec, shared[0]].params["majority"])
    edge_free = dict(zip(arms[1:], others, strict=True))
    words = [f"accuracy: {utility_words(own, edge_free, majority)}"]
    control = best_control(edge_free) if edge_free else None
    if control is not None and leaks.get(control):
        words.append(f"links: {leak_words(leaks[control], control)}")
    return tuple(words)


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


def robust_words(differences: Mapping[str, Sequence[float]], controls: Sequence[str], reach: Reach = "every") -> str:
    """The words of the joint-cluster spec (section 5) for the paired worst-case gain over seeds.

    Args:
        differences: value − other by the other's spec, one per seed, as fractions.
        controls: the first is the same capacity without the idea; the others say what else explains a gain.
        reach: `every` edit found on any arm was tried on it; its `own` alone; or only those of others, `transferred`.
    """
    gains = differences.get(controls[0], ())
    seeds = len(gains)
    if not seeds:
        return f"not compared: {controls[0]} gave no number"
    mean = float(np.mean(gains))
    points = f"{100 * mean:+.1f} points over {controls[0]}"
    if seeds < MIN_SEEDS:
        return f"{points}; underpowered: {seeds} seed{'s' if seeds > 1 else ''}, at least {MIN_SEEDS} are needed"
    if max(gains) == min(gains):
        return f"{points}; underpowered: the fit does not depend on the seed, so that {seeds} seeds are one sample"
    lo, hi = student_t(gains)
    points = f"{points} [{100 * lo:+.1f}, {100 * hi:+.1f}]"
    if lo > 0 and reach == "transferred":
        return f"against transferred attacks only: {points}; inconclusive, no attack of its own could be made"
    if lo > 0:
        explained = [spec for spec in controls[1:] if differences.get(spec) and student_t(differences[spec])[0] <= 0]
        if explained:
            return f"gain supported: {points}, but nothing proven is gained over {', '.join(explained)}"
        return f"gain supported: {points}, {TRIED[reach]}"
    if hi < 0:
        return f"harmful here: {points}"
    if (hi - lo) / 2 <= BLUNT:
        return f"gain not supported: {points}"
    needed = math.ceil((1.96 * float(np.std(gains, ddof=1)) / BLUNT) ** 2)
    return f"{points}; underpowered: needs about {needed} seeds"


def accuracy_words(differences: Mapping[str, Sequence[float]], controls: Sequence[str]) -> str:
    """Gain, harm or no gain shown against the defence's own control (L2R spec 4); random weights must be beaten too."""
    gains = differences.get(controls[0], ())
    seeds = len(gains)
    if not seeds:
        return f"not compared: {controls[0]} gave no number"
    points = f"{100 * float(np.mean(gains)):+.1f} points against {controls[0]}"
    if seeds < 2 or max(gains) == min(gains):
        return f"{points}; {'one seed' if seeds < 2 else 'equal at every seed, one sample'}: no gain shown"
    if seeds < MIN_SEEDS:
        return f"{points}; underpowered: {seeds} seeds, at least {MIN_SEEDS} are needed"
    random = next((spec for spec in controls if spec.startswith("random-weights")), None)
    rest = None
    if random is not None and differences.get(random):
        # control − random weights = (own − random) − (own − control)
        rest = [b - a for a, b in zip(gains, differences[random], strict=True)]
    judged = judge_gain([-gain for gain in gains], random_weights=rest)
    interval = f"[{-100 * judged.ci[1]:+.1f}, {-100 * judged.ci[0]:+.1f}]"
    indicative = f"; indicative, {seeds} of {CLAIM_SEEDS} seeds" if judged.indicative else ""
    return f"{points} {interval}: {judged.word}{indicative}"


def _with_pareto(rows: Sequence[MatrixRow]) -> tuple[MatrixRow, ...]:
    """Marks the rows that no other row beats in every headline (utility, privacy, robustness, shift) at once."""
    names = {(e.family, e.name) for row in rows for e in row.entries}
    points: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        signed = {
            (e.family, e.name): (e.value if e.better == "higher" else -e.value)
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
