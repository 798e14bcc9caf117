"""Does the model notice? Confidence scores of shifted items against the same items on clean data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.audit import Advantage, Control, Limit, Measurement, ValidityRow
from auditor.evaluate.shift.reference import Answers, Reference, interval
from auditor.evaluate.shift.shifted_group import Gap
from auditor.statistics.clustered import Resamples, hull, percentile
from auditor.statistics.detection import aupr, auroc, auroc_replicates, fpr95
from auditor.statistics.intervals import wilson

Floats = NDArray[np.float64]
REAL_GAP = 0.05
SILENT = 0.60
INVERTED = 0.45


@dataclass(frozen=True, slots=True)
class Halves:
    """AUROC of one random half of the clean items against the other: .5, if the harness is right."""

    value: float
    bounds: tuple[float, float]

    @classmethod
    def of(cls, reference: Reference, *, rng: np.random.Generator) -> Halves:
        """Halves of the ID set by MSP; items are assigned one by one, so that items are resampled."""
        scores = reference.clean.scores["msp"]
        order = rng.permutation(len(scores))
        first, second = scores[order[: len(order) // 2]], scores[order[len(order) // 2 :]]
        weights = [
            Resamples.draw(np.arange(len(half)), rng=rng, replicates=1000).item_weights() for half in (first, second)
        ]
        replicates = auroc_replicates(first, second, *weights)
        return cls(auroc(first, second), _never_flat(percentile(replicates), auroc(first, second), len(second)))

    def row(self) -> ValidityRow:
        """Passes when the interval holds .5; one audit in twenty misses it by chance."""
        lo, hi = self.bounds
        return ValidityRow(
            id="shift-halves",
            kind="warning",
            status="pass" if lo <= 0.5 <= hi else "warn",
            evidence=f"one random half of the clean items against the other: MSP AUROC {self.value:.3f} "
            f"[{lo:.3f}, {hi:.3f}]; .5 is expected, and missed by chance in one audit of twenty.",
            touches=("shift",),
        )


def detection_rows(reference: Reference, gap: Gap, resamples: Resamples, halves: Halves) -> list[Measurement]:
    """MSP AUROC of every set, judged where there is a real gap; and every detector that is proven inverted there.

    Silent failure: lower bound of the gap above 5 pt and upper bound of MSP AUROC below .60. Inverted confidence, per
    detector: the same gap, AUROC at most .45 and its upper bound below .5. A set with doubtful labels raises neither.
    """
    draws = gap.group.draws
    real = gap.bounds[0] > REAL_GAP and gap.group.labels == "kept"
    names = [name for name in reference.clean.scores if all(name in draw.scores for draw in draws)]
    points = {name: _mean_auroc(reference, draws, name) for name in names}
    bounds = {name: _bounds(reference, gap, name, resamples) for name in names if real or name == "msp"}
    rows = [_msp_row(reference, gap, points, bounds["msp"], real, halves)]
    for name in names:
        if real and points[name] <= INVERTED and bounds[name][1] < 0.5:
            rows.append(_inverted_row(reference, gap, name, points[name], bounds[name]))
    return rows


def _msp_row(
    reference: Reference,
    gap: Gap,
    points: dict[str, float],
    bounds: tuple[float, float],
    real: bool,
    halves: Halves,
) -> Measurement:
    value, silent = points["msp"], real and bounds[1] < SILENT
    clean, draws, subset = reference.clean.scores["msp"], gap.group.draws, gap.group.subset
    accuracy = float(gap.group.correct.mean())
    felt = f"MSP AUROC {value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    if silent:
        text = f"falls silently: accuracy {100 * accuracy:.1f} % under {subset} (gap {100 * gap.value:.1f} pt), {felt}"
    elif real:
        text = f"accuracy falls to {100 * accuracy:.1f} % under {subset} (gap {100 * gap.value:.1f} pt), {felt}"
    else:
        text = f"no gap above 5 pt is proven under {subset}; {felt}"
    return Measurement(
        name="msp_auroc",
        subset=subset,
        finding="shift-silent-failure",
        value=value,
        ci=interval(bounds),
        control=Control(name="chance", value=0.5),
        controls=(
            Control(name="chance", value=0.5),
            Control(
                name="one half of the clean items against the other", value=halves.value, ci=interval(halves.bounds)
            ),
        ),
        advantage=Advantage(value=0.5 - value, ci=interval((0.5 - bounds[1], 0.5 - bounds[0]))),
        n=len(reference.items),
        direction="lower_is_worse",
        scale="auc",
        limit=Limit(name="min_auroc", value=SILENT),
        primary=real,
        text=text,
        notes={
            "silent": silent,
            "aupr": float(np.mean([aupr(clean, draw.scores["msp"]) for draw in draws])),
            "aupr_chance": 0.5,
            "fpr95": float(np.mean([fpr95(clean, draw.scores["msp"]) for draw in draws])),
            "auroc": points,
        },
    )


def _inverted_row(
    reference: Reference, gap: Gap, detector: str, value: float, bounds: tuple[float, float]
) -> Measurement:
    subset, accuracy = gap.group.subset, float(gap.group.correct.mean())
    return Measurement(
        name=f"{detector.replace('-', '_')}_inversion",
        subset=subset,
        finding="shift-inverted-confidence",
        value=value,
        ci=interval(bounds),
        control=Control(name="chance", value=0.5),
        advantage=Advantage(value=0.5 - value, ci=interval((0.5 - bounds[1], 0.5 - bounds[0]))),
        n=len(reference.items),
        direction="lower_is_worse",
        scale="auc",
        primary=True,
        text=f"{detector} is higher where the model is worse: AUROC {value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}] "
        f"under {subset}, where accuracy falls to {100 * accuracy:.1f} % (gap {100 * gap.value:.1f} pt)",
    )


def _mean_auroc(reference: Reference, draws: list[Answers], name: str) -> float:
    return float(np.mean([auroc(reference.clean.scores[name], draw.scores[name]) for draw in draws]))


def _bounds(reference: Reference, gap: Gap, name: str, resamples: Resamples) -> tuple[float, float]:
    """Block percentile interval; both sides share the resample, every replicate reads one draw."""
    clean, draws, parts = reference.clean.scores[name], gap.group.draws, []
    for d, draw in enumerate(draws):
        mine = gap.picks == d
        if mine.any():
            weights = resamples.item_weights(mine), resamples.item_weights(mine)
            parts.append(auroc_replicates(clean, draw.scores[name], *weights))
    return _never_flat(percentile(np.concatenate(parts)), _mean_auroc(reference, draws, name), len(clean))


def _never_flat(bounds: tuple[float, float], value: float, n: int) -> tuple[float, float]:
    """Wilson's interval at n where every replicate is the same (a perfect or constant score); `value` always inside."""
    bounds = hull(bounds, (value, value))
    return hull(bounds, wilson(value * n, n)) if bounds[0] == bounds[1] else bounds
