"""The rows and columns of a comparison, aligned for a table: a view of the document's arms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.document import NONE, Arm, Comparison, Difference, Headline

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm under the columns of the table.

    Attributes:
        arm: of the document.
        cells: one headline a column; None where the number is missing.
    """

    arm: Arm
    cells: tuple[Headline | None, ...]

    @property
    def name(self) -> str:
        """The whole name."""
        return self.arm.arm

    @property
    def short(self) -> str:
        """The name beside that of its defence: `arm=ce` under `joint-cluster`."""
        id_, _, params = self.arm.arm.partition(":")
        return params if params and self.arm.control_of.partition(":")[0] == id_ else self.arm.arm

    @property
    def is_control(self) -> bool:
        """Whether a defence brought it along."""
        return bool(self.arm.control_of)

    @property
    def is_asked(self) -> bool:
        """Whether it is a defence that somebody asked for."""
        return not self.arm.control_of and self.arm.arm != NONE

    @property
    def against(self) -> tuple[str, ...]:
        """The arms it has paired differences to, its controls first and `none` last."""
        return tuple(dict.fromkeys(d.to for cell in self.cells if cell is not None for d in cell.differences))


@dataclass(frozen=True, slots=True)
class Grid:
    """The comparison in reading order: `none`, then each defence with its controls behind it.

    Attributes:
        columns: the first headline of each kind: it says what the column is.
        rows: one per arm.
    """

    columns: tuple[Headline, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, comparison: Comparison) -> Grid:
        """Aligns the headlines of all arms; kinds in the order in which they first appear."""
        kinds: dict[Key, Headline] = {}
        for arm in comparison.arms:
            for headline in arm.headlines:
                kinds.setdefault(_kind(headline), headline)
        rows = []
        for arm in _ordered(comparison.arms):
            own = {_kind(headline): headline for headline in arm.headlines}
            rows.append(Row(arm, tuple(own.get(kind) for kind in kinds)))
        return cls(tuple(kinds.values()), tuple(rows))

    @property
    def asked(self) -> tuple[Row, ...]:
        """The defences that were asked for."""
        return tuple(row for row in self.rows if row.is_asked)


def to(headline: Headline | None, other: str = NONE) -> Difference | None:
    """The paired difference of a number to another arm."""
    return None if headline is None else next((d for d in headline.differences if d.to == other), None)


def leading(columns: Sequence[Headline], room: int) -> list[int]:
    """Places of at most `room` columns: the first of each family before the second of any, in document order."""
    first = list({columns[k].family: k for k in reversed(range(len(columns)))}.values())
    others = [k for k in range(len(columns)) if k not in first]
    return sorted([*sorted(first), *others][:room])


def broken(name: str, width: int) -> list[str]:
    """Lines of at most `width` letters, broken at spaces and behind the punctuation of ids where it can be."""
    lines, width = [""], max(width, 1)
    for piece in re.findall(r"[^:,_/= -]*[:,_/= -]*", name)[:-1]:
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines]


def _kind(headline: Headline) -> Key:
    return headline.family, headline.probe, headline.metric, headline.subset, headline.shown


def _ordered(arms: tuple[Arm, ...]) -> list[Arm]:
    """`none`, each defence and behind it its controls, then controls whose defence is not there."""
    ordered = [arm for arm in arms if arm.arm == NONE]
    asked = [arm for arm in arms if arm.arm != NONE and not arm.control_of]
    for arm in asked:
        ordered += [arm, *(control for control in arms if control.control_of == arm.arm)]
    return ordered + [arm for arm in arms if arm.control_of and arm.control_of not in {a.arm for a in asked}]
