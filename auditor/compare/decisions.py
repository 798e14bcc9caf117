"""Which decisions stand on which arm: every one is made by `auditor.policy.differences`, from numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from auditor.compare.arms import DefenseRequest, reference_of
from auditor.compare.columns import Column
from auditor.compare.gain import FAMILY
from auditor.compare.pairing import Compared, Row
from auditor.document import CellRow, Decision
from auditor.policy import differences as judge
from auditor.statistics.multiplicity import holm_levels


def decisions_of(rows: Mapping[str, Row], compared: Compared) -> dict[str, tuple[Decision, ...]]:
    """By arm: what may be said of a defence beside its controls. A control has none."""
    levels = _levels(rows.values())
    found = {}
    for spec, row in rows.items():
        served = [rows[each] for each in (spec, *row.request.modes)]
        failed = _failed([each for own in served for each in (own.spec, *own.controls[:1])], compared.cells)
        said = (
            *_of_private_model(row, rows, compared),
            *_of_differences(row, _reach(row.request, compared.cells), levels),
            *_of_recovery(row, rows),
        )
        found[spec] = tuple(judge.trusted(decision, failed) for decision in said)
    return found


def _of_private_model(row: Row, rows: Mapping[str, Row], compared: Compared) -> Iterator[Decision]:
    """Of a defence with a Guarantee, over the seeds at which it and all of its controls were measured."""
    accuracy = next((c for c in row.numbers if c.about in ("accuracy", "poisoned-accuracy")), None)
    if row.tag is None or row.tag.guarantee is None or row.request.control_of or accuracy is None:
        return
    numbers = {spec: known for spec in (row.spec, *row.controls) if (known := rows[spec].numbers.get(accuracy))}
    shared = [seed for seed in compared.seeds if all(seed in known for known in numbers.values())]
    if not shared:
        return
    own, *edge_free = (
        [accuracy.estimate_of(known[seed]).value or 0.0 for seed in shared] for known in numbers.values()
    )
    controls = dict(zip(list(numbers)[1:], edge_free, strict=True))
    yield from judge.of_private_model(own, controls, compared.constant)
    for column in row.headlines:
        beyond = row.against(column).get(judge.best_control(controls)) if controls else None
        if column.about == "links" and beyond is not None:
            yield judge.of_links(beyond, column.probe)


def _of_differences(row: Row, reach: judge.Reach, levels: Mapping[tuple[str, str], float]) -> Iterator[Decision]:
    """Of every column that decides something beside a defence's controls."""
    random = next((spec for spec in row.controls if reference_of(spec) == "random"), "")
    for column in row.headlines if row.controls else ():
        against = row.against(column)
        if column.about == "robustness" or column.about == "poisoned-accuracy":
            yield judge.under_edits(
                column.about,
                against,
                row.controls,
                reach if column.about == "robustness" else "poisoned",
                over_items=row.starts_trained,
                modes=(row.spec, *row.request.modes) if column in row.least else (),
                probe=column.probe,
                subset=column.subset,
            )
        elif column.about == "balanced-accuracy":
            key = (row.spec, column.subset)
            yield judge.of_reweighting(
                against,
                row.controls,
                random=random,
                over_items=row.starts_trained,
                level=levels.get(key, judge.LEVEL),
                together=len(levels) if key in levels else 1,
                subset=column.subset,
            )


def _of_recovery(row: Row, rows: Mapping[str, Row]) -> Iterator[Decision]:
    """The share of the gain of a method that is told the groups which weights reach without them, where it gains."""
    if not row.controls or row.request.effect is None:
        return
    for oracle in rows.values():
        if oracle is row or reference_of(oracle.spec) != "oracle" or oracle.controls[:1] != row.controls[:1]:
            continue
        for column in _balanced(row):
            own, room = (
                each.against(column).get(row.controls[0]) if column in each.headlines else None
                for each in (row, oracle)
            )
            if own is not None and room is not None:
                share = judge.of_recovery(own, room, oracle.spec, subset=column.subset)
                yield from () if share is None else (share,)


def _levels(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Holm's level of every (reweighting, set of test items): all that one comparison judges count together."""
    p: dict[tuple[str, str], float] = {}
    for row in rows:
        if not row.controls or row.request.control_of or row.request.effect is None:
            continue
        for column in _balanced(row):
            first = row.against(column).get(row.controls[0])
            value = None if first is None else judge.p_value(first, over_items=row.starts_trained)
            if value is not None:
                p[row.spec, column.subset] = value
    return dict(zip(p, holm_levels(list(p.values()), judge.LEVEL), strict=True))


def _balanced(row: Row) -> list[Column]:
    return [column for column in row.headlines if column.about == "balanced-accuracy"]


def _failed(arms: Sequence[str], cells: Sequence[CellRow]) -> dict[str, Literal["integrity", "strength"]]:
    """Kind by id of the integrity and strength rows that failed on the comparison's own cells of these arms."""
    checks = [check for cell in cells if cell.family == FAMILY and cell.arm in arms for check in cell.validity]
    return {c.id: c.kind for c in checks if c.status == "fail" and c.kind != "warning"}


def _reach(request: DefenseRequest, cells: Sequence[CellRow]) -> judge.Reach:
    """Which edits an arm was tried with; of several ways of serving, the one that saw the least."""
    arms = {request.spec, *request.modes}
    own = [cell for cell in cells if cell.family == "robustness" and cell.arm in arms]
    if {cell.arm for cell in own} - {cell.arm for cell in own if cell.status == "ok"}:
        return "transferred"
    tried = any(cell.params.get("attacks") for cell in cells if cell.family == FAMILY and cell.arm in arms)
    return "own" if own and not tried else "every"
