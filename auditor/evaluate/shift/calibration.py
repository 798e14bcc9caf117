"""Does the confidence say how often the model is right? Signed error (judged) and ECE beside its noise floor."""

from __future__ import annotations

import numpy as np

from auditor.audit import Advantage, Control, Curve, Limit, Measurement, Series
from auditor.evaluate.shift.reference import Reference, interval
from auditor.probe import Cell
from auditor.statistics import calibration
from auditor.statistics.clustered import Resamples, absolute, ece_interval, hull, sce_interval
from auditor.statistics.intervals import wilson

MAX_SCE = 0.10


def calibration_rows(cell: Cell, reference: Reference, resamples: Resamples) -> list[Measurement]:
    """SCE, ECE in 15 bins of equal width and of equal mass, over the test items with a finite answer."""
    ok = reference.clean.finite
    confidence, correct = reference.clean.confidence[ok], reference.clean.correct[ok]
    kept = Resamples(resamples.weights, resamples.blocks[ok])
    value = calibration.sce(confidence, correct)
    signed = hull(sce_interval(confidence, correct, kept), (value, value))
    rows = [_sce_row(value, signed, len(correct))]
    for name, bins, words in (
        ("ece", calibration.equal_width_bins(confidence), "15 bins of equal width"),
        ("ece_equal_mass", calibration.equal_mass_bins(confidence), "15 bins of equal mass"),
    ):
        error = calibration.ece(confidence, correct, bins)
        floor = calibration.ece_noise_floor(confidence, bins, rng=cell.rng("noise-floor", name))
        lo, hi = ece_interval(confidence - correct, bins, kept, signed)
        rows.append(
            Measurement(
                name=name,
                finding="shift-miscalibrated",
                value=error,
                ci=interval((lo, hi)),
                control=Control(name="calibrated model, redrawn from its own confidence", value=floor),
                advantage=Advantage(value=error - floor, ci=interval((lo - floor, hi - floor))),
                n=len(correct),
                direction="higher_is_worse",
                scale="calibration",
                text=f"ECE {100 * error:.1f} pt ({words}); {100 * floor:.1f} pt would show without any miscalibration",
            )
        )
    return rows


def _sce_row(value: float, signed: tuple[float, float], n: int) -> Measurement:
    lo, hi = signed
    if lo <= 0 <= hi:
        word = "neither over- nor under-confidence is proven"
    else:
        word = "over-confident" if value > 0 else "under-confident"
    return Measurement(
        name="sce",
        finding="shift-miscalibrated",
        value=value,
        ci=interval(signed),
        control=Control(name="confidence equal to accuracy", value=0.0),
        advantage=Advantage(value=abs(value), ci=interval(absolute(signed))),
        n=n,
        direction="higher_is_worse",
        scale="calibration",
        limit=Limit(name="max_abs_sce_pt", value=MAX_SCE),
        primary=True,
        text=f"mean confidence is {100 * abs(value):.1f} pt {'above' if value > 0 else 'below'} accuracy "
        f"[{100 * lo:+.1f}, {100 * hi:+.1f}]: {word}",
    )


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
