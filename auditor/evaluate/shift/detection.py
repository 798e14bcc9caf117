"""Does the model notice? Confidence scores of shifted items against the same items on clean data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Detection
from auditor.evaluate.shift.damaged import Fall
from auditor.evaluate.shift.reference import Answers, Reference, within
from auditor.statistics.clustered import Resamples, hull, percentile
from auditor.statistics.detection import aupr, auroc, auroc_replicates, fpr95
from auditor.statistics.intervals import wilson

Floats = NDArray[np.float64]
REAL_FALL = 0.05
SILENT = 0.60
INVERTED = 0.45
CHANCE = 0.5
MSP_AUROC = Metric("msp_auroc", "auc", "lower", "silent-failure")


@dataclass(frozen=True, slots=True)
class Halves:
    """AUROC of one random half of the clean items against the other, by a score: .5, if the harness is right."""

    value: float
    bounds: tuple[float, float]
    score: str = "MSP"

    @classmethod
    def of(cls, reference: Reference, *, rng: np.random.Generator) -> Halves:
        """Halves of the ID set by MSP."""
        return cls.of_scores(reference.clean.scores["msp"], rng=rng)

    @classmethod
    def of_scores(cls, scores: Floats, *, rng: np.random.Generator, score: str = "MSP") -> Halves:
        """Halves by any score [n]; items are assigned one by one, so that items are resampled."""
        order = rng.permutation(len(scores))
        first, second = scores[order[: len(order) // 2]], scores[order[len(order) // 2 :]]
        weights = [
            Resamples.draw(np.arange(len(half)), rng=rng, replicates=1000).item_weights() for half in (first, second)
        ]
        replicates = auroc_replicates(first, second, *weights)
        value = auroc(first, second)
        return cls(value, never_flat(percentile(replicates), value, len(second)), score)

    def row(self) -> ValidityRow:
        """Passes when the interval holds .5; one audit in twenty misses it by chance."""
        lo, hi = self.bounds
        return check(
            "shift-halves",
            "warning",
            lo <= CHANCE <= hi,
            f"one random half of the clean items against the other: {self.score} AUROC {self.value:.3f} "
            f"[{lo:.3f}, {hi:.3f}]; .5 is expected, and missed by chance in one audit of twenty.",
        )


def detection_rows(reference: Reference, fall: Fall, resamples: Resamples, halves: Halves) -> list[Measured]:
    """MSP AUROC of every set, judged where accuracy really falls; and every detector that is proven inverted there.

    Silent failure: lower bound of the fall above 5 pt and upper bound of MSP AUROC below .60. Inverted confidence, per
    detector: the same fall, AUROC at most .45 and its upper bound below .5. A set with doubtful labels raises neither.
    """
    draws, n = fall.of.draws, len(reference.items)
    real = fall.bounds[0] > REAL_FALL and fall.of.labels == "kept"
    names = [name for name in reference.clean.scores if all(name in draw.scores for draw in draws)]
    points = {name: _mean_auroc(reference, draws, name) for name in names}
    bounds = {name: _bounds(reference, fall, name, resamples) for name in names if real or name == "msp"}
    same_data = Control(
        name="one half of the clean items against the other", estimate=within(halves.value, halves.bounds, n)
    )
    rows = [
        measured(
            MSP_AUROC,
            within(points["msp"], bounds["msp"], n),
            finding="shift-silent-failure",
            subset=fall.of.subset,
            controls=(chance(within(points["msp"], bounds["msp"], n)), same_data),
            judged=real,
            facts=_facts(reference, fall, "msp", points, silent=real and bounds["msp"][1] < SILENT),
        )
    ]
    inverted = [name for name in names if real and points[name] <= INVERTED and bounds[name][1] < CHANCE]
    rows += [
        measured(
            Metric(f"{name.replace('-', '_')}_inversion", "auc", "lower", "inverted-confidence"),
            within(points[name], bounds[name], n),
            finding="shift-inverted-confidence",
            subset=fall.of.subset,
            controls=(chance(within(points[name], bounds[name], n)),),
            judged=True,
            facts=_facts(reference, fall, name, points),
        )
        for name in inverted
    ]
    return rows


def chance(own: Estimate) -> Control:
    """Guessing, with the contrast of an AUROC to it."""
    assert own.value is not None
    assert own.lo is not None
    assert own.hi is not None
    contrast = within(own.value - CHANCE, (own.lo - CHANCE, own.hi - CHANCE), own.n)
    return Control(name="chance", estimate=Estimate(value=CHANCE), contrast=contrast)


def _facts(
    reference: Reference, fall: Fall, detector: str, points: dict[str, float], *, silent: bool = False
) -> Detection:
    clean, damaged = reference.clean.scores[detector], [draw.scores[detector] for draw in fall.of.draws]
    return Detection(
        damage=fall.of.name,
        severity=fall.of.severity,
        detector=detector,
        clean=Estimate(value=reference.accuracy, n=len(reference.items)),
        shifted=Estimate(value=fall.of.accuracy, n=len(reference.items)),
        silent=silent,
        aupr=float(np.mean([aupr(clean, scores) for scores in damaged])),
        aupr_chance=CHANCE,
        fpr95=float(np.mean([fpr95(clean, scores) for scores in damaged])),
        auroc=points,
    )


def _mean_auroc(reference: Reference, draws: list[Answers], name: str) -> float:
    return float(np.mean([auroc(reference.clean.scores[name], draw.scores[name]) for draw in draws]))


def _bounds(reference: Reference, fall: Fall, name: str, resamples: Resamples) -> tuple[float, float]:
    """Block percentile interval; both sides share the resample, every replicate reads one draw."""
    clean, draws, parts = reference.clean.scores[name], fall.of.draws, []
    for d, draw in enumerate(draws):
        mine = fall.picks == d
        if mine.any():
            weights = resamples.item_weights(mine), resamples.item_weights(mine)
            parts.append(auroc_replicates(clean, draw.scores[name], *weights))
    return never_flat(percentile(np.concatenate(parts)), _mean_auroc(reference, draws, name), len(clean))


def never_flat(bounds: tuple[float, float], value: float, n: int) -> tuple[float, float]:
    """Wilson's interval at n where every replicate is the same (a perfect or constant score); `value` always inside."""
    bounds = hull(bounds, (value, value))
    return hull(bounds, wilson(value * n, n)) if bounds[0] == bounds[1] else bounds
