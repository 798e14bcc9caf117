"""The picture of a comparison: defences × headline numbers, coloured by the difference to no defence."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.comparison import MARKED_FROM, Arm, Cell, Comparison, broken, points, points_interval
from reports.html.charts import Drawing
from reports.html.kinds import cut
from reports.html.svg import ROLES, draw

ARMS = 24  # rows drawn; the table below the picture has all
_WIDTH = 470.0
_NAMES = 140.0  # left of the cells
_LETTERS = 19  # of a name on one line
_HEAD, _ROW, _GAP, _FOOT = 50.0, 36.0, 7.0, 36.0
_FAINT, _STRONG = 0.10, 0.45  # opacity of the smallest and the largest difference of a column


def comparison_drawing(chart_id: str, compared: Comparison) -> Drawing | None:
    """The heat map with its table; None when no arm has a number."""
    if not compared.columns:
        return None
    arms = compared.arms[:ARMS]
    height = _HEAD + _ROW * len(arms) + _GAP * sum(not arm.is_control for arm in arms) + _FOOT
    title = "Each defence beside no defence"
    svg = draw(
        chart_id, title, describe(compared), (_WIDTH, height), lambda figure: _paint(figure, compared, arms, height)
    )
    header = ("defence", *(f"{c.title} {c.arrow}" for c in compared.columns))
    rows = tuple((arm.name, *(_words(cell) for cell in arm.cells)) for arm in arms)
    left_out = len(compared.arms) - len(arms)
    note = f"{left_out} further arms in the table below" if left_out else ""
    return Drawing(svg, title, describe(compared), header, rows, note)


def describe(compared: Comparison) -> str:
    """What the picture says in one sentence: the differences of the defences asked for."""
    parts = []
    for arm in compared.asked[:4]:
        found = [
            f"{column.title} {points(shift.value, signed=True)}"
            for column, cell in zip(compared.columns, arm.cells, strict=True)
            if cell and (shift := cell.to_none)
        ]
        parts.append(f"{cut(arm.name)}: {', '.join(found) or arm.missing or 'no number'}")
    return "Difference to no defence in points. " + "; ".join(parts) + "."


def _paint(figure: Figure, compared: Comparison, arms: Sequence[Arm], height: float) -> None:
    # One unit = one point, so that names, cells and the words in them keep their sizes.
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    width = min((_WIDTH - _NAMES) / len(compared.columns), 110.0)
    largest = [
        max((abs(s.value or 0.0) for arm in arms if (cell := arm.cells[c]) and (s := cell.to_none)), default=0.0)
        for c in range(len(compared.columns))
    ]
    for c, column in enumerate(compared.columns):
        # The arrow stays with its word: no line break at a no-break space.
        wrapped = textwrap.wrap(f"{column.title}\u00a0{column.arrow}", 10)
        words = [word.replace("\u00a0", " ") for word in wrapped]
        words += [column.subset] if "=" in column.subset else []
        head = "\n".join(cut(word, 11) for word in words[:3])
        axes.text(
            _NAMES + width * (c + 0.5), _HEAD - 3, head, ha="center", va="bottom", fontsize=10.5, color=ROLES["muted"]
        )
    y = _HEAD - _GAP
    for arm in arms:
        y += 0.0 if arm.is_control else _GAP
        _name(axes, arm, y)
        for c, cell in enumerate(arm.cells):
            _cell(axes, (_NAMES + width * c, y, width), cell, largest[c])
        if arm.missing and not arm.row.entries:
            axes.text(_NAMES + 6, y + _ROW / 2, arm.missing, va="center", color=ROLES["inconclusive"])
        y += _ROW
    marks = (
        "outlined, *: the interval over seeds excludes 0"
        if len(compared.seeds) >= MARKED_FROM
        else f"underpowered: under {MARKED_FROM} seeds no difference is marked"
    )
    axes.text(2, y + 6, f"green: better than no defence, red: worse\n{marks}", va="top", color=ROLES["muted"])


def _name(axes: Axes, arm: Arm, y: float) -> None:
    indent = 12.0 if arm.is_control else 0.0
    first, *rest = broken(arm.short, _LETTERS - arm.is_control)
    text = "\n".join([first, cut("".join(rest), _LETTERS - arm.is_control)] if rest else [first])
    weight = "normal" if arm.is_control else "bold"
    color = ROLES["muted" if arm.is_control else "ink"]
    axes.text(2 + indent, y + _ROW / 2, text, va="center", fontweight=weight, color=color, linespacing=1.1)


def _cell(axes: Axes, place: tuple[float, float, float], cell: Cell | None, largest: float) -> None:
    x, y, width = place
    if cell is None:
        return
    shift = cell.to_none
    middle = x + width / 2
    box = Rectangle((x + 1, y + 1), width - 2, _ROW - 2, facecolor="none", edgecolor=ROLES["line"], linewidth=0.8)
    if shift is not None and shift.value:
        strength = _FAINT + (_STRONG - _FAINT) * abs(shift.value) / largest
        tint = ROLES["pass" if shift.gained > 0 else "fail"]
        axes.add_patch(Rectangle((x + 1, y + 1), width - 2, _ROW - 2, facecolor=tint, edgecolor="none", alpha=strength))
    if shift is not None and shift.word:
        box.set(edgecolor=ROLES["pass" if shift.word == "better" else "fail"], linewidth=2.2)
    axes.add_patch(box)
    value = points(cell.entry.value)
    if shift is None:
        axes.text(middle, y + _ROW / 2, value, ha="center", va="center", fontweight="bold")
        return
    axes.text(middle, y + _ROW * 0.31, value, ha="center", va="center", fontweight="bold")
    text = points(shift.value, signed=True) + (" *" if shift.word else "")
    axes.text(middle, y + _ROW * 0.72, text, ha="center", va="center")


def _words(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    shift = cell.to_none
    if shift is None:
        return points(cell.entry.value)
    difference = f"{points(shift.value, signed=True)} {points_interval(shift.ci, signed=True)}".strip()
    return f"{points(cell.entry.value)} ({difference}{', ' + shift.word if shift.word else ''})"
