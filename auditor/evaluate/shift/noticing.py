"""Does the model notice items that are none of its own? Its scores of them beside those of test items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.document.facts import Detection
from auditor.evaluate.shift.detection import CHANCE, INVERTED, MSP_AUROC, SILENT, Halves, chance, never_flat
from auditor.evaluate.shift.reference import within
from auditor.evaluate.shift.sides import Side
from auditor.statistics.clustered import Resamples, percentile
from auditor.statistics.detection import aupr, auroc, auroc_replicates, fpr95

Floats = NDArray[np.float64]
SAME_DATA = "one half of the clean items against the other"


def told_apart(own: Floats, other: Floats, resamples: Resamples, apart: Resamples) -> Estimate:
    """AUROC of the test items' scores [n] over the others' [m], with a block percentile interval."""
    value = auroc(own, other)
    replicates = auroc_replicates(own, other, resamples.item_weights(), apart.item_weights())
    return within(value, never_flat(percentile(replicates), value, min(len(own), len(other))), len(other))


def noticing_rows(
    inside: Side, outside: Side, halves: Halves, *, subset: str, named: tuple[str, str], real: bool
) -> list[Measured]:
    """MSP AUROC, judged where accuracy really falls, and every score that is proven upside down there.

    Args:
        inside: test items.
        outside: the others.
        halves: one half of the test items against the other.
        subset: as results name it.
        named: what moved, and how: words of the sentence.
        real: whether accuracy falls by more than 5 points, beyond doubt.
    """
    names = [name for name in inside.answers.scores if name in outside.answers.scores]
    points = {name: auroc(inside.answers.scores[name], outside.answers.scores[name]) for name in names}
    wanted = [name for name in names if name == "msp" or (real and points[name] <= INVERTED)]
    found = {
        name: told_apart(inside.answers.scores[name], outside.answers.scores[name], inside.resamples, outside.resamples)
        for name in wanted
    }
    clean, shifted = inside.accuracy, outside.accuracy

    def facts(name: str, *, silent: bool = False) -> Detection:
        own, other = inside.answers.scores[name], outside.answers.scores[name]
        return Detection(
            damage=named[0],
            severity=named[1],
            detector=name,
            clean=Estimate(value=clean.value, n=clean.n),
            shifted=Estimate(value=shifted.value, n=shifted.n),
            paired=False,
            silent=silent,
            aupr=aupr(own, other),
            aupr_chance=len(own) / (len(own) + len(other)),
            fpr95=fpr95(own, other),
            auroc=points,
        )

    msp = found["msp"]
    same_data = Control(name=SAME_DATA, estimate=within(halves.value, halves.bounds, len(inside.y)))
    rows = [
        measured(
            MSP_AUROC,
            msp,
            finding="shift-silent-failure",
            subset=subset,
            controls=(chance(msp), same_data),
            judged=real,
            facts=facts("msp", silent=real and (msp.hi or 1.0) < SILENT),
        )
    ]
    rows += [
        measured(
            Metric(f"{name.replace('-', '_')}_inversion", "auc", "lower", "inverted-confidence"),
            estimate,
            finding="shift-inverted-confidence",
            subset=subset,
            controls=(chance(estimate),),
            judged=True,
            facts=facts(name),
        )
        for name, estimate in found.items()
        if real and points[name] <= INVERTED and (estimate.hi or 1.0) < CHANCE
    ]
    return rows
