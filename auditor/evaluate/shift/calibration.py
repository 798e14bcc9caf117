"""Does the confidence say how often the model is right? Too much and too little (judged), and ECE beside its floor."""

from __future__ import annotations

import numpy as np

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import Confidence
from auditor.evaluate.shift.reference import Reference, within
from auditor.probe import Cell
from auditor.statistics import calibration
from auditor.statistics.clustered import Resamples, ece_interval, hull, sce_interval
from auditor.statistics.intervals import wilson

FINDING = "shift-miscalibrated"
OVER = Metric("over_confidence", "share", "higher", "over-confidence", signed=True)
UNDER = Metric("under_confidence", "share", "higher", "under-confidence", signed=True)
"""The signed calibration error, mean confidence − accuracy, and its negative. Too much confidence is a risk and too
little an inconvenience, so that they are two questions."""
ECE = Metric("ece", "share", "higher")
ECE_EQUAL_MASS = Metric("ece_equal_mass", "share", "higher")


def calibration_rows(cell: Cell, reference: Reference, resamples: Resamples) -> list[Measured]:
    """Too much and too little confidence, and ECE in 15 bins of equal width and of equal mass, over finite answers."""
    ok = reference.clean.finite
    confidence, correct = reference.clean.confidence[ok], reference.clean.correct[ok]
    kept, n = Resamples(resamples.weights, resamples.blocks[ok]), len(correct)
    facts = Confidence(
        confidence=Estimate(value=float(confidence.mean()), n=n), accuracy=Estimate(value=float(correct.mean()), n=n)
    )
    value = calibration.sce(confidence, correct)
    signed = hull(sce_interval(confidence, correct, kept), (value, value))
    error = within(value, signed, n)
    rows = [
        measured(
            metric,
            own,
            finding=FINDING,
            controls=(Control(name="confidence equal to accuracy", estimate=Estimate(value=0.0), contrast=own),),
            judged=True,
            facts=facts,
        )
        for metric, own in ((OVER, error), (UNDER, error.negated()))
    ]
    for metric, bins, words in (
        (ECE, calibration.equal_width_bins(confidence), "equal width"),
        (ECE_EQUAL_MASS, calibration.equal_mass_bins(confidence), "equal mass"),
    ):
        value = calibration.ece(confidence, correct, bins)
        floor = calibration.ece_noise_floor(confidence, bins, rng=cell.rng("noise-floor", metric.name))
        lo, hi = hull(ece_interval(confidence - correct, bins, kept, signed), (value, value))
        control = Control(
            name="calibrated model, redrawn from its own confidence",
            estimate=Estimate(value=floor, n=n),
            contrast=within(value - floor, (lo - floor, hi - floor), n),
        )
        rows.append(
            measured(
                metric,
                within(value, (lo, hi), n),
                finding=FINDING,
                controls=(control,),
                facts=facts.model_copy(update={"bins": f"{bins.count} of {words}"}),
            )
        )
    return rows


def reliability_series(reference: Reference) -> Series:
    """Accuracy against mean confidence in 15 bins of equal width, empty ones left out, and the diagonal."""
    ok = reference.clean.finite
    confidence, correct = reference.clean.confidence[ok], reference.clean.correct[ok]
    bins = calibration.equal_width_bins(confidence)
    size = bins.sums(np.ones(len(correct)))
    right, mass = bins.sums(correct), bins.sums(confidence)
    filled = [int(k) for k in np.flatnonzero(size)]
    bounds = [wilson(right[k], size[k]) for k in filled]
    return Series(
        id="reliability",
        kind="reliability",
        title="Accuracy against confidence on the test items",
        x_label="confidence",
        y_label="accuracy",
        curves=(
            Curve(
                name="this model",
                x=tuple(float(mass[k] / size[k]) for k in filled),
                y=tuple(float(right[k] / size[k]) for k in filled),
                lo=tuple(lo for lo, _ in bounds),
                hi=tuple(hi for _, hi in bounds),
                labels=tuple(f"n = {int(size[k])}" for k in filled),
            ),
            Curve(name="calibrated", role="reference", x=(0.0, 1.0), y=(0.0, 1.0)),
        ),
    )
