"""Charts of every kind, of made-up numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditor.document import (
    Curve,
    Series,
)


def _curve(name: str, x: Sequence[float], y: Sequence[float | None], **more: Any) -> Curve:
    return Curve(name=name, x=tuple(x), y=tuple(y), **more)


def roc() -> Series:
    """True against false positives."""
    xs = [0.0, *(10 ** (-4 + i / 10) for i in range(41))]
    return Series(
        id="roc/prior",
        kind="roc",
        title="Edges found against false alarms",
        x_label="false positive rate",
        y_label="true positive rate",
        curves=(
            _curve("posterior similarity", xs, [round(x**0.12, 6) for x in xs]),
            _curve("features + labels", xs, [round(x**0.3, 6) for x in xs], role="control"),
        ),
    )


def budget() -> Series:
    """Accuracy against edits."""
    x, worst = [0.0, 0.01, 0.025, 0.05], [0.815, 0.74, 0.67, 0.612]
    lo, hi = (0.79, 0.71, 0.64, 0.58), (0.838, 0.766, 0.698, 0.642)
    return Series(
        id="budget",
        kind="budget",
        title="Accuracy against the share of edges edited",
        x_label="edited edges / edges",
        y_label="accuracy on test nodes",
        curves=(
            _curve("worst attack", x, worst, role="worst", lo=lo, hi=hi),
            _curve("random edits", x, [0.815, 0.812, 0.808, 0.801], role="control"),
            _curve("dice", x, [0.815, 0.81, 0.802, 0.793], role="reference"),
        ),
    )


def strata() -> Series:
    """Accuracy by degree."""
    y = [0.71, 0.8, 0.84, 0.87]
    band = {"lo": tuple(v - 0.05 for v in y), "hi": tuple(v + 0.04 for v in y)}
    labels = ("degree 1–2", "degree 3", "degree 4–5", "degree 6 or more")
    return Series(
        id="strata/degree",
        kind="strata",
        title="Accuracy by degree",
        x_label="degree quartile",
        y_label="accuracy",
        curves=(
            _curve("this model", [0, 1, 2, 3], y, labels=labels, **band),
            _curve("all test nodes", [0, 1, 2, 3], [0.815] * 4, role="reference"),
        ),
    )


def severity() -> Series:
    """Accuracy as the data is damaged."""
    lo, hi = (0.79, 0.78, 0.765, 0.734), (0.838, 0.83, 0.814, 0.787)
    return Series(
        id="severity/edge-drop",
        kind="severity",
        title="Accuracy as edges are dropped",
        x_label="share of edges dropped",
        y_label="accuracy",
        curves=(
            _curve("edge-drop", [0.0, 0.1, 0.3, 0.5], [0.815, 0.806, 0.79, 0.761], lo=lo, hi=hi),
            _curve("constant predictor", [0.0, 0.5], [0.319, 0.319], role="reference"),
        ),
    )


def reliability() -> Series:
    """Accuracy against confidence, with a hole."""
    return Series(
        id="reliability",
        kind="reliability",
        title="Accuracy against confidence",
        x_label="confidence",
        y_label="accuracy",
        curves=(
            _curve(
                "test nodes",
                [0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95],
                [0.3, 0.52, 0.61, 0.72, 0.83, 0.89, None, 0.98],
                lo=(0.1, 0.4, 0.52, 0.64, 0.78, 0.84, None, 0.96),
                hi=(0.55, 0.63, 0.7, 0.79, 0.88, 0.93, None, 0.99),
            ),
        ),
    )
