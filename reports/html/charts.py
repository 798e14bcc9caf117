"""The charts of the page, each with the table of the numbers it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.document import Curve, Series
from reports.html import kinds
from reports.html.kinds import Points, cut
from reports.html.svg import draw
from reports.sentences.numbers import MISSING, count, digits

WIDTH = 430.0
HEIGHT = 270.0
POINTS = 60  # points of a curve that are drawn and listed; the rest is in audit.json


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart ready for the page, with the numbers it shows."""

    svg: str
    title: str
    description: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def series_drawing(chart_id: str, series: Series) -> Drawing:
    """The chart of one series, with its table: every number drawn is a row of it."""
    curves = [_points(curve) for curve in series.curves]
    curves = [curve for curve in curves if curve.x]
    paint = {"roc": kinds.roc, "budget": kinds.lines, "severity": kinds.lines, "strata": kinds.strata}
    paint["reliability"] = kinds.reliability
    height = HEIGHT
    if series.kind == "strata":
        height = 96 + 21.0 * kinds.strata_rows(curves)
    else:
        height += kinds.legend_height([curve.name for curve in curves] + ["guessing"] * (series.kind == "roc"))
    description = describe(series)
    svg = draw(
        chart_id,
        cut(series.title),
        description,
        (WIDTH, height),
        lambda figure: paint[series.kind](figure.add_subplot(), series, curves),
    )
    rows = tuple(row for curve in curves for row in _table_rows(curve))
    left_out = sum(curve.left_out for curve in curves)
    note = f"{count(left_out, 'further point')} of these curves: audit.json" if left_out else ""
    header = ("curve", cut(series.x_label), cut(series.y_label), "95 % interval")
    return Drawing(svg, series.title, description, header, rows, note)


def number(value: float) -> str:
    """A coordinate as tables list it: three decimals, or as many as a small one needs."""
    return f"{value:.0e}".replace("-", "−") if value and abs(value) < 0.0005 else digits(value, 3)


def describe(series: Series) -> str:
    """What a chart says in one sentence: where each curve begins and ends."""
    parts = []
    for curve in series.curves:
        ends = [(x, y) for x, y in zip(curve.x, curve.y, strict=False) if x is not None and y is not None]
        if ends:
            first, last = ends[0], ends[-1]
            parts.append(f"{cut(curve.name)} from {number(first[1])} to {number(last[1])}")
    return f"{cut(series.y_label)} against {cut(series.x_label)}: " + ("; ".join(parts[:4]) or "no points") + "."


def _points(curve: Curve) -> Points:
    length = min(len(curve.x), len(curve.y))
    has_band = len(curve.lo) >= length and len(curve.hi) >= length
    kept = [i for i in range(length) if curve.x[i] is not None and curve.y[i] is not None]
    thinned = kept
    if len(kept) > POINTS:
        thinned = [kept[round(k * (len(kept) - 1) / (POINTS - 1))] for k in range(POINTS)]

    def pick(values: Sequence[float | None]) -> tuple[float, ...]:
        # An open or missing bound is drawn as no band at that point.
        found = [(values[i], curve.y[i]) for i in thinned]
        return tuple(float(v if v is not None else y) for v, y in found if y is not None)

    return Points(
        curve,
        cut(curve.name),
        pick(curve.x),
        pick(curve.y),
        pick(curve.lo) if has_band else (),
        pick(curve.hi) if has_band else (),
        tuple(cut(curve.labels[i]) for i in thinned) if len(curve.labels) >= length else (),
        len(kept) - len(thinned),
    )


def _table_rows(points: Points) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for i, (x, y) in enumerate(zip(points.x, points.y, strict=True)):
        at = f"{number(x)} · {points.labels[i]}" if points.labels else number(x)
        band = f"{number(points.lo[i])} to {number(points.hi[i])}" if points.lo else MISSING
        rows.append((points.name, at, number(y), band))
    return rows
