"""The charts of the page: one function per kind of series, and the overview of a family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auditor.audit import Advantage, Curve, Series
from reports.html.svg import ROLES, draw
from reports.rows import Row
from reports.words import FAMILIES, counted, interval, measured, number

WIDTH = 430.0
HEIGHT = 270.0
POINTS = 60  # points of a curve that are drawn and listed; the rest is in audit.json
OVERVIEW_ROWS = 14
_NAME = 60
_LINES = {"value": "-", "control": "--", "reference": ":", "worst": "-"}
_MARKERS = {"value": "o", "control": "D", "reference": "s", "worst": "o"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart ready for the page, with the numbers it shows."""

    svg: str
    title: str
    description: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Points:
    """The points of a curve that have both coordinates."""

    curve: Curve
    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    labels: tuple[str, ...]
    left_out: int

    @property
    def color(self) -> str:
        return ROLES[self.curve.role]


def series_drawing(chart_id: str, series: Series) -> Drawing:
    """The chart of one series, with its table: every number drawn is a row of it."""
    curves = [_points(curve) for curve in series.curves]
    curves = [curve for curve in curves if curve.x]
    paint = {"roc": _roc, "budget": _lines, "severity": _lines, "strata": _strata, "reliability": _reliability}
    height = HEIGHT
    if series.kind == "strata":
        height = 96 + 26.0 * max((len(c.x) for c in curves), default=1)
    description = describe(series)
    svg = draw(
        chart_id,
        _cut(series.title),
        description,
        (WIDTH, height),
        lambda figure: paint[series.kind](figure.add_subplot(), series, curves),
    )
    rows = tuple(row for curve in curves for row in _table_rows(curve))
    left_out = sum(curve.left_out for curve in curves)
    note = f"{counted(left_out, 'further point')} of these curves: audit.json" if left_out else ""
    header = ("curve", _cut(series.x_label), _cut(series.y_label), "95 % interval")
    return Drawing(svg, series.title, description, header, rows, note)


def overview_drawing(chart_id: str, family: str, rows: Sequence[Row]) -> Drawing | None:
    """Judged advantages of a family with intervals, beside zero (the control); None when there is nothing to draw."""
    known = [(row, found) for row in rows if (found := row.advantage) is not None and found.value is not None]
    drawn = known[:OVERVIEW_ROWS]
    if not drawn:
        return None
    title = f"{FAMILIES.get(family, family)}: how much beyond the control"
    worst, found = drawn[0]
    description = (
        f"Worst: {worst.source}, {measured(worst.measurement, worst.subset)}, "
        f"{number(found.value, signed=True)} {interval(found.ci, signed=True)}: {worst.status}."
    )
    svg = draw(chart_id, title, description, (WIDTH, 72 + 38.0 * len(drawn)), lambda figure: _overview(figure, drawn))
    table = tuple(
        (
            row.source,
            measured(row.measurement, row.subset),
            number(found.value, signed=True),
            interval(found.ci, signed=True),
            row.status,
        )
        for row, found in drawn
    )
    left_out = len(rows) - len(drawn)
    note = f"{counted(left_out, 'further row')} in the table of findings" if left_out > 0 else ""
    return Drawing(svg, title, description, ("probe", "measured", "advantage", "95 % interval", "status"), table, note)


def describe(series: Series) -> str:
    """What a chart says in one sentence: where each curve begins and ends."""
    parts = []
    for curve in series.curves:
        ends = [(x, y) for x, y in zip(curve.x, curve.y, strict=False) if x is not None and y is not None]
        if ends:
            first, last = ends[0], ends[-1]
            parts.append(f"{_cut(curve.name)} from {number(first[1])} to {number(last[1])}")
    return f"{_cut(series.y_label)} against {_cut(series.x_label)}: " + ("; ".join(parts[:4]) or "no points") + "."


