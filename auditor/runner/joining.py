"""The one place where the numbers of several seeds become one result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from auditor.document import NONE, AtSeed, Control, Estimate, Measured, Numbers, Result, fingerprint
from auditor.document.facts import SEVERITIES, ClaimFacts, LinkList, LowFpr, Rival, Severity, Shipped
from auditor.errors import EvaluationError
from auditor.registry import taxon
from auditor.runner.finished import Finished
from auditor.statistics.estimate import ANY, Range
from auditor.statistics.seeds import joined, joined_contrast

_VERDICTS = ("CONSISTENT", "UNDERPOWERED", "VIOLATED")


def results_of(finished: Sequence[Finished], target_name: str) -> tuple[Result, ...]:
    """Every number of the finished cells, joined over seeds, in the order they first appear.

    Raises:
        EvaluationError: a cell measures one thing twice.
    """
    groups: dict[tuple[str, ...], list[tuple[Finished, Measured]]] = {}
    for cell in finished:
        if cell.row.status != "ok":
            continue
        for number in cell.measured:
            key = (number.finding, target_name, cell.row.arm, cell.row.probe, number.metric, number.subset)
            groups.setdefault(key, []).append((cell, number))
    return tuple(_result(key, pairs) for key, pairs in groups.items())


def _result(key: tuple[str, ...], pairs: Sequence[tuple[Finished, Measured]]) -> Result:
    cells, numbers = [cell for cell, _ in pairs], [number for _, number in pairs]
    seeds = tuple(cell.row.seed for cell in cells)
    if len(set(seeds)) < len(seeds):
        raise EvaluationError(
            f"{key[3]} gives {key[4]} {key[5]} twice for one seed ({sorted(seeds)}); name it once per cell"
        )
    first, row = numbers[0], cells[0].row
    # A defence is refitted at every seed: the worst seed of it is no adversary's choice, and one seed is not all.
    is_worst, is_fixed = (flag and row.arm == NONE for flag in (cells[0].tries, cells[0].fixed))
    shown = _worst(numbers) if is_worst else None
    together = _over_seeds(numbers) if shown is None else numbers[shown]
    records = [number.facts for number in numbers]
    adjusted = [number.p_adjusted for number in numbers if number.p_adjusted is not None]
    held = (cell.access if number.access is None else number.access for cell, number in pairs)
    access = tuple(dict.fromkeys(word for words in held for word in words))
    return Result(
        estimate=together.estimate,
        controls=together.controls,
        contrast=together.contrast,
        finding=first.finding,
        metric=first.metric,
        subset=first.subset,
        unit=first.unit,
        signed=first.signed,
        worse_when=first.worse_when,
        question=first.question,
        limit=first.limit,
        p_adjusted=max(adjusted) if adjusted else None,
        p_for=first.p_for,
        judged=any(number.judged for number in numbers),
        at_most=_least([number.at_most for number in numbers]),
        facts=_joined_facts(records, _nearest(numbers)) if shown is None else _claimed(records) or records[shown],
        fingerprint=fingerprint(*key),
        family=row.family,
        probe=row.probe,
        arm=row.arm,
        access=access,
        taxonomy=taxon(first.finding).ids(access),
        seeds="fixed" if is_fixed else seeds,
        joined_by="worst" if is_worst else "mean",
        shown_seed=seeds[shown] if shown is not None and len(seeds) > 1 else None,
        by_seed=tuple(
            AtSeed(
                cell=cell.row.key,
                seed=cell.row.seed,
                estimate=number.estimate,
                controls=number.controls,
                contrast=number.contrast,
                p_adjusted=number.p_adjusted,
            )
            for cell, number in pairs
        ),
    )


def _worst(numbers: Sequence[Measured]) -> int:
    """Index of the seed with the largest excess; seeds without one come last."""

    def rank(index: int) -> tuple[float, float]:
        excess = numbers[index].excess
        if excess is None or excess.value is None:
            return float("-inf"), float("-inf")
        return excess.value, float("-inf") if excess.lo is None else excess.lo

    return max(range(len(numbers)), key=rank)


def _nearest(numbers: Sequence[Measured]) -> int:
    """Index of the seed whose excess is nearest the mean; the first where a seed has none."""
    excesses = [number.excess for number in numbers]
    values = [excess.value for excess in excesses if excess is not None and excess.value is not None]
    if len(values) < len(numbers):
        return 0
    return int(np.argmin(np.abs(np.array(values) - np.mean(values))))


def _over_seeds(numbers: Sequence[Measured]) -> Numbers:
    """Estimate, controls and contrast over seeds; no contrast as soon as one seed has none: it would hide that."""
    if len(numbers) == 1:
        return numbers[0]
    names = dict.fromkeys(control.name for number in numbers for control in number.controls)
    controls = []
    for name in names:
        own = [control for number in numbers for control in number.controls if control.name == name]
        if len(own) == len(numbers):
            controls.append(_joined_control(name, own, numbers))
    contrasts = [number.contrast for number in numbers if number.contrast is not None]
    contrast = joined_contrast(contrasts, numbers[0].range_of_contrasts) if len(contrasts) == len(numbers) else None
    if contrast is not None and contrast.to not in names:
        strongest = [control for number in numbers if (control := number.control) is not None]
        controls.append(_joined_control(contrast.to, strongest, numbers))
    return Numbers(
        estimate=joined([n.estimate for n in numbers], numbers[0].range), controls=tuple(controls), contrast=contrast
    )


def _joined_control(name: str, own: Sequence[Control], numbers: Sequence[Measured]) -> Control:
    """One control over seeds; `own` has the control that is meant at each of them."""
    contrasts = [control.contrast for control in own if control.contrast is not None]
    sides = [control.own or number.estimate for control, number in zip(own, numbers, strict=True)]
    values, differences = numbers[0].range, numbers[0].range_of_contrasts
    return Control(
        name=name,
        estimate=joined([control.estimate for control in own], values),
        contrast=joined(contrasts, differences) if len(contrasts) == len(own) else None,
        own=joined(sides, values) if any(control.own is not None for control in own) else None,
        twin=all(control.twin for control in own),
    )


def _least(bounds: Sequence[Severity | None]) -> Severity | None:
    """The lowest bound of any seed."""
    return min((bound for bound in bounds if bound is not None), key=SEVERITIES.index, default=None)


def _claimed(records: Sequence[Any]) -> Any:
    """A claim is as bad as its worst seed says, and so is what lies in a file; None for facts of another kind."""
    if all(isinstance(record, ClaimFacts) for record in records):
        worst = max(records, key=lambda record: _VERDICTS.index(record.verdict))
        return worst.model_copy(update={"bounds": tuple(bound for record in records for bound in record.bounds)})
    if all(isinstance(record, Shipped) for record in records):
        return max(records, key=lambda record: SEVERITIES.index(record.severity))
    return None


def _joined_rivals(parts: Sequence[tuple[Rival, ...]], nearest: int) -> tuple[Rival, ...]:
    """Every control's two sides over seeds, in the order of the seed nearest the joined number."""
    made = []
    for rival in parts[nearest]:
        same = [each for part in parts for each in part if each.control == rival.control]
        made.append(_joined_facts(same, same.index(rival)) if len(same) == len(parts) else rival)
    return tuple(made)


def _joined_facts(records: Sequence[Any], nearest: int) -> Any:
    """One record over seeds: Estimates joined, everything else of the seed that lies nearest the joined number.

    Args:
        records: one per seed; of several kinds, they say nothing together.
        nearest: index of that seed.
    """
    first = records[nearest]
    if len({type(record) for record in records}) > 1:
        return None
    if first is None or len(records) == 1:
        return first
    if (worst := _claimed(records)) is not None:
        return worst
    changed: dict[str, Any] = {}
    for name, field in type(first).model_fields.items():
        parts = [getattr(record, name) for record in records]
        if all(isinstance(part, Estimate) for part in parts):
            ranges = (each for each in field.metadata if isinstance(each, Range))
            changed[name] = joined(parts, next(ranges, ANY))
        elif all(isinstance(part, LinkList | LowFpr) for part in parts):
            changed[name] = _joined_facts(parts, nearest)
        elif all(isinstance(part, tuple) and part and isinstance(part[0], Rival) for part in parts):
            changed[name] = _joined_rivals(parts, nearest)
    return first.model_copy(update=changed)
