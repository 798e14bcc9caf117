"""Words for a paired difference over independent seeds: gain, harm or no gain shown; and recovery against an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Word = Literal["gain", "harm", "no gain shown"]
HARM = 0.01
CLAIM_SEEDS = 10


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference to a control over seeds, in words.

    Attributes:
        word: what may be said.
        mean: mean of control - value, as a fraction: positive = worse for the owner.
        ci: t interval over seeds at the (Holm-adjusted) level the word was judged on.
        seeds: how many.
        indicative: fewer than 10 seeds.
        p: two-sided p value of the t test against 0, before adjustment.
    """

    word: Word
    mean: float
    ci: tuple[float, float]
    seeds: int
    indicative: bool
    p: float


def judge_gain(
    differences: Sequence[float], *, random_weights: Sequence[float] | None = None, confidence: float = 0.95
) -> Gain:
    """Gain when the whole interval favours the method and its mean beats that of random weights.

    Args:
        differences: control - value, one per independent seed; control is the mode's own.
        random_weights: the same differences of the random-weights control, to the same control; None where there is
            none.
        confidence: of the interval the word is judged on.

    Raises:
        ValueError: fewer than two seeds.
    """
    v = np.asarray(differences, dtype=np.float64)
    if v.size < 2:
        raise ValueError(f"{v.size} seed; a t interval needs at least two")
    mean, error = float(v.mean()), float(v.std(ddof=1) / np.sqrt(v.size))
    half = float(stats.t.ppf(0.5 + confidence / 2, v.size - 1)) * error
    lo, hi = mean - half, mean + half
    beats_random = random_weights is None or mean < float(np.mean(random_weights))
    word: Word = "no gain shown"
    if hi < 0 and beats_random:
        word = "gain"
    elif lo > HARM:
        word = "harm"
    p = 2 * float(stats.t.sf(abs(mean) / error, v.size - 1)) if error > 0 else float(mean == 0)
    return Gain(word, mean, (lo, hi), int(v.size), v.size < CLAIM_SEEDS, p)


def judge_family(
    differences: Sequence[Sequence[float]], random_weights: Sequence[Sequence[float] | None] | None = None
) -> list[Gain]:
    """`judge_gain` over several modes and sets with Holm's correction: each is judged at its own step-down level.

    A comparison that is not significant at its step stops the procedure: it and all less significant ones are judged at
    that level.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    controls = random_weights or [None] * len(differences)
    levels = holm_levels([judge_gain(d).p for d in differences])
    return [
        judge_gain(d, random_weights=c, confidence=1 - level)
        for d, c, level in zip(differences, controls, levels, strict=True)
    ]


def holm_levels(p: Sequence[float]) -> list[float]:
    """The level at which each of several comparisons is judged, from their p values: see `judge_family`."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    level = [0.05] * len(p)
    stopped: float | None = None
    for rank, i in enumerate(order):
        alpha = 0.05 / (len(order) - rank)
        if stopped is None and p[i] > alpha:
            stopped = alpha
        level[i] = alpha if stopped is None else stopped
    return level


def recovery(method: Sequence[float], control: Sequence[float], oracle: Sequence[float]) -> float | None:
    """(method - control) / (oracle - control) of the mean scores over paired seeds.

    None unless the whole 95 % interval of oracle - control lies above 0: a share of nothing is no number.
    """
    room = judge_gain([c - o for c, o in zip(control, oracle, strict=True)])
    if room.ci[1] >= 0:
        return None
    gained = float(np.mean(np.asarray(method) - np.asarray(control)))
    return gained / -room.mean
