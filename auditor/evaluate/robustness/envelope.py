"""The worst case over attacks, and the two numbers that sum up its curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.data.graph import Graph
from auditor.evaluate.robustness.verification import Verified
from auditor.perturbations import Edit, Perturbations, VerifiedEdit
from auditor.registry import Role

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
RAUC_END = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """One verified flip set.

    Attributes:
        attack, role: which attack found it, and as what.
        variant: which of the attack's flip sets it is.
        level: the budget it was found under, counted from 0; -1 for nothing flipped.
        verified: what the model says on the edited graph.
        edit: what was verified; None for nothing edited, and where nobody needs it again.
    """

    attack: str
    role: Role
    variant: str
    level: int
    verified: Verified
    edit: Edit | None = None

    @property
    def claimed(self) -> float | None:
        """Accuracy that the attack claims is left."""
        return None if self.edit is None else self.edit.claimed_accuracy

    @property
    def name(self) -> str:
        """Attack and variant, for people."""
        return f"{self.attack} ({self.variant})" if self.variant else self.attack

    @property
    def flips(self) -> int:
        """Edges added and removed."""
        return self.verified.additions + self.verified.deletions


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The envelope at one level: which items survive every attack, bool [n], and the flip set that did most."""

    correct: Bools
    winner: Tried

    @property
    def accuracy(self) -> float:
        """Share of items that survive."""
        return float(self.correct.mean())


def edits_of(graph: Graph, tried: Sequence[Tried]) -> Perturbations:
    """Every verified edit but those of the controls, for a file."""
    kept = [
        VerifiedEdit(each.attack, each.variant, each.edit, each.verified.accuracy)
        for each in tried
        if each.role != "control" and each.edit is not None
    ]
    return Perturbations(graph, tuple(kept))


def envelope(clean: Verified, tried: Sequence[Tried], levels: int, *, per_item: bool) -> list[Point]:
    """The envelope at no flips and at each level; monotone, since flip sets of smaller budgets count too.

    Args:
        clean: nothing flipped.
        tried: the flip sets of everything but the controls.
        levels: number of budgets.
        per_item: each item has its own budget, so that the minimum is per item; otherwise it is per edited graph.
    """
    nothing = Tried("clean", "control", "", -1, clean)
    points = []
    for level in range(-1, levels):
        usable = [nothing, *(each for each in tried if each.level <= level)]
        winner = min(usable, key=lambda each: (each.verified.accuracy, each.flips))
        correct = winner.verified.correct
        if per_item:
            correct = np.logical_and.reduce([each.verified.correct for each in usable])
        points.append(Point(correct, winner))
    return points


def rauc(eps: Sequence[float], accuracy: Sequence[float], reference_error: float) -> float:
    """(1 / 0.15) * integral from 0 to 0.15 of max(0, 1 − err(eps) / err_ref), clipped at the support, then trapezoid.

    Args:
        eps: ascending, from 0 to at least 0.15; the value at 0.15 is interpolated if absent.
        accuracy: of the envelope at each.
        reference_error: of a model that sees no edges; with no clean gain over it the result is 0.

    Raises:
        ValueError: the curve ends before 0.15, or does not begin at 0.

    Source: Mujkanovic et al., "Are Defenses for Graph Neural Networks Robust?", NeurIPS 2022.
    """
    if eps[0] != 0 or eps[-1] < RAUC_END:
        raise ValueError(f"the curve covers [{eps[0]}, {eps[-1]}]; expected [0, {RAUC_END}] at least")
    if reference_error <= 1 - accuracy[0]:
        return 0.0
    values = np.maximum(0.0, 1 - (1 - np.asarray(accuracy, dtype=np.float64)) / reference_error)
    x = np.asarray(eps, dtype=np.float64)
    inside = x < RAUC_END
    xs = np.append(x[inside], RAUC_END)
    ys = np.append(values[inside], np.interp(RAUC_END, x, values))
    return float(np.trapezoid(ys, xs) / RAUC_END)


def eps50(eps: Sequence[float], accuracy: Sequence[float], majority: float) -> float | None:
    """Smallest budget, linear between points, at which half of the gain over the majority class is gone.

    None when the curve does not come down that far.
    """
    half = majority + (accuracy[0] - majority) / 2
    for i in range(1, len(eps)):
        if accuracy[i] <= half:
            before, after = accuracy[i - 1], accuracy[i]
            share = 1.0 if before == after else (before - half) / (before - after)
            return float(eps[i - 1] + min(max(share, 0.0), 1.0) * (eps[i] - eps[i - 1]))
    return None
