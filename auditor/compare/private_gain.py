"""Words for what a differentially private model is worth: beside the same model without edges, and beside a constant.

A private model that does not beat an edge-free one has paid for edges it cannot use (DP spec 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.statistics.intervals import student_t

NO_UTILITY = 0.03
MIN_SEEDS = 5


def utility_words(own: Sequence[float], controls: Mapping[str, Sequence[float]], majority: float) -> str:
    """What may be said of the accuracy of a private model.

    The control is the best of the edge-free models, by mean accuracy: a defence may not pick the weaker one.

    Args:
        own: accuracies, one per seed, as fractions.
        controls: accuracies of each edge-free model at the same seeds, by spec.
        majority: share of the test split's largest class: what a constant predictor reaches.
    """
    said = [_against_majority(float(np.mean(own)), majority)]
    if controls:
        best = best_control(controls)
        said.append(_against_edge_free([a - b for a, b in zip(own, controls[best], strict=True)], best))
    return "; ".join(said)


def best_control(controls: Mapping[str, Sequence[float]]) -> str:
    """The spec of the edge-free model with the highest mean accuracy."""
    return max(controls, key=lambda spec: float(np.mean(controls[spec])))


def leak_words(beyond: Sequence[float], control: str) -> str:
    """What links a private model gives away beyond an edge-free one, which has none to give.

    Args:
        beyond: AUC of the link attack on the private model minus that on the edge-free one, one per seed.
        control: spec of the edge-free model.
    """
    points = f"AUC {100 * float(np.mean(beyond)):+.1f} points over {control}"
    if len(beyond) < 2 or max(beyond) == min(beyond):
        return f"{points}, {'one seed' if len(beyond) < 2 else 'equal at every seed, one sample'}: nothing can be said"
    lo, hi = student_t(beyond)
    points = f"{points} [{100 * lo:+.1f}, {100 * hi:+.1f}]"
    if lo > 0:
        return f"{points}: gives away links beyond an edge-free model"
    return f"{points}: no leak shown beyond an edge-free model"


def _against_majority(mean: float, majority: float) -> str:
    beyond = f"{100 * (mean - majority):+.1f} points over the constant predictor ({100 * majority:.1f} %)"
    return f"no utility: {beyond}" if mean - majority < NO_UTILITY else beyond


def _against_edge_free(gains: Sequence[float], control: str) -> str:
    mean, seeds = float(np.mean(gains)), len(gains)
    points = f"{100 * mean:+.1f} points over {control}"
    if seeds < 2 or max(gains) == min(gains):
        why = "one seed" if seeds < 2 else "equal at every seed, one sample"
        return f"no gain over an edge-free model shown: {points}, {why}"
    lo, hi = student_t(gains)
    points = f"{points} [{100 * lo:+.1f}, {100 * hi:+.1f}]"
    few = f"; indicative, {seeds} of {MIN_SEEDS} seeds" if seeds < MIN_SEEDS else ""
    return f"{'gain' if lo > 0 else 'no gain'} over an edge-free model: {points}{few}"
