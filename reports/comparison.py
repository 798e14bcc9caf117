"""The comparison of an audit made ready for people: arms in order, headline numbers, what differs from what.

All numbers of a comparison are shown in percent and in points (hundredths), the unit of its words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from auditor.audit import Difference, Interval, Matrix, MatrixEntry, MatrixRow
from auditor.guarantee import STANDING, Guarantee
from reports.words import metric

NONE = "none"
MARKED_FROM = 5  # seeds; below it a comparison is underpowered whatever the interval (joint-cluster)
_SAME = 1e-9
_FACTS = (
    "level", "relation", "epsilon", "delta", "accountant", "mechanism", "units", "covers", "not_protected", "caveats",
    "noise_seed",
)  # fmt: skip
_PARTS = ("id", "ood")
_TITLES = {"leak": "privacy leak", "gap": "shift gap"}


@dataclass(frozen=True, slots=True)
class Column:
    """One headline number that some arm has."""

    family: str
    name: str
    subset: str
    better: Literal["higher", "lower"]

    @property
    def title(self) -> str:
        """`clean accuracy`, `privacy leak`."""
        title = _TITLES.get(self.name, metric(self.name))
        return f"{title} {self.subset}" if self.subset in _PARTS else title

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.better == "higher" else "↓"


@dataclass(frozen=True, slots=True)
class Shift:
    """The paired difference of one number to another arm.

    Attributes:
        to: the other arm.
        value: own − other, as a fraction.
        ci: t interval over seeds.
        seeds: seeds that both arms have.
        gained: the difference turned so that positive = better.
        word: `better` or `worse` where the interval of a judged difference excludes 0 over at least five seeds.
    """

    to: str
    value: float | None
    ci: Interval | None
    seeds: int
    gained: float
    word: Literal["better", "worse", ""]


@dataclass(frozen=True, slots=True)
class Cell:
    """One headline number of one arm, with its differences to other arms by their names."""

    entry: MatrixEntry
    shifts: Mapping[str, Shift]

    @property
    def to_none(self) -> Shift | None:
        """The difference to the undefended target."""
        return self.shifts.get(NONE)


@dataclass(frozen=True, slots=True)
class Arm:
    """One row: the undefended target, a defence, or a control under the defence that brought it along.

    Attributes:
        row: of the document.
        short: the name beside that of its defence: `arm=ce` under `joint-cluster`.
        cells: one per column; None where the number is missing.
    """

    row: MatrixRow
    short: str
    cells: tuple[Cell | None, ...]

    @property
    def name(self) -> str:
        """The whole name."""
        return self.row.defense

    @property
    def is_control(self) -> bool:
        """Whether a defence brought it along."""
        return bool(self.row.control_of)

    @property
    def is_asked(self) -> bool:
        """Whether it is a defence that somebody asked for."""
        return not self.row.control_of and self.row.defense != NONE

    @property
    def missing(self) -> str:
        """Says that it could not be fitted, at all or at some seed; empty where it could."""
        if not self.row.reason:
            return ""
        return "not fitted at every seed" if self.row.entries else "could not be fitted"

    @property
    def against(self) -> tuple[str, ...]:
        """The arms it has paired differences to, its controls first and `none` last."""
        return tuple(dict.fromkeys(to for cell in self.cells if cell for to in cell.shifts))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The matrix in reading order: `none`, then each defence with its controls behind it."""

    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, matrix: Matrix) -> Comparison:
        """Reads a matrix of a neutralised document."""
        entries = [entry for row in matrix.rows for entry in row.entries]
        columns = tuple(dict.fromkeys(Column(e.family, e.name, e.subset, e.better) for e in entries))
        found = {(row.defense, column): entry for row in matrix.rows for column, entry in _by_column(row).items()}
        arms = tuple(
            Arm(
                row,
                _short(row),
                tuple(_cell(found.get((row.defense, column)), column, found) for column in columns),
            )
            for row in _ordered(matrix.rows)
        )
        return cls(columns, arms, matrix.seeds, matrix.left_out)

    @property
    def asked(self) -> tuple[Arm, ...]:
        """The defences that were asked for."""
        return tuple(arm for arm in self.arms if arm.is_asked)

    @property
    def standing(self) -> str:
        """What holds for every guarantee here; empty where no arm has one."""
        given = any(arm.row.guarantee is not None for arm in self.arms)
        return f"Every guarantee: {'; '.join(STANDING)}." if given else ""

    @property
    def unit(self) -> str:
        """What the numbers are, in one sentence."""
        beyond = [column for column in self.columns if column.name == "leak" and column.subset]
        text = "Accuracies in %, everything else in points (hundredths)."
        text += "".join(f" {c.title[0].upper()}{c.title[1:]}: {c.subset}." for c in beyond)
        if any(column.subset in _PARTS for column in self.columns):
            text += " id: test graphs as small as those trained on; ood: larger ones."
        if any(c.name == "poisoned_accuracy" for c in self.columns):
            text += " Everything was fitted on the poisoned graph."
        return text

    @property
    def marking(self) -> str:
        """When a difference is called better or worse, in one sentence."""
        if len(self.seeds) < MARKED_FROM:
            seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
            return (
                f"Underpowered: {seeds}, so no difference is marked better or worse; at least {MARKED_FROM} are needed."
            )
        return (
            "Marked better or worse where the interval excludes 0: over seeds, or over test items where two arms come "
            "from one trained model. Against that model itself a refitted head's accuracy is never marked: the refit "
            "alone moves it."
        )


