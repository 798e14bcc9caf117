"""The picture of a comparison: defences × headline numbers, coloured by the difference to no defence."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from auditor.document import Headline
from reports.comparison import Grid, Row, broken, leading, to
from reports.html.charts import Drawing
from reports.html.kinds import cut
from reports.html.svg import ROLES, draw
from reports.sentences import comparison as words
from reports.sentences.numbers import MISSING

ARMS = 24  # rows drawn; the table below the picture has all
COLUMNS = 5  # columns drawn
_WIDTH = 470.0
_NAMES = 140.0  # left of the cells
_LETTERS = 19  # of a name on one line
_HEAD, _ROW, _GAP, _FOOT = 50.0, 36.0, 7.0, 36.0
_FAINT, _STRONG = 0.10, 0.45  # opacity of the smallest and the largest difference of a column


def comparison_drawing(chart_id: str, grid: Grid) -> Drawing | None:
    """The heat map with its table; None when no arm has a number."""
    if not grid.columns:
        return None
    rows = grid.rows[:ARMS]
    drawn = leading(grid.columns, COLUMNS)
    height = _HEAD + _ROW * len(rows) + _GAP * sum(not row.is_control for row in rows) + _FOOT
    title, said = "Each defence beside no defence", describe(grid)
    svg = draw(chart_id, title, said, (_WIDTH, height), lambda figure: _paint(figure, grid, rows, drawn, height))
    titled = zip(words.titles(grid.columns), grid.columns, strict=True)
    header = ("defence", *(f"{name} {words.arrow(column)}" for name, column in titled))
    table = tuple((row.name, *(_words(cell) for cell in row.cells)) for row in rows)
    left_out = (
        (len(grid.rows) - len(rows), "further arm in the table below", "further arms in the table below"),
        (len(grid.columns) - len(drawn), "further column here and below", "further columns here and below"),
    )
    note = ", ".join(f"{k} {one if k == 1 else more}" for k, one, more in left_out if k)
    return Drawing(svg, title, said, header, table, note)


def describe(grid: Grid) -> str:
    """What the picture says in one sentence: the differences of the defences asked for."""
    parts, titles = [], words.titles(grid.columns)
    for row in grid.asked[:4]:
        found = [
            f"{title} {words.difference(cell, shift)[0]}"
            for title, cell in zip(titles, row.cells, strict=True)
            if cell is not None and (shift := to(cell)) is not None
        ]
        parts.append(f"{cut(row.name)}: {', '.join(found) or words.missing(row.arm) or 'no number'}")
    return "Difference to no defence. " + "; ".join(parts) + "."


def _paint(figure: Figure, grid: Grid, rows: Sequence[Row], drawn: Sequence[int], height: float) -> None:
    # One unit = one point, so that names, cells and the words in them keep their sizes.
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    width = min((_WIDTH - _NAMES) / len(drawn), 110.0)
    titles = words.titles(grid.columns)
    for place, c in enumerate(drawn):
        column = grid.columns[c]
        # The arrow stays with its word: no line break at a no-break space.
        wrapped = textwrap.wrap(f"{words.title(column)}\u00a0{words.arrow(column)}", 10)
        lines = [word.replace("\u00a0", " ") for word in wrapped]
        lines += [column.subset] if "=" in column.subset else []
        lines += [column.probe] if titles[c] != words.title(column) else []
        head = "\n".join(cut(line, 11) for line in lines[:3])
        middle = _NAMES + width * (place + 0.5)
        axes.text(middle, _HEAD - 3, head, ha="center", va="bottom", fontsize=10.5, color=ROLES["muted"])
    largest = {c: max((abs(_moved(row.cells[c])) for row in rows), default=0.0) for c in drawn}
    y = _HEAD - _GAP
    for row in rows:
        y += 0.0 if row.is_control else _GAP
        _name(axes, row, y)
        for place, c in enumerate(drawn):
            _cell(axes, (_NAMES + width * place, y, width), row.cells[c], largest[c])
        if row.arm.reason and not row.arm.headlines:
            missing = words.missing(row.arm)
            axes.text(_NAMES + 6, y + _ROW / 2, missing, va="center", color=ROLES["inconclusive"])
        y += _ROW
    marked = any(d.mark for row in rows for cell in row.cells if cell is not None for d in cell.differences)
    marks = "outlined, *: the difference is proven" if marked else "no difference is proven"
    axes.text(2, y + 6, f"green: better than no defence, red: worse\n{marks}", va="top", color=ROLES["muted"])


def _moved(cell: Headline | None) -> float:
    """The difference to no defence, positive = worse for the owner; 0 where there is none."""
    found = to(cell)
    if cell is None or found is None or found.estimate.value is None:
        return 0.0
    return found.estimate.value if cell.worse_when == "higher" else -found.estimate.value


def _name(axes: Axes, row: Row, y: float) -> None:
    indent = 12.0 if row.is_control else 0.0
    first, *rest = broken(row.short, _LETTERS - row.is_control)
    text = "\n".join([first, cut("".join(rest), _LETTERS - row.is_control)] if rest else [first])
    weight = "normal" if row.is_control else "bold"
    color = ROLES["muted" if row.is_control else "ink"]
    axes.text(2 + indent, y + _ROW / 2, text, va="center", fontweight=weight, color=color, linespacing=1.1)


def _cell(axes: Axes, place: tuple[float, float, float], cell: Headline | None, largest: float) -> None:
    x, y, width = place
    if cell is None:
        return
    found, moved, middle = to(cell), _moved(cell), x + width / 2
    box = Rectangle((x + 1, y + 1), width - 2, _ROW - 2, facecolor="none", edgecolor=ROLES["line"], linewidth=0.8)
    if moved:
        strength = _FAINT + (_STRONG - _FAINT) * abs(moved) / largest
        tint = ROLES["fail" if moved > 0 else "pass"]
        axes.add_patch(Rectangle((x + 1, y + 1), width - 2, _ROW - 2, facecolor=tint, edgecolor="none", alpha=strength))
    if found is not None and found.mark:
        box.set(edgecolor=ROLES["pass" if found.mark == "better" else "fail"], linewidth=2.2)
    axes.add_patch(box)
    value = cut(words.number(cell)[0], 11)
    if found is None:
        axes.text(middle, y + _ROW / 2, value, ha="center", va="center", fontweight="bold")
        return
    axes.text(middle, y + _ROW * 0.31, value, ha="center", va="center", fontweight="bold")
    text = cut(words.difference(cell, found)[0], 11) + (" *" if found.mark else "")
    axes.text(middle, y + _ROW * 0.72, text, ha="center", va="center", fontsize=10)


def _words(cell: Headline | None) -> str:
    if cell is None:
        return MISSING
    value, found = words.number(cell)[0], to(cell)
    if found is None:
        return value
    moved, between = words.difference(cell, found)
    return f"{value} ({'; '.join(filter(None, (moved, between, 'proven' if found.mark else '')))})"
