"""What may be said of a paired difference between two arms: over seeds, or over the test items of one model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from auditor.audit import Difference
from auditor.compare.gain_words import CLAIM_SEEDS, HARM, judge_gain
from auditor.statistics.intervals import Z95, student_t

Reach = Literal["every", "own", "transferred", "poisoned"]
RANDOM = "random-weights"
TRIED = {"every": "the worst of every attack tried on every arm", "own": "each arm against its own attacks"}
FOREIGN: Mapping[str, str] = {
    "transferred": "no attack of its own could be made",
    "poisoned": "the poison was made against a plain GCN",
}
MIN_SEEDS = 5
BLUNT = 0.02


def robust_words(differences: Mapping[str, Sequence[float]], controls: Sequence[str], reach: Reach = "every") -> str:
    """The words of the joint-cluster spec (section 5) for the paired worst-case gain over seeds.

    Args:
        differences: value − other by the other's spec, one per seed, as fractions.
        controls: the first is the same capacity without the idea; the others say what else explains a gain.
        reach: `every` edit found on any arm was tried on it; its `own` alone; only those of others, `transferred`; or
            the graph that it was fitted on was `poisoned` by somebody who looked at another model.
    """
    gains = differences.get(controls[0], ())
    seeds = len(gains)
    if not seeds:
        return f"not compared: {controls[0]} gave no number"
    mean = float(np.mean(gains))
    points = f"{100 * mean:+.1f} points over {controls[0]}"
    if seeds < MIN_SEEDS:
        return f"{points}; underpowered: {seeds} seed{'s' if seeds > 1 else ''}, at least {MIN_SEEDS} are needed"
    if max(gains) == min(gains):
        return f"{points}; underpowered: equal at every seed, so that there is no interval"
    lo, hi = student_t(gains)
    points = f"{points} [{100 * lo:+.1f}, {100 * hi:+.1f}]"
    if lo > 0 and reach in FOREIGN:
        return f"against transferred attacks only: {points}; inconclusive, {FOREIGN[reach]}"
    if lo > 0:
        explained = [spec for spec in controls[1:] if differences.get(spec) and student_t(differences[spec])[0] <= 0]
        if explained:
            return f"gain supported: {points}, but nothing proven is gained over {', '.join(explained)}"
        return f"gain supported: {points}, {TRIED[reach]}"
    if hi < 0:
        return f"harmful here: {points}"
    if (hi - lo) / 2 <= BLUNT:
        return f"gain not supported: {points}"
    needed = math.ceil((1.96 * float(np.std(gains, ddof=1)) / BLUNT) ** 2)
    return f"{points}; underpowered: needs about {needed} seeds"


def accuracy_words(differences: Mapping[str, Sequence[float]], controls: Sequence[str], level: float = 0.05) -> str:
    """Gain, harm or no gain shown against the defence's own control (L2R spec 4); random weights must be beaten too."""
    gains = differences.get(controls[0], ())
    seeds = len(gains)
    if not seeds:
        return f"not compared: {controls[0]} gave no number"
    points = f"{100 * float(np.mean(gains)):+.1f} points against {controls[0]}"
    if seeds < 2 or max(gains) == min(gains):
        why = "one seed" if seeds < 2 else "equal at every seed, so that there is no interval"
        return f"{points}; {why}: no gain shown"
    if seeds < MIN_SEEDS:
        return f"{points}; underpowered: {seeds} seeds, at least {MIN_SEEDS} are needed"
    random = next((spec for spec in controls if spec.startswith(RANDOM)), None)
    rest = None
    if random is not None and differences.get(random):
        # control − random weights = (own − random) − (own − control)
        rest = [b - a for a, b in zip(gains, differences[random], strict=True)]
    judged = judge_gain([-gain for gain in gains], random_weights=rest, confidence=1 - level)
    interval = f"[{-100 * judged.ci[1]:+.1f}, {-100 * judged.ci[0]:+.1f}]"
    indicative = f"; indicative, {seeds} of {CLAIM_SEEDS} seeds" if judged.indicative else ""
    return f"{points} {interval}: {judged.word}{indicative}"


def refit_words(differences: Mapping[str, Difference], controls: Sequence[str], level: float = 0.05) -> str:
    """Gain, harm or no gain shown of a refitted head: one trained model, paired over test items (L2R spec 4.5)."""
    own = differences.get(controls[0])
    if own is None or own.value is None or own.ci is None or own.ci.lo is None or own.ci.hi is None:
        return f"not compared: {controls[0]} gave no number"
    wider = max(1.0, float(stats.norm.ppf(1 - level / 2)) / Z95)
    lo, hi = own.value - wider * (own.value - own.ci.lo), own.value + wider * (own.ci.hi - own.value)
    random = next((differences[spec] for spec in controls if spec.startswith(RANDOM) and spec in differences), None)
    beats_random = random is None or (random.value or 0.0) > 0
    word = "gain" if lo > 0 and beats_random else "harm" if hi < -HARM else "no gain shown"
    points = f"{100 * own.value:+.1f} points against {controls[0]} [{100 * lo:+.1f}, {100 * hi:+.1f}]"
    return f"{points} over the test items of one trained model: {word}"


def refit_robust_words(differences: Mapping[str, Difference], controls: Sequence[str], reach: Reach) -> str:
    """`robust_words` of a refitted head: the same words on intervals over the test items of one trained model."""
    ends = {
        spec: (d.value, d.ci.lo, d.ci.hi)
        for spec, d in differences.items()
        if d.value is not None and d.ci is not None and d.ci.lo is not None and d.ci.hi is not None
    }
    if controls[0] not in ends:
        return f"not compared: {controls[0]} gave no number"
    value, lo, hi = ends[controls[0]]
    points = f"{100 * value:+.1f} points over {controls[0]} [{100 * lo:+.1f}, {100 * hi:+.1f}] over test items"
    explained = [spec for spec in controls[1:] if spec in ends and ends[spec][1] <= 0]
    if lo > 0 and reach in FOREIGN:
        return f"against transferred attacks only: {points}; inconclusive, {FOREIGN[reach]}"
    if lo > 0 and explained:
        return f"gain supported: {points}, but nothing proven is gained over {', '.join(explained)}"
    if lo > 0:
        return f"gain supported: {points}, {TRIED[reach]}"
    if hi < 0:
        return f"harmful here: {points}"
    blunt = (hi - lo) / 2 > BLUNT
    return f"{points}; underpowered: more test items are needed" if blunt else f"gain not supported: {points}"
