"""Where each headline number of a comparison is read from in the cells of one (defence, seed)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auditor.audit import CellRow, Interval, Measurement

POISONED = "poisoned_accuracy"
LEAK = "AUC beyond the guess without the model"
PARTS = ("id", "ood")
Read = tuple[float, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Column:
    """One headline: where it is read from in the cells of one (defence, seed), and which way is better."""

    family: str
    name: str
    subset: str
    better: str
    read: Callable[[Sequence[CellRow]], Measurement | None]
    leak: bool = False


def columns_of(rows: Sequence[CellRow]) -> list[Column]:
    """Utility, worst link leak, worst case under edits, worst blind gap: those that some cell measured."""
    subsets = sorted(
        {m.subset for row in rows if row.probe == "gain" for m in row.measurements if m.name == "robust_accuracy"}
    )
    eps = "eps=0.05" if "eps=0.05" in subsets or not subsets else subsets[-1]
    columns = [
        _gain_column("clean_accuracy", ""),
        *(_gain_column(POISONED, attack) for attack in _poisonings(rows)),
        *(_gain_column("balanced_accuracy", part) for part in _parts(rows)),
        Column(
            "privacy",
            "leak",
            LEAK,
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


def _poisonings(rows: Sequence[CellRow]) -> list[str]:
    """Attacks on the graph that everything was fitted on: one or none."""
    named = {m.subset for row in rows if row.probe == "gain" for m in row.measurements if m.name == POISONED}
    return sorted(named)


def _parts(rows: Sequence[CellRow]) -> list[str]:
    """Sets of test items whose balanced accuracy stands on its own; all of them as one where there are none."""
    gains = [m for row in rows if row.probe == "gain" for m in row.measurements if m.name == "balanced_accuracy"]
    return [part for part in PARTS if any(m.subset == part for m in gains)] or [""]


def _gain_column(name: str, subset: str) -> Column:
    return Column("utility", name, subset, "higher", lambda cells: _of_gain(cells, name, subset))


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


def number(column: Column, cells: Sequence[CellRow]) -> Read | None:
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
