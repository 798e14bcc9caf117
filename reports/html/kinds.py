"""How each kind of series is painted: value blue, control amber and dashed, worst red, references grey and dotted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from auditor.document import Curve, Series
from reports.html.svg import ROLES
from reports.sentences.numbers import digits

NAME_LIMIT = 60
_CROWD = 4  # with more names a legend has two columns, and cuts what does not fit one
_DASHES = {
    "value": ("-",),
    "worst": ("-",),
    "control": ("--", "-.", (0, (1, 1)), (0, (12, 3)), (0, (3, 1)), (0, (8, 2, 2, 2, 2, 2))),
    "reference": (":", (0, (4, 2, 1, 2)), (0, (1, 3)), (0, (6, 3))),
}
_COLORS = {"value": ("value", "series-2", "series-3", "series-4", "series-5", "series-6")}
_MARKERS = {"value": "o^svXP", "worst": "o", "control": "Dd", "reference": "s"}


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a curve that have both coordinates.

    Attributes:
        curve: where they come from.
        name: its name, cut to what a legend holds.
        x, y, lo, hi: coordinates and band; lo and hi are empty where there is none.
        labels: a word per point, or empty.
        left_out: points that were thinned away.
    """

    curve: Curve
    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    labels: tuple[str, ...]
    left_out: int

    @property
    def is_level(self) -> bool:
        """One value throughout: a line to compare with rather than a measured course."""
        return self.curve.role in ("reference", "control") and len(self.x) > 1 and len(set(self.y)) == 1


@dataclass(frozen=True, slots=True)
class _Look:
    color: str
    dash: str | tuple[int, tuple[int, ...]]
    marker: str


def _looks(curves: Sequence[Points]) -> list[_Look]:
    """A look per curve: the role decides, and curves of one role differ from each other."""
    seen: dict[str, int] = {}
    looks = []
    for curve in curves:
        role = curve.curve.role
        k = seen[role] = seen.get(role, -1) + 1
        colors, dashes, markers = _COLORS.get(role, (role,)), _DASHES[role], _MARKERS[role]
        looks.append(_Look(ROLES[colors[k % len(colors)]], dashes[k % len(dashes)], markers[k % len(markers)]))
    return looks


def roc(axes: Axes, series: Series, curves: Sequence[Points]) -> None:
    """True against false positives; the low false-positive end is what matters, hence the logarithm."""
    positive = [x for curve in curves for x in curve.x if x > 0]
    left = min(10.0 ** math.floor(math.log10(max(min(positive, default=1e-3), 1e-6))), 0.1)
    axes.set_xscale("log")
    steps = [10 ** (math.log10(left) * (1 - k / 40)) for k in range(41)]
    axes.plot(steps, steps, color=ROLES["muted"], linewidth=1, linestyle=(0, (1, 2)), label="guessing")
    for curve, look in zip(curves, _looks(curves), strict=True):
        x = [max(value, left) for value in curve.x]
        width = 2.4 if curve.curve.role in ("value", "worst") else 1.5
        axes.plot(x, curve.y, color=look.color, linestyle=look.dash, linewidth=width, label=curve.name)
        if curve.lo:
            axes.fill_between(x, curve.lo, curve.hi, color=look.color, alpha=0.15, linewidth=0)
    axes.set_xlim(left, 1.0)
    axes.set_ylim(-0.02, 1.02)
    axes.minorticks_off()
    # The default formatter writes powers in mathtext, which is off.
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    _finish(axes, series)


def lines(axes: Axes, series: Series, curves: Sequence[Points]) -> None:
    """Accuracy as budget or severity grows, with bands."""
    crowded = sum(bool(curve.lo) for curve in curves) > 2
    for curve, look in zip(curves, _looks(curves), strict=True):
        if curve.lo and not curve.is_level:
            axes.fill_between(
                curve.x, curve.lo, curve.hi, color=look.color, alpha=0.05 if crowded else 0.15, linewidth=0
            )
        marker = look.marker if len(curve.x) <= 12 and not curve.is_level else None
        width = 1.4 if curve.is_level else 2.0
        axes.plot(
            curve.x, curve.y, color=look.color, linestyle=look.dash, linewidth=width, marker=marker, markersize=5,
            label=curve.name,
        )  # fmt: skip
    places = sorted({x for curve in curves for x in curve.x})
    words = {curve.labels for curve in curves if curve.labels}
    if series.kind == "severity" and len(words) == 1 and len(places) == len(next(iter(words))) <= 6:
        axes.set_xticks(places, [cut(word, 14) for word in next(iter(words))])
    elif len(places) <= 6 and all(float(x).is_integer() for x in places):
        axes.set_xticks(places)
    axes.margins(x=0.04, y=0.12)
    _finish(axes, series)


