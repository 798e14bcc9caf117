"""An arm of a comparison, tried with everybody's edits: scores as plain values, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from auditor.compare.gain import ArmScores, score_arm, sized_parts
from auditor.data.deeprobust import poisoned_by
from auditor.outcomes import FlipSet
from auditor.runner.plain import Edits, Ground, Scores, packed, unpacked
from auditor.targets.target import Target


def ground_of(target: Target) -> Ground:
    """What every arm is measured on."""
    y = target.graph.y[target.split.test]
    return Ground(
        labels=packed(y.numpy()),
        parts={name: packed(at) for name, at in sized_parts(target).items()},
        constant=target.task.constant_quality(y),
        poisoned=poisoned_by(target.graph.name),
    )


def distinct(edits: Sequence[Edits]) -> tuple[Edits, ...]:
    """Every flip set once."""
    found: dict[tuple[int, bytes], Edits] = {}
    for each in edits:
        found.setdefault((each.budget, np.sort(unpacked(each.keys)).tobytes()), each)
    return tuple(found.values())


def scores_of(target: Target, edits: Sequence[Edits]) -> Scores:
    """What the arm gets right, unedited and under the worst of the edits."""
    flips = [FlipSet(each.budget, torch.from_numpy(unpacked(each.keys)), each.claimed_accuracy) for each in edits]
    found = score_arm(target, flips)
    return Scores(
        clean=packed(found.clean),
        predicted=packed(found.predicted),
        worst={budget: packed(correct) for budget, correct in found.worst.items()},
        attacks=dict(found.attacks),
    )


def arm_scores(scores: Scores, n: int) -> ArmScores:
    """The scores as arrays.

    Raises:
        ValueError: they are not about `n` items.
    """
    clean, predicted = unpacked(scores.clean), unpacked(scores.predicted)
    worst = {budget: unpacked(correct) for budget, correct in scores.worst.items()}
    if any(len(each) != n for each in (clean, predicted, *worst.values())) or worst.keys() != scores.attacks.keys():
        raise ValueError(f"scores that are not about the {n} test items")
    return ArmScores(
        clean.astype(bool), predicted, {b: correct.astype(bool) for b, correct in worst.items()}, scores.attacks
    )
