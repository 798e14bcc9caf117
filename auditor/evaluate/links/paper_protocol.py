"""The protocol of papers: draws of 10 % of the nodes, every pair inside; the mean over draws, never one draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, measured
from auditor.document.facts import Draws, LinkFacts
from auditor.errors import SkippedError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.measure import AUC, AVERAGE_PRECISION, pair_scores
from auditor.evaluate.links.pairs import PairSet, Truth, is_enough, pairs_inside
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.twins import run_attack
from auditor.probe import Cell, Registered
from auditor.statistics.intervals import student_t
from auditor.statistics.ranking import Ranking, auc, average_precision

SUBSET = "paper"
STREAM = "t10"
"""Name of the random streams of its draws; fixed for ever."""
SHARE = 0.1
BALANCED_SAMPLES = 20  # an average over these is what one balanced sample estimates, with less noise
Floats = NDArray[np.float64]


def paper_numbers(
    cell: Cell,
    attack: Registered,
    truth: Truth,
    controls: Sequence[Scorer],
    *,
    draws: int,
    judged: bool,
    knowledge: tuple[str, ...],
) -> tuple[list[Measured], ValidityRow]:
    """AUC and average precision, attack and controls on the same pairs of every draw; every scorer is checked.

    The attack runs once per draw with the ids in its View (and `protocol = paper` where it has such a parameter).
    Intervals are t intervals over draws of nodes, for this trained model.

    Raises:
        SkippedError: fewer than two draws hold ten edges.
        EvaluationError: the scorer of a draw is asymmetric, depends on the other pairs, or is not finite.
    """
    paper = _paper_form(attack)
    found: list[Floats] = []
    positives = negatives = 0
    size = max(2, round(SHARE * truth.num_nodes))
    for draw in range(draws):
        rng = cell.rng(STREAM, str(draw))
        nodes = np.sort(rng.choice(truth.num_nodes, size, replace=False))
        pairs = pairs_inside(nodes, truth, SUBSET)
        if not is_enough(pairs):
            continue
        cell.tick(draw / draws, f"paper protocol, draw {draw + 1}/{draws}")
        outcome = run_attack(cell, paper, cell.target, f"{STREAM}-{draw}", attacked=torch.from_numpy(nodes))
        checked = check_scorer(outcome.score, truth.num_nodes, cell.rng("scorer", str(draw)), probe=cell.probe.id)
        columns = [pair_scores(outcome.score, pairs, owner=attack.id)]
        columns += [pair_scores(control.scores[0], pairs, owner=control.name) for control in controls]
        found.append(np.array([balanced_metrics(column, pairs, rng) for column in columns]))
        positives, negatives = positives + pairs.positives, negatives + pairs.negatives
    if len(found) < 2:
        raise SkippedError(
            f"the paper protocol attacks 10 % of the nodes ({size} here); fewer than two of {draws} draws held ten "
            "edges. Use the full-graph protocol."
        )
    values = np.stack(found)  # [draws, 1 + controls, 2]
    names = [control.name for control in controls]
    rows = []
    for place, metric in enumerate((AUC.metric, AVERAGE_PRECISION.metric)):
        spread = Draws(
            draws=len(found),
            edges_per_draw=positives / len(found),
            nodes_per_draw=size,
            sd_over_draws=float(values[:, 0, place].std(ddof=1)),
        )
        facts = LinkFacts(positives=positives, negatives=negatives, knowledge=knowledge, draws=spread)
        is_judged = judged and metric is AUC.metric
        rows.append(_number(cell, metric, values[:, :, place], names, facts, judged=is_judged))
    every = f"{checked.evidence}, in each of {len(found)} draws"
    return rows, checked.model_copy(update={"evidence": every})


def balanced_metrics(scores: Floats, pairs: PairSet, rng: np.random.Generator) -> tuple[float, float]:
    """(AUC, average precision) against as many non-edges as edges.

    The AUC is over all non-edges, which estimates the same quantity with less noise; the average precision, which
    depends on the balance, is the mean over 20 balanced samples.
    """
    ranking = Ranking(scores, pairs.is_edge)
    area = auc(ranking.curve())
    precisions = []
    for _ in range(BALANCED_SAMPLES):
        chosen = np.zeros(pairs.negatives)
        chosen[rng.choice(pairs.negatives, min(pairs.positives, pairs.negatives), replace=False)] = 1.0
        precisions.append(average_precision(ranking.curve_of(None, chosen)))
    return area, float(np.mean(precisions))


def _paper_form(attack: Registered) -> Registered:
    """The attack with `protocol = paper`, where it declares that parameter."""
    method: Any = attack.attack
    if "protocol" not in {f.name for f in fields(method)}:
        return attack
    return replace(attack, attack=replace(method, protocol="paper"))


def _number(
    cell: Cell, metric: Metric, values: Floats, names: Sequence[str], facts: LinkFacts, *, judged: bool
) -> Measured:
    """One metric over draws; `values` [draws, 1 + controls], the attack first, then the controls `names`."""
    attack = values[:, 0]
    controls = [
        Control(
            name=name,
            estimate=Estimate(value=float(other.mean()), n=other.size),
            contrast=_over_draws(attack - other, -math.inf, math.inf),
        )
        for name, other in zip(names, values.T[1:], strict=True)
    ]
    return measured(
        metric,
        _over_draws(attack, 0.0, 1.0),
        finding=cell.probe.findings[0],
        subset=SUBSET,
        controls=controls,
        judged=judged,
        facts=facts,
    )


def _over_draws(values: Floats, least: float, most: float) -> Estimate:
    """Mean over draws with its t interval, cut at `least` and `most`; `n` counts draws."""
    lo, hi = student_t(values.tolist())
    return Estimate(value=float(values.mean()), lo=max(least, lo), hi=min(most, hi), n=values.size)