def strata(axes: Axes, series: Series, curves: Sequence[Points]) -> None:
    """One row per stratum, a heading per property; what is one value throughout is an upright line."""
    listed = [curve for curve in curves if not curve.is_level]
    looks = _looks(curves)
    shared = len({x for curve in listed for x in curve.x}) < sum(len(curve.x) for curve in listed)
    headed = not shared and len(listed) > 1
    places: dict[float, int] = {}
    row = 0
    patch = {"facecolor": ROLES["card"], "edgecolor": "none", "pad": 0.6}
    for curve in listed:
        if headed:
            heading = axes.text(
                0, row, curve.name, transform=axes.get_yaxis_transform(), va="center", fontweight="bold"
            )
            heading.set(fontsize=10.5, color=ROLES["ink"], bbox=patch)
            row += 1
        for x in curve.x:
            if x not in places:
                places[x] = row
                row += 1
    for curve, look in zip(curves, looks, strict=True):
        if curve.is_level:
            axes.axvline(curve.y[0], color=look.color, linestyle=look.dash, linewidth=1.4, label=curve.name)
            continue
        color = ROLES["value"] if headed else look.color
        shift = 0.36 * (listed.index(curve) / (len(listed) - 1) - 0.5) if shared and len(listed) > 1 else 0.0
        at = [places[x] + shift for x in curve.x]
        if curve.lo:
            axes.hlines(at, curve.lo, curve.hi, color=color, linewidth=2, alpha=0.75)
        hollow = ROLES["card"] if curve.curve.role in ("control", "reference") else color
        label = None if headed else curve.name
        axes.scatter(
            curve.y, at, s=32, marker=look.marker if shared else "o", facecolors=hollow, edgecolors=color,
            linewidths=1.4, zorder=3, label=label,
        )  # fmt: skip
    names = {x: word for curve in reversed(listed) for x, word in zip(curve.x, _row_words(curve, headed), strict=True)}
    axes.set_yticks([places[x] for x in places], [names[x] for x in places])
    axes.set_ylim(row - 0.4, -0.7)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.06)
    axes.set_xlabel(cut(series.y_label))
    _legend(axes)


def strata_rows(curves: Sequence[Points]) -> int:
    """Rows that `strata` needs, headings included."""
    listed = [curve for curve in curves if not curve.is_level]
    rows = len({x for curve in listed for x in curve.x})
    headed = rows == sum(len(curve.x) for curve in listed) and len(listed) > 1
    return rows + (len(listed) if headed else 0)


def _row_words(curve: Points, headed: bool) -> list[str]:
    """A word per stratum; under a heading the property's name is not repeated."""
    words = curve.labels or tuple(digits(x, 3) for x in curve.x)
    return [cut(word.removeprefix(f"{curve.name} ") if headed else word, 26) for word in words]


def reliability(axes: Axes, series: Series, curves: Sequence[Points]) -> None:
    """Accuracy against confidence beside the diagonal of a calibrated model."""
    if not any(curve.x == curve.y for curve in curves):
        axes.plot([0, 1], [0, 1], color=ROLES["muted"], linewidth=1, linestyle=(0, (1, 2)), label="calibrated")
    for curve, look in zip(curves, _looks(curves), strict=True):
        if curve.lo:
            axes.vlines(curve.x, curve.lo, curve.hi, color=look.color, linewidth=1.6, alpha=0.6)
        marker = None if curve.curve.role == "reference" else look.marker
        axes.plot(
            curve.x, curve.y, color=look.color, linestyle=look.dash, linewidth=1.4, marker=marker, markersize=5,
            label=curve.name,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    _finish(axes, series)


def _finish(axes: Axes, series: Series) -> None:
    axes.set_xlabel(cut(series.x_label))
    axes.set_ylabel(cut(series.y_label, 40))
    _legend(axes)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        named = [cut(label, 27) for label in labels] if len(labels) > _CROWD else labels
        axes.figure.legend(
            handles, named, loc="outside upper left", ncols=_columns(labels), handlelength=2.2, columnspacing=1.4,
            borderpad=0.1,
        )  # fmt: skip


def legend_height(names: Sequence[str]) -> float:
    """Height in points that a legend of these names needs beyond two rows."""
    rows = -(-len(names) // _columns(names)) if names else 0
    return 16.0 * max(rows - 2, 0)


def _columns(names: Sequence[str]) -> int:
    longest = max(map(len, names))
    return 2 if len(names) > _CROWD else 1 if longest > 26 else 2 if longest > 14 else 3


def cut(text: str, limit: int = NAME_LIMIT) -> str:
    """At most `limit` characters, the last one an ellipsis where something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