def _points(curve: Curve) -> _Points:
    count = min(len(curve.x), len(curve.y))
    has_band = len(curve.lo) >= count and len(curve.hi) >= count
    kept = [i for i in range(count) if curve.x[i] is not None and curve.y[i] is not None]
    thinned = kept
    if len(kept) > POINTS:
        thinned = [kept[round(k * (len(kept) - 1) / (POINTS - 1))] for k in range(POINTS)]

    def pick(values: Sequence[float | None]) -> tuple[float, ...]:
        # An open or missing bound is drawn as no band at that point.
        found = [(values[i], curve.y[i]) for i in thinned]
        return tuple(float(v if v is not None else y) for v, y in found if y is not None)

    return _Points(
        curve,
        _cut(curve.name),
        pick(curve.x),
        pick(curve.y),
        pick(curve.lo) if has_band else (),
        pick(curve.hi) if has_band else (),
        tuple(_cut(curve.labels[i]) for i in thinned) if len(curve.labels) >= count else (),
        len(kept) - len(thinned),
    )


def _table_rows(points: _Points) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for i, (x, y) in enumerate(zip(points.x, points.y, strict=True)):
        at = points.labels[i] if points.labels else number(x)
        band = f"[{number(points.lo[i])}, {number(points.hi[i])}]" if points.lo else "–"
        rows.append((points.name, at, number(y), band))
    return rows


def _roc(axes: Axes, series: Series, curves: Sequence[_Points]) -> None:
    """True against false positives; the low false-positive end is what matters, hence the logarithm."""
    positive = [x for curve in curves for x in curve.x if x > 0]
    left = min(10.0 ** math.floor(math.log10(max(min(positive, default=1e-3), 1e-6))), 0.1)
    axes.set_xscale("log")
    steps = [10 ** (math.log10(left) * (1 - k / 40)) for k in range(41)]
    axes.plot(steps, steps, color=ROLES["muted"], linewidth=1, linestyle=(0, (1, 2)), label="guessing")
    for curve in curves:
        x = [max(value, left) for value in curve.x]
        axes.plot(x, curve.y, color=curve.color, linestyle=_LINES[curve.curve.role], label=curve.name)
        if curve.lo:
            axes.fill_between(x, curve.lo, curve.hi, color=curve.color, alpha=0.15, linewidth=0)
    axes.set_xlim(left, 1.0)
    axes.set_ylim(-0.02, 1.02)
    axes.minorticks_off()
    # The default formatter writes powers in mathtext, which is off.
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    _finish(axes, series)


def _lines(axes: Axes, series: Series, curves: Sequence[_Points]) -> None:
    """Accuracy as budget or severity grows, with bands."""
    for curve in curves:
        if curve.lo:
            axes.fill_between(curve.x, curve.lo, curve.hi, color=curve.color, alpha=0.15, linewidth=0)
        marker = _MARKERS[curve.curve.role] if len(curve.x) <= 12 else None
        axes.plot(
            curve.x,
            curve.y,
            color=curve.color,
            linestyle=_LINES[curve.curve.role],
            marker=marker,
            markersize=5,
            label=curve.name,
        )
    labelled = next((curve for curve in curves if curve.labels), None)
    if labelled is not None and len(labelled.x) <= 6:
        axes.set_xticks(labelled.x, [_cut(label, 14) for label in labelled.labels])
    axes.margins(x=0.04, y=0.12)
    _finish(axes, series)


