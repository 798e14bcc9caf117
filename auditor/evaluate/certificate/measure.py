"""Turns a proof into numbers and a chart: first what the vote gets right unedited, then what surely stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, measured
from auditor.document.facts import Certified
from auditor.evaluate.certificate.proof import Floats, Proof, Proven
from auditor.statistics.intervals import paired_bootstrap, wilson
from auditor.statistics.shares import paired, share

VOTE_ACCURACY = Metric("vote_accuracy", "share", "lower")
CERTIFIED_ACCURACY = Metric("certified_accuracy", "share", "lower")
TARGET, RANDOM, FOUND = "the model itself", "random edits", "worst edits found"


def numbers(proof: Proof, finding: str, rng: np.random.Generator) -> tuple[Measured, ...]:
    """The accuracy of the vote beside that of the model, then what is certified at each level; none is judged.

    A certificate is a lower bound, of another model than the one that is served: it can show no harm.
    """
    own = Control(name=TARGET, estimate=share(proof.target), contrast=paired(proof.right, proof.target))
    clean = measured(VOTE_ACCURACY, share(proof.right), finding=finding, controls=(own,), facts=_facts(proof, None))
    return clean, *(_certified(proof, level, finding, rng) for level in proof.levels)


def _certified(proof: Proof, level: Proven, finding: str, rng: np.random.Generator) -> Measured:
    controls = []
    if level.random is not None:
        contrast = _difference(level.certified - level.random, rng)
        controls.append(Control(name=RANDOM, estimate=_rate(level.random), contrast=contrast))
    if level.found is not None:
        controls.append(Control(name=FOUND, estimate=share(level.found)))
    controls.append(Control(name=TARGET, estimate=share(proof.target)))
    return measured(
        CERTIFIED_ACCURACY,
        share(level.certified),
        finding=finding,
        subset=level.subset,
        controls=controls,
        facts=_facts(proof, level),
    )


def _facts(proof: Proof, level: Proven | None) -> Certified:
    random = None if level is None or level.random is None else _rate(level.random)
    found = None if level is None or level.found is None else share(level.found)
    return Certified(
        votes=proof.model,
        voters=proof.voters,
        clean=share(proof.right),
        target=share(proof.target),
        edits="flips" if level is None else level.kind,
        count=0 if level is None else level.edits,
        random=random,
        found=found,
        exact=level is not None and level.exact,
        abstained=proof.abstained,
        items=proof.items.numel(),
    )


def series(proof: Proof, id_: str) -> Series:
    """Answers against edits of any kind: certified with its band, found and random ones, the model and the vote."""
    levels = [level for level in proof.levels if level.kind == "flips"]
    xs = (0.0, *(float(level.edits) for level in levels))
    sure: list[Estimate] = [share(proof.right), *(share(level.certified) for level in levels)]
    curves = [
        Curve(
            name="certified",
            role="worst",
            x=xs,
            y=tuple(each.value for each in sure),
            lo=tuple(each.lo for each in sure),
            hi=tuple(each.hi for each in sure),
        )
    ]
    clean = float(proof.right.mean())
    for name, role, values in (
        (FOUND, "value", [level.found for level in levels]),
        (RANDOM, "control", [level.random for level in levels]),
    ):
        known = [float(value.mean()) for value in values if value is not None]
        if len(known) == len(levels):
            curves.append(Curve(name=name, role=role, x=xs, y=(clean, *known)))  # type: ignore[arg-type]
    at = float(proof.target.mean())
    curves.append(Curve(name="the model itself, unedited", role="reference", x=(0.0, xs[-1]), y=(at, at)))
    return Series(
        id=id_,
        kind="budget",
        title="Answers of the vote that surely stand",
        x_label="edits",
        y_label="accuracy",
        curves=tuple(curves),
    )


def _rate(right: Floats) -> Estimate:
    """A mean share of right items with Wilson's interval."""
    value, n = float(right.mean()), len(right)
    lo, hi = wilson(float(right.sum()), n)
    return Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=n)


def _difference(difference: Sequence[float] | Floats, rng: np.random.Generator) -> Estimate:
    d = np.asarray(difference, dtype=np.float64)
    lo, hi = paired_bootstrap(lambda w: float(w @ d / w.sum()), len(d), rng=rng)
    value = float(d.mean())
    return Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=len(d))