def points(value: float | None, *, signed: bool = False) -> str:
    """A fraction in hundredths with one decimal; none from 100 on; a dash for a number that is not there."""
    if value is None:
        return "–"
    hundredths = 100 * value
    digits = 1 if abs(hundredths) < 99.95 else 0
    text = f"{hundredths:{'+' if signed else ''}.{digits}f}"
    return "0.0" if text in ("-0.0", "+0.0", "0.0") else text.replace("-", "−")


def points_interval(ci: Interval | None, *, signed: bool = False) -> str:
    """`[−4.1, −0.9]`; an open end is an infinity, no interval an empty string."""
    if ci is None or (ci.lo is None and ci.hi is None):
        return ""
    lo = "−∞" if ci.lo is None else points(ci.lo, signed=signed)
    hi = "∞" if ci.hi is None else points(ci.hi, signed=signed)
    return f"[{lo}, {hi}]"


def guarantee_facts(guarantee: Guarantee) -> list[tuple[str, str]]:
    """Every fact of a guarantee, the headline first: never a bare epsilon."""
    facts = guarantee.model_dump(mode="json")
    return [("guarantee", guarantee.headline()), *((key.replace("_", " "), _plain(facts[key])) for key in _FACTS)]


def guarantee_text(row: MatrixRow) -> str:
    """The guarantee's line with its own caveats, or that there is none."""
    if row.guarantee is None:
        return "no formal guarantee"
    return "; ".join((row.guarantee.headline(), *row.guarantee.own_caveats))


def broken(name: str, width: int) -> list[str]:
    """Lines of at most `width` letters, broken at spaces and behind the punctuation of ids where it can be."""
    lines = [""]
    for piece in re.findall(r"[^:,_/= ]*[:,_/= ]*", name)[:-1]:
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines]


def seconds(value: float | None) -> str:
    """Seconds to fit: one decimal, none from 100 on; a dash where nothing was fitted."""
    return "–" if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return str(value)


def _by_column(row: MatrixRow) -> dict[Column, MatrixEntry]:
    return {Column(e.family, e.name, e.subset, e.better): e for e in row.entries}


def _ordered(rows: tuple[MatrixRow, ...]) -> list[MatrixRow]:
    """`none`, each defence and behind it its controls, then controls whose defence is not there."""
    ordered = [row for row in rows if row.defense == NONE]
    asked = [row for row in rows if row.defense != NONE and not row.control_of]
    for row in asked:
        ordered += [row, *(control for control in rows if control.control_of == row.defense)]
    return ordered + [row for row in rows if row.control_of and row.control_of not in {a.defense for a in asked}]


def _short(row: MatrixRow) -> str:
    id_, _, params = row.defense.partition(":")
    return params if params and row.control_of.partition(":")[0] == id_ else row.defense


def _cell(entry: MatrixEntry | None, column: Column, found: Mapping[tuple[str, Column], MatrixEntry]) -> Cell | None:
    if entry is None:
        return None
    return Cell(entry, {d.to: _shift(d, entry, found.get((d.to, column))) for d in entry.differences})


def _shift(difference: Difference, own: MatrixEntry, other: MatrixEntry | None) -> Shift:
    paired = zip(own.per_seed, other.per_seed if other else (), strict=False)
    seeds = sum(a is not None and b is not None for a, b in paired)
    sign = 1.0 if own.better == "higher" else -1.0
    word: Literal["better", "worse", ""] = ""
    ci = difference.ci
    if difference.judged and ci is not None and seeds >= MARKED_FROM:
        ends = [sign * end for end in (ci.lo, ci.hi) if end is not None]
        # An interval without width: the seeds made the same model each time and say nothing.
        if len(ends) == 2 and max(ends) - min(ends) > _SAME:
            word = "better" if min(ends) > 0 else "worse" if max(ends) < 0 else ""
    return Shift(difference.to, difference.value, ci, seeds, sign * (difference.value or 0.0), word)