def _strata(axes: Axes, series: Series, curves: Sequence[_Points]) -> None:
    """One row per stratum: dot and interval; a reference is a mark on the same row."""
    names: dict[float, str] = {}
    for curve in curves:
        for i, x in enumerate(curve.x):
            if x not in names or (curve.labels and names[x] == number(x)):
                names[x] = _cut(curve.labels[i], 26) if curve.labels else number(x)
    rows = {x: k for k, x in enumerate(sorted(names))}
    main = [curve for curve in curves if curve.curve.role in ("value", "worst")]
    for curve in curves:
        shift = 0.0
        if curve in main and len(main) > 1:
            shift = 0.36 * (main.index(curve) / (len(main) - 1) - 0.5)
        at = [rows[x] + shift for x in curve.x]
        if curve.lo:
            axes.hlines(at, curve.lo, curve.hi, color=curve.color, linewidth=2)
        role = curve.curve.role
        size = {"value": 38, "worst": 38}.get(role, 26)
        hollow = role in ("control", "reference")
        axes.scatter(
            curve.y,
            at,
            s=size,
            marker=_MARKERS[role],
            facecolors=ROLES["card"] if hollow else curve.color,
            edgecolors=curve.color,
            linewidths=1.4,
            zorder=3,
            label=curve.name,
        )
    axes.set_yticks(list(rows.values()), [names[x] for x in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.06)
    axes.set_xlabel(_cut(series.y_label))
    _legend(axes)


def _reliability(axes: Axes, series: Series, curves: Sequence[_Points]) -> None:
    """Accuracy against confidence beside the diagonal of a calibrated model."""
    axes.plot([0, 1], [0, 1], color=ROLES["muted"], linewidth=1, linestyle=(0, (1, 2)), label="calibrated")
    for curve in curves:
        if curve.lo:
            axes.vlines(curve.x, curve.lo, curve.hi, color=curve.color, linewidth=1.6, alpha=0.6)
        axes.plot(
            curve.x,
            curve.y,
            color=curve.color,
            linestyle=_LINES[curve.curve.role],
            linewidth=1.4,
            marker=_MARKERS[curve.curve.role],
            markersize=5,
            label=curve.name,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    _finish(axes, series)


def _overview(figure: Figure, rows: Sequence[tuple[Row, Advantage]]) -> None:
    axes = figure.add_subplot()
    bounds = [0.0]
    for _, found in rows:
        bounds += [end for end in (found.value, found.ci.lo, found.ci.hi) if end is not None]
    room = 0.06 * (max(bounds) - min(bounds) or 0.1)
    left, right = min(bounds) - room, max(bounds) + room
    axes.axvline(0, color=ROLES["control"], linewidth=1.6, linestyle="--")
    for k, (row, found) in enumerate(rows):
        color = ROLES.get(row.status, ROLES["value"])
        lo = left if found.ci.lo is None else found.ci.lo
        hi = right if found.ci.hi is None else found.ci.hi
        axes.hlines(k, lo, hi, color=color, linewidth=3, alpha=0.45)
        axes.scatter([found.value or 0.0], [k], s=44, color=color, zorder=3)
        if row.finding is not None and row.finding.threshold is not None and left < row.finding.threshold < right:
            axes.vlines(row.finding.threshold, k - 0.2, k + 0.2, color=ROLES["ink"], linewidth=1.6)
        text = f"{row.source} · {measured(row.measurement, row.subset)}"
        # On a patch of the card's colour, so that grid lines do not run through the words.
        patch = {"facecolor": ROLES["card"], "edgecolor": "none", "pad": 0.8}
        name = axes.text(0, k - 0.3, _cut(text, 54), transform=axes.get_yaxis_transform(), va="bottom", fontsize=10.5)
        word = axes.text(1, k - 0.3, row.status, transform=axes.get_yaxis_transform(), va="bottom", ha="right")
        word.set(color=color, fontsize=10.5, fontweight="bold")
        for label in (name, word):
            label.set_bbox(patch)
    axes.set_xlim(left, right)
    axes.set_ylim(len(rows) - 0.6, -0.85)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("advantage over the control\ndashed: none · upright bar: threshold of the gate")


def _finish(axes: Axes, series: Series) -> None:
    axes.set_xlabel(_cut(series.x_label))
    axes.set_ylabel(_cut(series.y_label, 40))
    _legend(axes)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        # Legend labels that begin with an underscore are dropped by matplotlib: a name may begin with one.
        columns = 1 if max(map(len, labels)) > 26 else 2 if max(map(len, labels)) > 14 else 3
        axes.figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, handlelength=1.8, columnspacing=1.4, borderpad=0.1
        )


def _cut(text: str, limit: int = _NAME) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
