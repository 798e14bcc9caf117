"""T10, the protocol of papers: draws of 10 % of the nodes, every pair inside; the mean over draws, never one draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.audit import Advantage, Interval, Measurement, ValidityRow
from auditor.audit import Control as ControlRow
from auditor.errors import SkippedError
from auditor.evaluate.links.controls import Control
from auditor.evaluate.links.measure import Comparison, advantage_of, pair_scores
from auditor.evaluate.links.pairs import PairSet, Truth, is_enough, pairs_inside
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.text import sentence
from auditor.evaluate.links.twins import run_attack
from auditor.probe import Attack, Cell
from auditor.statistics.intervals import student_t
from auditor.statistics.ranking import Ranking, auc, average_precision

SHARE = 0.1
BALANCED_SAMPLES = 20  # an average over these is what one balanced sample estimates, with less noise
Floats = NDArray[np.float64]


def paper_measurements(
    cell: Cell, attack: Attack, truth: Truth, controls: Sequence[Control], *, draws: int, primary: bool, knowledge: str
) -> tuple[list[Measurement], ValidityRow]:
    """AUC and average precision on T10, attack and no-model controls on the same pairs of every draw; scorers checked.

    The attack runs once per draw with the ids in its View (and `protocol = paper` where it has such a parameter).
    Intervals are t intervals over draws of nodes, for this trained model.

    Raises:
        SkippedError: fewer than two draws hold ten edges.
        EvaluationError: the scorer of a draw is asymmetric, depends on the other pairs, or is not finite.
    """
    paper = _paper_form(attack)
    found: list[Floats] = []
    edges = 0
    size = max(2, round(SHARE * truth.num_nodes))
    for draw in range(draws):
        rng = cell.rng("t10", str(draw))
        nodes = np.sort(rng.choice(truth.num_nodes, size, replace=False))
        pairs = pairs_inside(nodes, truth, "t10")
        if not is_enough(pairs):
            continue
        cell.tick(draw / draws, f"paper protocol, draw {draw + 1}/{draws}")
        outcome = run_attack(cell, paper, cell.target, f"t10-{draw}", attacked=torch.from_numpy(nodes))
        checked = check_scorer(outcome.score, truth.num_nodes, cell.rng("scorer", str(draw)), probe=cell.probe.id)
        columns = [pair_scores(outcome.score, pairs, owner=attack.id)]
        columns += [pair_scores(control.scores[0], pairs, owner=control.name) for control in controls]
        found.append(np.array([balanced_metrics(column, pairs, rng) for column in columns]))
        edges += pairs.positives
    if len(found) < 2:
        raise SkippedError(
            f"the paper protocol attacks 10 % of the nodes ({size} here); fewer than two of {draws} draws held ten "
            "edges. Use the full-graph protocol."
        )
    values = np.stack(found)  # [draws, 1 + controls, 2]
    notes = {"draws": len(found), "edges_per_draw": edges / len(found), "nodes_per_draw": size}
    rows = [
        _row(cell, name, values[:, :, k], controls, notes, primary=primary and name == "auc", knowledge=knowledge)
        for k, name in enumerate(("auc", "average_precision"))
    ]
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


def _paper_form(attack: Attack) -> Attack:
    """The attack with `protocol = paper`, where it declares that parameter."""
    value: Any = attack
    if not is_dataclass(value) or "protocol" not in {f.name for f in fields(value)}:
        return attack
    return cast(Attack, replace(cast(Any, value), protocol="paper"))


def _row(
    cell: Cell,
    name: str,
    values: Floats,
    controls: Sequence[Control],
    notes: dict[str, Any],
    *,
    primary: bool,
    knowledge: str,
) -> Measurement:
    """One metric over draws; `values` [draws, 1 + controls], the attack first."""
    attack = values[:, 0]
    comparisons = []
    for index, control in enumerate(controls, start=1):
        difference = attack - values[:, index]
        lo, hi = student_t(difference.tolist())
        comparisons.append(
            Comparison(control.name, float(values[:, index].mean()), (float(difference.mean()), lo, hi), False)
        )
    judged = advantage_of(comparisons)
    mean, (lo, hi) = float(attack.mean()), student_t(attack.tolist())
    advantage: Advantage | None = None if judged is None else judged[1]
    return Measurement(
        name=name,
        subset="t10",
        finding=cell.probe.findings[0],
        value=mean,
        ci=Interval(lo=max(0.0, lo), hi=min(1.0, hi)),
        control=None if judged is None else ControlRow(name=judged[0].name, value=judged[0].value),
        controls=tuple(ControlRow(name=c.name, value=c.value) for c in comparisons),
        advantage=advantage,
        n=int(notes["draws"]),
        direction="higher_is_worse",
        scale="auc" if name == "auc" else "other",
        primary=primary,
        text=""
        if judged is None
        else sentence(cell.probe.id, name, mean, judged[0], judged[1], judged[1], comparisons, knowledge),
        notes={**notes, "sd_over_draws": float(attack.std(ddof=1)), "interval": "t over draws of nodes"},
    )
